"""Interleaved timing: contenders run round-robin, so that background load biases none."""

from __future__ import annotations

import statistics
from collections.abc import Callable

__all__ = ["contest", "middle", "ratios"]


def contest(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """The seconds of each contender in each round; within a round, one follows the other."""
    for run in runs.values():
        run()  # compiles it and allocates its memory
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            best = min(
                run() for _ in range(1 if name == "reference" else 3)
            )  # the reference step is slow, so its times vary little
            times[name].append(best)
    return times


def ratios(times: dict[str, list[float]], over: str, under: str) -> list[float]:
    """One a round."""
    return [a / b for a, b in zip(times[over], times[under], strict=True)]


def middle(times: dict[str, list[float]]) -> dict[str, float]:
    """The median of each contender's rounds."""
    return {name: statistics.median(values) for name, values in times.items()}
