"""The tensors of one call: laid out with padding, filled from what torch holds, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.network.kernels.layout import Area, Kind
from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import Leaves, rows_of

__all__ = [
    "Call",
    "Given",
    "Memory",
    "Sizes",
    "begun",
    "own_weight",
    "pack",
    "padded",
    "source_weight",
    "unpack",
]


class Sizes(NamedTuple):
    """How long everything is."""

    post: int
    sources: int  # numbers heard of others
    heard: int  # ... of them by plastic connections
    width: int  # plastic inputs
    members: int  # networks that are run at once
    times: int
    batch: int  # episodes of each member
    post_room: int  # with padding, to whole vectors
    pre_room: int
    every: int  # steps from one kept trace to the next
    short: int  # ... and from one station between them to the next


class Call(NamedTuple):
    """All that is not a tensor."""

    kind: Kind
    sizes: Sizes
    limit: float
    top: int  # the highest level of a trace that is rounded
    states: int  # how many tensors the parts carry from step to step
    vectors: int  # ... and how many that training tunes, matrices not counted


class Given(NamedTuple):
    """The tensors of a layer, as torch holds them; those of each member of a population, member first."""

    weight: Tensor  # [member, drives, post, pre]
    bias: Tensor  # [member, drives, post]
    alpha: Tensor | None  # [member, post, width]
    output: Tensor | None  # [member, batch, post], what was said before; None is 0, here and in what follows
    trace: Tensor | None  # [member, batch, post, width]
    eligibility: Tensor | None
    dither: Tensor | None  # [member, time, batch], noise that rounds the trace
    others: tuple[Tensor | None, ...]  # states, parameters that are vectors, and coefficients that are matrices

    @classmethod
    def of(cls, tensors: Sequence[Any]) -> Given:
        """From the flat order in which autograd keeps them."""
        weight, bias, alpha, output, trace, eligibility, dither, *others = tensors
        return cls(weight, bias, alpha, output, trace, eligibility, dither, tuple(others))

    def flat(self) -> tuple[Tensor | None, ...]:
        """The order of `of`."""
        *single, others = self
        return (*single, *others)  # type: ignore[misc]


class Memory(NamedTuple):
    """What forward leaves behind. All tensors are padded to whole vectors."""

    drive: Tensor  # [member, time, batch, drives, post]
    output: Tensor  # [member, 1 + time, batch, post], from what was said before
    pre: Tensor  # [member, time, batch, pre]
    state: Tensor  # [member, 1 + time, batch, ...]
    tape: Tensor  # [member, time, batch, ...]
    trace: Tensor  # [member, batch, post, pre], the last
    eligibility: Tensor  # [member, batch, post, pre], the last, or [member, 0]
    traces: Tensor  # [member, kept, batch, post, pre], or [member, 0]
    eligibilities: Tensor
    params: Tensor  # [member, ...]

    def results(self, call: Call) -> tuple[Tensor | None, ...]:
        """What a layer's sequence answers: outputs, trace, eligibility trace, and its parts' states."""
        s = call.sizes
        plastic = call.kind.traced.shares is not None
        retroactive = call.kind.traced.shares is not None and call.kind.traced.shares.retroactive
        trace = self.trace[..., : s.width] if plastic else None
        eligibility = self.eligibility[..., : s.width] if retroactive else None
        states = unpack(self.state[:, -1], call.kind.traced.state, call.kind.state, s, call.kind.number.lanes)
        return (self.output[:, 1:, :, : s.post], trace, eligibility, *states)


def begun(call: Call, x: Tensor, given: Given, keep: bool) -> Memory:
    """Memory, with all that is known before the first step."""
    s, kind = call.sizes, call.kind
    shares, lanes, several = kind.traced.shares, kind.number.lanes, (s.members, s.times, s.batch)
    said = x.new_empty(s.members, 1 + s.times, s.batch, s.post_room)  # what is empty is written before it is read
    before = said.select(1, 0)
    if given.output is None or s.post < s.post_room:
        before.zero_()
    if given.output is not None:
        before[..., : s.post] = given.output
    pre = x.new_empty(*several, s.pre_room) if shares else x.new_empty(s.members, 0)
    if s.heard:
        pre.narrow(-1, 0, s.heard).copy_(x)
    padding = s.pre_room - s.heard - s.post_room * kind.own_plastic
    if shares and padding:
        pre.narrow(-1, s.pre_room - padding, padding).zero_()
    state = x.new_empty(s.members, 1 + s.times, s.batch, kind.state.size(s.post_room, s.pre_room, lanes))
    if call.states:
        first = state.select(1, 0).zero_()
        pack(first, given.others[: call.states], kind.traced.state, kind.state, s, lanes)
    tape = x.new_empty(*several, kind.tape.area.size(s.post_room, s.pre_room, lanes))
    kept = (-(-s.times // s.every), s.batch, s.post, s.pre_room) if keep and shares else (0,)
    params = x.new_zeros(s.members, kind.params.size(s.post_room, s.pre_room, lanes))
    pack(params, given.others[call.states : call.states + call.vectors], _vectors(kind), kind.params, s, lanes)
    retroactive = shares is not None and shares.retroactive
    none = x.new_empty(s.members, 0)
    return Memory(
        _sources_say(x, given, s),
        said,
        pre,
        state,
        tape,
        _traces(x, given.trace, s) if shares else none,
        _traces(x, given.eligibility, s) if retroactive else none,
        x.new_empty(s.members, *kept),
        x.new_empty(s.members, *kept) if retroactive else none,
        params,
    )


def _traces(x: Tensor, given: Tensor | None, s: Sizes) -> Tensor:
    """The traces [member, batch, post, pre] before the first step, which will be changed."""
    return x.new_zeros(s.members, s.batch, s.post, s.pre_room) if given is None else _extended(given, s.pre_room)


def _vectors(kind: Kind) -> Leaves:
    """Where parameters lie that are in the buffer."""
    leaves = kind.traced.params
    return Leaves(tuple(leaf for leaf in leaves.of if leaf is not None), leaves.counts)


def source_weight(weight: Tensor, s: Sizes) -> Tensor:
    """The weights of what others say [member, drives * post, sources], padded."""
    made = weight[..., : s.sources]
    if s.post < s.post_room:
        made = torch.constant_pad_nd(made, (0, 0, 0, s.post_room - s.post))
    return made.flatten(1, 2)


def _sources_say(x: Tensor, given: Given, s: Sizes) -> Tensor:
    """The part of the drive [member, time, batch, drives, post] that does not wait for the step before."""
    drives, still = given.bias.shape[1], given.bias
    if s.post < s.post_room:
        still = torch.constant_pad_nd(still, (0, s.post_room - s.post))
    weights = source_weight(given.weight, s).transpose(1, 2)
    flat = torch.baddbmm(still.flatten(1).unsqueeze(1), x.reshape(s.members, -1, s.sources), weights)
    return flat.view(s.members, s.times, s.batch, drives, s.post_room)


def own_weight(weight: Tensor, s: Sizes) -> Tensor:
    """The weights of what the layer itself said [member, drives, post, post], padded."""
    return _extended(weight[..., s.sources :], s.post_room)


def padded(matrix: Tensor, s: Sizes) -> Tensor:
    """A matrix for every synapse [..., post, pre], padded and of its own memory."""
    return _extended(matrix, s.pre_room)


def _extended(matrix: Tensor, room: int) -> Tensor:
    """A matrix [..., room], in memory of its own; what is added is 0."""
    if matrix.shape[-1] == room:
        return matrix.clone(memory_format=torch.contiguous_format)
    return torch.constant_pad_nd(matrix, (0, room - matrix.shape[-1]))


def pack(buffer: Tensor, tensors: Sequence[Tensor | None], leaves: Leaves, area: Area, s: Sizes, lanes: int) -> None:
    """Lay tensors into the rows of a buffer [..., numbers]."""
    for tensor, leaf in zip(tensors, leaves.of, strict=True):
        if leaf is None or tensor is None or not leaf.rows:
            continue
        if not leaf.lead:  # one row, or one number
            at = area.first(leaf.axis, leaf.first, s.post_room, s.pre_room, lanes)
            row = tensor if leaf.place == 0 else tensor.unsqueeze(-1)
            buffer.narrow(-1, at, row.shape[-1]).copy_(row)
            continue
        rows = rows_of(tensor, leaf, buffer.dim() - 1)
        for i in range(leaf.rows):
            at = area.first(leaf.axis, leaf.first + i, s.post_room, s.pre_room, lanes)
            buffer[..., at : at + rows.shape[-1]] = rows[..., i, :]


def unpack(buffer: Tensor, leaves: Leaves, area: Area, s: Sizes, lanes: int) -> list[Tensor]:
    """The tensors that lie in a buffer."""
    made = []
    length = {Axis.POST: s.post, Axis.PRE: s.width, Axis.ONE: 1}
    for leaf in leaves.of:
        if leaf is None:
            continue
        if not leaf.rows:
            made.append(buffer.new_zeros(*buffer.shape[:-1], *leaf.lead))
            continue
        n = length[leaf.axis]
        firsts = [area.first(leaf.axis, leaf.first + i, s.post_room, s.pre_room, lanes) for i in range(leaf.rows)]
        rows = [buffer[..., at : at + n] for at in firsts]
        lead = buffer.shape[:-1]
        if not leaf.lead and leaf.place >= 0:  # a vector
            made.append(rows[0].clone(memory_format=torch.contiguous_format))
        elif leaf.place < 0:
            made.append(torch.cat(rows, -1).reshape(*lead, *leaf.lead))
        else:
            made.append(torch.stack(rows, -2).reshape(*lead, *leaf.lead, n).movedim(-1, len(lead) + leaf.place))
    return made
