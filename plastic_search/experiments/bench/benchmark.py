"""Benchmarks: layers timed side by side in one process, and judged by ratios, since machines are shared and noisy."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, equation
from plastic_search.core.paths import as_paths
from plastic_search.experiments.bench.contenders import compiled_step, updating
from plastic_search.experiments.bench.processes import _INPUTS, Workload, _compile, _memory, _network, _pass, _timed
from plastic_search.experiments.bench.results import SCHEMA, Floor, Learned, Results, Row, Stepped, Threads
from plastic_search.experiments.bench.timing import contest, middle, ratios
from plastic_search.network.module import Network
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
        rounds: how often each contender runs; ratios are taken within a round, and their median is reported.
        stepped: cases in which the reference step is also compiled by torch.
        lasting: cases whose memory in the compiled path is measured, and nothing else.
        learned: cases with a learned structure, whose updates are timed beside those of its support.
        on_gpu: cases that are run on a GPU too, where there is one.
        by_hand: from a case's network, the same layer as a user of torch writes it: a function from inputs
            [time, batch, inputs] to outputs and state. None leaves that contender out.
    """

    question: str
    cases: tuple[Workload, ...]
    rounds: int = 5
    stepped: tuple[Workload, ...] = ()
    lasting: tuple[Workload, ...] = ()
    learned: tuple[Workload, ...] = ()
    on_gpu: tuple[Workload, ...] = ()
    by_hand: Callable[[Network], Callable[[Tensor], tuple[Tensor, Any]]] | None = None

    def check(self) -> None:
        if not self.cases or self.rounds < 1:
            raise PlasticSearchError("a benchmark needs at least one case and one round")


