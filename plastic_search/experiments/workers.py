"""Worker processes for the jobs of a question: they die with their parent, and results come as they are ready."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.loading import load_parts
from plastic_search.experiments.jobs import Advance, Job
from plastic_search.experiments.perform import perform
from plastic_search.records.run import Run

__all__ = ["Ended", "Pool", "Progressed"]

_POLL = 0.5  # seconds between two looks at what workers report
_channel: Any = None  # in a worker: where it reports how far its job has come


class Progressed(NamedTuple):
    """A long job advanced."""

    title: str
    advance: Advance


class Ended(NamedTuple):
    """A job ended, with these runs."""

    job: Job
    runs: list[Run]


class Pool:
    """`workers` processes, or none for one worker: then jobs are done in this process.

    Args:
        workers: how many jobs are done at a time.
        files: Python files with the user's own parts, which every worker must load.
    """

    def __init__(self, workers: int, files: list[Path]) -> None:
        if workers < 1:
            raise PlasticSearchError(f"at least 1 worker is needed, but got {workers}")
        self._executor = None
        self._others = set(multiprocessing.active_children())  # not ours
        if workers > 1:
            _quiet_tracker()
            context = multiprocessing.get_context("spawn")
            self._progress = context.SimpleQueue()
            self._executor = ProcessPoolExecutor(workers, context, _start, (os.getpid(), files, self._progress))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._executor is None:
            return
        if kind is not None:
            for process in set(multiprocessing.active_children()) - self._others:
                process.kill()
        self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def each(self, jobs: list[Job]) -> Iterator[Progressed | Ended]:
        """Every job with its runs, in the order in which they end; in between, how far long ones have come."""
        if self._executor is None:
            for job in jobs:
                for result in perform(job):
                    yield Progressed(job.title, result) if isinstance(result, Advance) else Ended(job, result)
            return
        pending: dict[Future[list[Run]], Job] = {self._executor.submit(_work, job): job for job in jobs}
        while pending:
            done, _ = wait(pending, timeout=_POLL, return_when=FIRST_COMPLETED)
            while not self._progress.empty():
                yield Progressed(*self._progress.get())
            for future in sorted(done, key=lambda f: f.exception() is not None):  # what is finished is kept
                job = pending.pop(future)
                try:
                    yield Ended(job, future.result())
                except BrokenProcessPool:
                    raise PlasticSearchError(
                        f"a worker died while it trained {job.title} (out of memory?); "
                        "what was finished is kept, and the same command goes on from there; try --workers 1"
                    ) from None


def _work(job: Job) -> list[Run]:
    """A job in a worker, which reports its progress to the parent."""
    runs: list[Run] = []
    for result in perform(job):
        if isinstance(result, Advance):
            _channel.put((job.title, result))
        else:
            runs = result
    return runs


def _quiet_tracker() -> None:
    """Start the process that clears semaphores away after a kill -9; it need not warn that it had to."""
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()


def _start(parent: int, files: list[Path], progress: Any) -> None:
    """A worker's first act: load the user's parts, leave Ctrl-C to the parent, and leave when that is gone."""
    global _channel
    _channel = progress

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM):  # they may reach the whole group; the parent alone acts on them
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    load_parts(files)
