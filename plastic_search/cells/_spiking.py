"""What leaky integrate-and-fire units have in common: settings, trained numbers, charging, and the reset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from plastic_search.cells import Cell, Membrane, Reset
from plastic_search.cells._ranges import leak, scaled, start_of_leak
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.surrogates import Surrogate
from plastic_search.surrogates.fast_sigmoid import FastSigmoid

__all__ = ["Charged", "IntegrateAndFire", "UnitParams", "UnitState"]


class UnitParams(NamedTuple):
    """Numbers that may have any value; `IntegrateAndFire` says what they are mapped to."""

    membrane: Tensor  # [post], of the time constant of the membrane
    threshold: Tensor  # [post]
    resistance: Tensor  # [post]
    synapse: Any  # [post], of the time constant of the synaptic current; () where there is none


class UnitState(NamedTuple):
    """() stands for what a unit does not have."""

    potential: Tensor  # [batch, post], v after the reset
    current: Any  # [batch, post], the synaptic current I
    waiting: Any  # [batch, post], time steps that are left of the refractory period


class Charged(NamedTuple):
    """A unit after its drive was received, and before its reset."""

    potential: Tensor  # [batch, post]
    current: Any  # [batch, post], or ()
    active: Tensor | None  # [batch, post], 0 in the refractory period, else 1; None where there is none


@dataclass(frozen=True)
class IntegrateAndFire(Cell, ABC):
    """The base of units that fire; a member says what their threshold is."""

    spiking: ClassVar[bool] = True
    signed: ClassVar[bool] = False

    membrane: float = 5.0
    synapse: float = 0.0
    threshold: float = 1.0
    resistance: float = 5.0
    refractory: int = 0
    reset: Reset = Reset.ZERO
    surrogate: Surrogate = FastSigmoid()
    longest: float = 1000.0
    span: float = 10.0

    def check_unit(self) -> None:
        """Refuse settings of no range."""
        self.check_time("membrane")
        if self.synapse:
            self.check_time("synapse")
        positive(self, "threshold", "resistance")
        if self.refractory < 0:
            raise PlasticSearchError(
                f"{type(self).__name__}.refractory wants a number of time steps from 0, but is {self.refractory}"
            )
        if self.span <= 1.0:
            raise PlasticSearchError(f"{type(self).__name__}.span is a factor and must be above 1, but is {self.span}")

    def check_time(self, name: str) -> None:
        """Refuse a time constant out of its range."""
        if not 1.0 < getattr(self, name) < self.longest:
            none = ", or 0 for no synaptic current" if name == "synapse" else ""
            raise PlasticSearchError(
                f"{type(self).__name__} wants 1 < {name} < longest, in time steps{none}, but got "
                f"{name}={getattr(self, name)}, longest={self.longest}"
            )

    def unit_params(self, post: int) -> UnitParams:
        """The trained numbers at their start."""
        synapse = start_of_leak(self.synapse, 1.0, self.longest, post) if self.synapse else ()
        membrane = start_of_leak(self.membrane, 1.0, self.longest, post)
        return UnitParams(membrane, torch.zeros(post), torch.zeros(post), synapse)

    def unit_state(self, batch: int, post: int, like: Tensor) -> UnitState:
        """At rest."""
        rest = like.new_zeros(batch, post)
        return UnitState(rest, rest if self.synapse else (), rest if self.refractory else ())

    def charged(self, params: Any, state: Any, drive: Tensor) -> Charged:
        """The unit after it has received `drive` [batch, post]."""
        received = current = drive
        if self.synapse:
            received = current = state.current + leak(params.synapse, 1.0, self.longest) * (drive - state.current)
        goal = scaled(params.resistance, self.resistance, self.span) * received
        step = leak(params.membrane, 1.0, self.longest) * (goal - state.potential)
        active = (state.waiting < 0.5).to(drive) if self.refractory else None
        potential = state.potential + (step if active is None else active * step)
        return Charged(potential, current if self.synapse else (), active)

    @abstractmethod
    def firing_threshold(self, params: Any, state: Any) -> Tensor:
        """The potential above which a unit fires in a step that begins with `state`: [post] or [batch, post]."""

    def membranes(self, params: Any, state: Any) -> Membrane:
        threshold, tau = self.firing_threshold(params, state), 1.0 / leak(params.membrane, 1.0, self.longest)
        return Membrane(state.potential, threshold.expand_as(state.potential), tau)

    def fired(self, charged: Charged, threshold: Tensor) -> Tensor:
        """The spikes [batch, post], 0 or 1."""
        spike = self.surrogate.spike(charged.potential - threshold)
        return spike if charged.active is None else charged.active * spike

    def after(self, charged: Charged, state: Any, spike: Tensor, threshold: Tensor) -> UnitState:
        """The unit after the reset by a spike, of which no derivative is taken."""
        spike = spike.detach()
        fall = charged.potential if self.reset is Reset.ZERO else threshold
        waiting = ()
        if self.refractory:
            waiting = torch.where(spike > 0.5, float(self.refractory), (state.waiting - 1.0).relu())
        return UnitState(charged.potential - spike * fall, charged.current, waiting)
