"""Benchmarks: layers timed side by side in one process, and judged by ratios, since machines are shared and noisy."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from plastic_search import origins
from plastic_search.cells.lstm import LSTM
from plastic_search.errors import PlasticSearchError
from plastic_search.jobs import versions
from plastic_search.network import Network
from plastic_search.part import Part
from plastic_search.spec import Layer, NetworkSpec

__all__ = ["Benchmark", "Case", "measure"]

_INPUTS = 17  # numbers heard per step


@dataclass(frozen=True)
class Case(Part):
    """One layer, and the size of its work."""

    layer: Layer
    batch: int = 30
    time: int = 200

    @property
    def name(self) -> str:
        parts = (self.layer.cell, self.layer.rule, self.layer.modulation)
        return " ".join(type(part).__name__ for part in parts)


@dataclass(frozen=True)
class Benchmark(Part):
    """What is timed.

    Args:
        question: what it asks, in one sentence.
        cases: the first one's memory, compile time and threads are measured too.
        rounds: how often each contender runs; ratios are taken within a round, and their median is told.
    """

    question: str
    cases: tuple[Case, ...]
    rounds: int = 5

    def check(self) -> None:
        if not self.cases or self.rounds < 1:
            raise PlasticSearchError("a benchmark needs at least one case and one round")


class Row(NamedTuple):
    """What one case took: medians, in seconds, and medians of the ratios within a round."""

    name: str
    batch: int
    time: int
    units: int
    law: float  # the reference, by autograd
    fast: float
    plain: float  # torch's own layer of the same size, which is not plastic
    plain_name: str
    speedup: float  # law / fast
    spread: tuple[float, float]  # of the speedup: the lowest and the highest round
    over_plain: float  # fast / plain
    rate: float  # multiplications and additions per second that the work needs at least


def measure(benchmark: Benchmark) -> Iterator[tuple[str, dict[str, Any]]]:
    """Time every case on one thread, then the first one's memory, compile time and threads.

    Yields:
        A sentence about what is done, and all results so far.
    """
    found: dict[str, Any] = {
        "schema": "plastic_search/benchmark/1", "question": benchmark.question, "versions": versions(),
        "machine": origins.machine(), "code": origins.code(), "rounds": benchmark.rounds, "cases": [],
    }  # fmt: skip
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found["floor"] = _floor()
        for case in benchmark.cases:
            found["cases"].append(_row(case, benchmark.rounds)._asdict())
            yield f"{case.name}: {found['cases'][-1]['speedup']:.1f} times the law", found
        first = benchmark.cases[0]
        found["memory"] = {kernel: _elsewhere(_memory, first, kernel) for kernel in ("reference", "cpu")}
        yield "memory", found
        found["compile"] = _compile(first)
        yield "compile time", found
        found["threads"] = _threads(first, benchmark.rounds)
        yield "threads", found
    finally:
        torch.set_num_threads(before)


def _row(case: Case, rounds: int) -> Row:
    x = torch.randn(case.time, case.batch, _INPUTS, generator=torch.Generator().manual_seed(0))
    units = case.layer.units
    plain = nn.LSTM(_INPUTS, units) if isinstance(case.layer.cell, LSTM) else nn.RNN(_INPUTS, units)
    law, fast = (_pass(_network(case, kernel), x) for kernel in ("reference", "cpu"))
    runs = {"law": law, "fast": fast, "plain": _pass(plain, x)}
    for name in ("fast", "plain"):
        runs[name]()  # compiled, and its memory met
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            best = min(run() for _ in range(1 if name == "law" else 3))  # the law is slow, and steady for it
            times[name].append(best)
    ratios = [a / b for a, b in zip(times["law"], times["fast"], strict=True)]
    over = [a / b for a, b in zip(times["fast"], times["plain"], strict=True)]
    middle = {name: statistics.median(values) for name, values in times.items()}
    return Row(
        case.name, case.batch, case.time, units, middle["law"], middle["fast"], middle["plain"], type(plain).__name__,
        statistics.median(ratios), (min(ratios), max(ratios)), statistics.median(over), _work(case) / middle["fast"],
    )  # fmt: skip


def _work(case: Case) -> float:
    """Multiplications and additions on numbers of the trace: forward 8 a synapse and step, backward 20."""
    return 28.0 * case.time * case.batch * case.layer.units * case.layer.units


def _network(case: Case, kernel: str) -> Network:
    return Network(NetworkSpec((case.layer,)), _INPUTS, kernel=kernel)


def _pass(net: nn.Module, x: torch.Tensor) -> Callable[[], float]:
    """A function that runs forward and backward once, and says how long it took."""

    def run() -> float:
        net.zero_grad()
        began = time.perf_counter()
        net(x)[0].square().mean().backward()
        return time.perf_counter() - began

    return run


def _floor() -> dict[str, float]:
    """What one core does at most, as torch's matrix product and copy show: operations and bytes per second."""
    a, big = torch.randn(1024, 1024), torch.randn(64, 2**20)
    other = torch.empty_like(big)
    product = min(_timed(lambda: a @ a) for _ in range(5))
    copied = min(_timed(lambda: other.copy_(big)) for _ in range(3))
    return {"operations": 2.0 * 1024**3 / product, "bytes": 2.0 * big.numel() * 4 / copied}


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# -- in a process of their own


def _elsewhere(function: Callable[..., Any], *args: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def _memory(case: Case, kernel: str) -> int:
    """Bytes by which the process grew at most while it ran once; 0 where the system does not tell."""
    torch.set_num_threads(1)
    net = _network(case, kernel)
    _pass(net, torch.randn(2, case.batch, _INPUTS))()
    x = torch.randn(case.time, case.batch, _INPUTS)
    before = _resident("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    except OSError:
        return 0
    _pass(net, x)()
    return max(_resident("VmHWM") - before, 0)


def _resident(what: str) -> int:
    """Bytes of memory that the process holds (VmRSS), or held at most (VmHWM)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)


def _compile(case: Case) -> dict[str, float]:
    """Seconds to the first output of a new layer, and in a later process, which finds it compiled."""
    with tempfile.TemporaryDirectory() as folder:
        first, later = (_elsewhere(_first_call, case, folder) for _ in range(2))
    return {"first": first, "later": later}


def _first_call(case: Case, folder: str) -> float:
    os.environ["PLASTIC_SEARCH_CACHE"] = folder
    torch.set_num_threads(1)
    net = _network(case, "cpu")
    return _timed(lambda: net(torch.randn(2, 1, _INPUTS)))


def _threads(case: Case, rounds: int) -> dict[str, float]:
    """How many times faster two threads are than one."""
    x = torch.randn(case.time, case.batch, _INPUTS)
    run, ratios = _pass(_network(case, "cpu"), x), []
    for _ in range(2 * rounds):
        took = []
        for count in (1, 2):
            torch.set_num_threads(count)
            run()
            took.append(min(run() for _ in range(3)))
        ratios.append(took[0] / took[1])
    torch.set_num_threads(1)
    return {"two": statistics.median(ratios), "cores": float(os.cpu_count() or 1)}
