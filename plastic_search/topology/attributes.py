"""Attributes of graphs as other programs write them: which are ours, and what their values mean."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.topology.raw import Edge, quoted

__all__ = ["flags", "own_attributes", "parse_flag", "parse_number", "parse_whole"]

_ENDING = 3  # letters that may follow a name in a misspelling, as in `plasticity`

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[+-]?\d{1,300}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_HEXADECIMAL = re.compile(r"[+-]?0x[0-9a-f]+(\.[0-9a-f]*)?(p[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def own_attributes(data: dict[Any, Any], known: Iterable[str], what: str, where: Callable[[], str]) -> dict[str, Any]:
    """The attributes in `data` whose names are known, in any case; others, of other programs, are left out.

    Args:
        what: what has them, in a message: "an edge".
        where: which one that is, for a message.

    Raises:
        PlasticSearchError: a name is nearly a known one.
    """
    found = {name: data[name] for name in known if name in data}
    for name, value in data.items():
        meant = None if name in found else _meant(str(name), tuple(known))
        if meant is None:
            continue
        if meant != str(name).lower():
            raise unknown(f"attribute of {what}", str(name), known, f"It is in {where()}; rename it.")
        found.setdefault(meant, value)
    return found


def flags(edge: Edge, where: str = "") -> dict[str, bool]:
    """The attributes `plastic` and `exists` of an edge of any graph, where it has them.

    Args:
        where: begins a message, before the edge.

    Raises:
        PlasticSearchError: one is no flag, or another attribute has nearly its name.
    """
    own = own_attributes(edge.data, ("plastic", "exists"), "an edge", lambda: f"{where}{edge}")
    for name, value in own.items():
        own[name] = parse_flag(value)
        if own[name] is None:
            raise PlasticSearchError(f"{where}{edge} has {name}={quoted(value)}, which must be true or false")
    return own


@lru_cache(maxsize=4096)
def _meant(name: str, known: tuple[str, ...]) -> str | None:
    """Which of `known` a name is, or nearly is."""
    lower = name.lower()
    return lower if lower in known else next((each for each in known if _is_near(lower, each)), None)


def _is_near(name: str, known: str) -> bool:
    """Whether two names differ by one letter or by the order of two, or `name` goes on for up to three letters."""
    longer = len(name) - len(known)
    if name.startswith(known) and 0 < longer <= _ENDING and name.isalpha():
        return True
    if abs(longer) > 1:
        return False
    first = next((i for i, (a, b) in enumerate(zip(name, known, strict=False)) if a != b), min(len(name), len(known)))
    rest, other = name[first:], known[first:]
    swapped = rest[:2] == other[1::-1] and rest[2:] == other[2:]
    return swapped or rest[1:] == other[1:] or rest[1:] == other or rest == other[1:]


def parse_flag(value: Any) -> bool | None:
    """A bool, text such as `true`, `True` and `1`, or 0 or 1 as a number; NumPy's included."""
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | np.bool_) or (_is_number(value) and value in (0, 1)) else None


def parse_number(value: Any) -> float | None:
    """A finite float, of a number (NumPy's included) or of text in decimal or hexadecimal digits (as graph-tool's)."""
    try:
        if isinstance(value, str):
            number = _from_text(value.strip())
        else:
            number = float(value) if _is_number(value) else math.nan
    except OverflowError:  # an integer, or hexadecimal digits, beyond the floats
        return None
    return number if math.isfinite(number) else None


def parse_whole(value: Any) -> int | None:
    """An int, of a whole number (NumPy's and 3.0 included) or of text that spells one."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    number = parse_number(value)
    return int(number) if number is not None and number.is_integer() else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _from_text(text: str) -> float:
    if _DECIMAL.fullmatch(text):
        return float(text)
    return float.fromhex(text) if _HEXADECIMAL.fullmatch(text) else math.nan
