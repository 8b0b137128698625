"""Worker processes for the jobs of a question: they die with their parent, and results come as they are ready."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from plastic_search.core.errors import PlasticSearchError, one_line
from plastic_search.core.loading import load_parts
from plastic_search.experiments.jobs import Advance, Job, timed_out
from plastic_search.experiments.perform import perform
from plastic_search.experiments.sharing import follow_parent
from plastic_search.network.diagnostics import at_work, crashed_at
from plastic_search.records.run import Run

__all__ = ["Ended", "Pool", "Progressed"]

_POLL = 0.5  # seconds between two looks at what workers do
_PATIENCE = 5.0  # seconds in which an idle worker must leave
_KEPT = "what was finished is kept, and the same command goes on from there"
_ASK: int = getattr(signal, "SIGUSR1", 0)  # asks a worker which part is at work; 0 where there is no such signal
_leave = os._exit  # which is another function while a part's code runs


class Progressed(NamedTuple):
    """A long job advanced."""

    title: str
    advance: Advance


class Ended(NamedTuple):
    """A job ended, with these runs."""

    job: Job
    runs: list[Run]


class _Failed(NamedTuple):
    """A worker could not do what it was given."""

    message: str


class _Worker:
    """A process that does one job after another."""

    def __init__(self, files: list[Path]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._whereabouts, beside = context.Pipe(duplex=False)
        self._crash, last = context.Pipe(duplex=False)  # where it writes what it was at when a signal ends it
        self._process = context.Process(target=_serve, args=(os.getpid(), files, other, beside, last))
        self._process.start()
        for each in (other, beside, last):
            each.close()
        self.job: Job | None = None
        self.began = 0.0  # when it was given its job
        self.ready = False  # whether it has loaded the parts

    def give(self, job: Job, cores: int) -> None:
        """Let the worker begin a job, which may use so many processes."""
        try:
            self.connection.send((job, cores))
        except OSError:
            self._process.join()
            raise PlasticSearchError(f"{self._death(self._process.exitcode)}; {_KEPT}") from None
        except Exception as error:  # a part with a field that cannot be sent
            raise PlasticSearchError(
                f"{job.title} cannot be sent to another process ({one_line(error)}); try --workers 1"
            ) from None
        self.job, self.began = job, time.monotonic()

    def received(self) -> Iterator[Advance | list[Run] | _Failed | None]:
        """What it has reported since the last call; what a worker that is gone could not report is said for it."""
        gone = not self._process.is_alive()  # asked first: what it sent before is there then
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            gone = True
        if gone:
            self._process.join()
            yield _Failed(f"{self._death(self._process.exitcode)}; {_KEPT}")

    def _death(self, code: int | None) -> str:
        work = f"the worker that trained {self.job.title}" if self.job else "a worker that loaded the parts"
        if code is None or code >= 0:
            return f"{work} left with exit code {code}: a part, or a library that it uses, ended the process"
        known = {each.value: each.name for each in signal.Signals}
        hint = " (out of memory? try --workers 1)" if code == -signal.SIGKILL else ""
        at = self._crash_line()
        return f"{work} was ended by {known.get(-code, -code)}{f' in {at}' if at else ''}{hint}"

    def _crash_line(self) -> str:
        """The user's line that was at work when a signal such as SIGSEGV ended the process; "" where none is known."""
        with suppress(OSError, EOFError):
            if self._crash.poll():
                return crashed_at(os.read(self._crash.fileno(), 2**16).decode(errors="replace"))
        return ""

    def where(self) -> str:
        """The user-defined part that is at work; "" where that cannot be found out, as in compiled code."""
        with suppress(OSError, EOFError):
            if not _ASK:
                return ""
            os.kill(self._process.pid or 0, _ASK)
            return self._whereabouts.recv() if self._whereabouts.poll(_PATIENCE) else ""
        return ""

    def end(self) -> None:
        """Let it end: an idle one leaves by itself."""
        self.connection.close()
        if self.job is None and self.ready:
            self._process.join(_PATIENCE)
        self._process.kill()
        self._process.join()


