"""Several threads at one piece of work. Compiled code lets go of Python's lock, so plain threads are enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["each"]

_pool: ThreadPoolExecutor | None = None
_size = 0


def each(work: Sequence[Callable[[], None]]) -> None:
    """Do all of `work`, side by side; the first piece in this thread."""
    first, *others = work
    waiting = [_executor(len(others)).submit(one) for one in others]
    first()
    for one in waiting:
        one.result()


def _executor(size: int) -> ThreadPoolExecutor:
    global _pool, _size
    if _pool is None or _size < size:
        _pool, _size = ThreadPoolExecutor(size, "plastic_search"), size
    return _pool


def _forget() -> None:
    """A forked process has none of its parent's threads."""
    global _pool, _size
    _pool, _size = None, 0


os.register_at_fork(after_in_child=_forget)
