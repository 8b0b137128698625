"""Fashion-MNIST as currents: ten kinds of clothing (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747, MIT licence).

60,000 images for training, of which the last 10,000 are validation, and 10,000 for the test.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.encoders import Encoder
from plastic_search.encoders.analogue import Analogue
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks._archives import Archive, obtain
from plastic_search.tasks._readout import Classification, drawn_once

_HOME = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion"
_DIGESTS = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_SIDE = 28
_FILES = {Split.TRAIN: "train", Split.VALIDATION: "train", Split.TEST: "t10k"}
_ROWS = {Split.TRAIN: slice(0, 50_000), Split.VALIDATION: slice(50_000, None), Split.TEST: slice(None)}


class Scan(Enum):
    """How an image lies in time."""

    WHOLE = "whole"  # all 784 pixels at once, as currents that last
    ROWS = "rows"  # one row of 28 pixels after another


class _Images(NamedTuple):
    pixels: Tensor  # [images, 28, 28], bytes
    kinds: Tensor  # [images], 0 to 9


@dataclass(frozen=True)
class FashionCurrents(Classification):
    """an image's pixels as currents from 0 to 1, encoded; which of ten kinds of clothing? The answer is the mean output

    Args:
        scan: whether the image is shown as a whole, or row by row.
        steps: steps for which the image, or each of its rows, is shown.
        encoder: how currents become inputs.
    """

    scan: Scan = Scan.WHOLE
    steps: int = 5
    encoder: Encoder = Analogue()

    def check(self) -> None:
        positive(self, "steps")

    @property
    def inputs(self) -> int:
        return self.encoder.channels(_SIDE if self.scan is Scan.ROWS else _SIDE**2)

    @property
    def outputs(self) -> int:
        return 10

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        images = _images(split)
        chosen = drawn_once(len(images.kinds), size, rng)
        pixels = images.pixels[chosen].to(torch.get_default_dtype()) / 255
        rows = pixels.transpose(0, 1) if self.scan is Scan.ROWS else pixels.flatten(1).unsqueeze(0)
        currents = rows.repeat_interleave(self.steps, 0)
        return Episodes(self.encoder.encode(currents, rng), images.kinds[chosen], 0)


@cache
def _images(split: Split) -> _Images:
    name, rows = _FILES[split], _ROWS[split]
    pixels, kinds = _idx(f"{name}-images-idx3-ubyte.gz", 3), _idx(f"{name}-labels-idx1-ubyte.gz", 1)
    return _Images(pixels[rows], kinds[rows].long())


@cache
def _idx(name: str, axes: int) -> Tensor:
    """The bytes of an IDX file: 0, 0, the code of bytes, the number of axes, their lengths, the data."""
    archive, packed = obtain((Archive(f"fashion-mnist/{name}", (("sha256", _DIGESTS[name]),), f"{_HOME}/{name}"),))
    data = gzip.decompress(packed)
    shape = np.frombuffer(data, ">u4", axes, 4).tolist()
    if data[:4] != bytes((0, 0, 8, axes)) or len(data) != 4 + 4 * axes + int(np.prod(shape)):
        raise PlasticSearchError(f"{archive.path} is not an IDX file of bytes with {axes} axes")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape).copy())
