"""The page about a benchmark's results: how fast, beside what, on which machine. It needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.html import write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["lines", "write"]

_TIMES = " \N{MULTIPLICATION SIGN} "


def write(found: dict[str, Any], out: Path | str) -> Path:
    """Write `out`/report.html and the results themselves as `out`/report.json."""
    drawings = {"ratios": _ratios(found["cases"]), "curves": _curves(found["cases"])}
    return write_page(out, "speed.html.j2", found, drawings=drawings)


def _label(case: dict[str, Any]) -> str:
    return f"{case['name']}, {_TIMES.join(str(case[key]) for key in ('batch', 'time', 'units'))}"


def lines(cases: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The cases that differ from the first in nothing but their units, batch or time, where there are any."""
    found = {}
    for key in ("units", "batch", "time"):
        same = {"name", "batch", "time", "units"} - {key}
        alike = {c[key]: c for c in cases if all(c[k] == cases[0][k] for k in same)}
        if len(alike) > 1:
            found[key] = [alike[value] for value in sorted(alike)]
    return found


def _curves(cases: list[dict[str, Any]]) -> str:
    """Time of the first case's kind of layer, at every number of units, episodes and steps; "" with no line to draw."""
    drawn = lines(cases)
    titles = {"units": "units", "batch": "episodes in a batch", "time": "steps"}
    contenders = {
        "fast": "compiled",
        "loop": "plain loop",
        "plain": f"torch's {cases[0]['plain_name']}, not plastic",
        "reference": "reference step",
    }

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.06})[0]
        for axes, (key, alike) in zip(panels, drawn.items(), strict=True):
            at = [c[key] for c in alike]
            for i, (name, label) in enumerate(contenders.items()):
                if alike[0].get(name) is None:
                    continue
                colour, dash, marker = canvas.look(i)
                axes.plot(at, [1e3 * c[name] for c in alike], color=colour, linestyle=dash, marker=marker, label=label,
                          markersize=4.5)  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_xticks(at, [str(value) for value in at])
            axes.minorticks_off()
            axes.set_xlabel(titles[key])
            canvas.bare(axes)
        panels[0].set_ylabel("ms, forward and backward")
        canvas.legend(figure)

    title = "time against " + ", against ".join(titles[key] for key in drawn)
    return canvas.render("curves", f"{title}, on logarithmic axes", 300, paint) if drawn else ""


def _ratios(cases: list[dict[str, Any]]) -> str:
    """How many times faster than the plain loop in each case; than the reference step where no loop was run."""
    key, spread, beside = "over_loop", "loop_spread", "a plain loop"
    if any(case.get(key) is None for case in cases):
        key, spread, beside = "speedup", "spread", "the reference step"

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(cases))
        most = 1.3 * max(c[key] for c in cases)  # a round that was disturbed would press all others together
        axes.set_xlim(0, 1.1 * most)
        axes.barh(places, [c[key] for c in cases], color=canvas.BLUE, height=0.6)
        for place, case in zip(places, cases, strict=True):
            low, high = case[spread]
            axes.hlines(place, low, min(high, most), color=canvas.INK, linewidth=1.5)
            end = (min(max(high, case[key]), most), place)
            axes.annotate(f"{case[key]:.1f}", end, (5, 0), textcoords="offset points", va="center")
        axes.set_yticks(places, [_label(c) for c in cases])
        axes.invert_yaxis()
        axes.set_xlabel("times faster")
        canvas.bare(axes, "x")

    return canvas.render("ratios", f"how many times faster than {beside}, in each case", 40 + 28 * len(cases), paint)
