"""One-shot episodes from images sorted by class: shown once with a random label, then one more image to name."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

__all__ = ["Classes", "OneShot", "named_right", "naming_loss", "one_shot"]


class Classes(NamedTuple):
    """Images sorted by class, padded to the size of the largest class."""

    images: Tensor  # [classes, size of the largest class, pixels]
    counts: Tensor  # [classes], images of each; the rest is padding


class OneShot(NamedTuple):
    inputs: Tensor  # [ways + 1, batch, pixels + ways]
    targets: Tensor  # [batch], the label of the last image


def one_shot(classes: Classes, size: int, ways: int, rng: Generator) -> OneShot:
    """`size` episodes: `ways` images of different classes, each with a one-hot label, then one more without.

    Classes, labels and order are drawn anew for every episode. The last image is of one of the classes shown,
    and is never the very image that was shown.
    """
    known, _, pixels = classes.images.shape
    chosen = torch.rand(size, known, generator=rng).argsort(1)[:, :ways]
    labels = torch.rand(size, ways, generator=rng).argsort(1)
    counts = classes.counts[chosen]
    shown = (torch.rand(size, ways, generator=rng) * counts).long()
    query_step = torch.randint(ways, (size,), generator=rng)
    row = torch.arange(size)
    count = counts[row, query_step]
    further = 1 + (torch.rand(size, generator=rng) * (count - 1)).long()
    query = (shown[row, query_step] + further) % count
    inputs = classes.images.new_zeros(ways + 1, size, pixels + ways)
    inputs[:ways, :, :pixels] = classes.images[chosen, shown].transpose(0, 1)
    inputs[:ways, :, pixels:] = F.one_hot(labels, ways).to(inputs.dtype).transpose(0, 1)
    inputs[ways, :, :pixels] = classes.images[chosen[row, query_step], query]
    return OneShot(inputs, labels[row, query_step])


def naming_loss(outputs: Tensor, targets: Tensor, sharpness: float) -> Tensor:
    """The cross-entropy of the last step's outputs [time, batch, ways], times `sharpness`, with the labels [batch]."""
    return F.cross_entropy(sharpness * outputs[-1], targets)


def named_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Each episode's score [batch]: 1 where the largest output of the last step is the label, else 0."""
    return (outputs[-1].argmax(-1) == targets).float()
