"""The journal of a study's searches: Optuna's records, a line each, with a digest by which damage is found.

Optuna replays records in order, and each may change what later ones mean. So a journal counts up to its first line that
is not whole, does not follow the lines before it, or is not what Optuna or the recorded runs can go with.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection

from plastic_search.records.files import append_lines, torn

__all__ = ["ARMS", "RANDOM", "TPE", "Direction", "Expected", "chosen", "open_journal", "sound_lines"]

Direction = Literal["maximize", "minimize"]

ARMS = TPE, RANDOM = "tpe", "random"
_DIGEST = "digest"  # the key that our lines have besides Optuna's, which ignores it


class Expected(NamedTuple):
    """What the journal of a study must agree with."""

    directions: Sequence[Direction]  # one an objective
    choices: Mapping[tuple[str, int], Mapping[str, Any]]  # of the recorded runs, by search and number of the trial


def open_journal(path: Path, expected: Expected) -> JournalStorage:
    """The journal as Optuna's storage, for a process that alone works in the folder.

    Raises:
        PlasticSearchError: a line is damaged; the message says which.
    """
    good, lines = sound_lines(path, expected)
    if good < len(lines):
        raise torn(path, good + 1)
    return JournalStorage(_Journal(path, *_read(lines)))


def chosen(storage: JournalStorage) -> dict[tuple[str, int], dict[str, Any]]:
    """The values that each trial was proposed with, by search and number."""
    return {
        (study.study_name, trial.number): trial.params
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id, deepcopy=False)
    }


def sound_lines(path: Path, expected: Expected) -> tuple[int, list[bytes]]:
    """How many lines of a journal can be relied on, from its beginning, and all lines; none where there is no file."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with path.open("rb") if path.is_file() else BytesIO() as file:
        lines = list(file)
    logs, _ = _read(lines)
    if _can_be_replayed(logs, expected):
        return len(logs), lines
    return bisect_left(range(len(logs)), True, key=lambda n: not _can_be_replayed(logs[: n + 1], expected)), lines


class _Journal(BaseJournalBackend):
    """A file that grows by whole lines, each on the disk before Optuna goes on."""

    def __init__(self, path: Path, logs: list[dict[str, Any]], digest: str) -> None:
        self._path, self._logs, self._digest = path, logs, digest

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        digest, signed = self._digest, []
        for log in logs:
            log = json.loads(json.dumps(log))  # as it will be read: enums are numbers
            digest = _digest(digest, log)
            signed.append(log | {_DIGEST: digest})
        append_lines(self._path, signed)
        self._digest = digest
        self._logs += signed


def _digest(before: str, log: dict[str, Any]) -> str:
    """Of a record and of the digest before it, so that a line which is changed, moved, left out or doubled shows."""
    return hashlib.sha256((before + json.dumps(log, sort_keys=True)).encode()).hexdigest()[:16]


def _read(lines: list[bytes]) -> tuple[list[dict[str, Any]], str]:
    """The records up to the first line that is broken or does not follow those before it, and the last digest.

    The lines of version 0.1, which have no digest, count for the first one that has; later lines without one are
    another program's.
    """
    logs, last, signed = [], "", False
    for line in lines:
        try:
            log = json.loads(line.decode()) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            break
        if not isinstance(log, dict):
            break
        digest = _digest(last, {key: value for key, value in log.items() if key != _DIGEST})
        if _DIGEST in log and log[_DIGEST] != digest:
            break
        signed |= _DIGEST in log
        last = digest if _DIGEST in log or not signed else last
        logs.append(log)
    return logs, last


def _can_be_replayed(logs: list[dict[str, Any]], expected: Expected) -> bool:
    """Whether Optuna can go on from the records; of version 0.1, whether the runs have the values of their trials."""
    choices = {} if any(_DIGEST in log for log in logs) else expected.choices
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            storage = JournalStorage(_Journal(Path(), logs, ""))
            names = [study.study_name for study in storage.get_all_studies()]
            studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
            return all(_agrees(study, expected.directions, choices) for study in studies)
    except Exception:  # whatever Optuna raises for a record that is not one of its own
        return False


def _agrees(study: optuna.Study, directions: Sequence[Direction], choices: Mapping[tuple[str, int], Any]) -> bool:
    trials = study.get_trials(deepcopy=False)
    optuna.create_study(directions=list(directions)).add_trials(trials)  # which raises for impossible values
    ended = [(t.params, choices.get((study.study_name, t.number), {})) for t in trials if t.state.is_finished()]
    return (
        study.study_name in ARMS
        and study.directions == [StudyDirection[each.upper()] for each in directions]
        and all(params.get(path) == value for params, made in ended for path, value in made.items())
    )
