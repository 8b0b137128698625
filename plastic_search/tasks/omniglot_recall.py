"""One-shot recall of handwritten characters from many alphabets: Omniglot (Lake, Salakhutdinov and Tenenbaum 2015).

1,623 characters of 50 alphabets, each drawn by 20 people, 105 x 105 pixels, MIT licence. The authors' background set
gives training (25 alphabets) and validation (5 others), their evaluation set gives the test (20 others), so that an
alphabet of one split is never seen in another. The data's archives, 6 MB, lie in the folder that PLASTIC_SEARCH_DATA
names, or are downloaded once.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks import Episodes, Split, Task
from plastic_search.tasks._archives import Archive, members, obtain
from plastic_search.tasks._one_shot import Classes, named_right, naming_loss, one_shot

_HOME = "https://raw.githubusercontent.com/brendenlake/omniglot/057f034baf2ecb8530bc5710e5a23584d2a519cc/python"
_BACKGROUND = (
    Archive(
        "omniglot/images_background.tar.xz",
        (("sha256", "432f44d0cfb7190b5f44b4d67afdcfba868a7710befb3c27cc9c1e88f5f05b5a"),),
    ),
    Archive(
        "omniglot/images_background.zip",
        (("md5", "68d2efa1b9178cc56df9314c21c6e718"), ("git", "71fd167eb6fdd312049395fbd247147a4b234231")),
        f"{_HOME}/images_background.zip",
    ),
)
_EVALUATION = (
    Archive(
        "omniglot/images_evaluation.tar.xz",
        (("sha256", "1ffc8473e5ad3caabdde94b3d026ef23453212c4642204ebb75a24200693454f"),),
    ),
    Archive(
        "omniglot/images_evaluation.zip",
        (("md5", "6b91aef0f799c5bb55b94e3f2daec811"), ("git", "8ccde0ed1565641f1fa8c57cdc6ff634e15fc5c1")),
        f"{_HOME}/images_evaluation.zip",
    ),
)
_PIXELS, _DRAWERS, _HELD_OUT = 105, 20, 5
_LARGEST, _MOST = 4096, 20_000  # bytes of an image, and images in an archive; the largest there is has under 1,000


@dataclass(frozen=True)
class OmniglotRecall(Task):
    """`ways` characters shown once, each with a random label; then one more drawing of one of them, to be named

    Args:
        ways: number of characters in an episode, 2 to 100.
        side: pixels along a side of a drawing, a divisor of 105; the 105 of the data are averaged in blocks.
        sharpness: what outputs are multiplied by before the softmax of the loss.
    """

    ways: int = 5
    side: int = 21
    sharpness: float = 4.0

    def check(self) -> None:
        if not 2 <= self.ways <= 100:
            raise PlasticSearchError(f"OmniglotRecall.ways must be 2 to 100, but is {self.ways}")
        if self.side < 1 or _PIXELS % self.side:
            sides = ", ".join(str(n) for n in range(3, _PIXELS + 1) if _PIXELS % n == 0)
            raise PlasticSearchError(f"OmniglotRecall.side must divide {_PIXELS} ({sides}), but is {self.side}")

    @property
    def inputs(self) -> int:
        return self.side**2 + self.ways

    @property
    def outputs(self) -> int:
        return self.ways

    @property
    def chance(self) -> float:
        return 1.0 / self.ways

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        inputs, targets = one_shot(_characters(split, self.side), size, self.ways, rng)
        return Episodes(inputs, targets, self.ways)

    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return naming_loss(outputs, episodes.targets, self.sharpness)

    def scores(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return named_right(outputs, episodes.targets)


@cache
def _characters(split: Split, side: int) -> Classes:
    """One split's drawings [characters, drawers, side * side], ink 1 and paper 0."""
    drawings = _drawings(_EVALUATION if split is Split.TEST else _BACKGROUND)
    mine = [name for name in sorted(drawings) if _alphabet(name) in _alphabets(split)]
    images = torch.stack([_pooled(drawings[name], side) for name in mine])
    return Classes(images, torch.full((len(mine),), _DRAWERS))


@cache
def _alphabets(split: Split) -> frozenset[str]:
    """The alphabets of one split; the five of validation are drawn once, by a fixed seed, from the sorted names."""
    known = sorted({_alphabet(name) for name in _drawings(_EVALUATION if split is Split.TEST else _BACKGROUND)})
    held_out = set() if split is Split.TEST else set(random.Random(0).sample(known, _HELD_OUT))
    return frozenset(held_out if split is Split.VALIDATION else set(known) - held_out)


@cache
def _drawings(archives: tuple[Archive, ...]) -> dict[str, np.ndarray]:
    """Each character's drawings as bits [drawers, 105, 14 bytes], 1 where there is paper; under 30 MB in all."""
    from PIL import Image

    archive, data = obtain(archives)
    found: dict[str, list[np.ndarray]] = {}
    for name, png in members(archive, data, ".png", _LARGEST, _MOST):
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if image.size != (_PIXELS, _PIXELS) or image.mode != "1":
                raise PlasticSearchError(f"{archive.path}: {name} is {image.mode} {image.size}, not 1 bit 105 x 105")
            rows = np.frombuffer(image.tobytes(), np.uint8).reshape(_PIXELS, -1)
        found.setdefault(name.rpartition("/")[0], []).append(rows)
    return {name: np.stack(rows) for name, rows in found.items()}


def _pooled(bits: np.ndarray, side: int) -> Tensor:
    """Drawings [drawers, side * side], each number the share of ink in a block of pixels."""
    ink = 1 - np.unpackbits(bits, axis=-1, count=_PIXELS)
    block = _PIXELS // side
    shares = ink.reshape(-1, side, block, side, block).mean((2, 4), dtype=np.float32)
    return torch.from_numpy(shares.reshape(-1, side * side))


def _alphabet(name: str) -> str:
    return name.split("/")[-2]
