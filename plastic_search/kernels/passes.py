"""One call of a layer's compiled functions: its table, its threads, and the products that are left to torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plastic_search.kernels import threads
from plastic_search.kernels.memory import (
    Call,
    Given,
    Memory,
    begun,
    own_weight,
    pack,
    padded,
    source_weight,
    unpack,
)  # fmt: skip
from plastic_search.kernels.table import TOGETHER
from plastic_search.quantize import phases

__all__ = ["backward", "forward"]

_GROUPS = 32  # of episodes; their sums over the batch are added in one order, whatever the number of threads
_SMALL = 200_000  # multiplications in a call that are not worth a second thread


def forward(call: Call, function: Any, x: Tensor, given: Given, keep: bool) -> Memory:
    """Run a layer over a sequence; `keep` what the backward pass needs."""
    memory = begun(call, x, given, keep)
    groups, tensors = _groups(call, 1), memory._asdict() | _fixed(call, x, given)
    _run(call, function, x, _tables(call, tensors, {}, len(groups)), groups, 1)
    return memory


def backward(
    call: Call, function: Any, x: Tensor, given: Given, memory: Memory, grads: Sequence[Tensor | None], d_x: bool
) -> list[Tensor | None]:
    """The derivatives of `x`, which is left out where it is not wanted, and of `given.flat()`.

    Args:
        grads: those of `Memory.results`.
    """
    s, kind = call.sizes, call.kind
    d = _begun(call, x, grads, d_x)
    groups = _groups(call, _GROUPS)
    sums = _sums(call, x, len(groups))
    tensors = memory._asdict() | _fixed(call, x, given) | d
    _run(call, function, x, _tables(call, tensors, sums, len(groups)), groups, s.every)
    flat = d["d_drive"].flatten(3).flatten(1, 2)
    lanes = kind.number.lanes
    others = unpack(d["d_state"], kind.traced.state, kind.state, s, lanes)
    others += unpack(sums["d_params"].sum(1), kind.traced.params, kind.params, s, lanes)
    others += [sums[f"d_{name}"].sum(1)[..., : s.width] for name in kind.matrices]
    made = Given(
        *_d_weights(call, flat, x, memory),
        sums["d_alpha"].sum(1)[..., : s.width] if given.alpha is not None else None,
        d["d_output"][:, 0, :, : s.post],
        d["d_trace"][..., : s.width] if given.trace is not None else None,
        d["d_eligibility"][..., : s.width] if given.eligibility is not None else None,
        None,
        tuple(others),
    )
    return [_d_sources(call, flat, d, given, x) if d_x else None, *made.flat()]


def _fixed(call: Call, x: Tensor, given: Given) -> dict[str, Tensor]:
    """What the functions read and do not change."""
    s, kind = call.sizes, call.kind
    limits = (call.limit, call.limit / max(call.top, 1), call.top)
    alike = {"constants": x.new_tensor(kind.constants), "limits": x.new_tensor(limits)}
    if given.dither is not None:
        alike["phases"] = padded(phases(s.post, s.width, x), s)
    made = {name: value.expand(s.members, *value.shape) for name, value in alike.items()}
    if kind.recurrent:
        made["own_weight"] = own_weight(given.weight, s)
    if given.alpha is not None:
        made["alpha"] = padded(given.alpha, s)
    if kind.own_plastic:
        made["weight"] = x.new_zeros(s.members, s.post, s.pre_room)
        made["weight"][..., s.heard : s.width] = given.weight[:, kind.traced.plastic, :, s.sources :]
    if given.dither is not None:
        made["dither"] = given.dither
    matrices = given.others[call.states + call.vectors :]
    return made | {name: padded(matrix, s) for name, matrix in zip(kind.matrices, matrices, strict=True)}


def _begun(call: Call, x: Tensor, grads: Sequence[Tensor | None], keep_pre: bool) -> dict[str, Tensor]:
    """Derivatives of each episode's own, before the last step."""
    s, kind = call.sizes, call.kind
    lanes, shares = kind.number.lanes, kind.traced.shares
    d_y, d_trace, d_eligibility, *d_states = grads
    output = x.new_empty(s.members, 1 + s.times, s.batch, s.post_room)
    output[:, 0] = output[..., s.post :] = 0.0
    output[:, 1:, :, : s.post] = 0.0 if d_y is None else d_y
    state = x.new_zeros(s.members, s.batch, kind.state.size(s.post_room, s.pre_room, lanes))
    pack(state, d_states, kind.traced.state, kind.state, s, lanes)
    made = {
        "d_output": output,
        "d_state": state,
        "d_drive": x.new_empty(s.members, s.times, s.batch, kind.traced.drives, s.post_room),
        "d_pre": x.new_empty(s.members, s.times, s.batch, s.pre_room if keep_pre and shares else 0),
    }
    if shares is not None:
        zeros = x.new_zeros(s.members, s.batch, s.post, s.pre_room)
        made["d_trace"] = padded(d_trace, s) if d_trace is not None else zeros
        if shares.retroactive:
            made["d_eligibility"] = padded(d_eligibility, s) if d_eligibility is not None else torch.zeros_like(zeros)
    return made


