"""Drawings of named cases: along an axis, over training, and every seed at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "Final", "Line", "along_axis", "every_seed", "over_training", "style"]

_DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
_LIMIT = (0, (4, 3))  # dashed: a metric's limit
_FLOOR = (0, (1, 2))  # dotted: reference levels


class Line(NamedTuple):
    """A group of cases along an axis."""

    label: str
    colour: str
    at: list[float]
    results: list[Estimate]


class Curve(NamedTuple):
    """A case over training: quartiles over seeds."""

    name: str
    label: str
    steps: list[float]
    low: list[float]
    middle: list[float]
    high: list[float]


class Final(NamedTuple):
    """A case at its end: a value for each seed."""

    label: str
    colour: str
    values: list[float]
    result: Estimate


def style(i: int) -> tuple[str, object]:
    """The colour and dashes of the i-th case."""
    return canvas.COLOURS[i % len(canvas.COLOURS)], _DASHES[i // len(canvas.COLOURS) % len(_DASHES)]


def along_axis(
    name: str, title: str, lines: list[Line], reference: tuple[str, Estimate] | None, chance: float | None,
    labels: tuple[str, str], share: bool = True,
) -> str:  # fmt: skip
    """A metric against the axis, with its intervals as bands.

    Args:
        reference: label and result of the case that is not on the axis, drawn as a level.
        labels: of the two axes.
        share: whether the metric lies between 0 and 1.
    """

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        if reference is not None:
            label, level = reference
            if level.low is not None and level.high is not None:
                axes.axhspan(level.low, level.high, color=canvas.MUTED, alpha=0.18, linewidth=0)
            axes.axhline(level.value, color=canvas.MUTED, linestyle="--", label=label)
        for line in lines:
            axes.plot(line.at, [r.value for r in line.results], "o-", color=line.colour, label=line.label, markersize=4)
            bounds = [(r.low, r.high) for r in line.results if r.low is not None and r.high is not None]
            if len(bounds) == len(line.results) == 1:
                axes.vlines(line.at, *bounds[0], color=line.colour, linewidth=1.5)
            elif len(bounds) == len(line.results):
                low, high = zip(*bounds, strict=True)
                axes.fill_between(line.at, low, high, color=line.colour, alpha=0.15, linewidth=0)
        ticks = sorted({at for line in lines for at in line.at} | ({1.0} if reference and share else set()))
        if min(ticks) > 0:
            axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        canvas.chance_line(axes, chance)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        if share:
            axes.set_ylim(max(axes.get_ylim()[0], -0.02), 1.02)  # a wide interval leaves what a score can be
        canvas.bare(axes)
        canvas.legend(axes)

    return canvas.render(name, title, 380, paint)


def over_training(
    name: str, curves: list[Curve], styles: dict[str, tuple[str, object]], label: str, floors: dict[str, float]
) -> str:
    """Medians over training, with the middle half of the seeds as a band."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for curve in curves:
            colour, dash = styles[curve.name]
            axes.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(curve.steps, curve.middle, color=colour, linestyle=dash, linewidth=1.8,
                      label=canvas.short(curve.label, 30))  # fmt: skip
        _levels(axes, floors)
        settled = [c.high[i] for c in curves for i, s in enumerate(c.steps) if s >= 0.1 * c.steps[-1]]
        lowest = min([*floors.values(), *(v for c in curves for v in c.low)])
        top = max([*settled, *floors.values()])
        margin = 0.05 * (top - lowest) or 0.05
        axes.set_ylim(min(lowest - margin, 0.0) if label in ("units", "connections") else lowest - margin, top + margin)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.4g}")
        axes.set(xlabel="updates", ylabel=label)
        canvas.bare(axes)
        canvas.legend(axes, 3)

    title = f"{label} against updates: {', '.join(curve.label for curve in curves)}"
    return canvas.render(name, title, 320 + 18 * ((len(curves) + 2) // 3), paint)


def every_seed(name: str, finals: list[Final], label: str, limit: float | None, floors: dict[str, float]) -> str:
    """A point for each seed, with the mean or median of each case and its interval."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for place, final in enumerate(finals):
            offsets = canvas.spread(len(final.values), 0.42)
            axes.plot(sorted(final.values), [place + y for y in offsets], "o", color=final.colour, markersize=4,
                      alpha=0.7)  # fmt: skip
            if final.result.low is not None and final.result.high is not None:
                axes.hlines(place, final.result.low, final.result.high, color=canvas.INK, linewidth=1.5)
            axes.plot([final.result.value], [place], "|", color=canvas.INK, markersize=16, markeredgewidth=2)
        values = [v for final in finals for v in final.values]
        margin = 0.06 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 0.05
        axes.set_xlim(min(values) - margin, max(values) + margin)
        if limit is not None and min(values) - margin <= limit <= max(values) + margin:
            axes.axvline(limit, color=canvas.MUTED, linewidth=0.8, linestyle=_LIMIT)
        for floor in floors.values():
            if min(values) - margin <= floor <= max(values) + margin:
                axes.axvline(floor, color=canvas.INK, linewidth=1, linestyle=_FLOOR)
        axes.set_yticks(range(len(finals)), [canvas.short(final.label, 40) for final in finals])
        axes.invert_yaxis()
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.4g}")
        canvas.bare(axes, "x")

    return canvas.render(name, f"{label} of every seed at its end, case by case", 60 + 36 * len(finals), paint)


def _levels(axes: Axes, floors: dict[str, float]) -> None:
    """Dotted lines at reference levels, with their labels where they are not too close to one another."""
    written: list[float] = []
    span = abs(axes.get_ylim()[1] - axes.get_ylim()[0])
    for label, floor in sorted(floors.items(), key=lambda item: item[1]):
        axes.axhline(floor, color=canvas.INK, linewidth=1, linestyle=_FLOOR, zorder=1)
        if all(abs(floor - other) > 0.06 * span for other in written):
            axes.annotate(
                label, (0.995, floor), xytext=(0, -3), xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="right", va="top", color=canvas.MUTED, fontsize=10,
            )  # fmt: skip
            written.append(floor)
