"""A run folder that is worked in: locked, read once, appended to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.records import run as files
from plastic_search.records.files import make_folder, unwritable, write_text
from plastic_search.records.run import CurrentRuns, Record, Run, Stage

__all__ = ["RunFolder"]


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

    @classmethod
    @contextmanager
    def open(cls, path: Path | str, create: bool = False) -> Iterator[RunFolder]:
        """Lock a run folder until the block ends.

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
        lock = FileLock(path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise PlasticSearchError(f"another process is at work in {path}; wait for it, or choose --out") from None
        except OSError as error:
            raise unwritable(path, error) from None
        try:
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
        """Record runs; they are on the disk when this returns."""
        known = self.runs  # read before the file grows
        files.append(self.path, list(runs))
        for run in runs:
            known.add(run)

    def describe(self, study: dict[str, Any]) -> None:
        """Write study.json, where it does not hold the same already."""
        if study != self.study:
            write_text(self.path / files.STUDY, json.dumps(study, indent=1))
            self.study = study

    def write(self, name: str, data: Any) -> None:
        """Write a JSON file into the folder."""
        write_text(self.path / name, json.dumps(data))

    def models(self, name: str, spec: dict[str, Any]) -> Path:
        """The folder of a network's parameters, a file a seed."""
        return files.models(self.path, name, spec)
