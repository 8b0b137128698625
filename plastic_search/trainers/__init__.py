"""Trainers: how a network's parameters are found."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from plastic_search.core.part import Part
from plastic_search.network.module import Network
from plastic_search.tasks import Task

__all__ = ["Progress", "Trainer"]


class Progress(NamedTuple):
    """Where a training stands."""

    step: int  # updates made
    steps: int  # updates in all
    loss: float  # mean over the updates since the last progress


@dataclass(frozen=True)
class Trainer(Part):
    """How a network's parameters are found."""

    @abstractmethod
    def train(self, net: Network, task: Task, seed: int) -> Iterator[Progress]:
        """Train `net` in place; the caller looks at each progress, and stops by not asking for the next."""