class Pool:
    """`workers` processes; for one worker none, unless its jobs have a limit of time: they are done in this process.

    Args:
        workers: how many jobs are done at a time.
        files: Python files with the user's own parts, which every worker must load.
        timeout: seconds after which a job is ended; None for no limit.
    """

    def __init__(self, workers: int, files: list[Path], timeout: float | None = None) -> None:
        if workers < 1:
            raise PlasticSearchError(f"at least 1 worker is needed, but got {workers}")
        self._count, self._files, self._timeout = workers, files, timeout
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers:
            worker.end()

    def each(self, jobs: list[Job]) -> Iterator[Progressed | Ended]:
        """Every job with its runs, in the order in which they end; in between, how far long ones have come.

        Where there are fewer jobs than workers, each may share its work among several processes.

        Raises:
            PlasticSearchError: a job could not be done, or its worker is gone.
        """
        if self._count == 1 and self._timeout is None:
            for job in jobs:
                for result in perform(job):
                    yield Progressed(job.title, result) if isinstance(result, Advance) else Ended(job, result)
            return
        waiting, cores = deque(jobs), max(1, self._count // max(1, len(jobs)))
        while waiting or any(worker.job for worker in self._workers):
            self._give(waiting, cores)
            wait([worker.connection for worker in self._workers], _POLL)
            failures: list[str] = []
            for worker in list(self._workers):
                yield from self._results(worker, failures)
            if failures:  # last, so that what is finished is kept
                raise PlasticSearchError(failures[0])

    def _give(self, waiting: deque[Job], cores: int) -> None:
        """Give waiting jobs to workers that are ready, and start as many as are needed."""
        for worker in self._workers:
            if waiting and worker.ready and worker.job is None:
                worker.give(waiting.popleft(), cores)
        starting = sum(not worker.ready for worker in self._workers)
        for _ in range(min(self._count - len(self._workers), len(waiting) - starting)):
            self._workers.append(_Worker(self._files))

    def _results(self, worker: _Worker, failures: list[str]) -> Iterator[Progressed | Ended]:
        """What a worker has done since the last look."""
        for message in worker.received():
            match message, worker.job:
                case _Failed(text), _:
                    failures.append(text)
                case Advance(), Job() as job:
                    yield Progressed(job.title, message)
                case list(), Job() as job:
                    worker.job = None
                    yield Ended(job, message)
                case _:
                    worker.ready = True
        if worker.job and self._timeout is not None and time.monotonic() - worker.began > self._timeout:
            where = worker.where()
            self._workers.remove(worker)
            worker.end()
            yield Ended(worker.job, timed_out(worker.job, self._timeout, where))


def _serve(parent: int, files: list[Path], connection: Connection, whereabouts: Connection, crash: Connection) -> None:
    """A worker: load the user's parts, leave Ctrl-C to the parent, do jobs, and leave when the parent is gone."""
    follow_parent(parent)
    if _ASK:
        signal.signal(_ASK, lambda number, frame: whereabouts.send(at_work(frame)))
    faulthandler.enable(crash.fileno(), all_threads=False)
    try:
        load_parts(files)
        _report(connection, None)
        while (given := _next(connection)) is not None:
            job, cores = given
            for result in perform(job, cores, files):
                _report(connection, result)
    except PlasticSearchError as error:
        _report(connection, _Failed(str(error)))
        _next(connection)  # the parent ends this process


def _report(connection: Connection, message: Any) -> None:
    try:
        connection.send(message)
    except OSError:  # the parent is gone
        _leave(1)


def _next(connection: Connection) -> Any:
    """The next job, and how many processes it may use; None when there are no more."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None
    except Exception as error:
        raise PlasticSearchError(f"a worker process cannot make the job ({one_line(error)}); try --workers 1") from None
