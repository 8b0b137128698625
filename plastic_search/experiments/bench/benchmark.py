"""Benchmarks: layers timed side by side in one process, and judged by ratios, since machines are shared and noisy."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, equation
from plastic_search.experiments.bench.contenders import compiled_step
from plastic_search.experiments.bench.processes import _INPUTS, Workload, _compile, _memory, _network, _pass, _timed
from plastic_search.experiments.bench.timing import contest, middle, ratios
from plastic_search.experiments.bench.updates import Learned, updating
from plastic_search.records import provenance
from plastic_search.records.provenance import versions
from plastic_search.structures.dense import Dense

__all__ = ["Benchmark", "measure"]


@dataclass(frozen=True)
class Benchmark(Part):
    """What is timed.

    Args:
        question: what it asks, in one sentence.
        cases: the first one's memory, compile time and threads are measured too.
        rounds: how often each contender runs; ratios are taken within a round, and their median is told.
        stepped: cases in which the law competes with its step compiled by torch.
        lasting: cases whose memory in the compiled path is measured, and nothing else.
        learned: cases with a learned structure, whose updates are timed beside those of what it chooses within.
        on_gpu: cases that are run on a GPU too, where there is one.
    """

    question: str
    cases: tuple[Workload, ...]
    rounds: int = 5
    stepped: tuple[Workload, ...] = ()
    lasting: tuple[Workload, ...] = ()
    learned: tuple[Workload, ...] = ()
    on_gpu: tuple[Workload, ...] = ()

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


class Stepped(NamedTuple):
    """What a case took where torch compiled the law's step; nothing but the reason where it could not."""

    name: str
    batch: int
    time: int
    units: int
    reason: str  # why there are no figures; "" where there are
    compiling: float | None = None  # seconds, not among those below
    law: float | None = None
    stepped: float | None = None
    fast: float | None = None
    over_law: float | None = None  # law / stepped
    speedup: float | None = None  # stepped / fast
    spread: tuple[float, float] | None = None  # of the speedup


