"""One-shot recall of real handwritten digits: the UCI set that scikit-learn carries (Alpaydin and Kaynak 1998).

1,797 images of 8 x 8 pixels. They are shuffled once, by a fixed seed, into three splits of 60, 20 and 20 %; an
image of one split is never seen in another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks import Episodes, Split, Task
from plastic_search.tasks._one_shot import Classes, named_right, naming_loss, one_shot

_SHARES = {Split.TRAIN: (0.0, 0.6), Split.VALIDATION: (0.6, 0.8), Split.TEST: (0.8, 1.0)}


@dataclass(frozen=True)
class DigitRecall(Task):
    """`ways` digits shown once, each with a random label; then one more image of one of them, to be named

    Args:
        ways: number of digits in an episode, 2 to 10.
        sharpness: what outputs are multiplied by before the softmax of the loss.
    """

    ways: int = 5
    sharpness: float = 4.0

    def check(self) -> None:
        if not 2 <= self.ways <= 10:
            raise PlasticSearchError(
                f"DigitRecall.ways must be 2 to 10, since there are ten digits, but is {self.ways}"
            )

    @property
    def inputs(self) -> int:
        return 64 + self.ways

    @property
    def outputs(self) -> int:
        return self.ways

    @property
    def chance(self) -> float:
        return 1.0 / self.ways

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        inputs, targets = one_shot(_digits(split), size, self.ways, rng)
        return Episodes(inputs, targets, self.ways)

    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return naming_loss(outputs, episodes.targets, self.sharpness)

    def scores(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return named_right(outputs, episodes.targets)


@cache
def _digits(split: Split) -> Classes:
    """One split's images, each pixel less its mean over the training images, in units of half the grey scale."""
    from sklearn.datasets import load_digits

    grey, named = load_digits(return_X_y=True)
    pixels, digit = torch.tensor(grey, dtype=torch.float32) / 8, torch.tensor(named)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    rows = {s: order[round(a * len(order)) : round(b * len(order))] for s, (a, b) in _SHARES.items()}
    mean = pixels[rows[Split.TRAIN]].mean(0)
    mine = rows[split]
    groups = [pixels[mine[digit[mine] == d]] - mean for d in range(10)]
    return Classes(
        torch.nn.utils.rnn.pad_sequence(groups, batch_first=True), torch.tensor([len(group) for group in groups])
    )
