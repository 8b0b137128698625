"""The page about a benchmark's results: how fast, beside what, on which machine. It needs no torch."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastic_search.figures import _canvas as canvas
from plastic_search.runs import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write"]


def write(found: dict[str, Any], out: Path) -> Path:
    """Write `out`/report.html and the results themselves as `out`/report.json."""
    write_text(out / "report.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(out / "report.html", _page(found))
    return out / "report.html"


def _page(found: dict[str, Any]) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: (files("plastic_search") / "templates" / name).read_text(encoding="utf-8")),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    drawings = [_against_units(found["cases"]), _ratios(found["cases"])]
    return environment.get_template("speed.html.j2").render(found=found, drawings=drawings)


def _label(case: dict[str, Any]) -> str:
    return f"{case['name']}, batch {case['batch']}, {case['time']} steps, {case['units']} units"


def _against_units(cases: list[dict[str, Any]]) -> str:
    """Time of the first case's kind of layer and work, at every number of units."""
    alike = [c for c in cases if all(c[key] == cases[0][key] for key in ("name", "batch", "time"))]
    alike.sort(key=lambda c: c["units"])

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        lines = (("law", "step by step, autograd", canvas.ORANGE), ("fast", "compiled", canvas.BLUE))
        for key, label, colour in (*lines, ("plain", f"torch's {cases[0]['plain_name']}, not plastic", canvas.GREEN)):
            axes.plot([c["units"] for c in alike], [1e3 * c[key] for c in alike], "o-", color=colour, label=label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xticks([c["units"] for c in alike], [str(c["units"]) for c in alike])
        axes.minorticks_off()
        axes.set_xlabel("units")
        axes.set_ylabel("ms, forward and backward")
        canvas.bare(axes)
        canvas.legend(axes, 3)

    return canvas.render("units", "time against units, on logarithmic axes", 300, paint)


def _ratios(cases: list[dict[str, Any]]) -> str:
    """How many times faster than the law, in each case."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(cases))
        most = 1.3 * max(c["speedup"] for c in cases)  # a round that was disturbed would press all others together
        axes.set_xlim(0, 1.1 * most)
        axes.barh(places, [c["speedup"] for c in cases], color=canvas.BLUE, height=0.6)
        for place, case in zip(places, cases, strict=True):
            low, high = case["spread"]
            axes.hlines(place, low, min(high, most), color=canvas.INK, linewidth=1.5)
            axes.text(min(max(high, case["speedup"]), most), place, f"  {case['speedup']:.1f}", va="center")
        axes.set_yticks(places, [_label(c) for c in cases])
        axes.invert_yaxis()
        axes.set_xlabel("times faster; lines from the slowest round to the fastest")
        canvas.bare(axes, "x")

    return canvas.render("ratios", "how many times faster than the law, in each case", 40 + 28 * len(cases), paint)
