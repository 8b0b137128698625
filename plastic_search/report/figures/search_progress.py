"""The best score so far of each search, trial by trial, with what reshuffling its trials would give."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from plastic_search.core.statistics import BestOf, best_of
from plastic_search.records.run import Record
from plastic_search.report import groups
from plastic_search.report.figures import _canvas as canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Best score so far"
QUESTION = "Does the search that learns from its trials find better networks than random search, trial for trial?"
SECTION, ORDER, NEEDS = "search", 10, "run"


class Arm(NamedTuple):
    """One search, trial by trial."""

    name: str
    label: str
    numbers: list[int]  # of the trials, from 1
    scores: list[float | None]
    outcomes: list[str]
    best: list[float | None]  # of the complete trials so far
    band: BestOf  # of as many trials, drawn with replacement
    look: int


class Progress(NamedTuple):
    score_name: str
    chance: float | None
    arms: list[Arm]


def data(record: Record) -> Progress | None:
    """Both searches; None where no trial has a score."""
    arms = [_arm(record, name, look) for name, look in groups.arm_looks(record).items()]
    if not any(score is not None for arm in arms for score in arm.best):
        return None
    return Progress(groups.score_name(record), groups.chance(record), arms)


def _arm(record: Record, name: str, look: int) -> Arm:
    tried = groups.trials(record, name)
    done = [t.score if t.outcome == "complete" else None for t in tried]
    return Arm(
        name,
        groups.arm_label(name),
        [t.number + 1 for t in tried],
        [t.score for t in tried],
        [t.outcome for t in tried],
        list(accumulate(done, _better)),
        best_of(done),
        look,
    )


def _better(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


def caption(data: Progress) -> str:
    """How to read it."""
    return (
        "Line: the best so far, in the order in which trials were made. Dots: every trial; hollow ones were stopped "
        "early, and never count as the best. Band: where the best of as many trials, drawn at random from those of the "
        f"same search, falls nine times in ten. Scores are {data.score_name} on validation episodes."
    )


def draw(data: Progress) -> str:
    """The searches over one another."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for arm in data.arms:
            _paint(axes, arm, canvas.look(arm.look))
        lowest = min(s for arm in data.arms for s in arm.scores if s is not None)
        if data.chance is not None and lowest < 2 * data.chance:
            canvas.chance_line(axes, data.chance)
            axes.annotate("chance", (1, data.chance), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                          color=canvas.MUTED, fontsize=10)  # fmt: skip
        axes.set(xlabel="trials", ylabel=f"validation {data.score_name}")
        axes.set_xlim(0.5, max(n for arm in data.arms for n in arm.numbers) + 0.5)
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)
        canvas.bare(axes)
        canvas.legend(figure)

    return canvas.render("search_progress", f"{TITLE}. {QUESTION}", 340, paint)


def _paint(axes: Axes, arm: Arm, look: canvas.Look) -> None:
    colour, dash, marker = look
    known = [(k, low, high) for k, low, high in zip(arm.band.trials, arm.band.low, arm.band.high, strict=True)
             if low is not None and high is not None]  # fmt: skip
    if known:
        x, low, high = (list(column) for column in zip(*known, strict=True))
        axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
    best = [(n, b) for n, b in zip(arm.numbers, arm.best, strict=True) if b is not None]
    if best:
        axes.step(*zip(*best, strict=True), where="post", color=colour, linewidth=2, linestyle=dash, label=arm.label)
    dots = list(zip(arm.numbers, arm.scores, arm.outcomes, strict=True))
    for complete, face in ((True, colour), (False, canvas.PAPER)):
        some = [(n, s) for n, s, outcome in dots if s is not None and (outcome == "complete") == complete]
        if some:
            axes.plot(*zip(*some, strict=True), linestyle="none", marker=marker, markersize=4.5,
                      markerfacecolor=face, markeredgecolor=colour, markeredgewidth=1)  # fmt: skip
