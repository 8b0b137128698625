"""Two networks beside one another: by how much one scores more than the other, and how that is said."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.report import statistics
from plastic_search.report.formatting import MARGIN, interval, score
from plastic_search.report.groups import Group
from plastic_search.report.statistics import Estimate

__all__ = ["Comparison", "above", "compare", "loss", "reach"]


class Comparison(NamedTuple):
    """Two networks, and how much more the first one scores."""

    ours: str
    theirs: str
    difference: Estimate
    probability: Estimate | None  # that a seed of ours scores more than one of theirs


def compare(ours: Group, theirs: Group) -> Comparison | None:
    """Two networks over their seeds, as independent groups: a seed means something else in another network."""
    x, y = list(ours.values().values()), list(theirs.values().values())
    if not x or not y:
        return None
    return Comparison(ours.label, theirs.label, statistics.difference(x, y), statistics.improvement(x, y))


def loss(d: Estimate) -> tuple[str, str]:
    """Whether no more than the margin is lost, and that in words."""
    if d.low is None or d.high is None:
        return "unclear", f"and without an interval it is not shown whether more than {MARGIN} is lost"
    if d.low >= -MARGIN:
        return "yes", "so nothing is lost" if d.low >= 0 else f"so surely no more than {MARGIN} is lost"
    if d.high < -MARGIN:
        return "no", f"so surely more than {MARGIN} is lost"
    return "unclear", f"but the interval reaches to a loss of {'more' if d.value >= -MARGIN else 'less'} than {MARGIN}"


def above(d: Estimate) -> str:
    """0.012 [0.004, 0.020] above, or the same below"""
    side = 1 if d.value >= 0 else -1
    return f"{score(abs(d.value))} {reach(d, side)} {'above' if side > 0 else 'below'}"


def reach(d: Estimate, side: int) -> str:
    """The interval of a difference as a distance to one side."""
    if side < 0 and d.low is not None and d.high is not None:
        d = d._replace(low=-d.high, high=-d.low)
    return interval(d)
