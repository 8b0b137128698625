"""The question in a run folder: written, opened, compared with the current one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, equation
from plastic_search.core.paths import as_path
from plastic_search.core.space import children
from plastic_search.environments import Environment
from plastic_search.experiments.changes import change
from plastic_search.experiments.comparison import Comparison
from plastic_search.experiments.question import Question
from plastic_search.experiments.study import Study
from plastic_search.experiments.sweep import Sweep
from plastic_search.network.spec import NetworkSpec
from plastic_search.records import fingerprints, provenance
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import CHECKPOINTS, JOURNAL, RUNS, STUDY, Outcome, Run, read_runs, read_study
from plastic_search.tasks import Task

__all__ = ["begin", "open_question", "opened", "read_question", "spec_of"]

KINDS: dict[str, type[Study | Sweep | Comparison]] = {kind.__name__: kind for kind in (Study, Sweep, Comparison)}


@contextmanager
def opened(out: Path | str) -> Iterator[RunFolder]:
    """A run folder for a question, made where there is none; it is locked until the block ends.

    Where the work fails before anything was trained, nothing is left of a folder that did not hold a question before.
    """
    out = as_path(out)
    new = [path for path in (out, *out.parents) if not path.exists()]
    void = False
    try:
        with RunFolder.open(out, create=True) as folder:
            files = [out / name for name in (STUDY, JOURNAL, RUNS)]
            begun = any(file.exists() for file in files)
            try:
                yield folder
            except PlasticSearchError:
                void = not begun and not _trained(folder)
                for file in files if void else ():
                    file.unlink(missing_ok=True)
                raise
    finally:
        with suppress(OSError):
            for path in new if void else ():
                (path / ".lock").unlink(missing_ok=True)
                path.rmdir()


def _trained(folder: RunFolder) -> bool:
    """Whether there is anything to go on from."""
    runs = any(run.outcome != Outcome.INFEASIBLE for run in folder.runs.all())
    return runs or (folder.path / CHECKPOINTS).exists()


def read_question(folder: RunFolder) -> Study | Sweep | Comparison:
    """The question that a run folder holds.

    Raises:
        PlasticSearchError: the folder is no whole one, or a part of the user's own is unknown; the message names the
            file that defines it, where the record does.
    """
    about = folder.study or read_study(folder.path)  # which raises
    data, files = about["study"], fingerprints.typed_files(about)
    try:
        return KINDS.get(str(data.get("kind")), Study).from_json(data, f"{folder.path / STUDY}: study")
    except PlasticSearchError as error:
        if not files or (about.get("own") or {}).keys() <= Part.kinds.keys():
            raise
        options = shlex.join(word for file in files for word in ("--parts", file))
        raise PlasticSearchError(f"{error} {folder.path} was made with {options}") from None


def spec_of(folder: RunFolder, run: Run) -> NetworkSpec:
    """The network of a run.

    Raises:
        PlasticSearchError: a value of it is impossible; the message names the file, the line and the path.
    """
    try:
        return NetworkSpec.from_json(run.spec, "spec")
    except PlasticSearchError as error:
        lines = (n for n, each in enumerate(read_runs(folder.path), start=1) if each == run)
        raise PlasticSearchError(f"{folder.path / RUNS}, line {next(lines, '?')}: {error}") from None


def open_question(folder: RunFolder) -> Study | Sweep | Comparison:
    """The same, in a folder that is locked.

    Raises:
        PlasticSearchError: as `read_question`, or a part of the user's own, or data, was changed.
    """
    question = read_question(folder)
    _check(folder, question)
    return question


def begin(folder: RunFolder, question: Question, name: str, command: dict[str, Any] | None = None) -> None:
    """Write study.json, or check that the one that is there asks the same.

    Args:
        command: the words that were typed, for whoever wants to ask it again; nothing is decided by them.

    Raises:
        PlasticSearchError: the folder holds another question, or a part of the user's own, or data, was changed.
    """
    data, old, runs = question.to_json(), folder.study, folder.runs.all()
    files = fingerprints.data_digests(_data_files(question))
    fingerprints.unchanged(old, files, runs)
    before = _in_todays_names(old["study"], type(question)) if old else {}
    moved = {path: digest for path, digest in (old.get("data") or {}).items() if digest in files.values()}
    if old and (difference := change(_by_content(before, moved), _by_content(data, files, moved.values()))):
        raise PlasticSearchError(
            f"{folder.path} holds another question: {difference}. Nothing was changed; give this question a folder of "
            "its own with --out FOLDER"
        )
    own = fingerprints.kept(old, runs) if old else fingerprints.digests(data)
    fresh = not old or old["trials"] < question.trials
    about = _common(question, name, data) | question.about() if fresh else dict(old)
    if old and not fresh and files != old.get("data", {}):
        about["study"] = data | {key: value for key, value in before.items() if key == "trials"}
    if command is not None and "command" not in about and about["trials"] == question.trials:
        about["command"] = command
    about = {key: value for key, value in about.items() if key not in ("own", "data")}
    folder.describe(about | {key: value for key, value in (("own", own), ("data", files)) if value})


def _check(folder: RunFolder, question: Question) -> None:
    """Check that the user's own parts and data are unchanged, and keep digests of those that are new.

    Raises:
        PlasticSearchError: a part is unknown, or one of them was changed.
    """
    runs = folder.runs.all()
    own, files = fingerprints.kept(folder.study, runs), fingerprints.data_digests(_data_files(question))
    fingerprints.unchanged(folder.study, files, runs)
    found = {key: value for key, value in (("own", own), ("data", files)) if value}
    folder.describe(folder.study | found)


def _data_files(value: Any) -> Iterator[Path]:
    """The data of every task in a question."""
    if isinstance(value, Task):
        yield from value.data_files
    for _, each in children(value):
        yield from _data_files(each)


def _by_content(data: Any, files: dict[str, str], known: Iterable[str] | None = None) -> Any:
    """A question in JSON, with the digest in place of the path of data.

    Args:
        files: path -> digest.
        known: the digests that may stand there; None for all.
    """
    if isinstance(data, dict):
        return {key: _by_content(value, files, known) for key, value in data.items()}
    if isinstance(data, list):
        return [_by_content(value, files, known) for value in data]
    digest = files.get(data) if isinstance(data, str) else None
    return digest if digest and (known is None or digest in known) else data


def _in_todays_names(data: dict[str, Any], kind: Any) -> dict[str, Any]:
    """A question in JSON, its fields under the names that they have in this version."""
    try:
        part: Part = kind.from_json(data)
    except PlasticSearchError:  # of another kind, or with a part that is not known here: compared as it is
        return data
    return part.to_json()


def _common(question: Question, name: str, data: dict[str, Any]) -> dict[str, Any]:
    """What study.json holds for every question, `data` in JSON, and where and by what it was asked."""
    task = question.task
    return {
        "name": name,
        "question": question.question,
        "task": {
            "kind": type(task).__name__,
            "about": equation(type(task)),
            "score_name": task.score_name,
            "chance": None if isinstance(task, Environment) else task.chance,
        }
        if task is not None
        else {},
        "trials": question.trials,
        "seeds": list(question.seeds),
        "study": data,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "code": provenance.code(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
