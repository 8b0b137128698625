"""Copies of a Gymnasium environment, one for each episode of a batch; imports Gymnasium where it is needed."""

from __future__ import annotations

import weakref
from collections import defaultdict
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plastic_search.core.errors import PlasticSearchError, one_line

__all__ = ["Copies", "NotInstalled", "Recipe", "Spaces", "spaces"]

_INSTALL = 'python -m pip install "plastic-search[rl]"'
_FREE: dict[Recipe, list[Any]] = defaultdict(list)  # copies that no batch uses now; making one takes long


class NotInstalled(PlasticSearchError):  # noqa: N818, the name states the condition
    """Gymnasium is not on this machine, or what an environment of it needs."""


class Recipe(NamedTuple):
    """What `gymnasium.make` is called with."""

    id: str
    steps: int | None  # None: as registered
    options: tuple[tuple[str, Any], ...]

    def arguments(self) -> dict[str, Any]:
        return dict(self.options) | ({} if self.steps is None else {"max_episode_steps": self.steps})


class Spaces(NamedTuple):
    """What an environment takes and gives."""

    inputs: int
    actions: int  # as `Environment.actions`
    steps: int
    low: NDArray[np.float64] | None  # of each number of an action; None where actions are indices
    high: NDArray[np.float64] | None
    first: int  # the least index
    together: bool  # whether Gymnasium has a version that runs all episodes of a batch at once


class Copies:
    """Environments of one recipe, each played until its own end."""

    def __init__(self, recipe: Recipe, seeds: list[int]) -> None:
        self._spaces = spaces(recipe)
        self.done = np.zeros(len(seeds), bool)
        self.observations = np.zeros((len(seeds), self._spaces.inputs), np.float32)
        if self._spaces.together:
            made = _gymnasium().make_vec(recipe.id, len(seeds), **recipe.arguments())
            self._all, self._each = made, []
            self.observations[:] = _rows(made.reset(seed=seeds[0])[0])
            return
        free = _FREE[recipe]
        self._all, self._each = None, [free.pop() if free else _made(recipe) for _ in seeds]
        weakref.finalize(self, free.extend, self._each)
        for k, (one, seed) in enumerate(zip(self._each, seeds, strict=True)):
            self.observations[k] = _flat(one, one.reset(seed=seed)[0])

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The rewards, and which episodes are over; those that were keep their observation, and get 0.

        Args:
            actions: indices from 0 [batch], or numbers from -1 to 1 [batch, actions].
        """
        rewards = np.zeros(len(self.done), np.float32)
        low, high = self._spaces.low, self._spaces.high
        if low is None or high is None:
            actions = actions + self._spaces.first
        else:
            actions = low + (actions + 1.0) * (0.5 * (high - low))
        if self._all is not None:
            observations, found, ended, cut, _ = self._all.step(actions)
            going = ~self.done
            rewards[going], self.observations[going] = found[going], _rows(observations)[going]
            self.done |= ended | cut
            return rewards, self.done
        for k in np.flatnonzero(~self.done):
            observation, rewards[k], ended, cut, _ = self._each[k].step(actions[k])
            self.observations[k] = _flat(self._each[k], observation)
            self.done[k] = ended or cut
        return rewards, self.done


@cache
def spaces(recipe: Recipe) -> Spaces:
    """What an environment takes and gives.

    Raises:
        NotInstalled: Gymnasium is missing, or what this environment needs.
        PlasticSearchError: there is none of this name; or its observations or actions are of a kind that networks do
            not take or give.
    """
    gymnasium, made = _gymnasium(), _made(recipe)
    _FREE[recipe].append(made)
    steps = recipe.steps or made.spec.max_episode_steps
    if not steps:
        raise PlasticSearchError(
            f"{recipe.id} has no limit of its own; say after how many steps an episode ends: limit="
        )
    try:
        inputs = gymnasium.spaces.flatdim(made.observation_space)
    except (NotImplementedError, ValueError):
        raise PlasticSearchError(f"{recipe.id} has observations of no fixed size: {made.observation_space}") from None
    plain = isinstance(made.observation_space, gymnasium.spaces.Box)
    together = plain and made.spec.vector_entry_point is not None and not made.spec.additional_wrappers
    space = made.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return Spaces(inputs, int(space.n), steps, None, None, int(space.start), together)
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        return Spaces(inputs, len(low), steps, low, high, 0, together)
    raise PlasticSearchError(f"{recipe.id} has actions of {space}; Discrete ones and bounded rows of numbers are known")


def _gymnasium() -> ModuleType:
    try:
        import gymnasium
    except ImportError:
        raise NotInstalled(f"environments of Gymnasium need it, and it is not installed: {_INSTALL}") from None
    return gymnasium


def _made(recipe: Recipe) -> Any:
    gymnasium = _gymnasium()
    try:
        return gymnasium.make(recipe.id, disable_env_checker=True, **recipe.arguments())
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise NotInstalled(f"{recipe.id} needs what is not installed ({one_line(error)}): {_INSTALL}") from None
    except gymnasium.error.Error as error:
        raise PlasticSearchError(f"Gymnasium cannot make {recipe.id!r}: {one_line(error)}") from None
    except TypeError as error:
        raise PlasticSearchError(
            f"Gymnasium cannot make {recipe.id!r} with {recipe.options}: {one_line(error)}"
        ) from None


def _flat(made: Any, observation: Any) -> NDArray[Any]:
    """An observation as a row of numbers."""
    if isinstance(observation, np.ndarray):
        return observation.reshape(-1)
    return _gymnasium().spaces.flatten(made.observation_space, observation)


def _rows(observations: NDArray[Any]) -> NDArray[Any]:
    return observations.reshape(len(observations), -1)
