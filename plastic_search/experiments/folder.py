"""The question in a run folder: written, opened, compared with the current one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, equation
from plastic_search.experiments.changes import change
from plastic_search.experiments.comparison import Comparison
from plastic_search.experiments.question import Question
from plastic_search.experiments.study import Study
from plastic_search.experiments.sweep import Sweep
from plastic_search.records import fingerprints, provenance
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import read_study

__all__ = ["begin", "open_question", "open_study", "read_question"]

KINDS: dict[str, type[Study | Sweep | Comparison]] = {kind.__name__: kind for kind in (Study, Sweep, Comparison)}


def read_question(folder: RunFolder) -> Study | Sweep | Comparison:
    """The question that a run folder holds.

    Raises:
        PlasticSearchError: the folder is no whole one, or a part of the user's own is unknown.
    """
    data = (folder.study or read_study(folder.path))["study"]  # which raises
    return KINDS.get(str(data.get("kind")), Study).from_json(data)


def open_question(folder: RunFolder) -> Study | Sweep | Comparison:
    """The same, in a folder that is locked.

    Raises:
        PlasticSearchError: as `read_question`, or a part of the user's own was changed.
    """
    question = read_question(folder)
    _check_parts(folder)
    return question


def open_study(folder: RunFolder) -> Study:
    """The same, where it must be a study.

    Raises:
        PlasticSearchError: as `open_question`, or the folder holds another kind of question.
    """
    question = open_question(folder)
    if not isinstance(question, Study):
        raise PlasticSearchError(
            f"{folder.path} holds a {type(question).__name__}, which has no winner; name the folder of a study"
        )
    return question


def begin(folder: RunFolder, question: Question, name: str, command: dict[str, Any] | None = None) -> None:
    """Write study.json, or check that the one that is there asks the same.

    Args:
        command: the words that were typed, for whoever wants to ask it again; nothing is decided by them.

    Raises:
        PlasticSearchError: the folder holds another question, or a part of the user's own was changed.
    """
    data, old = question.to_json(), folder.study
    if old and (difference := change(_in_todays_names(old["study"], type(question)), data)):
        raise PlasticSearchError(
            f"{folder.path} holds another question: {difference}. Nothing was changed; give this question a folder of "
            "its own with --out FOLDER"
        )
    own = fingerprints.kept(old, folder.runs.all()) if old else fingerprints.digests(data)
    fresh = not old or old["trials"] < question.trials
    about = _common(question, name, data) | question.about() if fresh else dict(old)
    if command is not None and "command" not in about and about["trials"] == question.trials:
        about["command"] = command
    if own:
        about["own"] = own
    folder.describe(about)


def _check_parts(folder: RunFolder) -> None:
    """Check that the user's own parts are unchanged, and keep digests of those that are new.

    Raises:
        PlasticSearchError: a part is unknown, or was changed.
    """
    own = fingerprints.kept(folder.study, folder.runs.all())
    if own != folder.study.get("own", {}):
        folder.describe(folder.study | {"own": own})


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
            "chance": task.chance,
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
