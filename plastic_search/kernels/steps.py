"""One step at a time, without gradients: all is laid out once, and the trace stays where it lies."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from plastic_search import step as law
from plastic_search.kernels.memory import Given, begun, source_weight
from plastic_search.kernels.passes import Backend, fixed
from plastic_search.kernels.sequence import laid_out, nested
from plastic_search.precisions import Format
from plastic_search.quantize import next_dither
from plastic_search.spec import Layer
from plastic_search.step import LayerState, Ready
from plastic_search.structures import Shape

__all__ = ["ByBackend", "ByLaw", "Stepper"]


class Stepper(Protocol):
    """A layer on its way through time."""

    def step(self, x: Tensor) -> Tensor:
        """From what the layer hears of others [batch, sources] to its output [batch, post]."""
        ...

    def state(self) -> LayerState:
        """Where it stands; its tensors are not changed by later steps."""
        ...


class ByLaw:
    """A layer that the law runs."""

    def __init__(self, layer: Layer, shape: Shape, form: Format | None, ready: Ready, state: LayerState) -> None:
        self._layer, self._shape, self._form, self._ready, self._state = layer, shape, form, ready, state

    def step(self, x: Tensor) -> Tensor:
        pre = torch.cat([x, self._state.output], dim=1) if self._shape.own else x
        self._state = law.layer_step(self._layer, self._shape, self._ready, self._state, pre, self._form)
        return self._state.output.clone()

    def state(self) -> LayerState:
        return self._state


class ByBackend:
    """A layer that a backend runs, in memory that is laid out once."""

    def __init__(
        self, backend: Backend, layer: Layer, shape: Shape, form: Format | None, ready: Ready, state: LayerState
    ) -> None:
        x = state.output.new_zeros(1, len(state.output), shape.pre - shape.own)
        self._call, given, _ = laid_out(backend, layer, shape, form, ready, state, x)
        given = Given.of([None if t is None else t.detach().unsqueeze(0).clone() for t in given.flat()])
        self._dither, self._noise = state.dither, given.dither
        self._memory = begun(self._call, x.unsqueeze(0), given, keep=False)
        self._run = backend.prepared(self._call, "forward", self._memory._asdict() | fixed(self._call, x, given), {})
        room = self._call.sizes.post_room
        self._weight = source_weight(given.weight, self._call.sizes)[0].T.contiguous()
        self._bias = torch.nn.functional.pad(given.bias[0], (0, room - shape.post)).flatten()

    def step(self, x: Tensor) -> Tensor:
        memory, sizes = self._memory, self._call.sizes
        torch.addmm(self._bias, x, self._weight, out=memory.drive.view(len(x), -1))
        if sizes.heard:
            memory.pre[0, 0, :, : sizes.heard] = x
        if self._noise is not None and self._dither is not None:
            self._noise.copy_(self._dither.view(self._noise.shape))
            self._dither = next_dither(self._dither)
        self._run()
        said, state = memory.output[0], memory.state[0]
        said[0] = said[1]
        state[0] = state[1]
        return said[1, :, : sizes.post].clone()

    def state(self) -> LayerState:
        m, sizes = self._memory, self._call.sizes
        m.state[:, 1] = m.state[:, 0]  # before the first step there is no other
        _, trace, eligibility, *states = (None if t is None else t[0].clone() for t in m.results(self._call))
        own = nested(self._call, states, trace, eligibility)  # type: ignore[arg-type]
        return LayerState(m.output[0, 0, :, : sizes.post].clone(), *own, self._dither)
