"""CrippledAnt: a body of four legs that may lose one, unnoticed (after Schmidgall 2020 and Najarro and Risi 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.environments import Environment, Moment, Played
from plastic_search.environments.gymnasium import Gymnasium

_OPTIONS = (("include_cfrc_ext_in_observation", False),)  # contact forces: 78 numbers that are mostly 0
_NONE = 4  # in the place of a leg's number


class Leg(Enum):
    """The leg that is lost; actions 2 k and 2 k + 1 are the hip and the ankle of leg k, in this order."""

    RANDOM = "random"  # each of the four as often, drawn for every episode
    NONE = "none"
    BACK_RIGHT = "back right"
    FRONT_LEFT = "front left"
    FRONT_RIGHT = "front right"
    BACK_LEFT = "back left"


_LEGS = (Leg.BACK_RIGHT, Leg.FRONT_LEFT, Leg.FRONT_RIGHT, Leg.BACK_LEFT)  # as Ant-v5 has its motors


class _State(NamedTuple):
    time: int
    ant: Any
    motors: Tensor  # [batch, 8] 0.0 for those of the lost leg, else 1.0


@dataclass(frozen=True)
class CrippledAnt(Environment):
    """reward of Gymnasium's Ant-v5; from step `lost_at` on the motors of one leg, which is not observed, do nothing

    Receives the 27 positions and velocities of the body. Needs `python -m pip install "plastic-search[rl]"`.

    Args:
        leg: which one is lost.
        lost_at: the step from which on; 0 from the start.
        steps: the most of an episode, which ends where the ant falls.
    """

    continuous: ClassVar[bool] = True

    leg: Leg = Leg.RANDOM
    lost_at: int = 0
    steps: int = 1000  # pyright: ignore[reportIncompatibleMethodOverride]

    def check(self) -> None:
        positive(self, "steps")
        if not 0 <= self.lost_at < self.steps:
            raise PlasticSearchError(f"CrippledAnt.lost_at must be 0 to {self.steps - 1}, but is {self.lost_at}")

    @property
    def inputs(self) -> int:
        return self._ant.inputs

    @property
    def actions(self) -> int:
        return 2 * len(_LEGS)

    @property
    def _ant(self) -> Gymnasium:
        return Gymnasium("Ant-v5", limit=self.steps, options=_OPTIONS)

    def reset(self, batch: int, rng: Generator) -> tuple[_State, Moment]:
        ant, moment = self._ant.reset(batch, rng)
        leg = torch.randint(len(_LEGS), (batch,), generator=rng)
        if self.leg is not Leg.RANDOM:
            leg.fill_(_NONE if self.leg is Leg.NONE else _LEGS.index(self.leg))
        motors = (torch.arange(self.actions) // 2 != leg.unsqueeze(1)).float()
        return _State(0, ant, motors), moment

    def step(self, state: _State, actions: Tensor, rng: Generator) -> tuple[_State, Moment]:
        lost = state.time >= self.lost_at
        ant, moment = self._ant.step(state.ant, actions * state.motors if lost else actions, rng)
        return state._replace(time=state.time + 1, ant=ant), moment

    def metrics(self, played: Played) -> dict[str, Tensor]:
        after = {"reward after the loss": played.rewards[self.lost_at :].sum(0)} if self.lost_at else {}
        return {"reward": played.rewards.sum(0), **after, "steps": (played.weights > 0).float().sum(0)}
