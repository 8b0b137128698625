"""A sweep: what it trains, that it goes on where it stopped, and what its page says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.statistics import mean
from plastic_search.experiments import quantize, repair, runner
from plastic_search.experiments.export import export
from plastic_search.experiments.shrink import shrunk
from plastic_search.experiments.sweep import Group, Sweep
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import run as runs
from plastic_search.report import sweep_page
from plastic_search.report.comparison_page import Measured
from plastic_search.report.stability import stability
from plastic_search.structures.blocks import Blocks
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.hard_concrete import HardConcrete
from plastic_search.structures.rewired import Rewired
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.topology.files import find
from plastic_search.trainers.gradient import Gradient

TASK = PatternCompletion(bits=6)
BASE = NetworkSpec(
    (
        Layer(8, structure=FeedForward()),
        Layer(TASK.outputs, Linear(), structure=FeedForward(), plastic=Pathway.INPUT, skip=(1,)),
    )
)
SWEEP = Sweep(
    question="How few?",
    axis="share",
    base=BASE,
    groups=(
        Group("learned", Gated(support=FeedForward())),
        Group("noisy", HardConcrete(support=FeedForward())),
        Group("random", Rewired(exchanged=0.0, support=FeedForward())),
    ),
    values=(0.5, 0.1),
    task=TASK,
    trainer=Gradient(steps=12, batch=4, reports=3),
    tuning=Gradient(steps=4, batch=4, reports=1),
    seeds=(0, 1),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweep")
    list(runner.run(SWEEP, "few", out, workers=1))
    return out


def test_every_case_is_trained_with_every_seed_within_its_budget(folder: Path) -> None:
    result = runs.load(folder).stage("sweep")
    assert len(result) == 14
    dense = next(r for r in result if r.name == "dense 1").metrics["connections"]
    for run in result:
        asked = run.choices["at"] * dense
        assert abs(run.metrics["connections"] - asked) <= 1.0  # one in each layer may be rounded
        assert run.costs["steps"] == 16
        assert [row[0] for row in run.curve] == [4, 8, 12, 16]
        assert ("soft" in run.metrics) == (run.choices["group"] != "dense")


def test_the_same_seed_gives_the_same_graph(folder: Path, tmp_path: Path) -> None:
    once = replace(SWEEP, groups=SWEEP.groups[:1], values=(0.1,), seeds=(1,))
    list(runner.run(once, "few", tmp_path, workers=1))
    again, first = runs.load(tmp_path).topologies, runs.load(folder).topologies
    assert again["learned-0.1-1"] == first["learned-0.1-1"]
    assert first["learned-0.1-1"] != first["learned-0.1-0"]


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    short = replace(SWEEP, groups=SWEEP.groups[:1], values=(0.5,))
    events = runner.run(short, "few", tmp_path, workers=1)
    next(events)
    events.close()
    assert [e.done for e in runner.run(short, "few", tmp_path, workers=1)] == [2, 3, 4]
    assert not list(runner.run(short, "few", tmp_path, workers=1))
    with pytest.raises(PlasticSearchError, match=r"holds another question: trainer\.steps was 12, is 13"):
        list(runner.run(replace(short, trainer=Gradient(steps=13, batch=4, reports=3)), "few", tmp_path, workers=1))


def test_a_torn_sweep_is_mended(tmp_path: Path) -> None:
    short = replace(SWEEP, groups=SWEEP.groups[:1], values=(0.5,), seeds=(0,))
    list(runner.run(short, "few", tmp_path, workers=1))
    with (tmp_path / runs.RUNS).open("a") as file:
        file.write('{"broken": ')
    assert repair.repair(tmp_path) == ["runs.jsonl: kept 2 of 3 lines, all that are whole; the old file is runs.torn-1"]
    assert repair.repair(tmp_path) == []
    assert not list(runner.run(short, "few", tmp_path, workers=1))


def test_its_page_says_what_holds(folder: Path) -> None:
    path = sweep_page.write(runs.load(folder), folder)
    page = json.loads((folder / "report.json").read_text())
    assert page["complete"] == page["planned"] == 14
    assert [row["at"] for row in page["groups"]["learned"]] == [0.1, 0.5]
    asked = [(a["question"], a["at"]) for a in page["answers"]]
    assert ("Is learned better than random?", 0.1) in asked
    assert ("Does learned lose less than 0.01 beside dense?", 0.5) in asked
    assert {s["at"] for s in page["stability"]} == {0.1, 0.5}
    text = path.read_text()
    assert "Is the structure reproducible?" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    figures = ["axis-score", "curve-connections", "curve-score", "curve-plastic_connections", "graph"]
    assert re.findall('<figure id="figure-([^"]*)"', text) == figures
    assert {curve["name"] for curve in page["curves"]["connections"]} == {"learned 0.5", "learned 0.1"}


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_a_page_of_a_part_of_a_sweep_and_of_an_earlier_version(folder: Path, tmp_path: Path, kept: int) -> None:
    record = runs.load(folder)
    earlier = {
        name: value for name, value in record.study.items() if name not in ("cases", "metrics", "floor", "notes")
    }
    part = record._replace(study=earlier, runs=record.runs[len(record.runs) - kept :], topologies={})
    text = sweep_page.write(part, tmp_path).read_text()
    assert f"{kept} of 14 runs are complete" in text


def test_chance_is_that_of_graphs_as_dense(folder: Path) -> None:
    record = runs.load(folder)
    for row in stability(record):
        result = [r.metrics["connections"] for r in record.stage("sweep", f"learned {row['at']:g}")]
        share = sum(result) / len(result) / record.stage("sweep", "dense 1")[0].metrics["connections"]
        assert row["chance"] == pytest.approx(share / (2 - share))


def test_its_networks_are_kept_and_can_be_shrunk_and_exported(folder: Path, tmp_path: Path) -> None:
    message = shrunk(folder, "learned 0.1", 1, tmp_path / "small")
    assert shrunk(folder, "learned-0.1-1", 1)["after"]["units"] == message["after"]["units"]
    assert find(folder, "learned 0.1")[0] == "learned-0.1-0"
    assert message["after"]["connections"] <= message["before"]["connections"]
    assert (tmp_path / "small" / "step.onnx").is_file()
    result = export(folder, "learned 0.5", folder=tmp_path / "bundle")
    assert (result["name"], result["seed"]) == ("learned 0.5", 0)
    export(folder, "learned 0.1", folder=tmp_path / "bundle")
    export(folder, "learned 0.5", folder=tmp_path / "bundle")
    assert [run.name for run in runs.load(folder).stage("exported")] == ["learned 0.1", "learned 0.5"]
    with pytest.raises(PlasticSearchError, match=r"no exportable network is called 'winner'; known: learned 0\.1"):
        shrunk(folder, "winner")


def test_answers_come_from_intervals_alone() -> None:
    def answer(mine: list[float], theirs: list[float], group: str = "random") -> str:
        ours, others = ({"at": 0.1, "metrics": {"score": measured(each)}} for each in (mine, theirs))
        return sweep_page.compared("learned", ours, group, others, group == "dense")["answer"]

    def measured(values: list[float]) -> Measured:
        return Measured(mean(values), (0.0, 0.0, 0.0), dict(enumerate(values)), None, "")

    assert answer([0.9, 0.91, 0.92], [0.5, 0.51, 0.52]) == "yes"
    assert answer([0.5, 0.51, 0.52], [0.9, 0.91, 0.92]) == "no"
    assert answer([0.5, 0.9], [0.6, 0.8]) == "unclear"
    assert answer([0.9], [0.1]) == "unclear"
    assert answer([0.90, 0.901, 0.902], [0.905, 0.904, 0.906], "dense") == "yes"  # 0.004 less is less than 0.01
    assert answer([0.80, 0.801, 0.802], [0.905, 0.904, 0.906], "dense") == "no"


def test_what_a_sweep_cannot_be_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(PlasticSearchError, match=r"field of Gated is called 'dense'; known: .*density"):
        replace(SWEEP, field="dense")
    with pytest.raises(PlasticSearchError, match="names of groups must all differ"):
        replace(SWEEP, base_name="learned")
    with pytest.raises(PlasticSearchError, match=r"values must all differ, and be there, but are \[\]"):
        replace(SWEEP, values=())
    with pytest.raises(PlasticSearchError, match=r"layers are 0 to 1, but got \[2\]"):
        replace(SWEEP, layers=(2,))
    with pytest.raises(PlasticSearchError, match="the last layer has units="):
        list(runner.run(replace(SWEEP, base=NetworkSpec((Layer(2),))), "few", tmp_path))
    with pytest.raises(PlasticSearchError, match=r"no case with parameters is called 'winner'; known: learned 0\.1"):
        list(quantize.quantize(folder, name="winner"))
    assert Sweep.from_json(json.loads(json.dumps(SWEEP.to_json()))) == SWEEP


def test_gates_narrow_to_their_number_and_then_stay() -> None:
    from plastic_search.network.module import Network

    net = Network(replace(BASE, layers=(replace(BASE.layers[0], structure=Gated(5)), BASE.layers[1])), TASK.inputs)
    counts = []
    for _ in Gradient(steps=20, batch=2, reports=20).train(net, TASK, 0):
        counts.append(net.connections())
    assert counts == sorted(counts, reverse=True)
    gate = net.layers[0].structure__frozen
    assert isinstance(gate, torch.Tensor)
    assert gate.item() == 1.0
    before = net.spec.layers[0].structure.gates(net.parts()[0].structure, net.shapes[0], net.parts()[0].weight).exists
    assert before is not None
    assert int(before.sum()) == 5
    list(Gradient(steps=5, batch=2).train(net, TASK, 1))
    after = net.spec.layers[0].structure.gates(net.parts()[0].structure, net.shapes[0], net.parts()[0].weight).exists
    assert after is not None
    assert torch.equal(before, after)


def test_it_goes_along_whole_numbers_too(tmp_path: Path) -> None:
    few = replace(
        SWEEP,
        groups=(Group("learned", Blocks(support=FeedForward())),),
        values=(1, 2),
        field="keep",
        budget="",
        seeds=(0,),
    )
    few = replace(few, trainer=Gradient(steps=4, batch=2, reports=1), tuning=None, layers=(1,))
    list(runner.run(few, "blocks", tmp_path, workers=1))
    found = {r.name: r.metrics["connections"] for r in runs.load(tmp_path).stage("sweep")}
    assert found["dense 1"] == found["learned 2"] > found["learned 1"]
    assert sweep_page.write(runs.load(tmp_path), tmp_path).is_file()
    with pytest.raises(PlasticSearchError, match=r"Blocks\.keep wants an int, but got 1\.5"):
        replace(few, values=(1.5,)).cases  # noqa: B018
