"""The states of random generators, as a checkpoint keeps them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

__all__ = ["generator_states", "set_generators"]


def generator_states(rngs: Sequence[Generator]) -> Tensor:
    """The state of each generator [generator, bytes]."""
    return torch.stack([rng.get_state() for rng in rngs])


def set_generators(rngs: Sequence[Generator], states: Tensor) -> None:
    """Let generators go on from what `generator_states` returned."""
    for rng, state in zip(rngs, states, strict=True):
        rng.set_state(state.clone())  # set_state reads a view from the beginning of its storage
