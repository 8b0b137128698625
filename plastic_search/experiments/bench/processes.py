"""One case, measured in a process of its own: memory, compilation, the first call."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plastic_search.core.loading import load_parts
from plastic_search.core.part import Part
from plastic_search.experiments.bench.results import Compiling, Memory
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec

__all__ = ["Workload", "growth"]

_INPUTS = 17  # input features


@dataclass(frozen=True)
class Workload(Part):
    """One layer, and the size of its work.

    Args:
        layer: what is timed.
        batch: episodes at a time.
        time: steps of an episode.
    """

    layer: Layer
    batch: int = 30
    time: int = 200

    @property
    def name(self) -> str:
        parts = (self.layer.cell, self.layer.rule, self.layer.modulation)
        return " ".join(type(part).__name__ for part in parts)


def _network(case: Workload, kernel: str) -> Network:
    return Network(NetworkSpec((case.layer,)), _INPUTS, kernel=kernel)


def _pass(forward: Callable[[Tensor], tuple[Tensor, Any]], net: nn.Module, x: Tensor) -> Callable[[], float]:
    """A function that runs `net` forward and backward once, and returns the seconds."""

    def run() -> float:
        net.zero_grad()
        began = time.perf_counter()
        forward(x)[0].square().mean().backward()
        if x.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    return run


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _elsewhere(function: Callable[..., Any], files: tuple[Path, ...], case: Workload, *args: Any) -> Any:
    """The result of `function` for a case in a new process, which loads the user's parts from their files."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_answer, (function, files, case.to_json(), *args))


def _answer(function: Callable[..., Any], files: tuple[Path, ...], case: dict[str, Any], *args: Any) -> Any:
    torch.set_num_threads(1)
    load_parts(list(files))
    return function(Workload.from_json(case), *args)


def _memory(case: Workload, kernels: tuple[str, ...], files: tuple[Path, ...]) -> Memory:
    width = _network(case, "cpu").shapes[0].width
    traces = 4 * case.time * case.batch * case.layer.units * width
    grown = {kernel: _elsewhere(_growth, files, case, kernel) for kernel in kernels}
    return Memory(
        name=case.name,
        batch=case.batch,
        time=case.time,
        units=case.layer.units,
        traces=traces,
        cpu=grown["cpu"],
        reference=grown.get("reference"),
    )


def _growth(case: Workload, kernel: str) -> int:
    """Bytes by which the process grew at most while it ran once; 0 where the system does not report it."""
    net = _network(case, kernel)
    _pass(net, net, torch.randn(2, case.batch, _INPUTS))()
    return growth(_pass(net, net, torch.randn(case.time, case.batch, _INPUTS)))


def growth(work: Callable[[], Any]) -> int:
    """Bytes by which this process grows at most while `work` runs; 0 where the system does not report it."""
    before = _resident("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    except OSError:
        return 0
    work()
    return max(_resident("VmHWM") - before, 0)


def _resident(what: str) -> int:
    """Bytes of memory that the process holds (VmRSS), or held at most (VmHWM)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)


def _compile(case: Workload, files: tuple[Path, ...]) -> Compiling:
    with tempfile.TemporaryDirectory() as folder:
        first, later = (_elsewhere(_first_call, files, case, folder) for _ in range(2))
    return Compiling(first=first, later=later)


def _first_call(case: Workload, folder: str) -> float:
    os.environ["PLASTIC_SEARCH_CACHE"] = folder
    net = _network(case, "cpu")
    return _timed(lambda: net(torch.randn(2, 1, _INPUTS)))
