"""Data of the user's own: found from the study's file, and never changed within one study."""

from __future__ import annotations

import json
import shutil
from dataclasses import make_dataclass
from pathlib import Path

import pytest
from command_line import call, refused

from plastic_search.core.part import Part, paths_from
from plastic_search.records import run as runs
from plastic_search.tasks import Task

STUDY = '''"""A study whose task reads a file and a folder."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from small import study

from plastic_search.tasks.pattern_completion import PatternCompletion


@dataclass(frozen=True)
class Measured(PatternCompletion):
    """patterns, erased where the file has a zero"""

    table: Path = Path("data/table.csv")
    folder: {kind} = {value}

    def episodes(self, size, split, rng):
        numbers = [float(x) for x in self.table.read_text().split(",")]
        assert Path(self.folder).exists()
        drawn = super().episodes(size, split, rng)
        return drawn._replace(inputs=drawn.inputs * numbers[0])


_small = study(trials=1)
STUDY = replace(_small, task=Measured(bits=4, patterns=1, present=1, delay=0), seeds=(0,))
'''


def write(home: Path, kind: str = "Path", value: str = 'Path("data")') -> None:
    (home / "data" / "more").mkdir(parents=True)
    (home / "mine.py").write_text(STUDY.format(kind=kind, value=value))
    (home / "data" / "table.csv").write_text("1,2,3")
    (home / "data" / "more" / "a.txt").write_text("a")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study was run, from elsewhere."""
    home = tmp_path_factory.mktemp("data") / "home"
    write(home)
    (elsewhere := home.parent / "elsewhere").mkdir()
    ended = call("run", str(home / "mine.py"), "--out", str(home / "out"), "--workers", "1", cwd=elsewhere)
    assert ended.returncode == 0, ended.stderr
    return home


@pytest.fixture
def home(ran: Path) -> Path:
    """The same folder as it was, under the same path."""
    kept = ran.with_name("kept")
    if not kept.exists():
        shutil.copytree(ran, kept)
    shutil.rmtree(ran, ignore_errors=True)
    return Path(shutil.copytree(kept, ran))


def again(home: Path, *words: str) -> tuple[str, ...]:
    return "run", str(home / "mine.py"), "--out", str(home / "out"), "--workers", "1", *words


def test_the_same_data_is_gone_on_with_from_any_folder(home: Path, tmp_path: Path) -> None:
    data = runs.read_study(home / "out")["data"]
    assert set(data) == {str(home / "data" / "table.csv"), str(home / "data")}
    for cwd in (tmp_path, home, home / "data"):
        ended = call(*again(home), cwd=cwd)
        assert ended.returncode == 0, ended.stderr
    words = "quantize", str(home / "out"), "--name", "fixed", "--bits", "4", "--parts", str(home / "mine.py")
    assert call(*words, "--workers", "1", cwd=tmp_path).returncode == 0
    assert runs.read_study(home / "out")["data"] == data


CHANGES = {
    "another byte": ("data/table.csv", "1,2,4"),
    "a file in a folder": ("data/more/a.txt", "b"),
    "a new file in a folder": ("data/more/b.txt", ""),
}


@pytest.mark.parametrize(
    ("verb", "change"),
    [*(("run", change) for change in CHANGES), ("quantize", "another byte"), ("export", "a file in a folder")],
)
def test_changed_data_is_refused_as_changed_code_is(change: str, verb: str, home: Path, tmp_path: Path) -> None:
    path, text = CHANGES[change]
    (home / path).write_text(text)
    words = again(home) if verb == "run" else (verb, str(home / "out"), "--parts", str(home / "mine.py"))
    before = (home / "out" / runs.RUNS).read_bytes(), (home / "out" / runs.STUDY).read_bytes()
    said = refused(*words, cwd=tmp_path)
    changed = home / (path if path == "data/table.csv" else "data")
    assert f"the data in {changed} has changed since " in said
    assert "runs were made with it; give the changed data a folder of its own with `run --out FOLDER`, or put" in said
    assert ((home / "out" / runs.RUNS).read_bytes(), (home / "out" / runs.STUDY).read_bytes()) == before
    assert call("report", str(home / "out"), cwd=tmp_path).returncode == 0


def test_data_that_is_gone_is_named(home: Path, tmp_path: Path) -> None:
    shutil.rmtree(home / "data")
    said = refused(*again(home), cwd=tmp_path)
    assert (
        f"the data in {home}/data/table.csv cannot be read (No such file or directory); put it there, or name " in said
    )
    (tmp_path / "new").mkdir()
    write(tmp_path / "new" / "home")
    shutil.rmtree(tmp_path / "new" / "home" / "data")
    refused("run", "mine.py", cwd=tmp_path / "new" / "home")
    assert [path.name for path in (tmp_path / "new" / "home").glob("*") if path.name != "__pycache__"] == ["mine.py"]


def test_data_that_moved_with_its_study_is_the_same(home: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    moved = home.rename(tmp_path / "moved" / "home")
    ended = call(*again(moved), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    study = runs.read_study(moved / "out")
    assert study["study"]["task"]["table"] == str(moved / "data" / "table.csv")
    assert set(study["data"]) == {str(moved / "data" / "table.csv"), str(moved / "data")}
    shutil.copytree(moved / "data", moved / "other")
    (moved / "other" / "table.csv").write_text("7")
    said = refused(*again(moved, "--set", "task.table=other/table.csv"), cwd=moved)
    assert "another question: task.table was " in said


def test_a_folder_of_before_digests_gets_them(home: Path, tmp_path: Path) -> None:
    file = home / "out" / runs.STUDY
    study = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in study.items() if key != "data"}))
    assert call(*again(home), cwd=tmp_path).returncode == 0
    assert runs.read_study(home / "out")["data"] == study["data"]
    (home / "data" / "table.csv").write_text("9")
    assert "has changed since" in refused(*again(home), cwd=tmp_path)


def test_a_text_that_names_a_file_counts_as_data_too(tmp_path: Path) -> None:
    write(tmp_path / "home", "str", '"data/table.csv"')
    ended = call("run", "mine.py", "--workers", "1", cwd=tmp_path / "home")
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "home" / "data" / "table.csv").write_text("9")
    assert "has changed since" in refused("run", "mine.py", cwd=tmp_path / "home")


def test_paths_are_taken_from_the_file_that_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    part = make_dataclass("Located", [("at", Path), ("name", str, "x.csv")], bases=(Part,), frozen=True)
    with paths_from(tmp_path / "a"):
        inner = part("b/c.csv")
    assert inner.at == tmp_path / "a" / "b" / "c.csv"
    assert inner.to_json() == {"kind": "Located", "at": str(inner.at), "name": "x.csv"}
    assert part(Path("c.csv")).at == tmp_path / "c.csv"
    assert part(tmp_path / "d").at == tmp_path / "d"
    files = Task.data_files.fget
    assert files is not None
    assert files(inner) == (inner.at,)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (
            ("trainer=Windowed",),
            "Windowed trains on a text without end, but PatternCompletion has episodes; use Gradient",
        ),
        (("finalist=Windowed", "trials=1"), ""),
    ],
)
def test_a_run_that_trained_nothing_leaves_nothing(sets: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from small import study\n\nSTUDY = study(trials=1)\n")
    words = [word for each in sets for word in ("--set", each)]
    ended = call("run", "mine.py", *words, "--workers", "1", cwd=tmp_path)
    assert (ended.returncode, said in ended.stderr) == (1, True)
    if said:
        assert [p.name for p in tmp_path.iterdir() if p.name != "__pycache__"] == ["mine.py"]
    else:  # what was searched stays, and is gone on from
        assert len(runs.load(tmp_path / "runs" / "mine").stage("search")) == 2
    (tmp_path / "runs" / "mine").mkdir(parents=True, exist_ok=True)
    (tmp_path / "runs" / "mine" / "notes.txt").write_text("mine")
    call("run", "mine.py", *words, "--workers", "1", cwd=tmp_path)
    left = {p.name for p in (tmp_path / "runs" / "mine").iterdir() if p.name != ".lock"}
    assert left == {"notes.txt"} if said else {"notes.txt", runs.RUNS} < left