def measure(benchmark: Benchmark, files: tuple[Path, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Time every case on one thread, then what else the benchmark asks.

    Args:
        files: Python files with the user's own parts, which other processes must know.

    Yields:
        A sentence about what is done, and all results so far.
    """
    found: dict[str, Any] = {
        "schema": "plastic_search/benchmark/3", "question": benchmark.question, "versions": versions(),
        "machine": provenance.machine(), "code": provenance.code(), "rounds": benchmark.rounds,
        "own_rules": _own_rules(benchmark), "cases": [], "stepped": [], "memory": [], "learned": [],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "", "on_gpu": [],
    }  # fmt: skip
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found["floor"] = _floor()
        shared = _threads(benchmark.cases[0], benchmark.rounds)
        for case in benchmark.cases:
            found["cases"].append(_row(case, benchmark.rounds)._asdict())
            yield f"{_told(case)}: {found['cases'][-1]['speedup']:.1f} times the law", found
        shared += _threads(benchmark.cases[0], benchmark.rounds)
        for case in benchmark.on_gpu if torch.cuda.is_available() else ():
            found["on_gpu"].append(_row(case, benchmark.rounds, "cuda")._asdict())
            yield f"{_told(case)}: {found['on_gpu'][-1]['speedup']:.1f} times the law, on the GPU", found
        for case in benchmark.stepped:
            row = _stepped(case, benchmark.rounds)
            found["stepped"].append(row._asdict())
            yield f"{_told(case)}: {row.reason or f'{row.speedup:.1f} times'} (torch.compile)", found
        for case in benchmark.learned:
            found["learned"].append(_learned(case, benchmark.rounds)._asdict())
            yield f"{_told(case)}: {found['learned'][-1]['ratio']:.2f} times the same without", found
        first = benchmark.cases[0]
        for case in (first, *benchmark.lasting):
            kernels = ("cpu", "reference") if case is first else ("cpu",)
            found["memory"].append(_memory(case, kernels, files)._asdict())
            yield f"{_told(case)}: memory", found
        found["compile"] = _compile(first, files)
        yield "compile time", found
        shared += _threads(first, benchmark.rounds)  # at three times, since the other core may be another's for a while
        found["threads"] = {
            "two": statistics.median(shared), "spread": (min(shared), max(shared)), "cores": float(os.cpu_count() or 1),
        }  # fmt: skip
        yield "threads", found
    finally:
        torch.set_num_threads(before)


def _told(case: Workload) -> str:
    return f"{case.name}, batch {case.batch}, {case.time} steps, {case.layer.units} units"


def _own_rules(benchmark: Benchmark) -> dict[str, str]:
    """The equations of those rules that are not ours."""
    kinds = {type(case.layer.rule) for case in (*benchmark.cases, *benchmark.stepped, *benchmark.lasting)}
    own = [kind for kind in kinds if not kind.__module__.startswith("plastic_search.")]
    return {kind.__name__: equation(kind) for kind in sorted(own, key=lambda kind: kind.__name__)}


def _row(case: Workload, rounds: int, device: str = "cpu") -> Row:
    x, units = _heard(case).to(device), case.layer.units
    plain = (nn.LSTM(_INPUTS, units) if isinstance(case.layer.cell, LSTM) else nn.RNN(_INPUTS, units)).to(device)
    law, fast = (_network(case, kernel).to(device) for kernel in ("reference", "cpu" if device == "cpu" else "gpu"))
    times = contest({"law": _pass(law, law, x), "fast": _pass(fast, fast, x), "plain": _pass(plain, plain, x)}, rounds)
    found, took = ratios(times, "law", "fast"), middle(times)
    return Row(
        case.name, case.batch, case.time, units, took["law"], took["fast"], took["plain"], type(plain).__name__,
        statistics.median(found), (min(found), max(found)), statistics.median(ratios(times, "fast", "plain")),
        _work(case) / took["fast"],
    )  # fmt: skip


def _stepped(case: Workload, rounds: int) -> Stepped:
    x, size = _heard(case), (case.name, case.batch, case.time, case.layer.units)
    law, fast = (_network(case, kernel) for kernel in ("reference", "cpu"))
    made = compiled_step(law, x)
    if made.forward is None:
        return Stepped(*size, made.reason)
    runs = {"law": _pass(law, law, x), "stepped": _pass(made.forward, law, x), "fast": _pass(fast, fast, x)}
    times = contest(runs, rounds)
    found, took = ratios(times, "stepped", "fast"), middle(times)
    return Stepped(
        *size, "", made.seconds, took["law"], took["stepped"], took["fast"],
        statistics.median(ratios(times, "law", "stepped")), statistics.median(found), (min(found), max(found)),
    )  # fmt: skip


def _learned(case: Workload, rounds: int) -> Learned:
    structure, x = case.layer.structure, _heard(case)
    support = replace(case, layer=replace(case.layer, structure=getattr(structure, "within", Dense())))
    runs = {name: updating(_network(each, "cpu"), x) for name, each in (("dense", support), ("learned", case))}
    times = contest(runs, rounds)
    found, took = ratios(times, "learned", "dense"), middle(times)
    size = (case.batch, case.time, case.layer.units)
    spread = (min(found), max(found))
    return Learned(type(structure).__name__, *size, took["dense"], took["learned"], statistics.median(found), spread)


def _work(case: Workload) -> float:
    """Multiplications and additions on numbers of the trace: forward 8 a synapse and step, backward 20."""
    return 28.0 * case.time * case.batch * case.layer.units * case.layer.units


def _heard(case: Workload) -> Tensor:
    return torch.randn(case.time, case.batch, _INPUTS, generator=torch.Generator().manual_seed(0))


def _floor() -> dict[str, float]:
    """What one core does at most, as torch's matrix product and copy show: operations and bytes per second."""
    a, big = torch.randn(1024, 1024), torch.randn(64, 2**20)
    other = torch.empty_like(big)
    product = min(_timed(lambda: a @ a) for _ in range(5))
    copied = min(_timed(lambda: other.copy_(big)) for _ in range(3))
    return {"operations": 2.0 * 1024**3 / product, "bytes": 2.0 * big.numel() * 4 / copied}


# -- in a process of their own


def _threads(case: Workload, rounds: int) -> list[float]:
    """How many times faster two threads are than one, round by round."""
    net = _network(case, "cpu")
    run, ratios = _pass(net, net, _heard(case)), []
    for _ in range(2 * rounds):
        took = []
        for count in (1, 2):
            torch.set_num_threads(count)
            run()
            took.append(min(run() for _ in range(3)))
        ratios.append(took[0] / took[1])
    torch.set_num_threads(1)
    return ratios
