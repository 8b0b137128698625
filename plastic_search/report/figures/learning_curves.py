"""How each finalist learned: validation score against training step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from plastic_search.records.run import CurvePoint, Record
from plastic_search.report import groups
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.groups import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Learning curves"
QUESTION = "Were the finalists trained long enough to be compared?"
SECTION, ORDER, NEEDS = "learning", 40, "run"


class Curve(NamedTuple):
    """One finalist's score over time."""

    name: str
    label: str
    seeds: int
    steps: list[float]
    mean: list[float]
    low: list[float]  # of the worst seed
    high: list[float]  # of the best seed
    rise: float | None  # of the mean over the last fifth of training; None where there are too few points
    noise: float | None  # of that rise: twice its standard error
    fall: float | None  # of the training loss, which scatters less, over the same time
    fall_noise: float | None

    @property
    def rising(self) -> bool:
        """Whether it still rose at its end, by more than its noise."""
        return self.rise is not None and self.noise is not None and self.rise > self.noise

    @property
    def falling(self) -> bool:
        """Whether the training loss still fell at its end, by more than its noise."""
        return self.fall is not None and self.fall_noise is not None and self.fall > self.fall_noise


class Curves(NamedTuple):
    score_name: str
    chance: float | None
    curves: list[Curve]
    looks: dict[str, int]  # network -> its look


def data(record: Record) -> Curves | None:
    """The curves of every finalist; None where none has one."""
    curves = [found for each in groups.finals(record) if (found := curve(each)).steps]
    return Curves(groups.score_name(record), groups.chance(record), curves, groups.looks(record)) if curves else None


def curve(group: Group) -> Curve:
    """How one network learned; of no steps where nothing tells."""
    full, losses = _by_step(group, "score"), _by_step(group, "loss")
    steps = [step for step, _ in full]
    mean = [_mean(values) for _, values in full]
    return Curve(
        group.name,
        group.label,
        max((len(values) for _, values in full), default=0),
        steps,
        mean,
        [min(values) for _, values in full],
        [max(values) for _, values in full],
        *_end(full),
        *_end([(step, [-loss for loss in values]) for step, values in losses]),
    )


def _by_step(group: Group, quantity: str) -> list[tuple[float, list[float]]]:
    """The seeds' values at each step that as many seeds reached as any step."""
    import numpy as np
    import pandas as pd

    rows = [CurvePoint(*point) for run in group.runs for point in run.curve]
    points = pd.DataFrame(rows, columns=list(CurvePoint._fields), dtype=float)
    finite = points[np.isfinite(points[["step", "score", quantity]]).all(axis=1)]
    by_step = finite.groupby("step")[quantity].agg(list)
    seeds = by_step.map(len)
    return [(float(str(step)), values) for step, values in by_step[seeds == seeds.max()].items()]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _end(points: list[tuple[float, list[float]]]) -> tuple[float | None, float | None]:
    """How much the mean rose over the last fifth of the steps, and the noise of that: twice its standard error.

    Of two estimates of that error the larger counts: that of the seeds' own rises, and that of a difference of two
    points whose scatter is taken from how far the second half bends from point to point (Gasser et al. 1986).
    """
    if len(points) < 4:
        return None, None
    steps, values = zip(*points, strict=True)
    mean = [_mean(each) for each in values]
    then = max((i for i, step in enumerate(steps[:-1]) if step <= 0.8 * steps[-1]), default=0)
    rises = [b - a for a, b in zip(values[then], values[-1], strict=True)]
    rise = mean[-1] - mean[then]
    half = mean[len(mean) // 2 - 1 :]
    bends = [a - 2 * b + c for a, b, c in zip(half, half[1:], half[2:], strict=False)]
    scatter = math.sqrt(2 * sum(b * b for b in bends) / (6 * len(bends)))
    spread = math.sqrt(sum((r - rise) ** 2 for r in rises) / max(len(rises) - 1, 1) / len(rises))
    return rise, 2 * max(scatter, spread)


def caption(data: Curves) -> str:
    """How to read it."""
    rising = [f"{c.label} (by {c.rise:.3f})" for c in data.curves if c.rising]
    falling = [f"{c.label} (by {c.fall:.3f})" for c in data.curves if c.falling]
    still = ""
    if any(c.rise is not None for c in data.curves):
        still = " Over the last fifth of training "
        still += (
            f"these rise by more than their noise: {', '.join(rising)}."
            if rising
            else "none rises by more than its noise."
        )
    if falling:
        still += f" The training loss, which scatters less, then still falls for {', '.join(falling)}."
    return (
        "Line: the mean over seeds. Band: from the worst seed to the best. A network whose curve still rises at its "
        "end, or whose loss still falls, might do better with more training."
        f"{still} Scores are {data.score_name} on validation episodes."
    )


def draw(data: Curves) -> str:
    """All finalists over one another."""
    labels = canvas.distinct([each.label for each in data.curves], 40)

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for each, label in zip(data.curves, labels, strict=True):
            canvas.curve(axes, label, each.steps, each.mean, (each.low, each.high), canvas.look(data.looks[each.name]))
        canvas.chance_line(axes, data.chance)
        if data.chance is not None:
            axes.annotate("chance", (1, data.chance), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                          color=canvas.MUTED, fontsize=10)  # fmt: skip
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.set(xlabel="training steps", ylabel=f"validation {data.score_name}")
        canvas.bare(axes)
        canvas.legend(figure)

    height = 322 + canvas.legend_height(labels)
    return canvas.render("learning_curves", f"{TITLE}. {QUESTION}", height, paint)
