"""A layer's two functions on the CPU: assembly that is compiled once, called for groups of episodes by threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.network.kernels.buffers import Call
from plastic_search.network.kernels.cpu import threads
from plastic_search.network.kernels.cpu.compiler import Compiled, compiled
from plastic_search.network.kernels.cpu.layer import assembly
from plastic_search.network.kernels.layout import SIZES, TOGETHER, Kind

__all__ = ["CPU"]

_GROUPS = 32  # of episodes; their sums over the batch are added in one order, whatever the number of threads
_SHORT = 3  # steps between stations, of which a step on the way back walks half again
_NEAR = 2**20  # bytes of stations
_KEPT = 24 * 2**20  # bytes of kept traces; an allocator gives back as much without asking the system for new pages
_SMALL = 200_000  # multiplications in a call that are not worth a second thread


@lru_cache(maxsize=512)
def code(which: Kind, name: str) -> Compiled:
    """The compiled function `forward` or `backward` of a kind of layer: inference never compiles the longer one."""
    return compiled(assembly(which, name), (name,))


class _Prepared(NamedTuple):
    """A call that is laid out, and can be run."""

    work: Any
    pieces: list[tuple[int, int, int]]  # the address of a table, and first and last episode
    rooms: Tensor  # [thread, numbers], scratch memory
    threads: int
    kept: tuple[Any, ...]  # what lies at the addresses

    def __call__(self) -> None:
        size = self.rooms.shape[1] * self.rooms.element_size()
        threads.share(self.work, self.pieces, self.rooms.data_ptr(), size, self.threads)


class CPU:
    """Runs them here (`passes.Backend`)."""

    name = "cpu"

    def declined(self, x: Tensor) -> str:
        """Why `x` cannot be run here; "" where it can."""
        try:
            import llvmlite  # noqa: F401
        except ImportError:
            return "llvmlite is not installed: python -m pip install llvmlite"
        return f"the network is on {x.device.type}" if x.device.type != "cpu" else ""

    def parts(self, call: Call) -> int:
        return len(_groups(call))

    def spacing(self, times: int, episodes: int, trace: int) -> tuple[int, int]:
        near = _SHORT * _NEAR // (TOGETHER * trace)  # the stations stay in a core's own cache
        few = times * episodes * trace // _KEPT
        even = round((times * episodes * _SHORT / (TOGETHER * torch.get_num_threads())) ** 0.5)  # stations take as much
        every = max(near, min(few, even), _SHORT)
        return min(every, times), min(_SHORT, times)

    def prepared(
        self, call: Call, function: str, tensors: dict[str, Tensor], sums: dict[str, Tensor]
    ) -> Callable[[], None]:
        s, kind = call.sizes, call.kind
        workers = _workers(call)
        groups = _groups(call) if sums or workers > 1 else [(0, s.batch)]
        tables = _tables(call, tensors, sums, len(groups))
        first, size = tables.__array_interface__["data"][0], tables.strides[-2]
        pieces = [(first + size * k, *group) for k, group in enumerate(groups * s.members)]
        count = min(workers, len(pieces))
        size = kind.scratch(s.post_room, s.pre_room, s.post, *((s.every, s.short) if sums else (1, 1)))
        rooms = tensors["drive"].new_empty(count, size)
        work = code(kind, function).functions[function]
        return _Prepared(work, pieces, rooms, count, (tensors, sums, tables))


def _groups(call: Call) -> list[tuple[int, int]]:
    """First and last episode of each group of a member: enough groups to keep all threads at work.

    They are of whole pairs, which go through the code side by side. An odd number of pairs is no two threads' equal
    share, so of a few the last one is parted.
    """
    s = call.sizes
    pairs = -(-s.batch // TOGETHER)
    count = max(1, min(pairs, max(_GROUPS, -(-_workers(call) // s.members))))
    edges = [min(TOGETHER * (i * pairs // count), s.batch) for i in range(count + 1)]
    if 1 < count == pairs and pairs % 2 and s.batch % TOGETHER == 0:
        edges.insert(-1, s.batch - 1)
    return list(pairwise(edges))


def _workers(call: Call) -> int:
    s = call.sizes
    work = s.members * s.times * s.batch * s.post * (s.pre_room + s.post_room * call.kind.traced.drives)
    return 1 if work < _SMALL else min(torch.get_num_threads(), s.members * s.batch)


def _tables(call: Call, tensors: dict[str, Tensor], sums: dict[str, Tensor], groups: int) -> Any:
    """Addresses [member, group, entry] of `tensors` [member, ...] and `sums` [member, group, ...]."""
    s, kept, heard = call.sizes, tensors["traces"].numel() > 0, tensors.get("d_pre")
    keeps = int(heard is not None and heard.numel() > 0)
    numbers = (
        s.post, s.width, s.times, s.batch, s.post_room, s.pre_room, s.heard, s.every, s.short, int(kept), keeps
    )  # in the order of SIZES  # fmt: skip
    there = [sums.get(name, tensors.get(name)) for name in call.kind.table[len(SIZES) :]]
    entries = np.array([*numbers, *(0 if t is None else t.data_ptr() for t in there)], np.int64)
    if s.members == groups == 1:
        return entries[None, None]
    none, size = [0] * len(SIZES), tensors["drive"].element_size()
    members = np.array([*none, *(t.stride(0) * size if t is not None and t.numel() else 0 for t in there)])
    support = np.array([*none, *(sums[n].stride(1) * size if n in sums else 0 for n in call.kind.table[len(SIZES) :])])
    return entries + np.arange(s.members)[:, None, None] * members + np.arange(groups)[:, None] * support
