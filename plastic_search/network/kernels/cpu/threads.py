"""Several threads at one piece of work.

Torch's own threads are taken where they can be: those of its OpenMP wait for torch's next work by spinning, for
milliseconds, on the very cores that others would need. Where there is no such library, plain threads do, since
compiled code lets go of Python's lock.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from plastic_search.network.kernels.cpu.compiler import compiled

__all__ = ["share"]

# What each thread of a team does. `data` holds the address of the function that tells a thread's number, that of the
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


def share(work: Any, pieces: list[tuple[int, int, int]], rooms: int, size: int, count: int) -> None:
    """Do all pieces, each once, by whichever thread is free.

    Args:
        work: a compiled function of a table's address, a room's, and first and last episode.
        pieces: the addresses of tables, and episodes.
        rooms: the address of scratch memory, `size` bytes for each of `count` threads.
    """
    library = _openmp() if count > 1 and not _forked else None
    if library is not None:
        head = (_address(library.omp_get_thread_num), _address(work), len(pieces), 0, rooms, size)
        data = np.array([*head, *itertools.chain.from_iterable(pieces)], np.int64)
        library.GOMP_parallel(_team(), data.ctypes.data, count, 0)
        return
    left = iter(pieces)  # taking the next one of a list is one step of Python's

    def some(thread: int) -> None:
        for table, first, last in left:
            work(table, rooms + thread * size, first, last)

    _each([lambda k=k: some(k) for k in range(count)])


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@cache
def _team() -> int:
    """The address of what each thread of a team does."""
    return _address(compiled(_TEAM, ("team",)).functions["team"])


@cache
def _openmp() -> Any:
    """The OpenMP library that torch has loaded, if it takes work in GNU's way."""
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
_forked = False  # OpenMP's threads are those of the parent, and it would wait for them


def _each(work: list[Callable[[], None]]) -> None:
    """Do all of `work`, side by side; the first in this thread."""
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
    global _pool, _size, _forked
    _pool, _size, _forked = None, 0, True


os.register_at_fork(after_in_child=_forget)
