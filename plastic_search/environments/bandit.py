"""Bandit: which arm pays best differs in every episode, and is found by trying (Wang et al. 2016, Duan et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.environments import Environment, Moment, Played


class _State(NamedTuple):
    time: int
    chances: Tensor  # [batch, arms]
    luck: Tensor  # [steps, batch]; an arm whose chance is larger pays


@dataclass(frozen=True)
class Bandit(Environment):
    """arm a pays 1 with probability p_a, else 0; p_a is drawn from 0 to 1 for every episode

    Receives 1 in the place of the arm that was pulled last if it paid, -1 if not, 0 for the others, and a bias of 1.
    Every pull is a trial.

    Args:
        arms: number of arms, at least 2.
        steps: pulls in an episode.
    """

    score_name: ClassVar[str] = "reward per pull"

    arms: int = 3
    steps: int = 50  # pyright: ignore[reportIncompatibleMethodOverride]

    def check(self) -> None:
        positive(self, "steps")
        if self.arms < 2:
            raise PlasticSearchError(f"Bandit.arms must be at least 2, but is {self.arms}")

    @property
    def inputs(self) -> int:
        return self.arms + 1

    @property
    def actions(self) -> int:
        return self.arms

    def reset(self, batch: int, rng: Generator) -> tuple[_State, Moment]:
        chances = torch.rand(batch, self.arms, generator=rng)
        luck = torch.rand(self.steps, batch, generator=rng)
        observation = torch.zeros(batch, self.inputs)
        observation[:, -1] = 1.0
        nothing = torch.zeros(batch)
        marks = {"best": torch.zeros(batch, dtype=torch.bool)}
        moment = Moment(observation, nothing, trial=torch.full((batch,), -1), marks=marks)
        return _State(0, chances, luck), moment

    def step(self, state: _State, actions: Tensor, rng: Generator) -> tuple[_State, Moment]:
        time, chances, luck = state
        pulled = actions.unsqueeze(1)
        chance = chances.gather(1, pulled).squeeze(1)
        reward = (luck[time] < chance).float()
        observation = torch.zeros(len(actions), self.inputs)
        observation.scatter_(1, pulled, 2.0 * reward.unsqueeze(1) - 1.0)
        observation[:, -1] = 1.0
        marks = {"best": chance == chances.amax(1)}
        moment = Moment(observation, reward, trial=torch.full_like(actions, time), marks=marks)
        return state._replace(time=time + 1), moment

    def metrics(self, played: Played) -> dict[str, Tensor]:
        best, quarter = played.marks["best"].float(), max(1, self.steps // 4)
        return {
            "reward per pull": played.rewards.mean(0),
            "best arm, last quarter": best[-quarter:].mean(0),
            "best arm, first quarter": best[:quarter].mean(0),
        }
