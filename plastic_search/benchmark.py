"""Benchmarks: layers timed side by side in one process, and judged by ratios, since machines are shared and noisy."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from plastic_search import origins
from plastic_search.cells.lstm import LSTM
from plastic_search.content import load_parts
from plastic_search.contest import contest, middle, ratios
from plastic_search.errors import PlasticSearchError
from plastic_search.jobs import versions
from plastic_search.network import Network
from plastic_search.part import Part, equation
from plastic_search.spec import Layer, NetworkSpec
from plastic_search.stepped import compiled_step
from plastic_search.structures.dense import Dense
from plastic_search.updates import Learned, updating

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
        stepped: cases in which the law competes with its step compiled by torch.
        lasting: cases whose memory in the compiled path is measured, and nothing else.
        learned: cases with a learned structure, whose updates are timed beside those of what it chooses within.
        on_gpu: cases that are run on a GPU too, where there is one.
    """

    question: str
    cases: tuple[Case, ...]
    rounds: int = 5
    stepped: tuple[Case, ...] = ()
    lasting: tuple[Case, ...] = ()
    learned: tuple[Case, ...] = ()
    on_gpu: tuple[Case, ...] = ()

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


class Memory(NamedTuple):
    """Bytes by which a process grows at most, forward and backward, beside parameters and inputs."""

    name: str
    batch: int
    time: int
    units: int
    traces: int  # what the trace alone would take, were it kept at every step
    cpu: int  # 0 where the system does not tell
    reference: int | None  # None where it was not run


def measure(benchmark: Benchmark, files: tuple[Path, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Time every case on one thread, then what else the benchmark asks.

    Args:
        files: Python files with the user's own parts, which other processes must know.

    Yields:
        A sentence about what is done, and all results so far.
    """
    found: dict[str, Any] = {
        "schema": "plastic_search/benchmark/3", "question": benchmark.question, "versions": versions(),
        "machine": origins.machine(), "code": origins.code(), "rounds": benchmark.rounds,
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


def _told(case: Case) -> str:
    return f"{case.name}, batch {case.batch}, {case.time} steps, {case.layer.units} units"


def _own_rules(benchmark: Benchmark) -> dict[str, str]:
    """The equations of those rules that are not ours."""
    kinds = {type(case.layer.rule) for case in (*benchmark.cases, *benchmark.stepped, *benchmark.lasting)}
    own = [kind for kind in kinds if not kind.__module__.startswith("plastic_search.")]
    return {kind.__name__: equation(kind) for kind in sorted(own, key=lambda kind: kind.__name__)}


def _row(case: Case, rounds: int, device: str = "cpu") -> Row:
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


def _stepped(case: Case, rounds: int) -> Stepped:
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


def _learned(case: Case, rounds: int) -> Learned:
    structure, x = case.layer.structure, _heard(case)
    within = replace(case, layer=replace(case.layer, structure=getattr(structure, "within", Dense())))
    runs = {name: updating(_network(each, "cpu"), x) for name, each in (("dense", within), ("learned", case))}
    times = contest(runs, rounds)
    found, took = ratios(times, "learned", "dense"), middle(times)
    size = (case.batch, case.time, case.layer.units)
    spread = (min(found), max(found))
    return Learned(type(structure).__name__, *size, took["dense"], took["learned"], statistics.median(found), spread)


def _work(case: Case) -> float:
    """Multiplications and additions on numbers of the trace: forward 8 a synapse and step, backward 20."""
    return 28.0 * case.time * case.batch * case.layer.units * case.layer.units


def _heard(case: Case) -> Tensor:
    return torch.randn(case.time, case.batch, _INPUTS, generator=torch.Generator().manual_seed(0))


def _network(case: Case, kernel: str) -> Network:
    return Network(NetworkSpec((case.layer,)), _INPUTS, kernel=kernel)


def _pass(forward: Callable[[Tensor], tuple[Tensor, Any]], net: nn.Module, x: Tensor) -> Callable[[], float]:
    """A function that runs `net` forward and backward once, and says how long it took."""

    def run() -> float:
        net.zero_grad()
        began = time.perf_counter()
        forward(x)[0].square().mean().backward()
        if x.is_cuda:
            torch.cuda.synchronize()
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


def _elsewhere(function: Callable[..., Any], files: tuple[Path, ...], case: Case, *args: Any) -> Any:
    """What `function` answers about a case in a new process, which reads the user's parts from their files."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_answer, (function, files, case.to_json(), *args))


def _answer(function: Callable[..., Any], files: tuple[Path, ...], case: dict[str, Any], *args: Any) -> Any:
    torch.set_num_threads(1)
    load_parts(list(files))
    return function(Case.from_json(case), *args)


def _memory(case: Case, kernels: tuple[str, ...], files: tuple[Path, ...]) -> Memory:
    plastic = _network(case, "cpu").shapes[0].plastic
    traces = 4 * case.time * case.batch * case.layer.units * (plastic.stop - plastic.start)
    grown = {kernel: _elsewhere(_growth, files, case, kernel) for kernel in kernels}
    return Memory(
        case.name, case.batch, case.time, case.layer.units, traces, grown["cpu"], grown.get("reference")
    )  # fmt: skip


def _growth(case: Case, kernel: str) -> int:
    """Bytes by which the process grew at most while it ran once; 0 where the system does not tell."""
    net = _network(case, kernel)
    _pass(net, net, torch.randn(2, case.batch, _INPUTS))()
    x = torch.randn(case.time, case.batch, _INPUTS)
    before = _resident("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    except OSError:
        return 0
    _pass(net, net, x)()
    return max(_resident("VmHWM") - before, 0)


def _resident(what: str) -> int:
    """Bytes of memory that the process holds (VmRSS), or held at most (VmHWM)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)


def _compile(case: Case, files: tuple[Path, ...]) -> dict[str, float]:
    """Seconds to the first output of a new layer, and in a later process, which finds it compiled."""
    with tempfile.TemporaryDirectory() as folder:
        first, later = (_elsewhere(_first_call, files, case, folder) for _ in range(2))
    return {"first": first, "later": later}


def _first_call(case: Case, folder: str) -> float:
    os.environ["PLASTIC_SEARCH_CACHE"] = folder
    net = _network(case, "cpu")
    return _timed(lambda: net(torch.randn(2, 1, _INPUTS)))


def _threads(case: Case, rounds: int) -> list[float]:
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
