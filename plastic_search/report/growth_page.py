"""The page about networks that choose their size: how many units, how good, and what was published. No torch."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastic_search.records.files import write_text
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.growth_findings import SOLVED, findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["write"]

_COLOURS = {
    "variable-hard": canvas.BLUE,
    "variable-easy": canvas.GREEN,
    "easy-hard-easy": canvas.PURPLE,
    "fixed-20": canvas.YELLOW,
    "fixed-37": canvas.ORANGE,
    "fixed-75": canvas.SKY,
    "fixed-100": canvas.MUTED,
}


def write(out: Path) -> Path:
    """Write `out`/report.html, and all figures in it as `out`/report.json."""
    found = findings(out)
    write_text(out / "report.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(out / "report.html", _page(found, out))
    return out / "report.html"


def _page(found: dict[str, Any], out: Path) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: (files("plastic_search.report") / "templates" / name).read_text("utf-8")),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    variable = [c for c in found["conditions"] if not c["name"].startswith("fixed")]
    hard = [c for c in found["conditions"] if c["hard"]]
    command = f"plastic-search grow --out {out} --cycles {found['cycles']} --seeds {found['seeds']}"
    return environment.get_template("growth.html.j2").render(
        found=found, limit=SOLVED, command=command, thirds=any(c["name"] == "easy-hard-easy" for c in variable),
        units=_curves(found, variable, "units", "units that exist"),
        losses=_curves(found, variable, "loss", "nats a window"),
        sizes=_curves(found, hard, "loss", "nats a window", "sizes"),
        finals=_finals(found, hard),
    )  # fmt: skip


def _curves(found: dict[str, Any], shown: list[dict[str, Any]], what: str, axis: str, name: str = "") -> str:
    """Medians over training time, with the middle half of the seeds; "" where there is nothing to draw."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for each in shown:
            steps, colour = each["curve"]["steps"], _COLOURS[each["name"]]
            low, middle, high = zip(*each["curve"][what], strict=True)
            axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(steps, middle, color=colour, linewidth=1.8, label=_brief(each["name"]))
        if any(each["name"] == "easy-hard-easy" for each in shown):
            for third in (1, 2):
                axes.axvline(third * found["cycles"] / 3, color=canvas.MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        if what == "loss":
            _floors(axes, found, [each["name"] for each in shown])
            low = min(found["floors"].values())
            axes.set_ylim(low - 1.0, max(low + 16.0, 1.0))
        else:
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.set(xlabel="updates", ylabel=axis)
        canvas.bare(axes)
        canvas.legend(axes, 5)

    told = f"{axis} against updates: {', '.join(each['label'] for each in shown)}"
    return canvas.render(name or what, told, 340, paint) if shown else ""


def _floors(axes: Axes, found: dict[str, Any], names: list[str]) -> None:
    """What nothing can beat; both texts' floors all but coincide."""
    hard_only = all(name.startswith("fixed") or name.endswith("-hard") for name in names)
    for text, floor in found["floors"].items():
        if text == "hard" or not hard_only:
            axes.axhline(floor, color=canvas.INK, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.annotate("nothing can be below", (0.995, min(found["floors"].values())), xytext=(0, -3),
                  xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", va="top",
                  color=canvas.MUTED, fontsize=10)  # fmt: skip


def _finals(found: dict[str, Any], shown: list[dict[str, Any]]) -> str:
    """The loss of every seed at its end, with the median and its interval."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for place, each in enumerate(shown):
            colour, made = _COLOURS[each["name"]], each["loss"]
            losses = sorted(loss for _, loss, _ in each["final"])
            offsets = canvas.spread(len(losses), 0.42)
            axes.plot(losses, [place + y for y in offsets], "o", color=colour, markersize=4, alpha=0.7)
            if made["low"] is not None:
                axes.hlines(place, made["low"], made["high"], color=canvas.INK, linewidth=1.5)
            axes.plot([made["value"]], [place], "|", color=canvas.INK, markersize=16, markeredgewidth=2)
        axes.axvline(found["floors"]["hard"], color=canvas.INK, linewidth=1, linestyle=(0, (1, 2)))
        axes.axvline(SOLVED, color=canvas.MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(shown)), [each["label"].removesuffix(", hard text") for each in shown])
        axes.invert_yaxis()
        axes.set_xlabel("nats a window, at the end")
        canvas.bare(axes, "x")

    told = "the loss of every seed at its end on the hard text, by kind of network"
    return canvas.render("finals", told, 60 + 40 * len(shown), paint) if shown else ""


def _brief(name: str) -> str:
    return name.replace("variable-", "variable, ").replace("fixed-", "fixed, ").replace("easy-hard-easy", "switched")
