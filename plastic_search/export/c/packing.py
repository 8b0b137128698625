"""Integers of 1, 2 and 4 bits in C: in how many bits they are stored, and how they are read."""

from __future__ import annotations

import numpy as np

from plastic_search.export.packing import pack

__all__ = ["bits_of", "bits_within", "by_rows", "kind_of", "packed", "unpacked"]


def bits_of(values: np.ndarray) -> int:
    """The fewest bits in which C holds some codes, 1, 2, 4, 8, 16 or 32; in one bit they are -1 and 1."""
    if values.size and (np.abs(values) == 1).all():
        return 1
    return bits_within(int(np.abs(values).max(initial=0)))


def bits_within(largest: int) -> int:
    """The fewest bits, from 2, of codes that are at most so large."""
    return next(bits for bits in (2, 4, 8, 16, 32) if largest < 2 ** (bits - 1))


def kind_of(bits: int) -> str:
    """The type in C of what holds codes of so many bits."""
    return f"int{bits}_t" if bits >= 8 else "uint8_t"


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Codes as they are stored: bytes of several, if they have fewer than 8 bits."""
    values = np.asarray(values, np.int64).reshape(-1)
    return values if bits >= 8 else pack(values, bits)


def by_rows(columns: int, bits: int, sparse: bool) -> bool:
    """Whether the codes of a unit are whole bytes, and so are unpacked together, which compilers vectorise."""
    return bits in (2, 4) and not sparse and columns * bits % 8 == 0


def unpacked(array: str, bits: int) -> str:
    """The expression of the code `k` of an array."""
    return f"{array}[k]" if bits >= 8 else f"unpacked{bits}({array}, k)"
