"""A layer from step to step, without gradients. Each step writes what the backward pass of the sequence reads.

So a replay makes a node of autograd over what is there, and runs nothing again.
"""

from __future__ import annotations

import weakref
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from plastic_search.network.controls import NOTHING, Controls
from plastic_search.network.formats import Formats
from plastic_search.network.kernels import reference
from plastic_search.network.kernels.arguments import arguments, dithers, layer_state, seen_signals
from plastic_search.network.kernels.autograd import Forward, sequence
from plastic_search.network.kernels.buffers import Call, LayerTensors, begin, source_bias, source_weight, unpack
from plastic_search.network.kernels.memory import Memory, allocated, moved, until, with_capacity
from plastic_search.network.kernels.passes import Backend, Spacing, Steps, constants
from plastic_search.network.kernels.tracing.program import StepProgram
from plastic_search.network.quantization import next_dither
from plastic_search.network.spec import Layer
from plastic_search.network.step import LayerState, Ready, separated
from plastic_search.structures import Shape

__all__ = ["BackendStepper", "Placed", "ReferenceStepper", "Stepper"]

_CAPACITY = 32  # steps for which there is memory at first, where nobody says how many there will be


class Placed(NamedTuple):
    """A layer in its network."""

    layer: Layer
    shape: Shape
    form: Formats


class Stepper(Protocol):
    """A layer in the middle of its episodes. Of a population, all tensors have a first axis over members."""

    def begin(self, ready: Ready, state: LayerState) -> None:
        """Go on from a state, with other parameters, and record from there on."""
        ...

    def step(self, x: Tensor, controls: Controls) -> Tensor:
        """From the inputs of one step [batch, received] to the layer's output [batch, post], which later steps change.

        Args:
            controls: what is imposed on the step, [batch, 1] each.
        """
        ...

    def run(self, x: Tensor) -> Tensor:
        """Several steps, from [time, batch, received] to [time, batch, post]."""
        ...

    def state(self) -> LayerState:
        """The state after the last step, whose tensors are not changed by later steps."""
        ...

    def forget(self) -> None:
        """Record from the last step on."""
        ...

    def replay(self, ready: Ready, first: LayerState, x: Tensor, controls: Controls) -> tuple[Tensor, LayerState]:
        """All recorded steps, with gradients.

        Args:
            ready: the parameters, with the values that they had in the steps.
            first: the state before the first of them.
            x: the inputs [time, batch, received] of all of them.
            controls: what was imposed on them, [time, batch, 1] each.

        Returns:
            The outputs [time, batch, post], and the state after the last of them.
        """
        ...


class ReferenceStepper:
    """A layer that `step.layer_step` runs, once more in a replay."""

    def __init__(self, placed: Placed, ready: Ready, state: LayerState) -> None:
        self._placed, self._ready, self._state = placed, ready, state
        self._sequence = reference.sequence if state.output.dim() == 2 else reference.sequences

    def begin(self, ready: Ready, state: LayerState) -> None:
        self._ready, self._state = ready, state

    def step(self, x: Tensor, controls: Controls) -> Tensor:
        now = Controls(*(None if each is None else each.unsqueeze(-3) for each in controls))
        output, self._state = self._sequence(*self._placed, self._ready, self._state, x.unsqueeze(-3), now)
        return output.squeeze(-3)

    def run(self, x: Tensor) -> Tensor:
        output, self._state = self._sequence(*self._placed, self._ready, self._state, x)
        return output

    def state(self) -> LayerState:
        return self._state

    def forget(self) -> None:
        """Nothing is recorded."""

    def replay(self, ready: Ready, first: LayerState, x: Tensor, controls: Controls) -> tuple[Tensor, LayerState]:
        return self._sequence(*self._placed, ready, first, x, controls)


class _Views(NamedTuple):
    """Where each step writes, by its number; without the axis over members where there is a single network."""

    drive: tuple[Tensor, ...]  # [member, batch, sums * post]
    pre: tuple[Tensor, ...]  # [member, batch, sources], where the inputs are plastic; else ()
    dither: tuple[Tensor, ...]  # [member, batch], where the trace is rounded stochastically
    signals: tuple[Tensor, ...]  # [member, batch, signals], where the modulation sees some
    controls: tuple[Tensor, ...]  # [member, batch, number], where anything may be imposed
    output: tuple[Tensor, ...]  # [member, batch, post], from that of the step before the first


