"""A run folder that is worked in: locked, read once, appended to."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.records import run as files
from plastic_search.records.episodes import EPISODES
from plastic_search.records.files import is_temporary, make_folder, unwritable, write_text
from plastic_search.records.run import CurrentRuns, Record, Run, Stage
from plastic_search.records.spikes import SPIKES

__all__ = ["RunFolder", "is_locked", "removed"]

_LOCK = ".lock"
_WRITTEN = (files.TOPOLOGIES, files.CHECKPOINTS, EPISODES, SPIKES)  # folders in it whose files are written whole


class RunFolder:
    """A run folder, locked by this process.

    Its runs are read when they are first asked for; those that are appended are added to them in memory, so that
    nothing is read twice.

    Example:
        >>> with RunFolder.open(Path("runs/digit_recall")) as folder:
        ...     folder.append(run)
        ...     folder.stage(Stage.FINAL, Finalist.WINNER)
    """

    def __init__(self, path: Path | str) -> None:
        self.path = as_path(path)
        self._inode = _inode(self.path / _LOCK)

    @classmethod
    @contextmanager
    def open(cls, path: Path | str, create: bool = False) -> Iterator[RunFolder]:
        """Lock a run folder until the block ends, and remove what killed processes left in it half written.

        Args:
            create: make the folder where it does not exist.

        Raises:
            PlasticSearchError: it does not exist, cannot be written, or another process works in it.
        """
        path = as_path(path)
        if create:
            make_folder(path)
        elif not path.is_dir():
            files.read_study(path)  # raises
        lock = FileLock(path / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            at = f"{path}{_holder(path / _LOCK)}"
            raise PlasticSearchError(f"another process is at work in {at}; wait for it, or choose --out") from None
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            _clean(path)
            yield cls(path)
        finally:
            lock.release()

    @cached_property
    def study(self) -> dict[str, Any]:
        """The content of study.json; empty before `describe` was called for the first time."""
        return files.read_study(self.path) if (self.path / files.STUDY).is_file() else {}

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.study["name"])

    @cached_property
    def runs(self) -> CurrentRuns:
        """The runs that count."""
        return CurrentRuns(files.read_runs(self.path))

    def stage(self, stage: Stage, name: str | None = None) -> list[Run]:
        """The runs of a stage, or of one of its networks."""
        return self.runs.stage(stage, name)

    def record(self) -> Record:
        """The folder's content as `load` returns it, without reading runs again."""
        return files.load(self.path)._replace(runs=self.runs.all())

    def append(self, *runs: Run) -> None:
        """Record runs; they are on the disk when this returns.

        Raises:
            PlasticSearchError: they cannot be written, or the folder was removed.
        """
        known = self.runs  # read before the file grows
        self._check_there()
        files.append(self.path, list(runs))
        for run in runs:
            known.add(run)

    def describe(self, study: dict[str, Any]) -> None:
        """Write study.json, where it does not hold the same already."""
        if study != self.study:
            self._check_there()
            write_text(self.path / files.STUDY, json.dumps(study, indent=1))
            self.study = study

    def write(self, name: str, data: Any) -> None:
        """Write a JSON file into the folder."""
        self._check_there()
        write_text(self.path / name, json.dumps(data))

    def models(self, name: str, spec: dict[str, Any]) -> Path:
        """The folder of a network's parameters, a file a seed."""
        return files.models(self.path, name, spec)

    def _check_there(self) -> None:
        """Refuse to make a folder anew that was removed, or to write into another one that took its place."""
        if _inode(self.path / _LOCK) != self._inode:
            raise removed(self.path)


def is_locked(folder: Path | str) -> bool:
    """Whether a folder is one in which a process works; where nobody does, it was removed or replaced meanwhile."""
    return (as_path(folder) / _LOCK).is_file()


def removed(folder: Path | str) -> PlasticSearchError:
    """The error for a run folder that is no longer the one in which work began."""
    return PlasticSearchError(
        f"{folder} was removed or replaced while this command worked in it, so nothing more is written; "
        "put it back, or give the command again to start anew"
    )


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _clean(folder: Path) -> None:
    """Remove what processes that were killed left half written; nobody else works here."""
    models = [path for path in (folder / files.MODELS).glob("*") if path.is_dir()]
    for place in (folder, *(folder / each for each in _WRITTEN), *models):
        for path in place.glob(".*"):
            with suppress(OSError):
                if is_temporary(path.name) and path.is_file():
                    path.unlink()
                elif _is_half_a_bundle(path):
                    whole, aside = path.with_name(path.name[1:].rpartition(".")[0]), path / "old"
                    if aside.is_dir() and not whole.exists():  # killed after the old one was moved
                        aside.rename(whole)
                    shutil.rmtree(path)


def _is_half_a_bundle(path: Path) -> bool:
    """Whether `export` made a folder beside a bundle, to replace that by what is in it."""
    named = path.is_dir() and re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name) is not None
    return named and {each.name for each in path.iterdir()} <= {"new", "old"}


def _holder(lock: Path) -> str:
    """` (process 1234)`, where Linux tells who holds a lock."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return ""
    found = [line.split() for line in lines]
    pids = [words[4] for words in found if len(words) > 5 and words[5].endswith(f":{_inode(lock)}")]
    return f" (process {pids[0]})" if pids and pids[0].isdigit() and pids[0] != "0" else ""
