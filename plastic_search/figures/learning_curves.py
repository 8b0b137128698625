"""How each finalist learned: validation score against training step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from plastic_search import findings
from plastic_search.figures import _canvas as canvas
from plastic_search.findings import Group
from plastic_search.runs import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Learning curves"
QUESTION = "Were the finalists trained long enough to be compared?"
SECTION, ORDER, NEEDS = "learning", 40, "run"

_DASHES = ("-", "-", "--", "-.", ":", (0, (5, 1)))


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

    @property
    def rising(self) -> bool:
        """Whether it still rose at its end, by more than its noise."""
        return self.rise is not None and self.noise is not None and self.rise > self.noise


class Curves(NamedTuple):
    score_name: str
    chance: float | None
    curves: list[Curve]


def data(record: Record) -> Curves | None:
    """The curves of every finalist; None where none has one."""
    curves = [curve for each in findings.finals(record) if (curve := _curve(each)).steps]
    return Curves(findings.score_name(record), findings.chance(record), curves) if curves else None


def _curve(group: Group) -> Curve:
    """A step counts where as many seeds reached it as reached the first."""
    seen: dict[float, list[float]] = {}
    for run in group.runs:
        for row in run.curve:
            step, score = findings.finite(row[0]), findings.finite(row[-1])
            if step is not None and score is not None and len(row) > 2:
                seen.setdefault(step, []).append(score)
    most = max((len(values) for values in seen.values()), default=0)
    full = [(step, values) for step, values in sorted(seen.items()) if len(values) == most]
    steps = [step for step, _ in full]
    mean = [sum(values) / len(values) for _, values in full]
    rise, noise = _end(steps, mean, [values for _, values in full])
    return Curve(
        group.name,
        group.label,
        most,
        steps,
        mean,
        [min(values) for _, values in full],
        [max(values) for _, values in full],
        rise,
        noise,
    )


def _end(steps: list[float], mean: list[float], values: list[list[float]]) -> tuple[float | None, float | None]:
    """How much the mean rose over the last fifth of the steps, and the noise of that: twice its standard error.

    Of two estimates of that error the larger counts: that of the seeds' own rises, and that of a difference of two
    points whose scatter is taken from how far the second half bends from point to point (Gasser et al. 1986).
    """
    if len(steps) < 4:
        return None, None
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
    still = (
        f" Over the last fifth of training these rise by more than their noise: {', '.join(rising)}." if rising else ""
    )
    return (
        "Line: the mean over seeds. Band: from the worst seed to the best. A curve that still rises at its end belongs "
        f"to a network that more training would improve.{still} Scores are {data.score_name} on validation episodes."
    )


def draw(data: Curves) -> str:
    """All finalists over one another."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for i, curve in enumerate(data.curves):
            colour, dash = canvas.COLOURS[i % len(canvas.COLOURS)], _DASHES[i % len(_DASHES)]
            axes.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(curve.steps, curve.mean, color=colour, linewidth=2, linestyle=dash,
                      label=canvas.short(curve.label, 24))  # fmt: skip
        canvas.chance_line(axes, data.chance)
        if data.chance is not None:
            axes.annotate("chance", (1, data.chance), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                          color=canvas.MUTED, fontsize=10)  # fmt: skip
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.set(xlabel="training steps", ylabel=f"validation {data.score_name}")
        canvas.bare(axes)
        canvas.legend(axes, 5)

    return canvas.render("learning_curves", f"{TITLE}. {QUESTION}", 340, paint)
