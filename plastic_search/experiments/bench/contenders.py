"""Contenders of benchmarks: the reference step compiled by torch, and an update of training.

One step is compiled, and a loop runs it over time: compiling a whole unrolled sequence takes minutes for each length.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.network import step as reference
from plastic_search.network.module import Network
from plastic_search.network.state import State
from plastic_search.tasks import Episodes, Split
from plastic_search.trainers.gradient import Gradient

__all__ = ["Attempt", "compiled_step", "updating"]

_UPDATES = 100_000  # of which a benchmark runs the first: every gate is still learned

Sequence = Callable[[Tensor], tuple[Tensor, State]]


class Attempt(NamedTuple):
    """A network's forward pass with a compiled step, or why there is none."""

    forward: Sequence | None
    seconds: float | None  # until it had run once, forward and backward, with nothing kept from before
    reason: str  # "" where it runs


def compiled_step(net: Network, x: Tensor) -> Attempt:
    """Compile a step of `net` for inputs of the size of `x` [time, batch, inputs].

    Whatever goes wrong is a reason and no error: there may be no C++ compiler, or one that torch cannot use.
    """
    began = time.perf_counter()
    try:
        with _cold(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's compiler looks at what torch warns of
            forward = _loop(net)
            forward(x[:3])[0].square().mean().backward()  # the first step's state needs no gradient, the others' does
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        return Attempt(None, None, reason or type(error).__name__)
    return Attempt(forward, time.perf_counter() - began, "")


def _loop(net: Network) -> Sequence:
    torch.compiler.reset()  # how often a function is compiled anew is limited, whichever network it is for
    step = torch.compile(partial(reference.step, net.spec, net.shapes), fullgraph=True, dynamic=False)

    def forward(x: Tensor) -> tuple[Tensor, State]:
        ready = net.resolve()
        now = reference.start(net.spec, net.shapes, x.shape[1], x, ready)
        outputs = []
        for inputs in x:
            y, now = step(ready, now, inputs)
            outputs.append(y)
        return torch.stack(outputs), State(now)

    return forward


@contextmanager
def _cold() -> Iterator[None]:
    """Let torch find nothing that an earlier process compiled."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = _folder().name
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that lasts as long as the process, since torch remembers what it put there."""
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


class _ZeroTask:
    """A task that costs no time: the same inputs each time, with zeros as targets."""

    def __init__(self, x: Tensor) -> None:
        self.inputs = x.shape[2]
        self._episodes = Episodes(x, torch.zeros(x.shape[1]), 0)

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        return self._episodes

    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return outputs.square().mean()


def updating(net: Network, x: Tensor) -> Callable[[], float]:
    """A function by which the trainer updates `net` once, on `x` [time, batch, inputs], and returns the seconds."""
    task: Any = _ZeroTask(x)
    training = Gradient(steps=_UPDATES, batch=x.shape[1], reports=_UPDATES).train(net, task, 0)

    def run() -> float:
        began = time.perf_counter()
        next(training)
        return time.perf_counter() - began

    return run
