"""How each finalist learned: validation score against training step."""

from __future__ import annotations

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
    return Curve(
        group.name,
        group.label,
        most,
        [step for step, _ in full],
        [sum(values) / len(values) for _, values in full],
        [min(values) for _, values in full],
        [max(values) for _, values in full],
    )


def caption(data: Curves) -> str:
    """How to read it."""
    return (
        "Line: the mean over seeds. Band: from the worst seed to the best. A curve that still rises at its end belongs "
        f"to a network that more training would improve. Scores are {data.score_name} on validation episodes."
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
