"""Modulations: the plasticity rate, by which a rule's change is multiplied, and when it is applied."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import Part

__all__ = ["FanOut", "Modulation", "Rate", "Signal"]


class FanOut(Enum):
    """How many rates follow from one modulator signal."""

    NEURON = "neuron"  # rate_j = fan_j * signal + base_j
    NETWORK = "network"  # rate = signal, one for the whole layer


class Rate(NamedTuple):
    """The plasticity rate of one step.

    Args:
        write: multiplies the change, or the eligibility trace; broadcasts over [batch, post].
        eligibility: eta of E' = (1 - eta) E + eta dH, one number; None where the change is written at once.
    """

    write: Tensor
    eligibility: Tensor | None = None


class Signal(NamedTuple):
    """Parameters of a modulator signal: M = tanh(v . h + b), rate_j = fan_j M + base_j.

    Args:
        weight: v [post].
        bias: b [1].
        fan: the factor of each neuron's rate [post], or [0] where one rate serves all.
        base: each neuron's rate where M is 0 [post], or [0].
    """

    weight: Tensor
    bias: Tensor
    fan: Tensor
    base: Tensor

    @classmethod
    def start(cls, post: int, fan_out: FanOut, rate: float, rng: Generator) -> Signal:
        """A weak signal around a small positive rate, so that there is plasticity from the start of training."""
        weight = post**-0.5 * (2 * torch.rand(post, generator=rng) - 1)
        per_neuron = torch.full((post if fan_out is FanOut.NEURON else 0,), rate)
        return cls(weight, torch.full((1,), rate), per_neuron, per_neuron.clone())

    def rates(self, output: Tensor, fan_out: FanOut) -> Tensor:
        """The rates [batch, post] or [batch, 1], from a layer's new output [batch, post]."""
        signal = torch.tanh((output * self.weight).sum(-1, keepdim=True) + self.bias)
        return signal * self.fan + self.base if fan_out is FanOut.NEURON else signal


@dataclass(frozen=True)
class Modulation(Part):
    """The plasticity rate, by which a rule's change is multiplied, and when it is applied."""

    def params(self, post: int, rng: Generator) -> Any:
        """Trainable parameters: a NamedTuple of tensors, drawn from `rng`; () by default, for none."""
        return ()

    @abstractmethod
    def step(self, params: Any, output: Tensor) -> Rate:
        """The rate of this step, from the layer's new output [batch, post]."""
