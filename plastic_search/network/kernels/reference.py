"""A layer's whole sequence by the law itself: one step after another, remembered by autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from plastic_search.network import step as law
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.network.step import LayerState, Ready
from plastic_search.precisions import Format
from plastic_search.structures import Shape

__all__ = ["of_members", "sequence", "sequences", "start"]


def sequence(
    layer: Layer, shape: Shape, form: Format | None, ready: Ready, state: LayerState, x: Tensor
) -> tuple[Tensor, LayerState]:
    """All time steps of one layer.

    Args:
        x: [time, batch, sources], what the layer hears of others.

    Returns:
        Its outputs [time, batch, post], and its state after the last step.
    """
    said = []
    for inputs in x:
        state = law.layer_step(layer, shape, ready, state, inputs, form)
        said.append(state.output)
    return torch.stack(said), state


def start(spec: NetworkSpec, layer: Layer, shape: Shape, ready: Ready, x: Tensor) -> LayerState:
    """The state of one layer at the start of the episodes `x` [time, batch, sources], or [member, ...]."""
    if x.dim() == 3:
        return law.layer_start(spec, layer, shape, ready, x.shape[1], x)
    one = pytree.tree_map(lambda t: None if t is None else t[0], ready)
    made = law.layer_start(spec, layer, shape, one, x.shape[2], x)
    return pytree.tree_map(lambda t: None if t is None else t.expand(len(x), *t.shape), made)


def sequences(
    layer: Layer, shape: Shape, form: Format | None, ready: Ready, state: LayerState, x: Tensor
) -> tuple[Tensor, LayerState]:
    """All time steps of one layer of each member of a population. Every tensor's first axis is over members."""
    return of_members(lambda *own: sequence(layer, shape, form, *own), (ready, state, x))


def of_members(function: Callable[..., Any], nests: tuple[Any, ...]) -> Any:
    """What `function` makes of the tensors of each member, which lie along the first axis of those in `nests`.

    Written for one network, it is run once for all of them (torch.func.vmap), and may give and take nests with None.
    """
    leaves, nest = pytree.tree_flatten(nests)
    shapes: list[Any] = []

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        made = function(*pytree.tree_unflatten([None if leaf is None else next(given) for leaf in leaves], nest))
        found, shape = pytree.tree_flatten(made)
        shapes[:] = [shape, [leaf is None for leaf in found]]
        return tuple(leaf for leaf in found if leaf is not None)

    results = iter(torch.func.vmap(flat)(*(leaf for leaf in leaves if leaf is not None)))
    shape, empty = shapes
    return pytree.tree_unflatten([None if none else next(results) for none in empty], shape)