def measure(benchmark: Benchmark, files: Sequence[Path | str] = ()) -> Iterator[tuple[str, Results]]:
    """Time every case on one thread, then whatever else the benchmark names.

    Args:
        files: Python files with the user's own parts, which other processes must load.

    Yields:
        A sentence about what was just measured, and all results so far.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from _measure(benchmark, tuple(as_paths(files)))
    finally:
        torch.set_num_threads(before)


def _measure(benchmark: Benchmark, files: tuple[Path, ...]) -> Iterator[tuple[str, Results]]:
    first, rounds = benchmark.cases[0], benchmark.rounds
    results = Results(
        schema=SCHEMA,
        question=benchmark.question,
        versions=versions(),
        machine=provenance.machine(),
        code=provenance.code(),
        rounds=rounds,
        own_rules=_own_rules(benchmark),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        floor=_floor(),
    )
    shared = _threads(first, rounds)
    for case in benchmark.cases:
        row = _row(case, benchmark)
        results = results._replace(cases=(*results.cases, row))
        beside = "" if row.over_loop is None else f", {row.over_loop:.1f} times a plain loop"
        yield f"{_described(case)}: {row.speedup:.1f} times the reference step{beside}", results
    shared += _threads(first, rounds)
    for case in benchmark.on_gpu if torch.cuda.is_available() else ():
        row = _row(case, benchmark, "cuda")
        results = results._replace(on_gpu=(*results.on_gpu, row))
        yield f"{_described(case)}: {row.speedup:.1f} times the reference step, on the GPU", results
    for case in benchmark.stepped:
        stepped = _stepped(case, rounds)
        results = results._replace(stepped=(*results.stepped, stepped))
        yield f"{_described(case)}: {stepped.reason or f'{stepped.speedup:.1f} times'} (torch.compile)", results
    for case in benchmark.learned:
        learned = _learned(case, rounds)
        results = results._replace(learned=(*results.learned, learned))
        yield f"{_described(case)}: {learned.ratio:.2f} times the same without", results
    for case in (first, *benchmark.lasting):
        kernels = ("cpu", "reference") if case is first else ("cpu",)
        results = results._replace(memory=(*results.memory, _memory(case, kernels, files)))
        yield f"{_described(case)}: memory", results
    results = results._replace(compile=_compile(first, files))
    yield "compile time", results
    shared += _threads(first, rounds)  # at three times, since the other core may be busy for a while
    cores = float(os.cpu_count() or 1)
    threads = Threads(two=statistics.median(shared), spread=(min(shared), max(shared)), cores=cores)
    yield "threads", results._replace(threads=threads)


def _described(case: Workload) -> str:
    return f"{case.name}, batch {case.batch}, {case.time} steps, {case.layer.units} units"


def _own_rules(benchmark: Benchmark) -> dict[str, str]:
    """The equations of those rules that are not ours."""
    kinds = {type(case.layer.rule) for case in (*benchmark.cases, *benchmark.stepped, *benchmark.lasting)}
    own = [kind for kind in kinds if not kind.__module__.startswith("plastic_search.")]
    return {kind.__name__: equation(kind) for kind in sorted(own, key=lambda kind: kind.__name__)}


def _row(case: Workload, benchmark: Benchmark, device: str = "cpu") -> Row:
    x, units = _inputs(case).to(device), case.layer.units
    plain = (nn.LSTM(_INPUTS, units) if isinstance(case.layer.cell, LSTM) else nn.RNN(_INPUTS, units)).to(device)
    kernels = ("reference", "cpu" if device == "cpu" else "gpu")
    reference, fast = (_network(case, kernel).to(device) for kernel in kernels)
    runs = {"reference": _pass(reference, reference, x), "fast": _pass(fast, fast, x), "plain": _pass(plain, plain, x)}
    if benchmark.by_hand is not None:
        runs["loop"] = _pass(benchmark.by_hand(reference), reference, x)
    times = contest(runs, benchmark.rounds)
    speedups, medians = ratios(times, "reference", "fast"), middle(times)
    over_loop = ratios(times, "loop", "fast") if "loop" in times else None
    return Row(
        name=case.name,
        batch=case.batch,
        time=case.time,
        units=units,
        reference=medians["reference"],
        fast=medians["fast"],
        plain=medians["plain"],
        plain_name=type(plain).__name__,
        speedup=statistics.median(speedups),
        spread=(min(speedups), max(speedups)),
        over_plain=statistics.median(ratios(times, "fast", "plain")),
        rate=_work(case) / medians["fast"],
        loop=medians.get("loop"),
        over_loop=None if over_loop is None else statistics.median(over_loop),
        loop_spread=None if over_loop is None else (min(over_loop), max(over_loop)),
    )


def _stepped(case: Workload, rounds: int) -> Stepped:
    x = _inputs(case)
    reference, fast = (_network(case, kernel) for kernel in ("reference", "cpu"))
    attempt = compiled_step(reference, x)
    result = Stepped(case.name, case.batch, case.time, case.layer.units, reason=attempt.reason)
    if attempt.forward is None:
        return result
    runs = {
        "reference": _pass(reference, reference, x),
        "stepped": _pass(attempt.forward, reference, x),
        "fast": _pass(fast, fast, x),
    }
    times = contest(runs, rounds)
    speedups = ratios(times, "stepped", "fast")
    return result._replace(
        compiling=attempt.seconds,
        **middle(times),
        over_reference=statistics.median(ratios(times, "reference", "stepped")),
        speedup=statistics.median(speedups),
        spread=(min(speedups), max(speedups)),
    )


def _learned(case: Workload, rounds: int) -> Learned:
    structure, x = case.layer.structure, _inputs(case)
    support = replace(case, layer=replace(case.layer, structure=getattr(structure, "support", Dense())))
    runs = {name: updating(_network(each, "cpu"), x) for name, each in (("dense", support), ("learned", case))}
    times = contest(runs, rounds)
    found = ratios(times, "learned", "dense")
    return Learned(
        structure=type(structure).__name__,
        batch=case.batch,
        time=case.time,
        units=case.layer.units,
        **middle(times),
        ratio=statistics.median(found),
        spread=(min(found), max(found)),
    )


def _work(case: Workload) -> float:
    """Multiplications and additions on numbers of the trace: forward 8 a synapse and step, backward 20."""
    return 28.0 * case.time * case.batch * case.layer.units * case.layer.units


def _inputs(case: Workload) -> Tensor:
    return torch.randn(case.time, case.batch, _INPUTS, generator=torch.Generator().manual_seed(0))


def _floor() -> Floor:
    a, big = torch.randn(1024, 1024), torch.randn(64, 2**20)
    other = torch.empty_like(big)
    product = min(_timed(lambda: a @ a) for _ in range(5))
    copied = min(_timed(lambda: other.copy_(big)) for _ in range(3))
    return Floor(operations=2.0 * 1024**3 / product, bytes=2.0 * big.numel() * 4 / copied)


def _threads(case: Workload, rounds: int) -> list[float]:
    """How many times faster two threads are than one, round by round."""
    net = _network(case, "cpu")
    run, speedups = _pass(net, net, _inputs(case)), []
    for _ in range(2 * rounds):
        took = []
        for count in (1, 2):
            torch.set_num_threads(count)
            run()
            took.append(min(run() for _ in range(3)))
        speedups.append(took[0] / took[1])
    torch.set_num_threads(1)
    return speedups
