"""A layer's whole sequence by the law itself: one step after another, remembered by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_search import step as law
from plastic_search.precisions import Format
from plastic_search.spec import Layer
from plastic_search.step import LayerState, Ready
from plastic_search.structures import Shape

__all__ = ["sequence"]


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
    for heard in x:
        pre = torch.cat([heard, state.output], dim=1) if shape.own else heard
        state = law.layer_step(layer, shape, ready, state, pre, form)
        said.append(state.output)
    return torch.stack(said), state
