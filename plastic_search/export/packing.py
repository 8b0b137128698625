"""Signed integers of 4, 2 or 1 bits, several in a byte, the first in its lowest bits, as ONNX has INT4 and INT2.

Integers of 4 and 2 bits are two's complement; one bit is -1 where it is 0, and 1 where it is 1. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["pack", "unpack"]


def pack(codes: np.ndarray, width: int) -> np.ndarray:
    """Integers of any shape as bytes [ceil(count * width / 8)], uint8.

    Args:
        codes: that fit `width` bits.
        width: 4, 2, or 1, where all are -1 or 1.
    """
    flat = codes.astype(np.int64).ravel()
    fields = flat > 0 if width == 1 else flat & (2**width - 1)
    padded = np.zeros((-(-flat.size * width // 8), 8 // width), np.uint8)
    padded.ravel()[: flat.size] = fields
    return np.bitwise_or.reduce(padded << np.arange(0, 8, width, dtype=np.uint8), axis=1)


def unpack(data: np.ndarray, width: int, shape: Sequence[int], top: int) -> np.ndarray:
    """The integers of `shape`, int8, in what `pack` made of them.

    Args:
        top: the largest magnitude that their format has: 7 in 4 bits, 3 in 3 bits.

    Raises:
        ValueError: the bytes are not as many as the shape takes, one of the bits after the last integer is set, or an
            integer has more bits than its format.
    """
    count = math.prod(shape)
    wanted = -(-count * width // 8)
    if data.dtype != np.uint8 or data.shape != (wanted,):
        found = f"{data.dtype} {list(data.shape)}"
        raise ValueError(f"{count} integers of {width} bits are uint8 [{wanted}], but it is {found}")
    fields = ((data[:, None] >> np.arange(0, 8, width, dtype=np.uint8)) & (2**width - 1)).ravel().astype(np.int16)
    if fields[count:].any():
        raise ValueError(f"bits after the last of its {count} integers are set")
    signed = 2 * fields - 1 if width == 1 else fields - ((fields >= 2 ** (width - 1)) << width)
    codes = signed[:count].astype(np.int8)
    if (largest := int(np.abs(codes).max(initial=0))) > top:
        raise ValueError(f"an integer is {largest}, but in its format at most {top}: more bits than it holds")
    return codes.reshape(tuple(shape))
