"""Contenders of any kind, timed side by side in one process on one thread, and judged by ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.experiments.bench.timing import ratios

__all__ = ["SideBySide", "Timed", "time_all"]

Prepare = Callable[[], Callable[[], object]]  # what is not timed, which returns what is


class Timed(NamedTuple):
    """One contender."""

    name: str
    about: str
    seconds: float  # the median of its rounds
    ratio: float  # the first contender's time divided by its own, in the same round: the median
    spread: tuple[float, float]  # the smallest and the largest of these ratios


@dataclass(frozen=True)
class SideBySide(Part):
    """functions that do the same work, timed in turn

    Args:
        question: what it asks, in one sentence.
        contenders: functions that prepare the work and return what is timed, a function; the first is what the others
            are compared with. A contender is called by its function's name, and described by its docstring.
        rounds: how often each contender runs; ratios are taken within a round, and their median is reported.
    """

    question: str
    contenders: tuple[Prepare, ...]
    rounds: int = 5

    def check(self) -> None:
        if len(self.contenders) < 2 or self.rounds < 1:
            raise PlasticSearchError("contenders are timed side by side, so there must be two of them, and one round")


def time_all(benchmark: SideBySide) -> list[Timed]:
    """Run every contender once, which compiles it and allocates its memory, and then `rounds` times in turn."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = {each.__name__: each() for each in benchmark.contenders}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(benchmark.rounds + 1):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                if number:
                    times[name].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    first, found = benchmark.contenders[0].__name__, []
    for each in benchmark.contenders:
        over = ratios(times, first, each.__name__)
        name, about = each.__name__.replace("_", " "), (each.__doc__ or "").strip().split("\n")[0]
        seconds = statistics.median(times[each.__name__])
        found.append(Timed(name, about, seconds, statistics.median(over), (min(over), max(over))))
    return found
