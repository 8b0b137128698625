"""The state of a network: its tensors by path, and a check of their shapes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.pytree import flatten, map_tensors, node, unflatten
from plastic_search.network.step import LayerState, Ready, Signals

__all__ = ["State", "checked_batch", "describe", "load_named", "named", "same_shapes"]


class State(tuple[LayerState, ...]):
    """What a network carries from step to step: a `LayerState` for each layer.

    Example:
        net = Network(NetworkSpec((Layer(16, plastic=Pathway.BOTH), Layer(2))), inputs=3)
        state = net.initial_state(batch=4)
        for x in torch.randn(5, 20, 4, 3):  # five windows of 20 steps
            y, state = net(x, state)
            y.square().mean().backward()
            state = state.detach()  # gradients of the next window end here
    """

    __slots__ = ()

    def detach(self) -> State:
        """The same numbers, through which no gradient flows: truncated backpropagation through time."""
        return map_tensors(Tensor.detach, self)

    def to(self, where: torch.device | torch.dtype | str) -> State:
        """The same numbers on a device, or of another floating type; gradients flow through it."""
        return map_tensors(lambda tensor: tensor.to(where), self)


node(State)


def named(layers: tuple[LayerState, ...] | tuple[Ready, ...] | tuple[Signals, ...]) -> dict[str, Tensor]:
    """Every tensor of a state, of resolved parameters or of signals, by its path: `layers.0.cell.memory`."""
    return {path: t for i, layer in enumerate(layers) for path, t in flatten(layer, f"layers.{i}").items()}


def load_named(tensors: dict[str, Tensor], like: tuple[LayerState, ...]) -> State:
    """The state whose tensors are `tensors`, nested as `like` is: the inverse of `named`.

    Raises:
        PlasticSearchError: a path is missing, or one too many.
    """
    paths = named(like).keys()
    for path in sorted(tensors.keys() ^ paths):
        raise PlasticSearchError(f"the state {'lacks' if path not in tensors else 'has no place for'} {path}")
    return State(unflatten(like, (tensors[path] for path in paths)))


def same_shapes(state: tuple[LayerState, ...], fresh: tuple[LayerState, ...]) -> State:
    """`state`, if its tensors have the paths, shapes, types and devices of those of `fresh`.

    Raises:
        PlasticSearchError: they have not; the message names the first difference.
    """
    if not isinstance(state, tuple) or not all(isinstance(layer, LayerState) for layer in state):
        raise PlasticSearchError(
            "state must be what `initial_state` or an earlier call returned, a LayerState for each layer, "
            f"but is {describe(state)}"
        )
    given, wanted = ({path: describe(t) for path, t in named(each).items()} for each in (state, fresh))
    for path in wanted | given:
        if given.get(path) != wanted.get(path):
            raise PlasticSearchError(
                f"the state's {path} must be {wanted.get(path)} (an episode continues with the batch it began with), "
                f"but is {given.get(path)}"
            )
    return State(state)


def checked_batch(batch: Any) -> int:
    """A number of episodes, if it is one.

    Raises:
        PlasticSearchError: it is not a whole number from 0.
    """
    if type(batch) is not int or batch < 0:
        raise PlasticSearchError(f"batch must be a whole number from 0, but is {describe(batch)}")
    return batch


def describe(value: Any) -> str:
    """A value for an error message: `[5, 3] of torch.float32 on cpu`, `3.5 of type float`."""
    if isinstance(value, Tensor):
        return f"{list(value.shape)} of {value.dtype} on {value.device}"
    text = repr(value)
    return f"{text if len(text) <= 40 else 'one'} of type {type(value).__name__}"
