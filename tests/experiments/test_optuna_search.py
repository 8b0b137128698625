"""The trials of a search are the same wherever it is killed, and a damaged journal is refused or goes on as it was."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from small import study

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments import journal, optuna_search
from plastic_search.experiments.journal import ARMS, Expected, open_journal, sound_lines
from plastic_search.experiments.optuna_search import Arm, importances
from plastic_search.records.files import append_lines

TRIALS = 9
DAMAGED = 8  # times that a journal is damaged in each way
EXPECTED = Expected(("maximize", "minimize"), {})
Params = list[list[dict[str, Any]]]


class Killed(BaseException):
    """Stands for kill -9."""


def search(path: Path, trials: int = TRIALS, expected: Expected = EXPECTED) -> Params:
    """Both searches to their end, without training: a network's score is a digest of its choices."""
    storage = open_journal(path, expected)
    arms = [Arm(name, storage, study().space, expected.directions) for name in ARMS]
    for arm in arms:
        arm.check()
    while any(len(arm.ended) < trials for arm in arms):
        proposals = [(arm, proposal) for arm in arms for proposal in arm.propose(trials)]
        for arm, (number, _, choices, _) in proposals:
            score = zlib.crc32(json.dumps(choices, sort_keys=True).encode()) % 100 / 100
            if score < 0.1:
                arm.tell(number, None, None)
            else:
                arm.tell(number, None if score < 0.3 else [score, 100.0 * score], 0.5 - score)
    return [[trial.params for trial in arm.trials()] for arm in arms]


