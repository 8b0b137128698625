"""A comparison: cases that differ in anything, seeds trained together where the trainer can, stopped at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plastic_search.cells.linear import Linear
from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments import population
from plastic_search.experiments.comparison import Better, Case, Change, Comparison, Floor, Metric, Published
from plastic_search.experiments.events import Event
from plastic_search.experiments.export import export
from plastic_search.experiments.runner import run
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import run as runs
from plastic_search.records.run import Stage
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.grown import Grown
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.tasks.reversed_groups import ReversedGroups
from plastic_search.tasks.switched import Switched
from plastic_search.trainers.gradient import Gradient
from plastic_search.trainers.windowed import Windowed

GROWING = Comparison(
    question="Do they grow?",
    spec=NetworkSpec((Layer(6, structure=Grown(adds=0.9, deletes=0.5, spontaneous=0.1)), Layer(4, Linear()))),
    task=ReversedGroups(),
    trainer=Windowed(steps=20, reports=5),
    cases=(
        Case("variable hard"),
        Case("switched", task=Switched(), changes=(Change("layers.0.units", 5),)),
        Case("fixed", changes=(Change("layers.0", Layer(3, structure=Grown(start=3, adds=0.0, deletes=0.0))),)),
    ),
    metrics=(Metric("loss", better=Better.LOWER), Metric("units", published=(Published("fixed", "3"),))),
    seeds=(0, 1),
)
TASK = PatternCompletion(bits=4, patterns=1, present=1, delay=0)
LAYERS = Layer(5, structure=FeedForward()), Layer(4, skip=(1,), plastic=Pathway.INPUT, structure=FeedForward())
RECALL = Comparison(
    question="Does plasticity help?",
    spec=NetworkSpec(LAYERS),
    trainer=Gradient(steps=4, batch=4, reports=2),
    cases=(
        Case("plastic", task=TASK),
        Case("fixed", task=TASK, changes=(Change("layers.1.plastic", "none"),), label="no trace", group="controls"),
        Case("late", task=replace(TASK, delay=2), trainer=Gradient(steps=2, batch=4, reports=1), at=2.0),
    ),
    metrics=(Metric("score", "accuracy"), Metric("frozen")),
    reference="fixed",
    seeds=(0, 1),
    floors=(Floor("nothing", 0.0),),
    notes=("Small.",),
)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "_SECONDS", 0.0)
    monkeypatch.setattr(population, "_REPORT", 0.0)


def done(question: Comparison, out: Path, workers: int = 1) -> list[Event]:
    return list(run(question, "small", out, workers))


def results(out: Path) -> list[dict[str, Any]]:
    found = [run.to_json() | {"costs": {}} for run in runs.load(out).stage(Stage.COMPARISON)]
    return sorted(found, key=lambda each: (each["name"], each["seed"]))


def test_stopped_and_begun_again_it_finds_the_same(tmp_path: Path) -> None:
    *_, last = done(GROWING, tmp_path / "straight")
    assert (last.stage, last.done, last.total) == (Stage.COMPARISON, 6, 6)
    for stop in (2, 3, 6):
        events = run(GROWING, "small", tmp_path / "stopped", 1)
        for _ in range(stop):
            next(events)
        events.close()
        assert list((tmp_path / "stopped" / runs.CHECKPOINTS).iterdir()), stop
    assert [e.done for e in done(GROWING, tmp_path / "stopped")][-1] == 6
    assert results(tmp_path / "stopped") == results(tmp_path / "straight")
    assert not list((tmp_path / "stopped" / runs.CHECKPOINTS).iterdir())
    assert done(GROWING, tmp_path / "stopped") == [], "nothing is run again"


def test_kill_9_loses_nothing_but_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from test_comparison import GROWING, population, run\n"
        "population._SECONDS = population._REPORT = 0.0\n"
        f"for event in run(GROWING, 'small', Path({str(tmp_path / 'killed')!r}), 1):\n"
        "    print(event, flush=True)\n"
    )
    path = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    done(GROWING, tmp_path / "killed")
    done(GROWING, tmp_path / "straight")
    assert results(tmp_path / "killed") == results(tmp_path / "straight")


def test_curves_hold_step_loss_and_units(tmp_path: Path) -> None:
    done(replace(GROWING, trainer=Windowed(steps=11, reports=5)), tmp_path)
    record = runs.load(tmp_path)
    for each in record.runs:
        assert [point.step for point in each.curve] == [2, 4, 6, 8, 10, 11]
        assert all(point.score is None and point.units for point in each.curve)
        assert each.metrics["loss"] == each.curve[-1].loss
        assert each.metrics["units"] == each.curve[-1].units
        assert each.metrics["units_largest"] == max(point.units or 0 for point in each.curve)
        assert each.metrics["units_third"] == each.curve[0].units
    units = {r.name: {point.units for point in r.curve} for r in record.runs}
    assert units["fixed"] == {3.0}
    assert len(units["variable hard"]) > 1
    assert {r.spec["layers"][0]["units"] for r in record.stage(Stage.COMPARISON, "switched")} == {5}


def test_a_run_that_diverges_is_recorded_as_such(tmp_path: Path) -> None:
    wild = Windowed(steps=20, reports=5, learning_rate=1e38, most=1e38)
    done(replace(GROWING, trainer=wild, cases=GROWING.cases[2:]), tmp_path)
    for each in runs.load(tmp_path).runs:
        assert each.outcome is runs.Outcome.DIVERGED
        assert len(each.curve) < 5
    assert done(replace(GROWING, trainer=wild, cases=GROWING.cases[2:]), tmp_path) == [], "it is not run again"


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    events = run(GROWING, "small", tmp_path, 1)
    next(events)
    events.close()
    (file,) = (tmp_path / runs.CHECKPOINTS).iterdir()
    file.write_bytes(b"\x00" * 20)
    with pytest.raises(PlasticSearchError, match=r"variable-hard-0\.safetensors is damaged .* remove it, and variable"):
        done(GROWING, tmp_path)


def test_cases_may_differ_in_task_trainer_and_network(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert [e.done for e in done(RECALL, one)] == [1, 2, 3, 4, 5, 6]
    assert [e.done for e in done(RECALL, two, workers=2)] == [1, 2, 3, 4, 5, 6]
    assert results(one) == results(two)
    record = runs.load(one)
    assert {(r.name, r.seed) for r in record.runs} == {(n, s) for n in ("plastic", "fixed", "late") for s in (0, 1)}
    assert {r.name for r in record.runs if "frozen" in r.metrics} == {"plastic", "late"}
    assert {r.costs["steps"] for r in record.stage(Stage.COMPARISON, "late")} == {2.0}
    about = record.study
    assert about["schema"] == "plastic_search/comparison/1"
    assert about["task"] == {}
    fixed = {"name": "fixed", "label": "no trace", "about": "", "group": "controls", "at": None}
    assert about["cases"][1] == fixed | {"task": TASK.to_json()}
    assert about["cases"][2]["at"] == 2.0
    assert about["metrics"][0] == {
        "name": "score", "label": "accuracy", "better": "higher", "unit": "", "limit": None, "published": {},
    }  # fmt: skip
    assert (about["reference"], about["axis"], about["floor"], about["notes"]) == (
        "fixed", "", {"nothing": 0.0}, ["Small."],
    )  # fmt: skip
    assert Comparison.from_json(about["study"]) == RECALL
    assert export(one, "late", 1, tmp_path / "bundle")["name"] == "late"
    with pytest.raises(PlasticSearchError, match=r"holds another question: cases\.2\.trainer\.steps was 2, is 3"):
        done(replace(RECALL, cases=(*RECALL.cases[:2], replace(RECALL.cases[2], trainer=Gradient(steps=3)))), one)


def test_what_a_comparison_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlasticSearchError, match="case plastic has no trainer; give it one, or give the comparison"):
        replace(RECALL, trainer=None)
    with pytest.raises(PlasticSearchError, match="case variable hard has no task"):
        replace(GROWING, task=None)
    with pytest.raises(PlasticSearchError, match="no case is called 'none'"):
        replace(RECALL, reference="none")
    with pytest.raises(PlasticSearchError, match="cases must all differ"):
        replace(RECALL, cases=RECALL.cases[:1] * 2)
    with pytest.raises(PlasticSearchError, match="It has a published score"):
        replace(RECALL, metrics=(Metric("score", published=(Published("late riser", "1"),)),))
    free = replace(RECALL, reference="")
    with pytest.raises(PlasticSearchError, match=r"field of Layer is called 'unit'; known: .*units"):
        replace(free, cases=(Case("odd", task=TASK, changes=(Change("layers.0.unit", 3),)),))
    with pytest.raises(PlasticSearchError, match="the last layer has units=3"):
        done(replace(free, cases=(Case("odd", task=TASK, changes=(Change("layers.1.units", 3),)),)), tmp_path)


def test_growing_units_is_what_was_published() -> None:
    study = loading.value("studies", "growing_units")
    names = ["variable-hard", "fixed-37", "variable-easy", "easy-hard-easy", "fixed-20", "fixed-75", "fixed-100"]
    assert [case.name for case in study.cases] == names
    found = {each.case.name: each for each in study.trainings()}
    assert found["fixed-75"].spec.layers[0] == Layer(75, structure=Grown(start=75, adds=0.0, deletes=0.0))
    assert isinstance(found["variable-easy"].task, RepeatedPairs)
    assert all(each.trainer.steps == 100_000 for each in found.values())
    assert len(study.seeds) == 20
    assert Comparison.from_json(json.loads(json.dumps(study.to_json()))) == study
