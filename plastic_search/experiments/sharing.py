"""Processes that end with their parent, and those among which one training shares its work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from plastic_search.core.loading import load_parts
from plastic_search.network.validity import DoubtfulRule

__all__ = ["follow_parent", "processes"]

_leave = os._exit  # which is another function while a part's code runs


@contextmanager
def processes(count: int, files: Sequence[Path | str]) -> Iterator[Executor | None]:
    """An executor of `count` processes, each started when it is needed; None for one, since that is this process.

    Args:
        files: Python files with the user's own parts, which every process loads.
    """
    if count < 2:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(os.getpid(), files))
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def follow_parent(parent: int) -> None:
    """Let this process leave Ctrl-C and warnings of rules to its parent, and end when the parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        _leave(1)

    for number in (signal.SIGINT, signal.SIGTERM):  # they may reach the whole group; the parent alone acts on them
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    warnings.simplefilter("ignore", DoubtfulRule)  # which the parent has warned of


def _begin(parent: int, files: Sequence[Path | str]) -> None:
    follow_parent(parent)
    load_parts(files)
