"""What the steps of a layer write, one after another: the buffers of a sequence that is not over.

They have a capacity, and the backward pass runs over the steps that were taken.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from plastic_search.network.kernels.buffers import Buffers, Call, LayerTensors, allocate
from plastic_search.network.kernels.passes import Backend

__all__ = ["Memory", "allocated", "moved", "until", "with_capacity"]


class Memory(NamedTuple):
    """The buffers of a call whose `Sizes.times` is the capacity, and what each step reads beside them."""

    call: Call
    buffers: Buffers
    inputs: dict[str, Tensor]  # dither [member, time, batch]; signals and controls [member, time, batch, number]


def with_capacity(backend: Backend, call: Call, steps: int, multiple: int = 0) -> Call:
    """A call of so many steps, whose checkpoints lie a multiple of so many steps apart; 0: as far as is best."""
    s = call.sizes
    trace = s.post * s.pre_padded * (8 if call.signature.double else 4)
    spacing = backend.spacing(steps, s.members * s.batch, trace)
    if multiple:
        nearest = multiple * max(1, round(spacing.segment_steps / multiple))
        spacing = spacing._replace(segment_steps=nearest, inner_steps=s.inner_steps)
    return call._replace(sizes=s._replace(times=steps, **spacing._asdict()))


def allocated(call: Call, tensors: LayerTensors, for_backward: bool) -> Memory:
    """Memory, with the state before the first step filled in."""
    s, program, like = call.sizes, call.signature.program, tensors.weight
    inputs = {"dither": tensors.dither is not None, "signals": program.signals, "controls": len(program.controls)}
    shape = (s.members, s.times, s.batch)
    steps = {name: like.new_zeros(*shape, *[count] * (name != "dither")) for name, count in inputs.items() if count}
    return Memory(call, allocate(call, like, tensors, for_backward), steps)


def moved(memory: Memory, call: Call, first: int, last: int) -> Memory:
    """Other memory, for as many steps as `call` has, with a copy of the steps from `first` to before `last`.

    Only from step 0 on are there checkpoints.
    """
    s, old, before = call.sizes, memory.buffers, memory.call.sizes.segment_steps
    count = last - first

    def of(tensor: Tensor, more: int = 0) -> Tensor:
        if tensor.dim() < 3:  # nothing is plastic
            return tensor
        found = tensor.new_zeros(len(tensor), s.times + more, *tensor.shape[2:])
        found[:, : count + more] = tensor[:, first : last + more]
        return found

    def checkpoints(tensor: Tensor) -> Tensor:
        if tensor.dim() < 3:
            return tensor
        found = tensor.new_empty(len(tensor), -(-s.times // s.segment_steps), *tensor.shape[2:])
        kept = tensor[:, : -(-count // before) : s.segment_steps // before]
        found[:, : kept.shape[1]] = kept
        return found

    buffers = old._replace(
        drive=of(old.drive),
        output=of(old.output, 1),
        pre=of(old.pre),
        state=of(old.state, 1),
        tape=of(old.tape),
        checkpoints=checkpoints(old.checkpoints),
        eligibility_checkpoints=checkpoints(old.eligibility_checkpoints),
    )
    return Memory(call, buffers, {name: of(tensor) for name, tensor in memory.inputs.items()})


def until(memory: Memory, steps: int) -> tuple[Buffers, dict[str, Tensor]]:
    """What the first steps wrote and read. Later steps change none of it, but count as changes to torch's tensors.

    Those have counters of their own, therefore (`Tensor.data`); the trace alone, which goes on, is copied.
    """
    old, segments = memory.buffers, -(-steps // memory.call.sizes.segment_steps)
    lengths = {"checkpoints": segments, "eligibility_checkpoints": segments, "output": 1 + steps, "state": 1 + steps}
    lengths |= {"drive": steps, "pre": steps, "tape": steps}
    buffers = old._replace(trace=old.trace.clone(), eligibility=old.eligibility.clone(), params=old.params.data)
    buffers = buffers._replace(**{name: getattr(old, name).data[:, :count] for name, count in lengths.items()})
    return buffers, {name: tensor.data[:, :steps] for name, tensor in memory.inputs.items()}
