"""Integers of 64 bits in NumPy: the primitives of the golden model."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from plastic_search.export.c.fixed import CURVE

__all__ = ["Integers"]

_COMPARE = {
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip
_CURVE = np.array(CURVE, np.int64)


class Integers:
    """`fixed.Primitives` on arrays."""

    def literal(self, value: int) -> Any:
        return np.int64(value)

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def sub(self, a: Any, b: Any) -> Any:
        return a - b

    def shift(self, a: Any, bits: int) -> Any:
        return a * 2**bits if bits >= 0 else a >> min(-bits, 63)

    def mul(self, a: Any, b: Any, bits: int) -> Any:
        product = a * b
        product = (product + (1 << (bits - 1))) >> bits if bits > 0 else product * 2**-bits
        return self.clip(product, 2**30)

    def short(self, a: Any) -> Any:
        assert np.all(np.abs(a + 0.5) < 2**15), "an integer that should have 16 bits has more"
        return a

    def product(self, a: Any, b: Any) -> Any:
        return a * b

    def nearest(self, a: Any, bits: int) -> Any:
        return (a + (1 << (bits - 1))) >> bits if bits > 0 else self.shift(a, -bits)

    def excess(self, a: Any) -> Any:
        size = np.where(a < 0, ~a, a)
        return sum((size >= 1 << bits).astype(np.int64) for bits in range(15, 31))

    def down(self, a: Any, bits: Any) -> Any:
        return a >> bits

    def nearest_down(self, a: Any, bits: Any) -> Any:
        return (a + ((1 << bits) >> 1)) >> bits

    def atleast(self, a: Any, b: Any) -> Any:
        return np.maximum(a, b)

    def atmost(self, a: Any, b: Any) -> Any:
        return np.minimum(a, b)

    def clip(self, a: Any, most: int) -> Any:
        return np.clip(a, -most, most)

    def compare(self, op: str, a: Any, left: int, b: Any, right: int) -> Any:
        return _COMPARE[op](a * 2**left, b * 2**right)

    def logic(self, op: str, *args: Any) -> Any:
        return {"and": np.logical_and, "or": np.logical_or, "not": np.logical_not}[op](*args)

    def select(self, condition: Any, a: Any, b: Any) -> Any:
        return np.where(condition, a, b)

    def even(self, a: Any, bits: int) -> Any:
        if bits <= 0:
            return a * 2**-bits
        half = 1 << (bits - 1)
        up = (a + half) >> bits
        return up - (((a & ((1 << bits) - 1)) == half) & ((up & 1) == 1))

    def curve(self, a: Any, bits: int) -> Any:
        at = np.minimum(np.abs(a) >> (bits - 15), 8 * 2**15 - 1)
        low = _CURVE[at >> 10]
        value = low + (((_CURVE[(at >> 10) + 1] - low) * (at & 1023)) >> 10)
        return np.where(a < 0, -value, value)
