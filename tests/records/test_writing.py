"""Full disks, limits, removed folders and kills: what was written is whole, what is half written is cleared away."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from small import study

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments import population, runner
from plastic_search.experiments.parameters import save_parameters
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.records import files, run, table
from plastic_search.records.files import append_lines, write_text
from plastic_search.records.folder import RunFolder
from plastic_search.report.html import write_page
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.trainers.windowed import Windowed

QUESTION = replace(study(trials=1), seeds=(0,))
NET = Network(NetworkSpec((Layer(8), Layer(4))), 4)


def checkpoint(path: Path) -> None:
    training = Windowed(steps=2).begin(Population([NET]), RepeatedPairs(window=2), (0,))
    population._save(path, training, [[]], 0.0)


WRITERS: dict[str, Callable[[Path], object]] = {
    "runs.jsonl": lambda path: append_lines(path, [{"text": "x" * 900}] * 3),
    "study.json": lambda path: write_text(path, "x" * 2000),
    "0.safetensors": lambda path: save_parameters(NET, path),
    "grows-0.safetensors": checkpoint,
    "t.csv": lambda path: table.write(pd.DataFrame({"a": ["x" * 900] * 3}), path, "csv"),
    "t.parquet": lambda path: table.write(pd.DataFrame({"a": range(2000)}), path, "parquet"),
    "report.html": lambda path: write_page(path.parent, "report.html.j2", {"text": "x" * 2000}),
}


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file may be written beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Full:
    """The module `os` on a disk that is full from so many writes on."""

    def __init__(self, after: int = 0) -> None:
        self.left = after

    def __getattr__(self, name: str) -> Any:
        return self._fsync if name == "fsync" else getattr(os, name)

    def _fsync(self, handle: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_on_the_size_of_files_leaves_the_old_file_and_nothing_besides(name: str, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text("old\n")
    with limited(500), pytest.raises(PlasticSearchError, match="there is a limit on the size of files") as caught:
        WRITERS[name](path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old\n"
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_as_such(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text("old\n")
    monkeypatch.setattr(files, "os", Full())
    with pytest.raises(PlasticSearchError, match=r"^no space left in .* \(No space left on device\); what was written"):
        WRITERS[name](path)
    assert path.read_text() == "old\n"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def outcome(folder: Path) -> list[tuple[Any, ...]]:
    return [(r.key, r.outcome, r.spec, r.metrics) for r in sorted(run.load(folder).runs, key=lambda r: r.key)]


def test_a_study_on_a_disk_that_fills_goes_on_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(runner.run(QUESTION, "small", tmp_path / "whole", 1))
    for after in (0, 2, 5, 8):
        folder = tmp_path / str(after)
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", Full(after))
            with pytest.raises(PlasticSearchError, match="no space left in"):
                list(runner.run(QUESTION, "small", folder, 1))
        list(runner.run(QUESTION, "small", folder, 1))
        assert outcome(folder) == outcome(tmp_path / "whole")


def test_a_folder_that_is_removed_is_not_made_anew(tmp_path: Path) -> None:
    for count, replaced in ((1, False), (3, True)):
        folder = tmp_path / str(count)
        events = runner.run(QUESTION, "small", folder, 1)
        for _ in range(count):
            next(events)
        shutil.rmtree(folder)
        if replaced:
            folder.mkdir()
        with pytest.raises(PlasticSearchError, match=r"was removed or replaced while this command worked in it"):
            list(events)
        assert list(tmp_path.rglob("*")) == ([folder] if replaced else [])
        shutil.rmtree(folder, ignore_errors=True)


def test_what_killed_processes_left_is_removed_and_all_else_stays(tmp_path: Path) -> None:
    litter = [".study.json.ab_4efgh", ".runs.jsonl.abcdefgh", "models/winner-1/.0.safetensors.abcdefgh"]
    litter += ["topologies/.winner-0.json.abcdefgh", "checkpoints/.a-0.safetensors.12345678"]
    kept = [".env", ".config.settings", ".notes.json", "models/winner-1/0.safetensors", ".bundle.mine1234/theirs"]
    for name in (*litter, *kept, ".bundle.ab3d_fgh/new/step.onnx", ".other.abcdefgh/old/manifest.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    with RunFolder.open(tmp_path):
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*kept, ".lock", "other/manifest.json"}, "a bundle that was moved aside is put back"


def test_the_process_that_holds_a_folder_is_named(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path), pytest.raises(PlasticSearchError) as caught:
        RunFolder.open(tmp_path).__enter__()
    named = rf" \(process {os.getpid()}\)" if Path("/proc/locks").is_file() else ""
    caught.match(rf"^another process is at work in {tmp_path}{named}; wait for it, or choose --out$")


def test_two_processes_that_save_one_file_do_not_share_a_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    with files.replacing(path) as first, files.replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["0.safetensors"]


STUDY = {"name": "s", "question": "?", "study": {}, "trials": 1}
RUN = run.Run("s", run.Stage.FINAL, "winner", 0, 0, run.Outcome.COMPLETE, {"layers": []}, metrics={"score": 0.5})
WRONG_STUDIES = [
    ({"trials": "1"}, "trials must be a whole number, but is '1'"),
    ({"trials": True}, "trials must be a whole number, but is True"),
    ({"trials": 2**70}, "trials must be a number of at most 63 bits, but is larger"),
    ({"question": None}, "question must be a text, but is None"),
    ({"name": ["s"]}, "name must be a text, but is a list"),
    ({"study": []}, "study must be an object, but is a list"),
    ({"seeds": [0, "1"]}, "seeds.1 must be a whole number, but is '1'"),
    ({"task": {"chance": "half"}}, "task.chance must be a number or null, but is 'half'"),
    ({"command": {"sets": [3]}}, "command.sets.0 must be a text, but is 3"),
    ({"versions": {"to\x1brch": 2}}, r"versions.to\x1brch must be a text, but is 2"),
    ({"parts": {"Oja": {"axis": "rule"}}}, "parts.Oja lacks 'equation'"),
    ({"schema": "plastic_search/comparison/1"}, "it lacks 'axis'"),
]
WRONG_RUNS = [
    ({"metrics": {"score": "0.5"}}, "metrics.score must be a number, but is '0.5'"),
    ({"metrics": {"score": float("nan")}}, "metrics.score must be finite, but is nan"),
    ({"curve": [[1.0, 2.0], [1.0, None]]}, "curve.1.1 must be a number, but is None"),
    ({"curve": [[1.0]]}, "curve.0 must have 2 to 8 values, but has 1"),
    ({"seed": 0.5}, "seed must be a whole number, but is 0.5"),
    ({"stage": 3}, "stage must be a text, but is 3"),
    ({"spec": None}, "spec must be an object, but is None"),
    ({"choices": {"a": {}}}, "choices.a must be a text or a number or true or false or null, but is an object"),
    ({"choices": {"at": "x"}}, "choices.at must be a number or null, but is 'x'"),
    ({"spec": {"layers": [{"units": "8"}]}}, "spec.layers.0.units must be a whole number, but is '8'"),
    ({"spec": {"layers": {}}}, "spec.layers must be a list, but is an object"),
    ({"name": "../x"}, "name must be a name for files too, but is '../x'"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_STUDIES, ids=[message for _, message in WRONG_STUDIES])
def test_a_value_of_the_wrong_type_in_study_json_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / run.STUDY).write_text(json.dumps(STUDY | change))
    with pytest.raises(PlasticSearchError) as caught:
        run.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / run.STUDY}: {message}; put a copy of it back")


@pytest.mark.parametrize(("change", "message"), WRONG_RUNS, ids=[message for _, message in WRONG_RUNS])
def test_a_value_of_the_wrong_type_in_a_run_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_text(tmp_path / run.STUDY, json.dumps(STUDY))
    run.append(tmp_path, [RUN])
    with (tmp_path / run.RUNS).open("a") as file:
        file.write(json.dumps(RUN.to_json() | change) + "\n")
    with pytest.raises(PlasticSearchError) as caught:
        run.load(tmp_path)
    line = f"{tmp_path / run.RUNS}, line 2: {message}; `plastic-search repair {tmp_path}` sets the line aside"
    assert str(caught.value) == line


def test_a_checkpoint_of_another_training_is_refused_in_one_line(tmp_path: Path) -> None:
    from safetensors.torch import save

    path = tmp_path / "a-0.safetensors"
    for tensors, about in (
        ({"at": torch.zeros(2)}, {"curves": [[]], "seconds": 0.0}),
        ({}, {"curves": [[["x"]]], "seconds": 0.0}),
        ({}, {"curves": 3, "seconds": []}),
        ({}, []),
    ):
        path.write_bytes(save(tensors, {"about": json.dumps(about)}))
        training = Windowed(steps=2).begin(Population([NET]), RepeatedPairs(window=2), (0,))
        with pytest.raises(PlasticSearchError, match=r"is damaged .*; remove it, and "):
            population._restored(path, "a", 1, training)


def write_csv(path: Path) -> None:
    table.write(pd.DataFrame({"a": [1]}), path, "csv")


def page(path: Path) -> None:
    write_page(path, "report.html.j2", {})


@pytest.mark.parametrize("write", [write_csv, page, lambda path: write_text(path, "new")])
def test_a_pipe_or_a_folder_is_refused_and_stays(write: Callable[[Path], None], tmp_path: Path) -> None:
    pipe, folder, link = tmp_path / "pipe.html", tmp_path / "folder.txt", tmp_path / "link.html"
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(pipe)
    for path in (pipe, link) if write is page else (pipe, link, folder):
        with pytest.raises(PlasticSearchError, match=rf"^{path} is a (pipe|folder), where a file cannot be written"):
            write(path)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder.txt", "link.html", "pipe.html"]


def test_a_pipe_in_place_of_a_record_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / run.RUNS)
    wanted = rf"{run.RUNS} is a pipe, where a file is wanted"
    with pytest.raises(PlasticSearchError, match=wanted):
        list(run.read_runs(tmp_path))
    with pytest.raises(PlasticSearchError, match=wanted):
        append_lines(tmp_path / run.RUNS, [{}])
    with pytest.raises(PlasticSearchError, match=wanted):
        files.read_json(tmp_path / run.RUNS, "")


def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    file, link, further = tmp_path / "there" / "runs.csv", tmp_path / "link", tmp_path / "further"
    link.symlink_to(Path("there/runs.csv"))
    further.symlink_to(link)
    for text in ("first", "second"):  # of a link that leads nowhere yet, too
        write_text(further, text)
        assert file.read_text() == text
    assert link.is_symlink()
    assert further.is_symlink()
    assert [each.name for each in file.parent.iterdir()] == ["runs.csv"]
