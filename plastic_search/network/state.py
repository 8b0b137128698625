"""The state of a network: its tensors by name, and whether they are of the right size."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.pytree import flatten, unflatten
from plastic_search.network.step import LayerState, Ready

State = tuple[LayerState, ...]


def named(state: State | tuple[Ready, ...]) -> dict[str, Tensor]:
    """Every tensor of a state, or of prepared parameters, by its path: `layers.1.trace`, `layers.0.cell.memory`."""
    return {name: t for i, layer in enumerate(state) for name, t in flatten(layer, f"layers.{i}").items()}


def load_named(tensors: dict[str, Tensor], like: State) -> State:
    """The state whose tensors are `tensors`, nested as `like` is: the inverse of `named`.

    Raises:
        PlasticSearchError: a path is missing, or one too many.
    """
    paths = named(like).keys()
    for path in sorted(tensors.keys() ^ paths):
        raise PlasticSearchError(f"the state {'lacks' if path not in tensors else 'has no place for'} {path}")
    return unflatten(like, (tensors[path] for path in paths))


def _told(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else 'one'} of type {type(value).__name__}"


def same_shapes(state: State, fresh: State) -> State:
    """`state`, if it is formed as `fresh` is.

    Raises:
        PlasticSearchError: it is not; the message names what differs.
    """
    if not isinstance(state, tuple) or not all(isinstance(layer, LayerState) for layer in state):
        raise PlasticSearchError(
            f"state must be what `start` or an earlier call gave, a LayerState for each layer, but is {_told(state)}"
        )
    given, wanted = (
        {n: f"{list(t.shape)} of {t.dtype} on {t.device}" for n, t in named(s).items()} for s in (state, fresh)
    )
    for name in wanted | given:
        if given.get(name) != wanted.get(name):
            raise PlasticSearchError(
                f"the state's {name} must be {wanted.get(name)} (time goes on where it stopped, batch first), "
                f"but is {given.get(name)}"
            )
    return state