@pytest.fixture(scope="module", autouse=True)
def _models_early() -> Iterator[None]:
    """TPE models its trials from the second round on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna_search, "_STARTUP", 2)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, _models_early: None) -> tuple[Params, list[bytes]]:
    """The trials of a search that nobody stopped, and its journal."""
    path = tmp_path_factory.mktemp("whole") / "journal.log"
    found = search(path)
    return found, path.read_bytes().splitlines(keepends=True)


def killed(monkeypatch: pytest.MonkeyPatch, writes: int, part: float) -> None:
    """From now on a process is killed in its write number `writes`, with a part of that on the disk."""
    left = [writes]

    def append(path: Path, objects: list[dict[str, Any]]) -> None:
        if left[0]:
            left[0] -= 1
            append_lines(path, objects)
            return
        text = "".join(json.dumps(each) + "\n" for each in objects).encode()
        with path.open("ab") as file:
            file.write(text[: round(part * len(text))])
        raise Killed

    monkeypatch.setattr(journal, "append_lines", append)


def test_a_kill_at_any_write_changes_no_trial(
    whole: tuple[Params, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: bool
) -> None:
    trials, lines = whole
    for writes in range(0, len(lines), 1 if every else 3):
        path = tmp_path / f"{writes}.log"
        with monkeypatch.context() as patch:
            killed(patch, writes, float(writes % 2))
            with pytest.raises(Killed):
                search(path)
        assert search(path) == trials, f"killed in write {writes}"
        assert path.read_bytes().count(b"\n") == len(lines)


def test_a_trial_is_one_line(whole: tuple[Params, list[bytes]]) -> None:
    """So that a kill leaves all of its values or none; the end of a trial is two more."""
    logs = [json.loads(line) for line in whole[1]]
    created = [log for log in logs if log["op_code"] == 4]
    assert len(created) == 2 * TRIALS
    assert [log["params"].keys() for log in created if log["study_id"] == 0] == [t.keys() for t in whole[0][0]]
    assert {log["op_code"] for log in logs} == {0, 4, 6, 9}


def test_a_kill_within_a_line_is_told_and_mended(
    whole: tuple[Params, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, lines = whole
    path = tmp_path / "journal.log"
    for writes in range(0, len(lines), 8):
        path.unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            killed(patch, writes, 0.6)
            with pytest.raises(Killed):
                search(path)
        with pytest.raises(PlasticSearchError, match=rf"journal.log is torn at line {writes + 1}; .*search repair"):
            search(path)
        cut(path)
        assert search(path) == trials


def cut(path: Path) -> None:
    """What `repair` does to a journal."""
    good, lines = sound_lines(path, EXPECTED)
    path.write_bytes(b"".join(lines[:good]))


def test_more_trials_go_on_as_if_there_had_been_as_many_at_once(
    whole: tuple[Params, list[bytes]], tmp_path: Path
) -> None:
    for trials in (1, 6, 8, TRIALS):
        search(tmp_path / "journal.log", trials)
    assert search(tmp_path / "journal.log") == whole[0]


def test_no_trial_of_a_round_is_drawn_twice(whole: tuple[Params, list[bytes]]) -> None:
    for trials in whole[0]:
        assert len({json.dumps(params) for params in trials}) == TRIALS


def former(lines: list[bytes]) -> list[bytes]:
    """A journal as version 0.1 wrote it: the trials of a round begun together, then each value in a line of its own."""
    result: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    count = 0
    for line in lines:
        log = {key: value for key, value in json.loads(line).items() if key != "digest"}
        if log["op_code"] == 4:
            common = {key: log[key] for key in ("op_code", "worker_id", "study_id", "datetime_start")}
            result.append(common)
            values += [
                {"op_code": 5, "worker_id": log["worker_id"], "trial_id": count, "param_name": path}
                | {"param_value_internal": value, "distribution": log["distributions"][path]}
                for path, value in log["params"].items()
            ]
            count += 1
        else:
            result, values = [*result, *values, log], []
    return [json.dumps(log).encode() + b"\n" for log in result]


def test_a_journal_of_version_0_1_goes_on_from_any_line(whole: tuple[Params, list[bytes]], tmp_path: Path) -> None:
    trials, lines = whole[0], former(whole[1])
    assert len(lines) > 1.5 * len(whole[1])
    for count in range(2, len(lines), 9):
        path = tmp_path / f"{count}.log"
        path.write_bytes(b"".join(lines[:count]))
        path.with_name(f"{count}.log.lock").symlink_to(path)  # of a process that was killed: nothing waits for it
        assert search(path) == trials, f"killed after line {count}"


def test_values_that_would_be_drawn_otherwise_stay(whole: tuple[Params, list[bytes]], tmp_path: Path) -> None:
    """As a journal may have them in which version 0.1 was resumed, or another version of Optuna drew."""
    path, lines = tmp_path / "journal.log", former(whole[1])
    first = next(i for i, line in enumerate(lines) if b'"op_code": 5' in line)
    other = json.loads(lines[first]) | {"param_value_internal": 4}
    assert other != json.loads(lines[first])
    path.write_bytes(b"".join(lines[:first]) + json.dumps(other).encode() + b"\n")
    found = search(path)
    assert found[0][0][other["param_name"]] == 4
    assert found[0][0].keys() <= {*whole[0][0][0], *whole[0][0][1], "layers.1.rule.Hebb.decay"}


Lines = list[bytes]


def _bytes(lines: Lines, at: int, rng: random.Random) -> Lines:
    line = bytearray(lines[at])
    line[rng.randrange(len(line))] = rng.choice([0xFF, 0x00, 0x0D, ord("}"), ord('"'), ord("7")])
    return [*lines[:at], bytes(line), *lines[at + 1 :]]


def _keys(lines: Lines, at: int, rng: random.Random) -> Lines:
    log = json.loads(lines[at])
    del log[rng.choice([key for key in log if key != "digest"])]
    return [*lines[:at], json.dumps(log).encode() + b"\n", *lines[at + 1 :]]


def _types(lines: Lines, at: int, rng: random.Random) -> Lines:
    log = json.loads(lines[at])
    key = rng.choice([key for key in log if key != "digest"])
    log[key] = rng.choice([None, "x", -1, 10**30, 0.5, [], {}, [None], {"a": {}}, True, float("nan")])
    return [*lines[:at], json.dumps(log).encode() + b"\n", *lines[at + 1 :]]


def _operations(lines: Lines, at: int, rng: random.Random) -> Lines:
    log = json.loads(lines[at]) | {"op_code": rng.choice([0, 1, 2, 3, 5, 7, 8, 99, -1, "4"])}
    return [*lines[:at], json.dumps(log).encode() + b"\n", *lines[at + 1 :]]


DAMAGES: dict[str, Callable[[Lines, int, random.Random], Lines]] = {
    "a byte": _bytes,
    "a key": _keys,
    "a type": _types,
    "an operation": _operations,
    "a line less": lambda lines, at, rng: [*lines[:at], *lines[at + 1 :]],
    "a line twice": lambda lines, at, rng: [*lines[:at], lines[at], *lines[at:]],
    "a line elsewhere": lambda lines, at, rng: [*lines[:at], *lines[at + 1 : at + 4], lines[at], *lines[at + 4 :]],
    "other text": lambda lines, at, rng: [*lines[:at], rng.choice([b"\n", b"[]\n", b"{}\n", b"[" * 9999 + b"\n"])],
    "an end": lambda lines, at, rng: [*lines[:at], lines[at][: rng.randrange(1, len(lines[at]))]],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_refused_and_its_beginning_goes_on(
    damage: str, whole: tuple[Params, list[bytes]], tmp_path: Path
) -> None:
    trials, lines = whole
    rng, path = random.Random(damage), tmp_path / "journal.log"
    for turn in range(DAMAGED):
        at = rng.randrange(len(lines) - 1)
        damaged = DAMAGES[damage](lines, at, rng)
        if [json.loads(x) for x in lines] == _readable(damaged):
            continue  # white space
        path.write_bytes(b"".join(damaged))
        good, _ = sound_lines(path, EXPECTED)
        assert good in (at, at + 1), "where the word `digest` itself is damaged, the next line's is wrong"
        with pytest.raises(PlasticSearchError, match=rf"journal.log is torn at line {good + 1}; "):
            search(path)
        cut(path)
        assert path.read_bytes().splitlines(keepends=True)[:at] == lines[:at]
        if turn % 4 == 0:
            assert search(path) == trials


def _readable(lines: Lines) -> list[Any]:
    try:
        return [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return []


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_of_version_0_1_ends_in_no_traceback(
    damage: str, whole: tuple[Params, list[bytes]], tmp_path: Path
) -> None:
    """Its lines have no digest, so the runs tell whether its trials are still what was trained."""
    lines = former(whole[1])
    choices = {(arm, n): params for arm, trials in zip(ARMS, whole[0], strict=True) for n, params in enumerate(trials)}
    rng, path, expected = random.Random(damage), tmp_path / "journal.log", EXPECTED._replace(choices=choices)
    for _ in range(DAMAGED):
        path.write_bytes(b"".join(DAMAGES[damage](lines, rng.randrange(len(lines) - 1), rng)))
        good, damaged = sound_lines(path, expected)
        if good < len(damaged):
            with pytest.raises(PlasticSearchError, match=rf"torn at line {good + 1}; "):
                search(path, expected=expected)
            path.write_bytes(b"".join(damaged[:good]))
        storage = open_journal(path, expected)
        for name in ARMS:
            arm = Arm(name, storage, study().space, expected.directions)
            arm.propose(TRIALS + 4)
            importances(arm.trials())


def test_importances_are_about_the_best_trials() -> None:
    """`good` alone decides which trials are the best, `bad` alone which are the worst."""
    rng = np.random.default_rng(0)
    even = optuna.distributions.FloatDistribution(0.0, 1.0)
    ranges: dict[str, optuna.distributions.BaseDistribution] = {"good": even, "bad": even}
    result = []
    for good, bad in rng.random((200, 2)).tolist():
        score = 0.5 + 0.4 * (good > 0.8) - 0.4 * (bad > 0.8)
        params = {"good": good, "bad": bad}
        result.append(optuna.trial.create_trial(params=params, distributions=ranges, values=[score, 1.0]))

    shares = importances(result)
    assert shares["good"] > 0.8
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5)