class BackendStepper:
    """A layer that a backend runs.

    Args:
        imposed: an example of what may be imposed on steps, [time, batch, 1] each.
        steps: how many there will be at least; 0: none is recorded; None: nobody knows.
    """

    def __init__(
        self, backend: Backend, placed: Placed, ready: Ready, state: LayerState, imposed: Controls, steps: int | None
    ) -> None:
        self._backend, self._placed, self._imposed = backend, placed, imposed
        self._single, self._recorded = state.output.dim() == 2, steps != 0
        call, tensors = self._arguments(ready, state)
        self._remember(allocated(with_capacity(backend, call, steps or _CAPACITY), tensors, self._recorded))
        self._read(tensors, state)

    def begin(self, ready: Ready, state: LayerState) -> None:
        (_, tensors), memory = self._arguments(ready, state), self._memory
        if self._in_use():
            self._remember(allocated(memory.call, tensors, self._recorded))
        else:
            begin(memory.buffers, memory.call, tensors)
        self._read(tensors, state)

    def _arguments(self, ready: Ready, state: LayerState) -> tuple[Call, LayerTensors]:
        """Those of a sequence of one step."""
        output = state.output
        x = output.new_zeros(*output.shape[:-2], 1, output.shape[-2], self._placed.shape.received)
        call, tensors, _ = arguments(self._backend, *self._placed, ready, state, x, self._imposed)
        some = [t.unsqueeze(0) if self._single and t is not None else t for t in tensors.flat()]
        return call, LayerTensors.of(some)

    def _read(self, tensors: LayerTensors, state: LayerState) -> None:
        """Begin at a state that is in memory, with these parameters."""
        call = self._memory.call
        self._constants = constants(call, tensors.weight, tensors)
        weight = source_weight(tensors.weight, call.sizes, call.signature.program.sums).mT.contiguous()
        bias = source_bias(tensors.bias, call.sizes).unsqueeze(1)
        self._weight, self._bias = (weight[0], bias[0]) if self._single else (weight, bias)
        self._dither, self._now, self._written = state.dither, 0, 0
        self._prepare()

    def step(self, x: Tensor, controls: Controls) -> Tensor:
        t, views = self._now, self._views
        if t == len(views.drive):
            self._make_room(1)
            t, views = self._now, self._views
        signals = seen_signals(self._program, self._placed.shape, x)
        if signals is not None:
            views.signals[t].copy_(signals)
        if self._placed.shape.modulator is not None:
            x, _ = separated(self._placed.shape, x)
        self._drive(x, views.drive[t])
        if views.pre:
            views.pre[t].copy_(x)
        if self._dither is not None:
            views.dither[t].copy_(self._dither.flatten(-3))
            self._dither = next_dither(self._dither)
        if views.controls:
            self._impose(views.controls[t], controls)
        self._take(Steps(t, t + 1, self._written, False))
        self._now = t + 1
        return views.output[t + 1]

    def _drive(self, x: Tensor, out: Tensor) -> None:
        """Write the drive from the inputs of one step."""
        if self._single:
            torch.addmm(self._bias, x, self._weight, out=out)
        elif x.is_cuda:
            torch.baddbmm(self._bias, x, self._weight, out=out)
        else:  # torch multiplies member after member where the results have gaps between them, as `out` has
            out.copy_(torch.baddbmm(self._bias, x, self._weight))

    def run(self, x: Tensor) -> Tensor:
        if not self._single or len(x) == 1:
            return torch.stack([self.step(each, NOTHING) for each in x.unbind(-3)], -3)
        count = len(x)
        if self._now + count > len(self._views.drive):
            self._make_room(count)
        first, last = self._now, self._now + len(x)
        memory, here = self._memory, slice(first, last)
        signals = seen_signals(self._program, self._placed.shape, x)
        x, _ = separated(self._placed.shape, x)
        drive = memory.buffers.drive[0, here].flatten(2).flatten(0, 1)
        torch.addmm(self._bias, x.reshape(-1, x.shape[-1]), self._weight, out=drive)
        if self._views.pre:
            memory.buffers.pre[0, here, :, : x.shape[-1]] = x
        given = memory.inputs
        if signals is not None:
            given["signals"][0, here] = signals
        if self._dither is not None:
            given["dither"][0, here], self._dither = dithers(self._dither, count)
        if "controls" in given:
            given["controls"][0, here] = 0.0
        self._take(Steps(first, last, self._written, False))
        self._now = last
        return memory.buffers.output[0, first + 1 : last + 1, :, : self._placed.shape.post]

    def state(self) -> LayerState:
        self._finish()
        memory, now = self._memory, self._now
        call, buffers, width = memory.call, memory.buffers, memory.call.sizes.width
        output = self._views.output[now].clone()
        trace = buffers.trace[..., :width].clone() if call.signature.plastic else None
        eligibility = buffers.eligibility[..., :width].clone() if call.signature.retroactive else None
        states = [t[0] if self._single else t for t in unpack(buffers.state[:, now], self._program.state, call)]
        return layer_state(call, output, states, self._alone(trace), self._alone(eligibility), self._dither)

    def forget(self) -> None:
        self._finish()
        memory, now = self._memory, self._now
        if self._in_use():
            self._remember(moved(memory, memory.call, now, now))
            self._prepare()
        elif now:
            for rows in (memory.buffers.output, memory.buffers.state):
                rows[:, 0] = rows[:, now]
        self._now = self._written = 0

    def replay(self, ready: Ready, first: LayerState, x: Tensor, controls: Controls) -> tuple[Tensor, LayerState]:
        self._finish()
        sizes = self._memory.call.sizes
        buffers, given = until(self._memory, self._now)
        self._graphs.append(weakref.ref(buffers.tape))
        done = Spacing(sizes.segment_steps, sizes.inner_steps), Forward(buffers, self._constants | given)
        first = first._replace(dither=None)  # which was drawn already
        output, last = sequence(self._backend, *self._placed, ready, first, x, controls, done)
        return output, last._replace(dither=self._dither)

    # -- memory

    @property
    def _program(self) -> StepProgram:
        return self._memory.call.signature.program

    def _alone(self, tensor: Tensor | None) -> Tensor | None:
        """Without the axis over members, where there is a single network."""
        return tensor[0] if self._single and tensor is not None else tensor

    def _impose(self, row: Tensor, controls: Controls) -> None:
        for k, name in enumerate(self._program.controls):
            value = getattr(controls, name)
            row[..., k : k + 1] = 0.0 if value is None else value

    def _finish(self) -> None:
        """Write what the last step changes in the trace, which the next one would do."""
        if self._written != self._now:
            self._take(Steps(self._now, self._now, self._written, True))
            self._written = self._now

    def _in_use(self) -> bool:
        """Whether the backward pass of a replay may still read the memory."""
        self._graphs = [graph for graph in self._graphs if graph() is not None]
        return bool(self._graphs)

    def _make_room(self, count: int) -> None:
        """Memory for so many steps more."""
        if not self._recorded:
            self.forget()
        memory, needed = self._memory, self._now + count
        if needed > memory.call.sizes.times:
            call = with_capacity(
                self._backend, memory.call, max(needed, 2 * self._now), memory.call.sizes.segment_steps
            )
            self._remember(moved(memory, call, 0, self._now))
            self._prepare()

    def _remember(self, memory: Memory) -> None:
        """From now on, write to this memory."""
        self._memory, self._graphs = memory, []
        s, buffers, given = memory.call.sizes, memory.buffers, memory.inputs
        pre = buffers.pre[..., : s.plastic_sources] if s.plastic_sources and s.width else None
        rows = [given.get(name) for name in ("dither", "signals", "controls")]
        every = (buffers.drive.flatten(3), pre, *rows, buffers.output[..., : s.post])
        self._views = _Views(*(() if t is None else self._by_step(t) for t in every))

    def _by_step(self, tensor: Tensor) -> tuple[Tensor, ...]:
        return tensor[0].unbind(0) if self._single else tensor.unbind(1)

    def _prepare(self) -> None:
        memory = self._memory
        tensors = memory.buffers._asdict() | self._constants | memory.inputs
        self._take = self._backend.prepare(memory.call, "forward", tensors, {})
