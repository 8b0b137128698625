"""The CPU backend: compiles a layer's two functions once, and runs groups of episodes in threads."""

from __future__ import annotations

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
from plastic_search.network.kernels.layout import SIZES, STEPS, TOGETHER, KernelSignature
from plastic_search.network.kernels.passes import Prepared, Spacing, Steps
from plastic_search.network.kernels.tracing.ir import Unsupported

__all__ = ["CPU"]

_GROUPS = 32  # of episodes; sums over the batch are added in one order, whatever the number of threads
_INNER_STEPS = 3  # between inner checkpoints; a step backward recomputes one step on average
_INNER_BYTES = 2**20  # of the inner checkpoints of a segment, so that they stay in a core's own cache
_CHECKPOINT_BYTES = 24 * 2**20  # an allocator gives back so much without asking the system for new pages
_SMALL = 200_000  # multiplications in a call that are not worth a second thread


@lru_cache(maxsize=512)
def code(signature: KernelSignature, name: str) -> Compiled:
    """The compiled function `forward` or `backward` for a signature: inference never compiles the longer one."""
    return compiled(assembly(signature, name), (name,))


class _Prepared(NamedTuple):
    """A call that is ready to run."""

    run: threads.Shared
    steps: Any  # of all tables, the entries that say which steps are taken
    owners: tuple[Any, ...]  # of the memory at the addresses in the tables, which must live as long

    def __call__(self, steps: Steps | None = None) -> None:
        if steps is not None:
            self.steps[...] = steps
        self.run()


class CPU:
    """Runs layers on this machine's processor (`passes.Backend`)."""

    name = "cpu"

    def unsupported(self, x: Tensor) -> Unsupported | None:
        try:
            import llvmlite  # noqa: F401
        except ImportError:
            return Unsupported("llvmlite is not installed: python -m pip install llvmlite")
        return Unsupported(f"the network is on {x.device.type}") if x.device.type != "cpu" else None

    def partial_sums(self, call: Call) -> int:
        return len(_groups(call))

    def spacing(self, times: int, episodes: int, trace: int) -> Spacing:
        cached = _INNER_STEPS * _INNER_BYTES // (TOGETHER * trace)  # the longest segment that a cache holds
        few = times * episodes * trace // _CHECKPOINT_BYTES
        # at this length, checkpoints of all episodes take as much memory as the inner ones of all threads
        even = round((times * episodes * _INNER_STEPS / (TOGETHER * torch.get_num_threads())) ** 0.5)
        steps = max(cached, min(few, even), _INNER_STEPS)
        return Spacing(segment_steps=min(steps, times), inner_steps=min(_INNER_STEPS, times))

    def prepare(self, call: Call, function: str, tensors: dict[str, Tensor], sums: dict[str, Tensor]) -> Prepared:
        s, signature = call.sizes, call.signature
        workers = _workers(call)
        groups = _groups(call) if sums or workers > 1 or call.ends is not None else [(0, s.batch)]
        tables = _tables(call, tensors, sums, groups)
        first, size = tables.__array_interface__["data"][0], tables.strides[-2]
        pieces = [threads.Piece(first + size * k, *group) for k, group in enumerate(groups * s.members)]
        inner_checkpoints = (s.segment_steps - 1) // s.inner_steps if sums else 0
        numbers = signature.scratch(s.post_padded, s.pre_padded, s.post, inner_checkpoints)
        scratch = tensors["drive"].new_empty(min(workers, len(pieces)), numbers)
        work, thread = code(signature, function).functions[function], numbers * scratch.element_size()
        run = threads.Shared(work, pieces, scratch.data_ptr(), thread, len(scratch))
        return _Prepared(run, tables[..., : len(STEPS)], (tensors, sums, tables, scratch))


def _groups(call: Call) -> list[tuple[int, int]]:
    """First and last episode of each group of a member: enough groups to keep all threads at work.

    A group is of whole pairs of episodes, which are run side by side. Threads cannot share an odd number of pairs
    equally, so if there are few, the last pair is divided.
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
    drives = len(call.signature.program.recurrent)
    work = s.members * s.times * s.batch * s.post * (s.pre_padded + s.post_padded * drives)
    return 1 if work < _SMALL else min(torch.get_num_threads(), s.members * s.batch)


def _tables(call: Call, tensors: dict[str, Tensor], sums: dict[str, Tensor], groups: list[tuple[int, int]]) -> Any:
    """Tables [member, group, entry] for `tensors` [member, ...] and `sums` [member, group, ...]."""
    s, d_pre = call.sizes, tensors.get("d_pre")
    names = call.signature.table[len(SIZES) :]
    flags = {"keep": tensors["checkpoints"].numel() > 0, "keep_d_pre": d_pre is not None and d_pre.numel() > 0}
    numbers = s._asdict() | flags | {"first": 0, "written": 0, "finish": True}
    entries = [sums.get(name, tensors.get(name)) for name in names]
    addresses = [0 if t is None else t.data_ptr() for t in entries]
    table = np.array([*(numbers[name] for name in SIZES), *addresses], np.int64)
    if s.members == len(groups) == 1 and call.ends is None:
        return table[None, None]
    none, size = [0] * len(SIZES), tensors["drive"].element_size()
    by_member = np.array([*none, *(t.stride(0) * size if t is not None and t.numel() else 0 for t in entries)])
    by_group = np.array([*none, *(sums[name].stride(1) * size if name in sums else 0 for name in names)])
    tables = table + np.arange(s.members)[:, None, None] * by_member + np.arange(len(groups))[:, None] * by_group
    if call.ends is not None:  # steps after the end of all episodes of a group are left out
        longest = np.maximum.reduceat(call.ends.numpy(), [first for first, _ in groups])
        tables[..., SIZES.index("times")] = np.maximum(longest, 1)
    return tables
