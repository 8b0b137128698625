"""Plasticity rules: the direction of a synapse's change.

A rule maps one step of activity to a `Change`, a sum of outer products minus a decay, plus any other formula:

    dH = sum(coef * post (x) pre) - decay * H + dense

The plasticity rate, by which the change is multiplied, is set by the modulation, never by the rule.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import Part

__all__ = ["Activity", "AmplitudeShape", "Change", "Circumstances", "Outer", "Rule"]


class AmplitudeShape(Enum):
    """How many amplitudes of each kind a rule learns."""

    NETWORK = "network"  # [1, 1], one for the layer
    NEURON = "neuron"  # [post, 1]
    SYNAPSE = "synapse"  # [post, pre]


class Activity(NamedTuple):
    """Activity of one step at a layer's plastic synapses, and their trace.

    Args:
        pre: presynaptic activity [batch, pre].
        post: postsynaptic activity [batch, post].
        recalled: `recall`, where it is known already.
        trace: H before the change [batch, post, pre].
    """

    pre: Tensor
    post: Tensor
    recalled: Tensor | None
    trace: Tensor

    @property
    def recall(self) -> Tensor:
        """The output of the trace alone, H @ pre [batch, post]; a rule that does not read it does not pay for it."""
        if self.recalled is not None:
            return self.recalled
        return torch.bmm(self.trace, self.pre.unsqueeze(-1)).squeeze(-1)


class Circumstances(NamedTuple):
    """Where a rule is used, as far as it decides whether its equation is valid there.

    Args:
        signed: whether the activity of its cell may be negative.
        signed_rate: whether the plasticity rate may be negative.
        bounded: whether the trace is bounded.
        complete: whether every synapse of the plastic pathway exists.
    """

    signed: bool
    signed_rate: bool
    bounded: bool
    complete: bool


class Outer(NamedTuple):
    """One term of a change: coef * post (x) pre.

    Args:
        post: the postsynaptic factor [batch, post].
        pre: the presynaptic factor [batch, pre].
        coef: a number, or one for each synapse; broadcasts over [post, pre].
    """

    post: Tensor
    pre: Tensor
    coef: Tensor | float = 1.0

    def full(self) -> Tensor:
        """The term as a matrix [batch, post, pre]; a coefficient that is no matrix multiplies a vector."""
        post, pre, coef = self.post.unsqueeze(-1), self.pre.unsqueeze(-2), self.coef
        if not isinstance(coef, Tensor):
            return (post if coef == 1.0 else post * coef) * pre
        columns = coef.shape[-1] if coef.dim() else 1
        rows = coef.shape[-2] if coef.dim() > 1 else 1
        if columns == 1:
            return (post * coef) * pre
        return post * (pre * coef) if rows == 1 else coef * (post * pre)


class Change(NamedTuple):
    """dH = sum(coef * post (x) pre) - decay * H + dense

    Args:
        terms: the outer products that are summed.
        decay: a number, or one for each synapse of each episode; broadcasts over [batch, post, pre].
        dense: any formula of the activity and the trace, [batch, post, pre]; None for none.
    """

    terms: tuple[Outer, ...] = ()
    decay: Tensor | float = 0.0
    dense: Tensor | None = None

    def scaled(self, rate: Tensor) -> Change:
        """The change times a rate, which broadcasts over [batch, post]."""
        decays = isinstance(self.decay, Tensor) or self.decay != 0.0
        return Change(
            tuple(Outer(term.post * rate, term.pre, term.coef) for term in self.terms),
            self.decay * rate.unsqueeze(-1) if decays else 0.0,
            None if self.dense is None else self.dense * rate.unsqueeze(-1),
        )

    def full(self, trace: Tensor) -> Tensor:
        """The change as a matrix [batch, post, pre]: the definition that all kernels reproduce."""
        parts = [term.full() for term in self.terms]
        if self.dense is not None:
            parts.append(self.dense)
        if isinstance(self.decay, Tensor) or self.decay != 0.0:
            parts.append(-self.decay * trace)
        return sum(parts[1:], parts[0]) if parts else torch.zeros_like(trace)


@dataclass(frozen=True)
class Rule(Part):
    """The direction of a synapse's change.

    `step`, like that of a cell and of a modulation, is a function of its arguments and settings: it returns new tensors
    and changes none that it was given. What else it reads (globals, closures, class attributes, other functions, what
    is in lists, dicts and arrays) may change between two calls of a network: kernels capture it anew. A step that draws
    random numbers in Python, reads a clock or a file, or keeps count of its calls runs by the reference, and a warning
    gives the reason. Only a name that is put together while it runs, as in `getattr(module, "a" + "b")`, is not seen.
    """

    def params(self, post: int, pre: int, rng: Generator) -> Any:
        """Trainable parameters: a NamedTuple of tensors, drawn from `rng`; () by default, for none."""
        return ()

    def state(self, batch: int, post: int, pre: int, like: Tensor) -> Any:
        """The state at the start of an episode, of `like`'s type and device; () by default, for none."""
        return ()

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        """Why its equation is not valid in a layer, each reason with what to do instead; () by default.

        A network that is built with such a layer warns once.
        """
        return ()

    @abstractmethod
    def step(self, params: Any, state: Any, seen: Activity) -> tuple[Change, Any]:
        """The change caused by one step of activity, and the rule's next state."""
