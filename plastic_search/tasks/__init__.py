"""Tasks: what a network is asked to do within one episode."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, NamedTuple

from torch import Generator, Tensor

from plastic_search.part import Part

__all__ = ["Episodes", "Split", "Task"]


class Split(Enum):
    """Which of a task's material an episode is drawn from. No item is in two splits."""

    TRAIN = "train"  # what parameters are fitted to
    VALIDATION = "validation"  # what a search chooses by
    TEST = "test"  # what is reported


class Episodes(NamedTuple):
    """A batch of episodes."""

    inputs: Tensor  # [time, batch, inputs]
    targets: Tensor  # [batch] class numbers, or [batch, outputs]
    asked: int  # the first time step whose output is scored


@dataclass(frozen=True)
class Task(Part):
    """What a network is asked to do within one episode."""

    score_name: ClassVar[str] = "accuracy"

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Numbers heard per step."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Numbers said per step."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The score of a guess."""

    @abstractmethod
    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        """`size` fresh episodes."""

    @abstractmethod
    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        """What training makes small, from the outputs [time, batch, outputs]."""

    @abstractmethod
    def scores(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        """Each episode's score [batch], from 0 to 1, larger is better."""
