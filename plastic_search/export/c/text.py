"""Numbers, arrays and lines as text of C99."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

__all__ = ["FILES", "Constants", "block", "indented", "index_type", "number", "width"]

FILES = Path(__file__).parent / "files"  # text that is the same for every network
_WIDTH = 118


def number(value: float) -> str:
    """A number of single precision, as a literal that is read back as the same number."""
    value = float(np.float32(value))
    if math.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    text = str(np.float32(value))
    text = text if "." in text or "e" in text else f"{text}.0"
    return f"({text}f)" if value < 0 or text.startswith("-") else f"{text}f"


def index_type(largest: int) -> str:
    """The smallest unsigned type that holds a number."""
    return "uint8_t" if largest < 2**8 else "uint16_t" if largest < 2**16 else "uint32_t"


def indented(lines: Iterable[str]) -> list[str]:
    """Lines one level further in."""
    return [f"    {line}" if line else "" for line in lines]


def block(head: str, body: Iterable[str]) -> list[str]:
    """A statement with its body in braces."""
    return [f"{head} {{", *indented(body), "}"]


class Constants:
    """The arrays that a program reads, each once, in the order of their first use."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.bytes = 0
        self._names: dict[tuple[str, bytes], str] = {}

    def array(self, name: str, values: np.ndarray, kind: str) -> str:
        """The name of an array of these values: a new one, or one of equal content.

        Args:
            kind: the type of its elements in C.
        """
        values = np.ascontiguousarray(values).reshape(-1)
        key = kind, values.tobytes()
        if key not in self._names:
            self._names[key] = name
            self.bytes += values.size * _BYTES[kind]
            items = [number(v) if kind == "float" else str(int(v)) for v in values]
            self.text += [f"static const {kind} {name}[{len(items)}] = {{", *_filled(items), "};", ""]
        return self._names[key]


_BYTES = {"float": 4, "int8_t": 1, "int16_t": 2, "int32_t": 4, "uint8_t": 1, "uint16_t": 2, "uint32_t": 4}


def width(kind: str) -> int:
    """Bytes of a type of C."""
    return _BYTES[kind]


def _filled(items: Sequence[str]) -> list[str]:
    """Items in lines of a bounded length."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return [*lines, line]
