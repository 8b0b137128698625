"""The study of networks that choose their size: it can be stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments import growth
from plastic_search.experiments.growth import CONDITIONS, Condition, grow
from plastic_search.structures.grown import Grown

FEW = (
    Condition("variable-hard", Grown(adds=0.9, deletes=0.5, unasked=0.1), 6, CONDITIONS[0].task),
    Condition("easy-hard-easy", Grown(adds=0.9, deletes=0.5, unasked=0.1), 5, CONDITIONS[3].task),
    Condition("fixed-37", Grown(start=3, adds=0.0, deletes=0.0), 3, CONDITIONS[1].task),
)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "CONDITIONS", FEW)
    monkeypatch.setattr(growth, "_SECONDS", 0.0)
    monkeypatch.setattr(growth, "_RECORDED", 5)


def results(out: Path) -> dict[str, list[Any]]:
    lines = {p.stem: p.read_text().splitlines() for p in sorted((out / "conditions").iterdir())}
    return {name: [json.loads(line) | {"seconds": 0} for line in each] for name, each in lines.items()}


def test_stopped_and_begun_again_it_finds_the_same(tmp_path: Path) -> None:
    *_, last = grow(tmp_path / "straight", cycles=20, seeds=2)
    assert (last.done, last.total) == (60, 60)
    for stop in (2, 3, 6):
        *_, event = islice(grow(tmp_path / "stopped", cycles=20, seeds=2), stop)
        assert list((tmp_path / "stopped" / "checkpoints").iterdir()), event
    *_, last = grow(tmp_path / "stopped", cycles=20, seeds=2)
    assert last.done == 60
    assert results(tmp_path / "stopped") == results(tmp_path / "straight")
    assert not list((tmp_path / "stopped" / "checkpoints").iterdir())
    assert list(grow(tmp_path / "stopped", cycles=20, seeds=2)) == [], "nothing is run again"


def test_curves_tell_step_loss_and_units(tmp_path: Path) -> None:
    list(grow(tmp_path, cycles=11, seeds=2))
    found = results(tmp_path)
    assert set(found) == {each.name for each in FEW}
    for lines in found.values():
        assert [line["seed"] for line in lines] == [0, 1]
        assert [row[0] for row in lines[0]["curve"]] == [2, 4, 6, 8, 10, 11]
    assert {row[2] for line in found["fixed-37"] for row in line["curve"]} == {3}
    assert len({row[2] for line in found["variable-hard"] for row in line["curve"]}) > 1


def test_another_question_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    next(grow(tmp_path, cycles=20, seeds=2))
    with pytest.raises(PlasticSearchError, match="holds this study with 20 cycles"):
        next(grow(tmp_path, cycles=30, seeds=2))
    with pytest.raises(PlasticSearchError, match="at least 1"):
        next(grow(tmp_path, cycles=0))


def test_the_command_trains_in_two_processes(tmp_path: Path) -> None:
    command = "from plastic_search.cli.app import main; main()"
    words = ["grow", "--out", str(tmp_path), "--cycles", "3", "--seeds", "2", "--workers", "2", "--json"]
    done = subprocess.run([sys.executable, "-c", command, *words], check=True, capture_output=True, text=True)
    assert len(json.loads(done.stdout)["conditions"]) == 7
    assert len(list((tmp_path / "conditions").iterdir())) == 7
    assert "growing 21/21" in done.stderr
