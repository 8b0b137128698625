"""What tasks share that ask for the class of an episode: its mean output decides."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from plastic_search.tasks import Episodes, Task

__all__ = ["Classification", "drawn_once"]


@dataclass(frozen=True)
class Classification(Task, ABC):
    """The base of tasks whose targets are classes [batch]; outputs are logits, averaged from the query step on."""

    @property
    def chance(self) -> float:
        return 1.0 / self.outputs

    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        """The cross-entropy of the classes under the mean output."""
        return functional.cross_entropy(_mean(outputs, episodes), episodes.targets)

    def scores(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        """Each episode's score [batch]: 1 where the largest mean output is the class, else 0."""
        return (_mean(outputs, episodes).argmax(-1) == episodes.targets).float()


def _mean(outputs: Tensor, episodes: Episodes) -> Tensor:
    return outputs[episodes.query_step :].mean(0)


def drawn_once(count: int, size: int, rng: Generator) -> Tensor:
    """`size` indices of `count` items in random order, where each item occurs once before any occurs again."""
    rounds = [torch.randperm(count, generator=rng) for _ in range(-(-size // count))]
    return torch.cat(rounds)[:size] if rounds else torch.zeros(0, dtype=torch.long)
