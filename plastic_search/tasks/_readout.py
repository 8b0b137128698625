"""What tasks share that ask for the class of an episode: its mean output decides."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from plastic_search.tasks import Episodes

__all__ = ["drawn_once", "mean_loss", "mean_right"]


def mean_loss(outputs: Tensor, episodes: Episodes) -> Tensor:
    """The cross-entropy of the classes [batch] under the mean output from the query step on, which are logits."""
    return functional.cross_entropy(outputs[episodes.query_step :].mean(0), episodes.targets)


def mean_right(outputs: Tensor, episodes: Episodes) -> Tensor:
    """Each episode's score [batch]: 1 where the largest mean output from the query step on is the class, else 0."""
    return (outputs[episodes.query_step :].mean(0).argmax(-1) == episodes.targets).float()


def drawn_once(count: int, size: int, rng: Generator) -> Tensor:
    """`size` indices of `count` items in random order, where each item occurs once before any occurs again."""
    rounds = [torch.randperm(count, generator=rng) for _ in range(-(-size // count))]
    return torch.cat(rounds)[:size] if rounds else torch.zeros(0, dtype=torch.long)
