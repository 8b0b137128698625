"""Gymnasium: any environment of that library with observations of a fixed size (Towers et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Environment, Moment
from plastic_search.environments._copies import Copies, Recipe, Spaces, spaces


class _State(NamedTuple):
    copies: Copies


@dataclass(frozen=True)
class Gymnasium(Environment):
    """whatever `gymnasium.make(id)` is; a batch is as many copies of it, and an episode is over where it says so

    Needs Gymnasium, and MuJoCo for its bodies: `python -m pip install "plastic-search[rl]"`. Observations are
    flattened. Where actions are numbers, -1 is the least that the environment takes, 1 the most. Where Gymnasium has
    a version for batches of an environment (CartPole), that runs; else copies run one after the other.

    Args:
        id: the environment's name there, such as `CartPole-v1`; `module:Name-v0` imports a module first.
        limit: steps after which an episode ends; None is as registered.
        options: further arguments of `gymnasium.make`, as pairs of name and value, such as `("healthy_reward", 0.5)`.
    """

    id: str = "CartPole-v1"
    limit: int | None = None
    options: tuple[Any, ...] = ()

    def check(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise PlasticSearchError(f"Gymnasium.limit must be at least 1, but is {self.limit}")
        for pair in self.options:
            if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
                raise PlasticSearchError(f"Gymnasium.options must hold pairs of a name and a value, but holds {pair!r}")

    @property
    def inputs(self) -> int:
        return self._spaces.inputs

    @property
    def actions(self) -> int:
        return self._spaces.actions

    @property
    def steps(self) -> int:
        return self._spaces.steps

    @property
    def continuous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._spaces.low is not None

    @property
    def _spaces(self) -> Spaces:
        return spaces(self._recipe)

    @property
    def _recipe(self) -> Recipe:
        return Recipe(self.id, self.limit, self.options)

    def reset(self, batch: int, rng: Generator) -> tuple[_State, Moment]:
        copies = Copies(self._recipe, torch.randint(2**31, (batch,), generator=rng).tolist())
        return _State(copies), _moment(copies, torch.zeros(batch))

    def step(self, state: _State, actions: Tensor, rng: Generator) -> tuple[_State, Moment]:
        rewards, _ = state.copies.step(actions.numpy())
        return state, _moment(state.copies, torch.from_numpy(rewards))


def _moment(copies: Copies, reward: Tensor) -> Moment:
    return Moment(torch.tensor(copies.observations), reward, done=torch.tensor(copies.done))
