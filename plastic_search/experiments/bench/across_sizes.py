"""Contenders that do the same work at several sizes: their time in one process, and the memory of each in its own."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError, one_line
from plastic_search.core.part import Part
from plastic_search.core.paths import as_path
from plastic_search.experiments.bench.processes import growth
from plastic_search.experiments.bench.timing import ratios
from plastic_search.records import provenance

__all__ = ["AcrossSizes", "Case", "Contender", "Size", "SizedResults", "Work", "time_and_memory"]

SCHEMA = "plastic_search/sizes/1"
_START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"  # the first is quicker
_LEAST = 0.3  # seconds of a round: a contender that is faster runs several times in it, and its best time counts


class Size(NamedTuple):
    """How large the work is."""

    batch: int
    time: int  # steps
    inputs: int
    units: int


class Work(NamedTuple):
    """What is timed: a forward pass, and the derivative of the mean of its results."""

    forward: Callable[[], Tensor]
    weight: Tensor | None = None  # [units, inputs], whose derivative is compared with that of the first contender


Prepare = Callable[[Size], Work]  # what is not timed


@dataclass(frozen=True)
class AcrossSizes(Part):
    """functions that do the same work at several sizes, forward and backward

    Args:
        question: what it asks, in one sentence.
        contenders: functions of a size that prepare the work. The others are compared with the first. A contender is
            called by its function's name, and described by its docstring. One that fails, as where its library is not
            installed, is left out, and its error is the reason that is shown.
        sizes: of the work, each a `Size`.
        about: how the work is done, in a few sentences for the page.
        packages: whose versions are recorded beside ours.
        rounds: how often each contender runs; ratios are taken within a round, and their median is reported.
    """

    question: str
    contenders: tuple[Prepare, ...]
    sizes: tuple[Size, ...]
    about: str = ""
    packages: tuple[str, ...] = ()
    rounds: int = 5

    def check(self) -> None:
        if len(self.contenders) < 2 or not self.sizes or self.rounds < 1:
            raise PlasticSearchError("a benchmark across sizes needs two contenders, a size and a round")


class Contender(NamedTuple):
    """One contender at one size; what was not measured is None."""

    name: str
    about: str
    reason: str  # why it did not run; "" where it did
    preparing: float | None = None  # seconds until it had run once, compilation included
    seconds: float | None = None  # of the processor, the median of its rounds
    ratio: float | None = None  # its time divided by that of the first contender in the same round: the median
    spread: tuple[float, float] | None = None  # the smallest and the largest of these ratios
    bytes: int | None = None  # by which a process of its own grew at most; 0 where the system does not report it
    differ: float | None = None  # the share of its results that are not those of the first contender
    direction: float | None = None  # how far apart the derivatives of the weights are, each divided by its length


class Case(NamedTuple):
    """All contenders at one size."""

    batch: int
    time: int
    inputs: int
    units: int
    contenders: tuple[Contender, ...]


class SizedResults(NamedTuple):
    """All results so far."""

    schema: str
    question: str
    about: str
    versions: dict[str, str]
    machine: dict[str, str]
    code: str
    rounds: int
    cases: tuple[Case, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        cases = [{**case._asdict(), "contenders": [each._asdict() for each in case.contenders]} for case in self.cases]
        return self._asdict() | {"cases": cases}


def time_and_memory(benchmark: AcrossSizes, file: Path | str) -> Iterator[tuple[str, SizedResults]]:
    """Time every contender at every size on one thread, and measure the memory of each.

    Time is that of the processor, since other work on the machine then counts less.

    Args:
        file: where the benchmark is defined; processes of their own read it again.

    Yields:
        A sentence about what was just measured, and all results so far.
    """
    found = provenance.versions() | {name: _version(name) for name in benchmark.packages}
    results = SizedResults(
        SCHEMA, benchmark.question, benchmark.about, found, provenance.machine(), provenance.code(), benchmark.rounds
    )
    if _START == "forkserver":
        multiprocessing.set_forkserver_preload([__name__, "plastic_search.network.module", *benchmark.packages])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number, size in enumerate(benchmark.sizes):
            contenders = []
            for place, timed in enumerate(_timed(benchmark, size)):
                used = None if timed.reason else _elsewhere(as_path(file), number, place)
                contenders.append(timed._replace(bytes=used))
            results = results._replace(cases=(*results.cases, Case(*size, tuple(contenders))))
            yield _described(results.cases[-1]), results
    finally:
        torch.set_num_threads(before)


def _timed(benchmark: AcrossSizes, size: Size) -> list[Contender]:
    """All contenders at one size, without their memory."""
    works: list[Work | None] = []
    found: list[Contender] = []
    first: tuple[Tensor, Tensor | None] | None = None
    for prepare in benchmark.contenders:
        name, about = prepare.__name__.replace("_", " "), " ".join((prepare.__doc__ or "").split())
        began = time.perf_counter()
        try:
            work = prepare(size)
            results = _once(work)
        except Exception as error:
            if first is None:
                raise
            works.append(None)
            found.append(
                Contender(name, about, str(error) if isinstance(error, PlasticSearchError) else one_line(error))
            )
            continue
        seconds, first = time.perf_counter() - began, first or results
        found.append(Contender(name, about, "", seconds, differ=_differ(results[0], first[0])))
        found[-1] = found[-1]._replace(direction=_apart(results[1], first[1]))
        works.append(work)
    runs = {str(i): partial(_once, work) for i, work in enumerate(works) if work is not None}
    times = _rounds(runs, benchmark.rounds)
    for i, each in enumerate(found):
        if taken := times.get(str(i)):
            over = ratios(times, str(i), "0")
            found[i] = each._replace(
                seconds=statistics.median(taken), ratio=statistics.median(over), spread=(min(over), max(over))
            )
    return found


def _once(work: Work) -> tuple[Tensor, Tensor | None]:
    """Forward and backward; the results, and the derivative of the weight."""
    if work.weight is not None:
        work.weight.grad = None
    y = work.forward()
    y.mean().backward()
    return y.detach(), None if work.weight is None else work.weight.grad


def _differ(one: Tensor, other: Tensor) -> float | None:
    return float((one != other).float().mean()) if one.shape == other.shape else None


def _apart(one: Tensor | None, other: Tensor | None) -> float | None:
    """The distance of two directions; a surrogate that is another's times a factor has the same one."""
    if one is None or other is None:
        return None
    one, other = one.flatten(), other.flatten()
    return float((one / one.norm() - other / other.norm()).norm())