def _sums(call: Call, x: Tensor, groups: int) -> dict[str, Tensor]:
    """Derivatives that are sums over episodes, one for each group of them."""
    s, kind = call.sizes, call.kind
    made = {"d_params": x.new_zeros(s.members, groups, kind.params.size(s.post_room, s.pre_room, kind.number.lanes))}
    if kind.traced.shares is not None:
        for name in ("alpha", *kind.matrices):
            made[f"d_{name}"] = x.new_zeros(s.members, groups, s.post, s.pre_room)
    return made


def _d_sources(call: Call, flat: Tensor, d: dict[str, Tensor], given: Given, x: Tensor) -> Tensor:
    s = call.sizes
    made = (flat @ source_weight(given.weight, s)).view(x.shape)
    return made + d["d_pre"][..., : s.heard] if s.heard else made


def _d_weights(call: Call, flat: Tensor, x: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    s, shape, across = call.sizes, (call.sizes.members, call.kind.traced.drives, call.sizes.post_room), flat.mT
    parts = [(across @ x.reshape(s.members, -1, s.sources)).view(*shape, s.sources)]
    if call.kind.recurrent:
        said = memory.output[:, :-1].reshape(s.members, -1, s.post_room)
        parts.append((across @ said).view(*shape, s.post_room)[..., : s.post])
    return torch.cat(parts, -1)[:, :, : s.post], flat.sum(1).view(shape)[..., : s.post]


# -- calling


def _groups(call: Call, least: int) -> list[tuple[int, int]]:
    """First and last episode of each group of a member: `least` groups, or as many as keep all threads at work.

    Each is of whole pairs.
    """
    s = call.sizes
    pairs = -(-s.batch // TOGETHER)
    count = max(1, min(pairs, max(least, -(-_workers(call) // s.members))))
    return [
        (TOGETHER * (i * pairs // count), min(TOGETHER * ((i + 1) * pairs // count), s.batch)) for i in range(count)
    ]


def _workers(call: Call) -> int:
    s = call.sizes
    work = s.members * s.times * s.batch * s.post * (s.pre_room + s.post_room * call.kind.traced.drives)
    return 1 if work < _SMALL else min(torch.get_num_threads(), s.members * s.batch)


def _tables(call: Call, tensors: dict[str, Tensor], sums: dict[str, Tensor], groups: int) -> Any:
    """Addresses [member, group, entry] of `tensors` [member, ...] and `sums` [member, group, ...]."""
    s, kept, heard = call.sizes, tensors["traces"].numel() > 0, tensors.get("d_pre")
    numbers = {
        "post": s.post, "width": s.width, "times": s.times, "batch": s.batch, "post_room": s.post_room,
        "pre_room": s.pre_room, "own": s.heard, "every": s.every, "keep": int(kept),
        "keep_pre": int(heard is not None and heard.numel() > 0),
    }  # fmt: skip
    entries, members, within = np.zeros((3, len(call.kind.table)), np.int64)
    for i, name in enumerate(call.kind.table):
        tensor = sums.get(name, tensors.get(name))
        if name in numbers:
            entries[i] = numbers[name]
        elif tensor is not None and tensor.numel():
            entries[i], members[i] = tensor.data_ptr(), tensor.stride(0) * tensor.element_size()
            within[i] = tensor.stride(1) * tensor.element_size() if name in sums else 0
    return entries + np.arange(s.members)[:, None, None] * members + np.arange(groups)[:, None] * within


def _run(call: Call, function: Any, x: Tensor, tables: Any, groups: list[tuple[int, int]], scratch: int) -> None:
    """Call the function for every group of every member, shared out among threads."""
    s = call.sizes
    pieces = [(table, *group) for member in tables for table, group in zip(member, groups, strict=True)]
    count = min(_workers(call), len(pieces))
    size = call.kind.scratch(s.post_room, s.pre_room, s.post, scratch)

    def work(which: int) -> None:
        room = x.new_empty(size)
        for table, first, last in pieces[which::count]:
            function(table.ctypes.data, room.data_ptr(), first, last)

    threads.each([lambda which=which: work(which) for which in range(count)])
