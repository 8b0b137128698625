"""The tensors of one call: allocated with padding, filled from the tensors of the layer, and read back.

`layout` explains what a checkpoint and a segment are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.network.kernels.layout import Area, KernelSignature, area_of
from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import BufferLayout, rows_of

__all__ = [
    "Buffers", "Call", "LayerTensors", "Sizes", "allocate", "begin", "pack", "pad_columns", "padded_trace", "receive",
    "source_bias", "source_weight", "step_of_each", "unpack",
]  # fmt: skip


class Sizes(NamedTuple):
    """All lengths of a call."""

    post: int
    sources: int  # inputs from other layers
    plastic_sources: int  # ... of them by plastic connections
    width: int  # plastic inputs, recurrent ones included
    members: int  # networks that are run at once
    times: int
    batch: int  # episodes of each member
    post_padded: int  # to whole vectors
    pre_padded: int  # `width`, to whole vectors
    segment_steps: int  # steps from one checkpoint to the next
    inner_steps: int  # ... from one inner checkpoint to the next


class Call(NamedTuple):
    """All arguments of a call that are no tensors."""

    signature: KernelSignature
    sizes: Sizes
    limit: float
    top_level: int  # the highest level of a rounded trace
    state_count: int  # how many state tensors the parts have,
    vector_count: int  # ... and how many parameters, matrices not counted
    ends: Tensor | None  # [batch], after how many steps each episode ends; None: all after the last

    def size(self, area: Area) -> int:
        """How many numbers an area holds."""
        return area.size(self.sizes.post_padded, self.sizes.pre_padded, self.signature.number.lanes)


class LayerTensors(NamedTuple):
    """The tensors of a layer as the network holds them, with a first axis over the members of a population."""

    weight: Tensor  # [member, drives, post, pre]
    bias: Tensor  # [member, sums, post]
    alpha: Tensor | None  # [member, post, width]
    output: Tensor | None  # [member, batch, post], of the step before; None is 0, here and for the traces
    trace: Tensor | None  # [member, batch, post, width]
    eligibility: Tensor | None  # [member, batch, post, width]
    dither: Tensor | None  # [member, time, batch], noise that rounds the trace
    signals: Tensor | None  # [member, time, batch, signals], what the modulation sees of the layer's inputs
    controls: Tensor | None  # [member, time, batch, number], what is imposed, in the order of `StepProgram.controls`
    others: tuple[Tensor | None, ...]  # states, parameters that are vectors, and `KernelSignature.matrices`

    @classmethod
    def of(cls, tensors: Sequence[Any]) -> LayerTensors:
        """The inverse of `flat`."""
        weight, bias, alpha, output, trace, eligibility, dither, signals, controls, *others = tensors
        return cls(weight, bias, alpha, output, trace, eligibility, dither, signals, controls, tuple(others))

    def flat(self) -> tuple[Tensor | None, ...]:
        """One after another, as autograd saves them."""
        *single, others = self
        return (*single, *others)  # type: ignore[misc]


class Buffers(NamedTuple):
    """What forward writes, and backward reads. Rows are padded to whole vectors."""

    drive: Tensor  # [member, time, batch, sums, post]
    output: Tensor  # [member, 1 + time, batch, post], from that of the step before
    pre: Tensor  # [member, time, batch, pre]
    state: Tensor  # [member, 1 + time, batch, ...]
    tape: Tensor  # [member, time, batch, ...]
    trace: Tensor  # [member, batch, post, pre], the last
    eligibility: Tensor  # [member, batch, post, pre], the last, or [member, 0]
    checkpoints: Tensor  # [member, segment, batch, post, pre], or [member, 0]
    eligibility_checkpoints: Tensor  # [member, segment, batch, post, pre], or [member, 0]
    params: Tensor  # [member, ...]

    def results(self, call: Call) -> tuple[Tensor | None, ...]:
        """Outputs, trace, eligibility trace, and the states of the parts, after the last step."""
        s, signature = call.sizes, call.signature
        trace = self.trace[..., : s.width] if signature.plastic else None
        eligibility = self.eligibility[..., : s.width] if signature.retroactive else None
        states = unpack(_at_ends(self.state, call), signature.program.state, call)
        return (self.output[:, 1:, :, : s.post], trace, eligibility, *states)


def allocate(call: Call, x: Tensor, tensors: LayerTensors, for_backward: bool) -> Buffers:
    """Buffers, with everything but the inputs filled in that is known before the first step.

    Args:
        x: of their type and device.
        for_backward: whether there are checkpoints.
    """
    s, signature = call.sizes, call.signature
    plastic, none = signature.plastic, x.new_empty(s.members, 0)
    empty = x.new_empty if call.ends is None else x.new_zeros  # what is empty is written before it is read
    segments = (-(-s.times // s.segment_steps), s.batch, s.post, s.pre_padded) if for_backward and plastic else (0,)
    traces = (s.members, s.batch, s.post, s.pre_padded)
    buffers = Buffers(
        drive=x.new_empty(s.members, s.times, s.batch, signature.program.sums, s.post_padded),
        output=empty(s.members, 1 + s.times, s.batch, s.post_padded),
        pre=_pre(call, x) if plastic else none,
        state=x.new_empty(s.members, 1 + s.times, s.batch, call.size(signature.state)),
        tape=x.new_empty(s.members, s.times, s.batch, call.size(signature.tape.area)),
        trace=x.new_empty(traces) if plastic else none,
        eligibility=x.new_empty(traces) if signature.retroactive else none,
        checkpoints=x.new_empty(s.members, *segments),
        eligibility_checkpoints=x.new_empty(s.members, *segments) if signature.retroactive else none,
        params=x.new_zeros(s.members, call.size(signature.params)),
    )
    begin(buffers, call, tensors)
    return buffers


def begin(buffers: Buffers, call: Call, tensors: LayerTensors) -> None:
    """Fill in the parameters, and the state before the first step."""
    s, signature = call.sizes, call.signature
    before = buffers.output.select(1, 0)
    if tensors.output is None or s.post < s.post_padded:
        before.zero_()
    if tensors.output is not None:
        before[..., : s.post] = tensors.output
    if call.state_count:
        states = buffers.state.select(1, 0).zero_()
        pack(states, tensors.others[: call.state_count], signature.program.state, call)
    vectors = tensors.others[call.state_count : call.state_count + call.vector_count]
    pack(buffers.params, vectors, _in_buffer(signature.program.params), call)
    if signature.plastic:
        _fill_trace(buffers.trace, tensors.trace, s)
    if signature.retroactive:
        _fill_trace(buffers.eligibility, tensors.eligibility, s)


def receive(buffers: Buffers, call: Call, x: Tensor, tensors: LayerTensors) -> None:
    """Fill in what depends on the inputs `x` [member, time, batch, sources] of all steps."""
    s, bias = call.sizes, source_bias(tensors.bias, call.sizes).unsqueeze(1)
    weights = source_weight(tensors.weight, s, call.signature.program.sums).transpose(1, 2)
    drive = buffers.drive.view(s.members, s.times * s.batch, -1)
    torch.baddbmm(bias, x.reshape(s.members, -1, s.sources), weights, out=drive)
    if call.signature.plastic and s.plastic_sources:
        buffers.pre.narrow(-1, 0, s.plastic_sources).copy_(x)


def _at_ends(state: Tensor, call: Call) -> Tensor:
    """From [member, 1 + time, batch, ...] what each episode ends with, [member, batch, ...]."""
    if call.ends is None:
        return state[:, -1]
    return state.flatten(1, 2).index_select(1, step_of_each(call.ends))


def step_of_each(steps: Tensor) -> Tensor:
    """Where the step of number `steps` [batch] of each episode lies among [time * batch]."""
    return steps * len(steps) + torch.arange(len(steps), device=steps.device)


def _pre(call: Call, x: Tensor) -> Tensor:
    """For plastic inputs [member, time, batch, pre], the padding filled in; forward fills in the recurrent ones."""
    s = call.sizes
    pre = x.new_empty(s.members, s.times, s.batch, s.pre_padded)
    padding = s.pre_padded - s.plastic_sources - s.post_padded * call.signature.recurrent_plastic
    if padding:
        pre.narrow(-1, s.pre_padded - padding, padding).zero_()
    return pre


def padded_trace(x: Tensor, trace: Tensor | None, s: Sizes) -> Tensor:
    """A padded copy of traces, or of their derivatives, [member, batch, post, pre]; None is 0."""
    if trace is None:
        return x.new_zeros(s.members, s.batch, s.post, s.pre_padded)
    return _fill_trace(x.new_empty(s.members, s.batch, s.post, s.pre_padded), trace, s)


def _fill_trace(padded: Tensor, trace: Tensor | None, s: Sizes) -> Tensor:
    """Copy traces into padded ones [member, batch, post, pre]; None is 0."""
    if trace is None:
        return padded.zero_()
    padded[..., : s.width] = trace  # `constant_pad_nd` would write it twice
    padded[..., s.width :] = 0.0
    return padded


def _in_buffer(params: BufferLayout) -> BufferLayout:
    """The layout without matrices."""
    return BufferLayout(tuple(leaf for leaf in params.leaves if leaf is not None), params.counts)


def source_weight(weight: Tensor, s: Sizes, sums: int) -> Tensor:
    """The weights of the inputs from other layers [member, sums * post, sources], padded; 0 for recurrent parts."""
    weight, others = weight[..., : s.sources], sums - weight.shape[1]
    if s.post < s.post_padded or others:
        weight = torch.constant_pad_nd(weight, (0, 0, 0, s.post_padded - s.post, 0, others))
    return weight.flatten(1, 2)


def source_bias(bias: Tensor, s: Sizes) -> Tensor:
    """The biases [member, sums * post], padded."""
    return torch.constant_pad_nd(bias, (0, s.post_padded - s.post)).flatten(1)


def pad_columns(matrix: Tensor, length: int) -> Tensor:
    """A contiguous copy of a matrix whose rows are extended to `length` by zeros."""
    if matrix.shape[-1] == length:
        return matrix.clone(memory_format=torch.contiguous_format)
    return torch.constant_pad_nd(matrix, (0, length - matrix.shape[-1]))


def pack(buffer: Tensor, tensors: Sequence[Tensor | None], layout: BufferLayout, call: Call) -> None:
    """Copy tensors into the rows of a buffer [..., numbers]."""
    for tensor, leaf, firsts in zip(tensors, layout.leaves, _firsts(layout, call), strict=True):
        if leaf is None or tensor is None or not leaf.rows:
            continue
        if not leaf.other_dims:  # one row, or one number
            row = tensor if leaf.dim == 0 else tensor.unsqueeze(-1)
            buffer.narrow(-1, firsts[0], row.shape[-1]).copy_(row)
            continue
        rows = rows_of(tensor, leaf, buffer.dim() - 1)
        for i, first in enumerate(firsts):
            buffer[..., first : first + rows.shape[-1]] = rows[..., i, :]


def unpack(buffer: Tensor, layout: BufferLayout, call: Call) -> list[Tensor]:
    """The tensors that lie in a buffer."""
    tensors = []
    lengths = {Axis.POST: call.sizes.post, Axis.PRE: call.sizes.width, Axis.ONE: 1}
    batch = buffer.shape[:-1]
    for leaf, firsts in zip(layout.leaves, _firsts(layout, call), strict=True):
        if leaf is None:
            continue
        if not leaf.rows:
            tensors.append(buffer.new_zeros(*batch, *leaf.other_dims))
            continue
        n = lengths[leaf.axis]
        rows = [buffer[..., first : first + n] for first in firsts]
        if not leaf.other_dims and leaf.dim >= 0:  # a vector
            tensors.append(rows[0].clone(memory_format=torch.contiguous_format))
        elif leaf.dim < 0:
            tensors.append(torch.cat(rows, -1).reshape(*batch, *leaf.other_dims))
        else:
            stacked = torch.stack(rows, -2).reshape(*batch, *leaf.other_dims, n)
            tensors.append(stacked.movedim(-1, len(batch) + leaf.dim))
    return tensors


def _firsts(layout: BufferLayout, call: Call) -> Iterator[list[int]]:
    """For each leaf, the offsets of its rows."""
    area, s, lanes = area_of(layout), call.sizes, call.signature.number.lanes
    for leaf in layout.leaves:
        if leaf is None:
            yield []
            continue
        rows = range(leaf.first, leaf.first + leaf.rows)
        yield [area.first(leaf.axis, row, s.post_padded, s.pre_padded, lanes) for row in rows]
