"""What happens while a question is worked on, as the command line shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plastic_search.records.run import Outcome, Run, Stage

__all__ = ["Event", "ended", "how_it_ended"]


class Event(NamedTuple):
    """A piece of work ended, or a long one advanced."""

    stage: Stage
    done: int  # pieces of work that have ended: trials in a search, else runs
    total: int
    best: float | None  # best score so far: of complete trials in a search, of the winner's seeds among finalists
    text: str  # what, in a few words
    notice: str = ""  # a sentence that must be seen before the work goes on


def ended(title: str, runs: Sequence[Run], metric: str, label: str = "") -> tuple[str, str]:
    """The `text` and the `notice` of an event for the runs of a job: the last one's metric, and what is not complete.

    Args:
        label: what the metric is called; "" takes its name.
    """
    lost = [run for run in runs if run.outcome != Outcome.COMPLETE]
    if lost:
        more = f"; {len(lost) - 1} more of its seeds too" if len(lost) > 1 else ""
        return f"{title}: {lost[0].outcome}", f"{how_it_ended(lost[0])}{more}"
    value = runs[-1].metrics.get(metric)
    return f"{title}: {label or metric} {'was not measured' if value is None else f'{value:.3f}'}", ""


def how_it_ended(run: Run) -> str:
    """`winner, seed 0: diverged, the loss is not finite at step 2`."""
    return f"{run.name}, seed {run.seed}: {run.outcome}{f', {run.note}' if run.note else ''}"
