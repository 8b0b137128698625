"""Runs compiled code in several threads.

The threads of torch's OpenMP are used where possible: they wait for torch's next work by spinning, for milliseconds,
on the cores that other threads would need. Without such a library, Python threads do, since compiled code releases the
global interpreter lock.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plastic_search.network.kernels.cpu.compiler import compiled

__all__ = ["Piece", "Shared"]

# What each thread of a team does. `data` holds the address of the function that returns a thread's number, that of the
# work, the number of pieces, the next piece, the scratch memory and its size for each thread; and then, for each piece,
# a table and its first and last episode.
_TEAM = """
define void @team(ptr %data) {
entry:
  %number = load ptr, ptr %data
  %work.at = getelementptr i64, ptr %data, i64 1
  %work = load ptr, ptr %work.at
  %pieces.at = getelementptr i64, ptr %data, i64 2
  %pieces = load i64, ptr %pieces.at
  %next = getelementptr i64, ptr %data, i64 3
  %rooms.at = getelementptr i64, ptr %data, i64 4
  %rooms = load ptr, ptr %rooms.at
  %size.at = getelementptr i64, ptr %data, i64 5
  %size = load i64, ptr %size.at
  %thread = call i32 %number()
  %thread.wide = sext i32 %thread to i64
  %offset = mul i64 %thread.wide, %size
  %room = getelementptr i8, ptr %rooms, i64 %offset
  br label %take
take:
  %k = atomicrmw add ptr %next, i64 1 monotonic
  %more = icmp slt i64 %k, %pieces
  br i1 %more, label %do, label %end
do:
  %three = mul i64 %k, 3
  %at = add i64 %three, 6
  %table.at = getelementptr i64, ptr %data, i64 %at
  %table = load ptr, ptr %table.at
  %first.at = getelementptr i64, ptr %table.at, i64 1
  %first = load i64, ptr %first.at
  %last.at = getelementptr i64, ptr %table.at, i64 2
  %last = load i64, ptr %last.at
  call void %work(ptr %table, ptr %room, i64 %first, i64 %last)
  br label %take
end:
  ret void
}
"""


_NEXT = 3  # where `data` holds the number of the next piece
_Team = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Piece(NamedTuple):
    """The arguments of one call of a compiled function, but for its scratch memory."""

    table: int  # its address
    first: int  # episode
    last: int


class Shared:
    """Pieces of work; each call runs all of them, each once, by whichever thread is free.

    Args:
        work: a compiled function of the addresses of a table and of scratch memory, and first and last episode.
        scratch: the address of scratch memory, `size` bytes for each of `count` threads.
    """

    def __init__(self, work: Any, pieces: list[Piece], scratch: int, size: int, count: int) -> None:
        self.work, self.pieces, self.scratch, self.size, self.count = work, pieces, scratch, size, count
        self._data: Any = None  # of a team

    def __call__(self) -> None:
        if len(self.pieces) == 1:
            table, first, last = self.pieces[0]
            self.work(table, self.scratch, first, last)
            return
        library = _openmp()
        if library is None or (_forked and self.count > 1):
            self._by_python()
            return
        if self._data is None:
            head = (_address(library.omp_get_thread_num), _address(self.work), len(self.pieces))
            head = (*head, 0, self.scratch, self.size)
            self._data = np.array([*head, *itertools.chain.from_iterable(self.pieces)], np.int64)
            self._at = self._data.ctypes.data
        self._data[_NEXT] = 0
        if self.count > 1:
            library.GOMP_parallel(_address(_team()), self._at, self.count, 0)
        else:
            _team()(self._at)

    def _by_python(self) -> None:
        left = iter(self.pieces)  # `next` of a list's iterator is atomic

        def run(thread: int) -> None:
            for table, first, last in left:
                self.work(table, self.scratch + thread * self.size, first, last)

        _run_together([lambda k=k: run(k) for k in range(self.count)])


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@cache
def _team() -> Any:
    """The function that each thread of a team runs."""
    return _Team(_address(compiled(_TEAM, ("team",)).functions["team"]))


@cache
def _openmp() -> Any:
    """The OpenMP library that torch has loaded, if it has GNU's interface."""
    import torch

    for path in sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*.so*")):
        try:
            library = ctypes.CDLL(str(path))
            library.GOMP_parallel.restype = None
            library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            _ = library.omp_get_thread_num
        except (OSError, AttributeError):
            continue
        return library
    return None


# -- plain threads

_pool: ThreadPoolExecutor | None = None
_size = 0
_forked = False  # whether OpenMP's threads are those of the parent, for which it would wait for ever


def _run_together(work: list[Callable[[], None]]) -> None:
    """Run all of `work` at the same time, the first in this thread."""
    first, *others = work
    futures = [_executor(len(others)).submit(other) for other in others]
    first()
    for future in futures:
        future.result()


def _executor(size: int) -> ThreadPoolExecutor:
    global _pool, _size
    if _pool is None or _size < size:
        _pool, _size = ThreadPoolExecutor(size, "plastic_search"), size
    return _pool


def _forget_threads() -> None:
    """A forked process has none of its parent's threads."""
    global _pool, _size, _forked
    _pool, _size, _forked = None, 0, True


os.register_at_fork(after_in_child=_forget_threads)
