"""What the methods of parts have read, and whether it is still the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import is_
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CONTAINERS", "Line", "Reads", "contents", "numbers"]

CONTAINERS = (tuple, frozenset, list, deque, dict, MappingProxyType, set, bytearray)


class Line(NamedTuple):
    """One comparison: an expression, and the name of the object that it must be; "" for one that must be true."""

    expression: str
    expected: str
    label: str  # what is compared, in a few words

    @property
    def text(self) -> str:
        return f"{self.expression} is {self.expected}" if self.expected else self.expression


class Reads:
    """Comparisons with what was read. All of them take a microsecond for a layer, since they are one expression.

    Args:
        names: the objects in the lines. `same` and `numbers` are functions of this module.
    """

    def __init__(self, lines: Sequence[Line], names: dict[str, Any]) -> None:
        self._lines, self._names = lines, names | {"same": _same_items, "numbers": numbers}
        self._check = eval(f"lambda: {' and '.join(line.text for line in lines) or 'True'}", self._names)

    def unchanged(self) -> bool:
        """Whether all of it is the same object, or an equal number."""
        try:
            return self._check() or not self.difference()
        except Exception:  # a name is gone, or an array has other axes
            return not self.difference()

    def difference(self) -> str:
        """The first thing that has changed, in a few words; "" if nothing has."""
        return next((line.label for line in self._lines if not self._holds(line)), "")

    def _holds(self, line: Line) -> bool:
        try:
            now = eval(line.expression, self._names)
        except Exception:
            return False
        if not line.expected:
            return bool(now)
        before = self._names[line.expected]
        if now is not before and type(now) is type(before) in (int, float, str) and repr(now) == repr(before):
            self._names[line.expected] = now  # an equal number, which is found at once from now on
            return True
        return now is before


def _same_items(values: Any, expected: tuple[Any, ...]) -> bool:
    return len(values) == len(expected) and all(map(is_, values, expected))


def numbers(value: np.ndarray) -> tuple[Any, ...]:
    """An array's shape, type and bytes."""
    return (value.shape, str(value.dtype), value.tobytes())


def contents(value: Any) -> tuple[list[tuple[str, Any]], list[Any]]:
    """How to compare what is in a container, and the items.

    Returns:
        Expressions, in which `{}` stand for the container and for what belongs to them; and the items. Nothing for any
        other value.
    """
    match value:
        case tuple() | frozenset():
            return [], [*value]
        case list() | deque():
            return [("same({}, {})", tuple(value))], [*value]
        case dict() | MappingProxyType():
            keys, values = tuple(value), tuple(value.values())
            return [("same({}, {})", keys), ("same({}.values(), {})", values)], [*keys, *values]
        case set():
            return [("{} == {}", frozenset(value))], [*value]
        case bytearray():
            return [("{} == {}", bytes(value))], []
    return [], []
