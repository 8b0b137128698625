"""The page about contenders at several sizes: how long each takes, and how much memory. It needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.html import write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write"]


def write(found: dict[str, Any], out: Path | str, command: str) -> Path:
    """Write `out`/report.html and the results themselves as `out`/report.json.

    Args:
        command: which does it again.
    """
    drawings = {"curves": _curves(_largest_group(found["cases"]))}
    return write_page(out, "sizes.html.j2", found, drawings=drawings, command=command)


def _largest_group(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The most cases that differ in nothing but their units, in the order of these."""
    groups: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for case in cases:
        groups.setdefault((case["batch"], case["time"], case["inputs"]), []).append(case)
    return sorted(max(groups.values(), key=len), key=lambda case: case["units"])


def _curves(cases: list[dict[str, Any]]) -> str:
    """Time and memory against units; "" with no line to draw."""
    panels = {"seconds": ("s, forward and backward", 1.0), "bytes": ("MB", 1e-6)}

    def paint(figure: Figure) -> None:
        at = [case["units"] for case in cases]
        for axes, (key, (title, scale)) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            for i, contender in enumerate(cases[0]["contenders"]):
                values = [case["contenders"][i][key] for case in cases]
                if not all(values):
                    continue
                colour, dash, marker = canvas.look(i)
                drawn = [scale * value for value in values]
                label = contender["name"]
                axes.plot(at, drawn, color=colour, linestyle=dash, marker=marker, label=label, markersize=4.5)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_xticks(at, [f"{value:,}" for value in at])
            axes.minorticks_off()
            axes.set_xlabel("units")
            axes.set_ylabel(title)
            canvas.bare(axes)
        canvas.legend(figure)

    label = "time against units, and memory against units, on logarithmic axes"
    return canvas.render("sizes", label, 320, paint) if len(cases) > 1 else ""
