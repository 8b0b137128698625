"""Paths as users give them: text, or what `pathlib` makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError

__all__ = ["as_path", "as_paths"]


def as_path(value: Path | str) -> Path:
    """`value` as a `Path`; every function that takes a path passes it through this first.

    Raises:
        PlasticSearchError: it is neither text nor a path, or is empty.
    """
    given: Any = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(given, str) or not given or "\0" in given:
        raise PlasticSearchError(f"a path must be text or a pathlib.Path, but is {value!r} ({type(value).__name__})")
    return Path(given)


def as_paths(values: Iterable[Path | str]) -> list[Path]:
    """`values` as a list of `Path`.

    Raises:
        PlasticSearchError: it is no list, or a member of it is no path.
    """
    if isinstance(values, str | os.PathLike) or not isinstance(values, Iterable):
        raise PlasticSearchError(f"wanted a list of paths, but got {values!r} ({type(values).__name__}); write [...]")
    return [as_path(value) for value in values]
