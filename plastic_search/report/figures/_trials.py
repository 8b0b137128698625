"""How the reward rises within an episode: its mean in each trial, or in each of equal parts of the time."""

from __future__ import annotations

import re
from typing import Any

from plastic_search.records.run import Record, Run
from plastic_search.report.figures import _cases
from plastic_search.report.figures._canvas import Look
from plastic_search.report.figures._cases import Curve
from plastic_search.report.figures._learning import curve_of, runs_of
from plastic_search.report.groups import finite

__all__ = ["PREFIX", "data", "draw"]

PREFIX = "trial."  # of the metrics trial.0, trial.1, ..., the mean reward of each


def data(record: Record, cases: list[dict[str, Any]]) -> list[Curve]:
    """The trained networks of each case, tested."""
    found = []
    for case in cases:
        by_trial: dict[int, list[float]] = {}
        for trial, value in (pair for run in runs_of(record, case["name"]) for pair in _by_trial(run)):
            by_trial.setdefault(trial, []).append(value)
        if by_trial:
            found.append(curve_of(case, {float(trial): by_trial[trial] for trial in sorted(by_trial)}))
    return found


def _by_trial(run: Run) -> list[tuple[int, float]]:
    metrics = {name: finite(value) for name, value in run.metrics.items()}
    return [
        (int(name.removeprefix(PREFIX)), value)
        for name, value in metrics.items()
        if value is not None and re.fullmatch(r"trial\.\d+", name)
    ]


def draw(curves: list[Curve], looks: dict[str, Look], part: str) -> str:
    """All cases over one another.

    Args:
        part: what is counted along the axis: trial, or a part of the episode.
    """
    return _cases.banded("trials", curves, looks, (part, "mean reward"))
