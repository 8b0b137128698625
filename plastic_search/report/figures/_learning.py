"""How the reward of each case rose in training: the mean over seeds, with its interval."""

from __future__ import annotations

from typing import Any

from plastic_search.core import statistics
from plastic_search.records import table
from plastic_search.records.run import Outcome, Record, Run, Stage
from plastic_search.report.figures import _cases
from plastic_search.report.figures._canvas import Look
from plastic_search.report.figures._cases import Curve

__all__ = ["curve_of", "data", "draw", "runs_of"]


def runs_of(record: Record, case: str) -> list[Run]:
    """The complete runs of a case of a comparison or a sweep."""
    runs = [*record.stage(Stage.COMPARISON, case), *record.stage(Stage.SWEEP, case)]
    return sorted((run for run in runs if run.outcome == Outcome.COMPLETE), key=lambda run: run.seed)


def data(record: Record, cases: list[dict[str, Any]], quantity: str = "score") -> list[Curve]:
    """The score in training, of the cases that have one; a point counts where as many seeds reached it as any.

    Args:
        quantity: another of a curve's quantities in place of the score.
    """
    points = table.curves(record)
    points = points[points.stage.isin((Stage.COMPARISON, Stage.SWEEP))].dropna(subset=[quantity])
    found = []
    for case in cases:
        by_step = points[points.name == case["name"]].groupby("step")[quantity].agg(list)
        full = by_step[by_step.map(len) == by_step.map(len).max()]
        if len(full):
            found.append(curve_of(case, {float(str(step)): values for step, values in full.items()}))
    return found


def curve_of(case: dict[str, Any], values: dict[float, list[float]]) -> Curve:
    """Means with 95 % Student intervals; where there is one seed, the interval is the value.

    Args:
        values: those of all seeds, by their place on the axis.
    """
    means = [statistics.mean(each) for each in values.values()]
    low = [each.value if each.low is None else each.low for each in means]
    high = [each.value if each.high is None else each.high for each in means]
    return Curve(
        case["name"], case.get("label") or case["name"], list(values), low, [each.value for each in means], high
    )


def draw(curves: list[Curve], looks: dict[str, Look], measured: str) -> str:
    """All cases over one another."""
    return _cases.banded("learning", curves, looks, ("updates", measured))
