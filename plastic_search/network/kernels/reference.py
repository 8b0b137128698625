"""The reference kernel: `step.layer_step` over a whole sequence, one step after another, differentiated by autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from plastic_search.network.controls import NOTHING, Controls
from plastic_search.network.formats import Formats
from plastic_search.network.kernels.torch_internals import tree_flatten, tree_map, tree_unflatten
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.network.step import LayerState, Ready, layer_start, layer_step
from plastic_search.structures import Shape

__all__ = ["of_members", "sequence", "sequences", "start"]


def sequence(
    layer: Layer,
    shape: Shape,
    form: Formats,
    ready: Ready,
    state: LayerState,
    x: Tensor,
    controls: Controls = NOTHING,
) -> tuple[Tensor, LayerState]:
    """All time steps of one layer.

    Args:
        x: [time, batch, sources], the inputs from other layers.
        controls: what is imposed, [time, batch, 1] each.

    Returns:
        Its outputs [time, batch, post], and its state after the last step.
    """
    outputs = []
    for t, inputs in enumerate(x):
        now = controls if controls is NOTHING else controls.at(t)
        state = layer_step(layer, shape, ready, state, inputs, form, now)
        outputs.append(state.output if now.ended is None else state.output.masked_fill(now.ended, 0.0))
    return torch.stack(outputs), state


def start(spec: NetworkSpec, layer: Layer, shape: Shape, ready: Ready, x: Tensor) -> LayerState:
    """The state of one layer at the start of the episodes `x` [time, batch, sources], or [member, ...]."""
    if x.dim() == 3:
        return layer_start(spec, layer, shape, ready, x.shape[1], x)
    of_first = tree_map(lambda t: None if t is None else t[0], ready)
    state = layer_start(spec, layer, shape, of_first, x.shape[2], x)
    return tree_map(lambda t: None if t is None else t.expand(len(x), *t.shape), state)


def sequences(
    layer: Layer,
    shape: Shape,
    form: Formats,
    ready: Ready,
    state: LayerState,
    x: Tensor,
    controls: Controls = NOTHING,
) -> tuple[Tensor, LayerState]:
    """`sequence` for each member of a population. The first axis of every tensor is over members.

    Args:
        controls: for all members alike; or each member's, [member, time, batch, 1] each.
    """
    if all(each is None or each.dim() == 3 for each in controls):
        return of_members(partial(sequence, layer, shape, form, controls=controls), (ready, state, x))
    return of_members(partial(sequence, layer, shape, form), (ready, state, x, controls))


def of_members(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """torch.func.vmap over the first axis of every tensor in `args`, for arguments and results that may contain None.

    Args:
        function: of the arguments of one member.
        args: its arguments, nested, with a first axis over members.
    """
    leaves, nest = tree_flatten(args)
    result_nest: Any = None
    is_none: list[bool] = []

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        nonlocal result_nest
        values = iter(tensors)
        result = function(*tree_unflatten([None if leaf is None else next(values) for leaf in leaves], nest))
        found, result_nest = tree_flatten(result)
        is_none[:] = [leaf is None for leaf in found]
        return tuple(leaf for leaf in found if leaf is not None)

    results = iter(torch.func.vmap(flat)(*(leaf for leaf in leaves if leaf is not None)))
    return tree_unflatten([None if none else next(results) for none in is_none], result_nest)