def _rounds(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The seconds of each in each round; within a round, one follows the other."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            best, all_of_it = float("inf"), 0.0
            while all_of_it < _LEAST:
                began = time.process_time()
                run()
                took = time.process_time() - began
                best, all_of_it = min(best, took), all_of_it + took
            times[name].append(best)
    return times


def _elsewhere(file: Path, size: int, contender: int) -> int | None:
    """The memory of a contender, in a new process; None where it fails there."""
    with multiprocessing.get_context(_START).Pool(1) as pool:
        return pool.apply(_memory, (str(file), size, contender))


def _memory(file: str, size: int, contender: int) -> int | None:
    torch.set_num_threads(1)
    benchmark = loading.value("benchmarks", file)
    prepare, whole = benchmark.contenders[contender], benchmark.sizes[size]
    try:
        _once(prepare(whole._replace(time=2)))  # what is allocated once, and compiled
        return growth(partial(_once, prepare(whole)))
    except Exception:
        return None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _described(case: Case) -> str:
    others = (f"{each.name}: {each.reason or f'{each.ratio:.1f} times as long'}" for each in case.contenders[1:])
    size = f"batch {case.batch}, {case.time} steps, {case.inputs} inputs, {case.units} units"
    return f"{size}; beside {case.contenders[0].name}, {'; '.join(others)}"
