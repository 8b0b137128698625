"""A layer from step to step, without gradients: buffers are laid out once, and the trace stays where it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from plastic_search.network.formats import Formats
from plastic_search.network.kernels.autograd import dithers, layer_state, prepare, seen_signals
from plastic_search.network.kernels.buffers import Buffers, LayerTensors, allocate, source_weight
from plastic_search.network.kernels.passes import Backend, constants
from plastic_search.network.spec import Layer
from plastic_search.network.step import LayerState, Ready, layer_step, separated
from plastic_search.structures import Shape

__all__ = ["BackendStepper", "ReferenceStepper", "Stepper"]

_LENGTHS = 3  # different numbers of steps, beside one, for which buffers are kept


class Stepper(Protocol):
    """A layer in the middle of its episodes."""

    def run(self, x: Tensor) -> Tensor:
        """From the inputs of some steps [time, batch, sources] to the layer's outputs [time, batch, post]."""
        ...

    def state(self) -> LayerState:
        """Its state, whose tensors are not changed by later steps."""
        ...


class ReferenceStepper:
    """A layer that `step.layer_step` runs."""

    def __init__(self, layer: Layer, shape: Shape, form: Formats, ready: Ready, state: LayerState) -> None:
        self._layer, self._shape, self._form, self._ready, self._state = layer, shape, form, ready, state

    def run(self, x: Tensor) -> Tensor:
        return torch.stack([self._step(inputs) for inputs in x])

    def _step(self, x: Tensor) -> Tensor:
        self._state = layer_step(self._layer, self._shape, self._ready, self._state, x, self._form)
        return self._state.output

    def state(self) -> LayerState:
        return self._state


class _Span(NamedTuple):
    """The buffers for a number of steps, views into them, and what runs these steps."""

    buffers: Buffers
    drive: Tensor  # [time * batch, sums * post]
    pre: Tensor | None  # [time, batch, sources], where the inputs are plastic
    dither: Tensor | None  # [member, time, batch]
    signals: Tensor | None  # [member, time, batch, signals]
    output: Tensor  # [time, batch, post]
    carries: tuple[tuple[Tensor, Tensor], ...]  # what the next call begins with, and where this one leaves it
    run: Callable[[], None]


class BackendStepper:
    """A layer that a backend runs."""

    def __init__(
        self, backend: Backend, layer: Layer, shape: Shape, form: Formats, ready: Ready, state: LayerState
    ) -> None:
        x = state.output.new_zeros(1, len(state.output), shape.received)
        self._backend = backend
        self._call, tensors, _ = prepare(backend, layer, shape, form, ready, state, x)
        tensors = LayerTensors.of([None if t is None else t.detach().unsqueeze(0).clone() for t in tensors.flat()])
        x, _ = separated(shape, x)
        self._dither, self._constants, self._shape = state.dither, constants(self._call, x, tensors), shape
        self._spans: dict[int, _Span] = {}  # by number of steps
        self._now = self._spans[1] = self._span(allocate(self._call, x.unsqueeze(0), tensors, for_backward=False))
        padding = self._call.sizes.post_padded - shape.post
        self._weight = source_weight(tensors.weight, self._call.sizes, self._call.signature.program.sums)[
            0
        ].T.contiguous()
        self._bias = torch.nn.functional.pad(tensors.bias[0], (0, padding)).flatten()
        self._tensors = tensors._replace(trace=None, eligibility=None)  # which the buffers hold

    def run(self, x: Tensor) -> Tensor:
        span = self._of(len(x))
        signals = seen_signals(self._call.signature.program, self._shape, x)
        if span.signals is not None and signals is not None:
            span.signals.copy_(signals)
        x, _ = separated(self._shape, x)
        torch.addmm(self._bias, x.reshape(-1, x.shape[2]), self._weight, out=span.drive)
        if span.pre is not None:
            span.pre.copy_(x)
        if span.dither is not None and self._dither is not None:
            noise, self._dither = dithers(self._dither, len(x))
            span.dither.copy_(noise)
        span.run()
        for first, last in span.carries:
            first.copy_(last)
        return span.output.clone()

    def state(self) -> LayerState:
        buffers, sizes = self._now.buffers, self._call.sizes
        buffers.state[:, -1] = buffers.state[:, 0]  # `run` has carried the last state to the front
        results = (None if t is None else t[0].clone() for t in buffers.results(self._call))
        _, trace, eligibility, *states = results
        output = buffers.output[0, 0, :, : sizes.post].clone()
        return layer_state(self._call, output, states, trace, eligibility, self._dither)  # type: ignore[arg-type]

    def _of(self, times: int) -> _Span:
        """The span of so many steps, with the state that the last one ended in."""
        if times == self._now.output.shape[0]:
            return self._now
        before = self._now.buffers
        if times not in self._spans:
            if len(self._spans) > _LENGTHS:
                del self._spans[next(length for length in self._spans if length != 1)]
            s = self._call.sizes
            like = before.drive.new_zeros(1, times, s.batch, s.sources)
            call = self._call._replace(sizes=s._replace(times=times))
            buffers = allocate(call, like, self._tensors, for_backward=False)
            shared = {name: getattr(before, name) for name in ("trace", "eligibility", "params")}
            self._spans[times] = self._span(buffers._replace(**shared))
        self._now = self._spans[times]
        self._now.buffers.output[:, 0] = before.output[:, 0]
        self._now.buffers.state[:, 0] = before.state[:, 0]
        return self._now

    def _span(self, buffers: Buffers) -> _Span:
        sizes = self._call.sizes._replace(times=buffers.drive.shape[1])
        dither = None if self._dither is None else buffers.drive.new_empty(1, sizes.times, sizes.batch)
        seen = self._call.signature.program.signals
        signals = buffers.drive.new_empty(1, sizes.times, sizes.batch, seen) if seen else None
        own = {name: t for name, t in (("dither", dither), ("signals", signals)) if t is not None}
        tensors = buffers._asdict() | self._constants | own
        carries = [(buffers.output[0, 0], buffers.output[0, -1])]
        if buffers.state.numel():
            carries.append((buffers.state[0, 0], buffers.state[0, -1]))
        return _Span(
            buffers=buffers,
            drive=buffers.drive.view(sizes.times * sizes.batch, -1),
            pre=buffers.pre[0, :, :, : sizes.plastic_sources] if sizes.plastic_sources else None,
            dither=dither,
            signals=signals,
            output=buffers.output[0, 1:, :, : sizes.post],
            carries=tuple(carries),
            run=self._backend.prepare(self._call._replace(sizes=sizes), "forward", tensors, {}),
        )
