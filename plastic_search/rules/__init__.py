"""Plasticity rules: in which direction a synapse changes.

A rule sees one step of activity and answers with a `Change`, a sum of outer products minus a decay:

    dH = sum(coef * post (x) pre) - decay * H

How much of that change is applied is the modulation's business, never the rule's.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import Part

__all__ = ["Activity", "Change", "Outer", "Rule"]


class Activity(NamedTuple):
    """One step at a layer's plastic synapses: who spoke, who answered, and what the trace recalled."""

    pre: Tensor  # [batch, pre]
    post: Tensor  # [batch, post]
    recall: Tensor  # [batch, post], H @ pre


class Outer(NamedTuple):
    """One term of a change: coef * post (x) pre."""

    post: Tensor  # [batch, post]
    pre: Tensor  # [batch, pre]
    coef: Tensor | float = 1.0  # broadcasts over [post, pre]


class Change(NamedTuple):
    """dH = sum(coef * post (x) pre) - decay * H"""

    terms: tuple[Outer, ...]
    decay: Tensor | float = 0.0  # broadcasts over [batch, post, pre]

    def dense(self, trace: Tensor) -> Tensor:
        """The change as a full matrix [batch, post, pre]: the definition that kernels must equal."""
        change = -self.decay * trace
        for term in self.terms:
            change = change + term.coef * torch.einsum("bm,bn->bmn", term.post, term.pre)
        return change


@dataclass(frozen=True)
class Rule(Part):
    """In which direction a synapse changes."""

    def params(self, post: int, pre: int, rng: Generator) -> Any:
        """What training may tune: a NamedTuple of tensors, drawn from `rng`. Nothing, by default."""
        return ()

    def state(self, batch: int, post: int, pre: int, like: Tensor) -> Any:
        """What the rule remembers within an episode, of `like`'s type and device. Nothing, by default."""
        return ()

    @abstractmethod
    def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
        """The change that one step of activity asks for, and the rule's next state."""
