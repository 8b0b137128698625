"""Drawings of named cases: along an axis, over training, and every seed at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search.core.statistics import Estimate
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures._canvas import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "Final", "Line", "along_axis", "banded", "cut", "every_seed", "over_training"]

_LIMIT = (0, (4, 3))  # dashed: a metric's limit
_FLOOR = (0, (1, 2))  # dotted: reference levels


class Line(NamedTuple):
    """A group of cases along an axis."""

    label: str
    look: Look
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
    look: Look
    values: list[float]
    result: Estimate


def along_axis(name: str, lines: list[Line], base: list[Line], chance: float | None, labels: tuple[str, str]) -> str:
    """A metric against the axis, with its intervals as bands.

    Args:
        base: the case that the others are compared with, drawn as a level; empty where it has no result.
        labels: of the two axes.
    """
    drawn = [*base, *lines]
    called = canvas.distinct([line.label for line in drawn], 40)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for line, label in zip(drawn, called, strict=True):
            if line in base:
                _level(axes, line.results[0], label)
            else:
                _line(axes, line, label)
        ticks = sorted({at for line in drawn for at in line.at})
        if min(ticks) > 0:
            axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        canvas.chance_line(axes, chance)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        values = [v for line in drawn for r in line.results for v in (r.value, r.low, r.high) if v is not None]
        if min(values) >= 0 and max(values) <= 1:  # a wide interval leaves what a share can be
            bottom, top = axes.get_ylim()
            axes.set_ylim(max(bottom, -0.02), min(top, 1.02))
        canvas.bare(axes)
        canvas.legend(figure)

    return canvas.render(name, f"{labels[1]} against {labels[0]}", 362 + canvas.legend_height(called), paint)


def _level(axes: Axes, result: Estimate, label: str) -> None:
    if result.low is not None and result.high is not None:
        axes.axhspan(result.low, result.high, color=canvas.MUTED, alpha=0.18, linewidth=0)
    axes.axhline(result.value, color=canvas.MUTED, linestyle="--", label=label)


def _line(axes: Axes, line: Line, label: str) -> None:
    (colour, dash, marker), results = line.look, [r.value for r in line.results]
    axes.plot(line.at, results, color=colour, linestyle=dash, marker=marker, label=label, markersize=4.5)
    bounds = [(r.low, r.high) for r in line.results if r.low is not None and r.high is not None]
    if len(bounds) == len(results) == 1:
        axes.vlines(line.at, *bounds[0], color=colour, linewidth=1.5)
    elif len(bounds) == len(results):
        low, high = zip(*bounds, strict=True)
        axes.fill_between(line.at, low, high, color=colour, alpha=0.15, linewidth=0)


def over_training(name: str, curves: list[Curve], looks: dict[str, Look], label: str, floors: dict[str, float]) -> str:
    """Medians over training, with the middle half of the seeds as a band."""
    labels = canvas.distinct([curve.label for curve in curves], 40)

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for curve, called in zip(curves, labels, strict=True):
            canvas.curve(axes, called, curve.steps, curve.middle, (curve.low, curve.high), looks[curve.name])
        _levels(axes, floors)
        begin = 0.1 if label == "training loss" else 0.0  # a loss falls far in its first tenth, and is then cut
        settled = [c.high[i] for c in curves for i, s in enumerate(c.steps) if s >= begin * c.steps[-1]]
        lowest = min([*floors.values(), *(v for c in curves for v in c.low)])
        top = max([*settled, *floors.values()])
        margin = 0.05 * (top - lowest) or 0.05
        axes.set_ylim(min(lowest - margin, 0.0) if label in ("units", "connections") else lowest - margin, top + margin)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.4g}")
        axes.set(xlabel="updates", ylabel=label)
        canvas.bare(axes)
        canvas.legend(figure)

    title = f"{label} against updates: {', '.join(curve.label for curve in curves)}"
    return canvas.render(name, title, 320 + canvas.legend_height(labels), paint)


def banded(name: str, curves: list[Curve], looks: dict[str, Look], labels: tuple[str, str]) -> str:
    """Each case as a line with a band over whole numbers, whatever range its values have.

    Args:
        labels: of the two axes.
    """
    called = canvas.distinct([curve.label for curve in curves], 40)

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for curve, label in zip(curves, called, strict=True):
            canvas.curve(axes, label, curve.steps, curve.middle, (curve.low, curve.high), looks[curve.name])
        canvas.whole_ticks(axes)
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.4g}")
        axes.set(xlabel=labels[0], ylabel=labels[1])
        canvas.bare(axes)
        canvas.legend(figure)

    title = f"{labels[1]} against {labels[0]}: {', '.join(curve.label for curve in curves)}"
    return canvas.render(name, title, 320 + canvas.legend_height(called), paint)


def every_seed(name: str, finals: list[Final], label: str, limit: float | None, floors: dict[str, float]) -> str:
    """A point for each seed, with the mean or median of each case and its interval."""
    limits = _limits(finals)

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for place, final in enumerate(finals):
            canvas.interval_row(axes, place, final.result, final.values, final.look, limits, 0.42)
        canvas.name_rows(axes, [final.label for final in finals], limits, label)
        if limit is not None and limits[0] <= limit <= limits[1]:
            axes.axvline(limit, color=canvas.MUTED, linewidth=0.8, linestyle=_LIMIT)
        for floor in floors.values():
            if limits[0] <= floor <= limits[1]:
                axes.axvline(floor, color=canvas.INK, linewidth=1, linestyle=_FLOOR)

    return canvas.render(name, f"{label} of every seed at its end, case by case", 60 + 36 * len(finals), paint)


def cut(finals: list[Final]) -> str:
    """What a caption adds where `every_seed` cuts an interval at the edge."""
    return canvas.CUT * canvas.beyond([final.result for final in finals], _limits(finals))


def _limits(finals: list[Final]) -> tuple[float, float]:
    """Wide enough for every seed."""
    values = [v for final in finals for v in final.values]
    margin = 0.06 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 0.05
    return min(values) - margin, max(values) + margin


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
