"""Modulations: the plasticity rate, by which a rule's change is multiplied, and when it is applied."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part

__all__ = ["FanOut", "Modulation", "Observation", "Rate", "Reads", "Signal", "fanned", "filled"]


class FanOut(Enum):
    """How many rates follow from one modulator signal M."""

    NEURON = "neuron"  # rate_j = fan_j * M + base_j
    NETWORK = "network"  # rate = M, one for the whole layer
    SYNAPSE = "synapse"  # rate_ij = fan_ij * M + base_ij


class Reads(Enum):
    """Which activity h of its layer a modulator signal M = tanh(v . h + b) is computed from."""

    OUTPUT = "output"  # the new output
    PREVIOUS = "previous"  # the output of the step before
    MEMORY = "memory"  # the first tensor of the cell's new state, an LSTM's memory; of a cell without state, the output

    def of(self, seen: Observation) -> Tensor:
        """That activity [batch, post]."""
        if self is Reads.PREVIOUS:
            return seen.previous
        memory = _first(seen.cell) if self is Reads.MEMORY else None
        return seen.output if memory is None else memory


def _first(tree: Any) -> Tensor | None:
    """The first tensor of a nested tuple."""
    if isinstance(tree, Tensor):
        return tree
    return next((found for child in tree if (found := _first(child)) is not None), None)


class Rate(NamedTuple):
    """The plasticity rate of one step.

    Args:
        write: multiplies the change, or the eligibility trace. With up to two dimensions it broadcasts over
            [batch, post]; with three over [batch, post, pre], a rate for every synapse.
        eligibility: eta of E' = (1 - eta) E + eta dH, which broadcasts as `write` does; None where the change is
            written at once.
    """

    write: Tensor
    eligibility: Tensor | None = None


class Observation(NamedTuple):
    """What a modulation may read in one step.

    Args:
        output: the layer's new output [batch, post].
        previous: its output of the step before [batch, post].
        inputs: what the layer receives from other layers and the network's input [batch, columns].
        cell: the cell's new state, such as an LSTM's `memory` [batch, post]; () of a cell without any.
        source: the new output [batch, units] of the layer that `Modulation.source` names; None where it names none.
    """

    output: Tensor
    previous: Tensor
    inputs: Tensor
    cell: Any = ()
    source: Tensor | None = None


class Signal(NamedTuple):
    """Parameters of a modulator signal: M = tanh(v . h + b), rate_j = fan_j M + base_j.

    Args:
        weight: v [post].
        bias: b [1].
        fan: the factor of each neuron's rate [post], or of each synapse's [post, pre]; [0] where one rate serves all.
        base: each rate where M is 0, of the same shape.
    """

    weight: Tensor
    bias: Tensor
    fan: Tensor
    base: Tensor

    @classmethod
    def start(cls, post: int, pre: int, fan_out: FanOut, rate: float, rng: Generator) -> Signal:
        """A weak signal around a small positive rate, so that there is plasticity from the start of training."""
        weight = post**-0.5 * (2 * torch.rand(post, generator=rng) - 1)
        fan = filled(fan_out, post, pre, rate) if fan_out is not FanOut.NETWORK else torch.zeros(0)
        return cls(weight, torch.full((1,), rate), fan, fan.clone())

    def rates(self, seen: Tensor, fan_out: FanOut) -> Tensor:
        """The rates [batch, 1], [batch, post] or [batch, post, pre], from an activity h [batch, post]."""
        signal = torch.tanh((seen * self.weight).sum(-1, keepdim=True) + self.bias)
        return signal if fan_out is FanOut.NETWORK else fanned(signal, self.fan, self.base)


def filled(count: FanOut, post: int, pre: int, value: float) -> Tensor:
    """A parameter that starts with one value: [1], of each neuron [post], or of each synapse [post, pre]."""
    return torch.full({FanOut.NETWORK: (1,), FanOut.NEURON: (post,), FanOut.SYNAPSE: (post, pre)}[count], value)


def fanned(signal: Tensor, fan: Tensor, base: Tensor) -> Tensor:
    """fan * M + base: [batch, post], or [batch, post, pre] where these are of every synapse; M is [batch, 1]."""
    return (signal.unsqueeze(-1) if fan.dim() == 2 else signal) * fan + base


@dataclass(frozen=True)
class Modulation(Part):
    """The plasticity rate, by which a rule's change is multiplied, and when it is applied.

    What `Rule` says of its `step` holds for this one, too.

    Raises:
        PlasticSearchError: a member's method has the arguments of an earlier version.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        _refuse_old(cls, "params", ("post", "pre", "rng"))
        _refuse_old(cls, "step", ("params", "state", "seen"), " and returns (Rate, state); `seen.output` is the output")
        super().__init_subclass__(**kwargs)

    @property
    def source(self) -> int | None:
        """How many layers back lies another layer whose output it sees, 1 for the one before; None for none."""
        return None

    @property
    def signed(self) -> bool:
        """Whether its rates may be negative."""
        return True

    def check_inputs(self, columns: int, source: int) -> None:
        """Refuse a layer that it does not fit.

        Args:
            columns: of what the layer receives.
            source: units of the layer that `source` names; 0 where it names none.

        Raises:
            PlasticSearchError: the part reads what is not there.
        """

    def params(self, post: int, pre: int, rng: Generator) -> Any:
        """Trainable parameters: a NamedTuple of tensors, drawn from `rng`; () by default, for none."""
        return ()

    def state(self, batch: int, post: int, like: Tensor) -> Any:
        """The state at the start of an episode, of `like`'s type and device; () by default, for none."""
        return ()

    @abstractmethod
    def step(self, params: Any, state: Any, seen: Observation) -> tuple[Rate, Any]:
        """The rate of this step, and the modulation's next state."""


def _refuse_old(kind: type, name: str, wanted: tuple[str, ...], more: str = "") -> None:
    """Refuse a method that does not take the arguments `wanted`."""
    method = vars(kind).get(name)
    if not inspect.isfunction(method):
        return
    signature = inspect.signature(method)
    try:
        signature.bind(None, *wanted)
    except TypeError:
        raise PlasticSearchError(
            f"{kind.__name__}.{name}({', '.join(signature.parameters)}) has other arguments than it is called with: "
            f"it is now {name}(self, {', '.join(wanted)}){more}"
        ) from None
