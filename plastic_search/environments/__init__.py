"""Environments: what a network acts in, whose rewards it learns from.

An environment is a value; what changes while episodes run is a state, which `reset` returns and `step` receives. All
episodes of a batch run side by side, without a loop over them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, NamedTuple

from torch import Generator, Tensor

from plastic_search.core.part import Part

__all__ = ["Environment", "Moment", "Played", "Weighted"]


class Weighted(Enum):
    """The actions that count in a policy's loss."""

    ALL = "all"  # as in the papers, those without any effect too
    ANSWERS = "answers"  # those at Go steps alone, which are the only ones with an effect


@dataclass(frozen=True)
class Moment:
    """A batch of episodes between two actions.

    Args:
        observation: what the network receives now [batch, inputs].
        reward: of the action before [batch]; 0 at the start.
        weight: how much the action that is taken now counts in a policy's loss [batch]: 0 where it has no effect. None
            is 1 everywhere.
        trial: number of the trial that `reward` belongs to, integers [batch] from 0, and -1 where it belongs to none.
            None where an environment has no trials.
        done: true where the episode is over [batch]. None where every episode has `steps` steps.
        clear: true where the outputs and states of the network's cells, and its eligibility traces, are set to 0 before
            the next step, while its traces stay [batch]. None where that happens nowhere.
        marks: whatever else `metrics` reads, by name, each [batch].
    """

    observation: Tensor
    reward: Tensor
    weight: Tensor | None = None
    trial: Tensor | None = None
    done: Tensor | None = None
    clear: Tensor | None = None
    marks: dict[str, Tensor] = field(default_factory=dict)


class Played(NamedTuple):
    """A batch of whole episodes.

    Args:
        observations: [time, batch, inputs].
        actions: integers [time, batch], or floats [time, batch, actions] where actions are continuous.
        rewards: of each action [time, batch]; 0 after an episode's end.
        weights: of each action in a policy's loss [time, batch]; 0 after an episode's end.
        trials: of each reward [time, batch]; None where there are none.
        marks: by name, those of the moment after each action [time, batch].
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    weights: Tensor
    trials: Tensor | None
    marks: dict[str, Tensor]


@dataclass(frozen=True)
class Environment(Part):
    """What a network acts in."""

    score_name: ClassVar[str] = "reward"
    continuous: ClassVar[bool] = False  # whether an action is numbers from -1 to 1, or the index of one of `actions`

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Observation size."""

    @property
    @abstractmethod
    def actions(self) -> int:
        """Number of actions to choose from; where they are continuous, the numbers that an action consists of."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """The steps of an episode; at most so many, where `Moment.done` ends episodes."""

    @abstractmethod
    def reset(self, batch: int, rng: Generator) -> tuple[Any, Moment]:
        """Begin `batch` episodes.

        Args:
            rng: on the CPU, the only source of chance, here and in `step`.

        Returns:
            The state of the episodes, any value, and their first moment.
        """

    @abstractmethod
    def step(self, state: Any, actions: Tensor, rng: Generator) -> tuple[Any, Moment]:
        """Act in every episode.

        Args:
            state: as `reset` or the last step returned it; it may be changed in place.
            actions: integers [batch], or floats [batch, actions] where they are continuous.

        Returns:
            The state after it, and the moment.
        """

    def metrics(self, played: Played) -> dict[str, Tensor]:
        """What is measured in each episode, by name, floats [batch] each; larger is better. The first is the score.

        NaN stands where an episode has nothing to measure, such as no trial of a kind; means leave it out.
        """
        return {"reward": played.rewards.sum(0)}

    def frame(self, state: Any, episode: int) -> str:
        """A drawing of one episode as it stands: lines of characters, each a cell; "" where there is none to draw."""
        return ""
