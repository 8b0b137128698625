"""Worker processes for jobs: they die with their parent, and their answers come as they are ready."""

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
from typing import Self

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.loading import load_parts
from plastic_search.experiments.jobs import Job, perform
from plastic_search.records.run import Run

__all__ = ["Pool", "begin"]


class Pool:
    """`workers` processes, or none for one worker: then jobs are done here.

    Args:
        workers: how many jobs are done at a time.
        files: Python files with the user's own parts, which every worker must know.
    """

    def __init__(self, workers: int, files: list[Path]) -> None:
        if workers < 1:
            raise PlasticSearchError(f"at least 1 worker is needed, but got {workers}")
        self._executor = None
        if workers > 1:
            _quiet_tracker()
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(workers, context, begin, (os.getpid(), files))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._executor is None:
            return
        if kind is not None:
            for process in list((self._executor._processes or {}).values()):
                process.kill()
        self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def each(self, jobs: list[Job]) -> Iterator[tuple[Job, list[Run]]]:
        """Every job with its runs, in the order in which they end."""
        if self._executor is None:
            yield from ((job, perform(job)) for job in jobs)
            return
        pending: dict[Future[list[Run]], Job] = {self._executor.submit(perform, job): job for job in jobs}
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda f: f.exception() is not None):  # what is finished is kept
                job = pending.pop(future)
                try:
                    yield job, future.result()
                except BrokenProcessPool:
                    raise PlasticSearchError(
                        f"a worker died while it trained {job.title} (out of memory?); "
                        "what was finished is kept, and the same command goes on from there; try --workers 1"
                    ) from None


def _quiet_tracker() -> None:
    """Start the process that clears semaphores away after a kill -9; it need not warn that it had to."""
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()


def begin(parent: int, files: list[Path]) -> None:
    """A worker's first act: know the user's parts, leave Ctrl-C to the parent, and leave when that is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    for asked in (signal.SIGINT, signal.SIGTERM):  # they may reach the whole group; the parent alone answers them
        signal.signal(asked, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    load_parts(files)
