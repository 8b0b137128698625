"""Some steps at a time, without gradients: all is laid out once, and the trace stays where it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from plastic_search.network import step as law
from plastic_search.network.kernels.autograd import laid_out, nested, noises
from plastic_search.network.kernels.buffers import Given, Memory, begun, source_weight
from plastic_search.network.kernels.passes import Backend, fixed
from plastic_search.network.spec import Layer
from plastic_search.network.step import LayerState, Ready
from plastic_search.precisions import Format
from plastic_search.structures import Shape

__all__ = ["ByBackend", "ByLaw", "Stepper"]

_SPANS = 3  # numbers of steps, beside one, for which memory is kept


class Stepper(Protocol):
    """A layer on its way through time."""

    def run(self, x: Tensor) -> Tensor:
        """From what the layer hears of others [time, batch, sources] to its outputs [time, batch, post]."""
        ...

    def state(self) -> LayerState:
        """Where it stands; its tensors are not changed by later steps."""
        ...


class ByLaw:
    """A layer that the law runs."""

    def __init__(self, layer: Layer, shape: Shape, form: Format | None, ready: Ready, state: LayerState) -> None:
        self._layer, self._shape, self._form, self._ready, self._state = layer, shape, form, ready, state

    def run(self, x: Tensor) -> Tensor:
        return torch.stack([self._step(each) for each in x])

    def _step(self, x: Tensor) -> Tensor:
        self._state = law.layer_step(self._layer, self._shape, self._ready, self._state, x, self._form)
        return self._state.output

    def state(self) -> LayerState:
        return self._state


class _Span(NamedTuple):
    """Memory for so many steps, and what runs them."""

    memory: Memory
    drive: Tensor  # [time * batch, drives * post]
    pre: Tensor | None  # [time, batch, sources], where they are heard by plastic connections
    noise: Tensor | None  # [member, time, batch]
    said: Tensor  # [time, batch, post]
    ends: tuple[tuple[Tensor, Tensor], ...]  # what the next call begins with, and where this one leaves it
    run: Callable[[], None]


class ByBackend:
    """A layer that a backend runs, in memory that is laid out once."""

    def __init__(
        self, backend: Backend, layer: Layer, shape: Shape, form: Format | None, ready: Ready, state: LayerState
    ) -> None:
        x = state.output.new_zeros(1, len(state.output), shape.pre - shape.recurrent)
        self._backend = backend
        self._call, given, _ = laid_out(backend, layer, shape, form, ready, state, x)
        given = Given.of([None if t is None else t.detach().unsqueeze(0).clone() for t in given.flat()])
        self._dither, self._still = state.dither, fixed(self._call, x, given)
        self._spans: dict[int, _Span] = {}
        self._now = self._spans[1] = self._span(begun(self._call, x.unsqueeze(0), given, keep=False))
        room = self._call.sizes.post_room
        self._weight = source_weight(given.weight, self._call.sizes)[0].T.contiguous()
        self._bias = torch.nn.functional.pad(given.bias[0], (0, room - shape.post)).flatten()
        self._given = given._replace(trace=None, eligibility=None)  # which are on their way

    def run(self, x: Tensor) -> Tensor:
        span = self._of(len(x))
        torch.addmm(self._bias, x.reshape(-1, x.shape[2]), self._weight, out=span.drive)
        if span.pre is not None:
            span.pre.copy_(x)
        if span.noise is not None and self._dither is not None:
            dithers, self._dither = noises(self._dither, len(x))
            span.noise.copy_(dithers)
        span.run()
        for first, last in span.ends:
            first.copy_(last)
        return span.said.clone()

    def state(self) -> LayerState:
        m, sizes = self._now.memory, self._call.sizes
        m.state[:, -1] = m.state[:, 0]  # before the first step there is no other
        _, trace, eligibility, *states = (None if t is None else t[0].clone() for t in m.results(self._call))
        own = nested(self._call, states, trace, eligibility)  # type: ignore[arg-type]
        return LayerState(m.output[0, 0, :, : sizes.post].clone(), *own, self._dither)

    def _of(self, times: int) -> _Span:
        """The span of so many steps, which goes on where the last one stopped."""
        if times == self._now.said.shape[0]:
            return self._now
        before = self._now.memory
        if times not in self._spans:
            if len(self._spans) > _SPANS:
                del self._spans[next(length for length in self._spans if length != 1)]
            s = self._call.sizes
            like = before.drive.new_zeros(1, times, s.batch, s.sources)
            call = self._call._replace(sizes=s._replace(times=times))
            made = begun(call, like, self._given, keep=False)
            shared = {name: getattr(before, name) for name in ("trace", "eligibility", "params")}
            self._spans[times] = self._span(made._replace(**shared))
        self._now = self._spans[times]
        self._now.memory.output[:, 0] = before.output[:, 0]
        self._now.memory.state[:, 0] = before.state[:, 0]
        return self._now

    def _span(self, memory: Memory) -> _Span:
        sizes = self._call.sizes._replace(times=memory.drive.shape[1])
        noise = None if self._dither is None else memory.drive.new_empty(1, sizes.times, sizes.batch)
        given = memory._asdict() | self._still | ({} if noise is None else {"dither": noise})
        ends = [(memory.output[0, 0], memory.output[0, -1])]
        if memory.state.numel():
            ends.append((memory.state[0, 0], memory.state[0, -1]))
        return _Span(
            memory,
            memory.drive.view(sizes.times * sizes.batch, -1),
            memory.pre[0, :, :, : sizes.heard] if sizes.heard else None,
            noise,
            memory.output[0, 1:, :, : sizes.post],
            tuple(ends),
            self._backend.prepared(self._call._replace(sizes=sizes), "forward", given, {}),
        )
