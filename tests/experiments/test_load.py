"""A trained network comes back into Python as it was when it was measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from small import study

import plastic_search
from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.experiments.comparison import Case, Change, Comparison
from plastic_search.experiments.export import export
from plastic_search.experiments.quantize import quantize
from plastic_search.experiments.runner import run
from plastic_search.experiments.sweep import Group, Sweep
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import run as records
from plastic_search.records.run import Run, Stage
from plastic_search.structures.gated import Gated
from plastic_search.structures.pruned import Pruned
from plastic_search.tasks import Split
from plastic_search.training.evaluation import evaluate

SMALL = study(trials=1)
SPEC = NetworkSpec((Layer(6, plastic=Pathway.BOTH), Layer(4)))
RULE = '''"""A rule of one's own."""

from dataclasses import dataclass

from plastic_search.rules import Change, Outer, Rule


@dataclass(frozen=True)
class Drowsy(Rule):
    """dH = 0.5 * post (x) pre"""

    def step(self, params, state, seen):
        return Change((Outer(seen.post, seen.pre, 0.5),)), state
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was run, quantized and exported."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    list(run(SMALL, "small", folder, workers=1))
    list(quantize(folder, bits=(4,), workers=1))
    export(folder)
    return folder


CASES = Case("plastic"), Case("fixed", changes=(Change("layers.0.plastic", Pathway.NONE),))


def compared(spec: NetworkSpec = SPEC, cases: tuple[Case, ...] = CASES) -> Comparison:
    return Comparison("Which?", cases, spec, SMALL.task, SMALL.trainer, seeds=(3, 4))


def score(net: Network) -> float:
    return round(evaluate(net, SMALL.task, Split.TEST, 2000), 6)


def measured(folder: Path, *stages: Stage) -> list[Run]:
    return [run for run in records.load(folder).runs if run.stage in stages]


def test_every_network_scores_what_was_recorded(folder: Path) -> None:
    runs = measured(folder, Stage.FINAL, Stage.QUANTIZED)
    names = {run.name for run in runs}
    assert names >= {"winner", "fixed", "dense", "w4a4t8-stochastic", "w4a4t8-stochastic-tuned", "w32a32t32-tuned"}
    for each in runs:
        net = plastic_search.load(folder, name=each.name, seed=each.seed)
        assert net.spec == NetworkSpec.from_json(each.spec)
        assert score(net) == each.metrics["score"], each.name
        assert net.connections() == each.metrics["connections"]


def test_without_a_name_it_is_the_winner_of_the_first_seed(folder: Path) -> None:
    nets = plastic_search.load(str(folder)), plastic_search.load(folder, name="winner", seed=0)
    assert all(torch.equal(a, b) for a, b in zip(*(net.parameters() for net in nets), strict=True))


def test_a_bundle_is_the_network_that_was_exported(folder: Path) -> None:
    net, exported = plastic_search.load(folder / "bundle"), plastic_search.load(folder, "w4a4t8-stochastic-tuned")
    x = torch.randn(9, 3, net.inputs)
    (y, state), (wanted, after) = net(x), exported(x)
    assert torch.equal(y, wanted)
    assert torch.equal(state[1].trace, after[1].trace)  # type: ignore[arg-type]
    with pytest.raises(PlasticSearchError, match="is a bundle, which holds one network; leave out name and seed"):
        plastic_search.load(folder / "bundle", seed=0)


