"""The study of networks that choose their size: it can be stopped, and its page says what its intervals say."""

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
from plastic_search.report import growth_page
from plastic_search.report.growth_findings import findings, verdicts
from plastic_search.structures.grown import Grown

FEW = (
    Condition("variable-hard", Grown(adds=0.9, deletes=0.5, spontaneous=0.1), 6, CONDITIONS[0].task),
    Condition("easy-hard-easy", Grown(adds=0.9, deletes=0.5, spontaneous=0.1), 5, CONDITIONS[3].task),
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
    with pytest.raises(PlasticSearchError, match=r"no condition in .* is finished"):
        findings(tmp_path)
    with pytest.raises(PlasticSearchError, match=r"holds no growth\.json"):
        findings(tmp_path / "nowhere")
    with pytest.raises(PlasticSearchError, match="at least 1"):
        next(grow(tmp_path, cycles=0))


def test_the_page_holds_what_is_finished_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    list(grow(tmp_path, cycles=20, seeds=2))
    page = growth_page.write(tmp_path).read_text()
    assert "Not finished yet: chooses its size, easy text" in page
    assert page.count("<svg") == 4
    for outside in ("<script", "src=", "@import", "url(http"):
        assert outside not in page
    told = json.loads((tmp_path / "report.json").read_text())
    assert {c["name"] for c in told["conditions"]} == {each.name for each in FEW}
    assert [s["when"] for s in told["switched"]] == ["at a third", "at its largest", "at two thirds", "at the end"]


def lines(loss: list[float], units: list[float], third: float = 0.0, two: float = 0.0) -> list[dict[str, Any]]:
    return [
        {"seed": k, "cycles": 90, "curve": [[30, 20.0, third], [60, 15.0, two], [90, at, n]], "seconds": 1.0}
        for k, (at, n) in enumerate(zip(loss, units, strict=True))
    ]


def test_verdicts_follow_the_intervals() -> None:
    near, far, some = [10.0 + 0.01 * k for k in range(10)], [14.0 + 0.01 * k for k in range(10)], list(range(30, 40))
    runs = {
        "variable-hard": lines(near, [37.0 + k % 2 for k in range(10)]),
        "variable-easy": lines(near, [14.0 + k % 2 for k in range(10)]),
        "easy-hard-easy": lines(near, [20.0] * 10, third=14.0, two=40.0),
        "fixed-20": lines(far, [20.0] * 10),
    }
    assert [v["answer"] for v in verdicts(runs)] == ["yes"] * 5
    assert "23 [22, 24] units more" in verdicts(runs)[0]["told"]
    runs |= {"fixed-37": lines(near, [37.0] * 10), "variable-easy": lines(near, list(map(float, some)))}
    assert [v["answer"] for v in verdicts(runs)][:2] == ["unclear", "unclear"]
    runs["variable-hard"] = lines(far[:5] + near[:5], [10.0] * 10)
    runs["easy-hard-easy"] = lines(near, [50.0] * 10, third=14.0, two=14.0)
    assert [v["answer"] for v in verdicts(runs)] == ["no", "unclear", "unclear", "unclear", "no"]
    runs["variable-hard"] = lines([16.0] * 10, [10.0] * 10)
    assert [v["answer"] for v in verdicts(runs)][1:3] == ["no", "no"]


def test_the_command_trains_in_two_processes_and_writes_the_page(tmp_path: Path) -> None:
    command = "from plastic_search.cli.app import main; main()"
    words = ["grow", "--out", str(tmp_path), "--cycles", "3", "--seeds", "2", "--workers", "2", "--json"]
    done = subprocess.run([sys.executable, "-c", command, *words], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert [c["name"] for c in told["conditions"]] == [
        *("variable-hard", "variable-easy", "easy-hard-easy", "fixed-20", "fixed-37", "fixed-75", "fixed-100"),
    ]
    assert told["missing"] == []
    assert (tmp_path / "report.html").is_file()
    assert "growing 21/21" in done.stderr