@pytest.mark.parametrize(
    ("name", "seed", "message"),
    [
        ("winer", 0, r"no network with parameters is called 'winer'; known: .*, w4a4t8-stochastic, .*winner.*'winner'"),
        ("tpe", 0, "no network with parameters is called 'tpe'; known: .*dense"),
        ("winner", 7, r"small has no winner of seed 7; known seeds: 0, 1$"),
        (3, 0, r"name must be text, such as 'winner', but is 3 \(int\)"),
        ("winner", "0", r"seed must be a whole number, but is '0' \(str\)"),
        ("winner", True, r"seed must be a whole number, but is True \(bool\)"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(name: Any, seed: Any, message: str, folder: Path) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        plastic_search.load(folder, name, seed)


def test_a_place_without_networks_is_refused(folder: Path, tmp_path: Path) -> None:
    for place, message in (
        (tmp_path / "nowhere", "nowhere does not exist; wanted a study.json, as a run folder has, or a manifest.json"),
        (tmp_path, "has neither a study.json, as a run folder has, or a manifest.json, as a bundle has"),
        (folder / "runs.jsonl", r"runs\.jsonl is no folder with a study\.json"),
    ):
        with pytest.raises(PlasticSearchError, match=message):
            plastic_search.load(place)
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(folder / "study.json", begun)
    with pytest.raises(PlasticSearchError, match="begun has no trained network yet; `plastic-search run` makes them"):
        plastic_search.load(begun)


def test_a_lost_file_is_told_apart_from_a_wrong_name(folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    shutil.rmtree(next((copied / "models").glob("dense-*")))
    with pytest.raises(PlasticSearchError, match="Runs of 'dense' are recorded, but their parameters were not kept"):
        plastic_search.load(copied, "dense")


def test_nothing_is_written_or_locked(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with FileLock(folder / ".lock"):  # as a search does that is at work
        plastic_search.load(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_cases_of_a_comparison_each_by_its_name(tmp_path: Path) -> None:
    list(run(compared(), "cases", tmp_path / "cases", workers=1))
    for each in measured(tmp_path / "cases", Stage.COMPARISON):
        assert score(plastic_search.load(tmp_path / "cases", each.name, each.seed)) == each.metrics["score"]
    assert plastic_search.load(tmp_path / "cases", "fixed").spec.layers[0].plastic is Pathway.NONE
    with pytest.raises(PlasticSearchError, match="'winner'; known: fixed, plastic"):
        plastic_search.load(tmp_path / "cases")
    list(run(compared(cases=(Case("only"),)), "one", tmp_path / "one", workers=1))
    assert plastic_search.load(tmp_path / "one").spec == SPEC


def test_values_of_a_sweep_by_group_and_value(tmp_path: Path) -> None:
    groups = Group("learned", Gated()), Group("pruned", Pruned())
    sweep = Sweep("How few?", "share", SPEC, groups, (0.5, 0.25), SMALL.task, trainer=SMALL.trainer, seeds=(0,))
    list(run(sweep, "sweep", tmp_path, workers=1))
    kept = [each for each in measured(tmp_path, Stage.SWEEP) if each.name.startswith("learned")]
    assert len(kept) == 2
    for each in kept:
        assert score(plastic_search.load(tmp_path, each.name)) == each.metrics["score"]
    with pytest.raises(PlasticSearchError, match=r"'pruned 0.5'; known: learned 0.25, learned 0.5.* were not kept"):
        plastic_search.load(tmp_path, "pruned 0.5")


def test_a_network_that_was_trained_may_be_trained_on_in_a_loop_of_ones_own(folder: Path) -> None:
    net = plastic_search.load(folder)
    optimiser = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(25):
        net(torch.randn(3, 2, net.inputs))[0].square().mean().backward()
        optimiser.step()


def test_a_part_of_ones_own_is_imported_first_and_must_be_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(RULE)
    rule = loading.load_module(tmp_path / "mine.py").Drowsy()
    spec = replace(SPEC, layers=(replace(SPEC.layers[0], rule=rule), SPEC.layers[1]))
    list(run(compared(spec=spec), "own", tmp_path / "own", workers=1))
    export(tmp_path / "own", "plastic")
    assert plastic_search.load(tmp_path / "own", "plastic").spec == spec
    monkeypatch.setattr(Part, "kinds", {name: kind for name, kind in Part.kinds.items() if name != "Drowsy"})
    for place, name in ((tmp_path / "own", "plastic"), (tmp_path / "own" / "bundle", None)):
        with pytest.raises(PlasticSearchError, match=r"'Drowsy'; .*`import` its module first, or .* --parts FILE"):
            plastic_search.load(place, name)
    (tmp_path / "mine.py").write_text(RULE.replace("0.5)", "0.7)"))
    loading.load_module(tmp_path / "mine.py")
    with pytest.raises(PlasticSearchError, match=r"Drowsy has changed since \d runs were made with it"):
        plastic_search.load(tmp_path / "own", "plastic")


def test_old_names_in_a_study_are_read(folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "old"))
    data = json.loads((copied / "study.json").read_text())
    data["study"]["worth"] = data["study"].pop("feasibility_threshold")
    (copied / "study.json").write_text(json.dumps(data))
    assert score(plastic_search.load(copied)) == score(plastic_search.load(folder))
