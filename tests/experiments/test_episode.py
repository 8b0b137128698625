"""An episode of a trained network: kept by a run, played anew, drawn; and agents in few bits, through onnxruntime."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import call, refused
from torch import Generator, Tensor

from plastic_search.cells.linear import Linear
from plastic_search.core.part import Part
from plastic_search.environments import Environment, Moment
from plastic_search.experiments import exported_agent, measures
from plastic_search.experiments.comparison import Case, Change, Comparison
from plastic_search.experiments.episode import record_episode
from plastic_search.experiments.export import export
from plastic_search.experiments.play import play
from plastic_search.experiments.quantize import quantize
from plastic_search.experiments.runner import run
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import episodes
from plastic_search.records import run as runs
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.trainers.gradient import Gradient
from plastic_search.training import episodes as acting

SPEC = NetworkSpec(
    (Layer(5, modulation=Simple(), plastic=Pathway.RECURRENT), Layer(3, Linear(), structure=FeedForward()))
)
STEPS = 9


def _corridor() -> Any:
    @dataclass(frozen=True)
    class Corridor(Environment):
        """Three cells, in the last of which there is a reward; then begins the next trial

        Args:
            clears: whether the network's cells are cleared then.
        """

        clears: bool = False

        @property
        def inputs(self) -> int:
            return 3

        @property
        def actions(self) -> int:
            return 2

        @property
        def steps(self) -> int:
            return STEPS

        def reset(self, batch: int, rng: Generator) -> tuple[Any, Moment]:
            return self._shown(torch.zeros(2, batch, dtype=torch.int64), torch.zeros(batch))

        def step(self, state: Any, actions: Tensor, rng: Generator) -> tuple[Any, Moment]:
            cell, trial = state
            cell, before = (torch.where(cell == 2, 0, cell) + 2 * actions - 1).clamp(0, 2), trial
            found = cell == 2
            moment = self._shown(torch.stack([cell, trial + found]), found.float())
            return moment[0], replace(moment[1], trial=before, clear=found if self.clears else None)

        def frame(self, state: Any, episode: int) -> str:
            cell = int(state[0, episode])
            return "#####\n#" + "".join("@" if c == cell else "*" if c == 2 else "." for c in range(3)) + "#\n#####"

        def _shown(self, state: Tensor, reward: Tensor) -> tuple[Any, Moment]:
            return state, Moment(torch.nn.functional.one_hot(state[0], 3).float(), reward, trial=state[1])

    return Corridor


@pytest.fixture(scope="module")
def corridor() -> Iterator[Any]:
    yield _corridor()
    Part.kinds.pop("Corridor", None)


@pytest.fixture(scope="module")
def trained(corridor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that was run, with a case whose network is not plastic."""
    question = Comparison(
        question="Does it find its way?",
        spec=SPEC,
        task=corridor(),
        trainer=ActorCritic(steps=2, batch=4, reports=1),
        cases=(Case("modulated"), Case("no trace", changes=(Change("layers.0.plastic", Pathway.NONE),))),
        seeds=(0, 1),
    )
    folder = tmp_path_factory.mktemp("runs") / "corridor"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "_PLAYED", 8)
        list(run(question, "corridor", folder, workers=1))
    return folder


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_PLAYED", 8)
    monkeypatch.setattr(exported_agent, "_EPISODES", 8)


@pytest.mark.parametrize("plastic", [Pathway.RECURRENT, Pathway.NONE])
def test_an_episode_is_what_play_makes_of_the_same_chance(corridor: Any, plastic: Pathway) -> None:
    net = Network(replace(SPEC, layers=(replace(SPEC.layers[0], plastic=plastic), SPEC.layers[1])), 3, seed=4)
    found = record_episode(net, corridor(clears=True), draw=2, name="modulated", seed=4)
    played = acting.play(net, corridor(clears=True), 1, Generator().manual_seed(40_002))
    assert found.rewards == played.rewards[:, 0].tolist()
    assert found.score == sum(found.rewards)
    assert played.trials is not None
    assert found.trials == played.trials[:, 0].tolist()
    assert len(found.frames) == STEPS + 1
    assert [found.frames[t + 1][7:10] == "..@" for t in range(STEPS)] == [reward > 0 for reward in found.rewards]
    assert [layer.layer for layer in found.layers] == [0] * (plastic is not Pathway.NONE)
    for layer in found.layers:
        assert len(layer.signal) == len(layer.rate) == len(layer.trace) == STEPS
        assert layer.trace[0] == 0.0 < layer.trace[-1]  # no unit was active before the first step
        assert all(abs(signal) <= rate + 1e-6 for signal, rate in zip(layer.signal, layer.rate, strict=True))


def test_a_run_leaves_an_episode_of_each_network(trained: Path) -> None:
    kept = runs.load(trained).episodes
    assert sorted(kept) == ["modulated-0", "modulated-1", "no-trace-0", "no-trace-1"]
    assert kept["no-trace-1"] == play(trained, "no trace", seed=1)
    assert play(trained, "no trace", seed=1, draw=1).draw == 1


def test_an_episode_that_cannot_be_drawn_loses_no_training(
    corridor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, state: Any, episode: int) -> str:
        raise ValueError("no pen")

    monkeypatch.setattr(corridor, "frame", fail)
    trainer = ActorCritic(steps=1, batch=2, reports=1)
    question = Comparison("?", (Case("one"),), SPEC, task=corridor(), trainer=trainer, seeds=(0,))
    list(run(question, "one", tmp_path, workers=1))
    (found,) = runs.load(tmp_path).runs
    assert (found.outcome, found.note) == ("complete", "no episode was recorded: ValueError: no pen")


def test_play_prints_draws_and_returns_an_episode(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "episode.svg"
    done = call("play", str(trained), "--case", "modulated", "--seed", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "modulated, seed 1, episode 0: reward" in done.stdout
    assert "modulator" in done.stdout
    assert str(out) in done.stdout
    assert out.read_text().startswith("<svg")
    data = json.loads(call("play", str(trained), "--case", "modulated", "--json").stdout)
    assert data == play(trained, "modulated", seed=0).to_json()


def test_what_cannot_be_played_is_refused_in_a_line(trained: Path, tmp_path: Path) -> None:
    assert "known: modulated, no trace. Did you mean 'modulated'?" in refused("play", str(trained), "--case", "moduled")
    assert "has no modulated of seed 7; known seeds: 0, 1" in refused(
        "play", str(trained), "--case", "modulated", "--seed", "7"
    )
    assert "is called *.svg" in refused("play", str(trained), "--out", "episode.png")
    task = PatternCompletion(bits=4, patterns=1, present=1, delay=0)
    spec = NetworkSpec((Layer(5, structure=FeedForward()), Layer(4, skip=(1,), structure=FeedForward())))
    trainer = Gradient(steps=1, batch=2, reports=1)
    list(
        run(Comparison("?", (Case("a"),), spec, task=task, trainer=trainer, seeds=(0,)), "t", tmp_path / "t", workers=1)
    )
    assert "was trained for the task PatternCompletion" in refused("play", str(tmp_path / "t"))
    bare = tmp_path / "bare"
    shutil.copytree(trained, bare, ignore=lambda folder, names: [n for n in names if n.startswith("modulated-")])
    assert "Runs of 'modulated' are recorded, but their parameters were not kept" in refused(
        "play", str(bare), "--case", "modulated"
    )


def test_an_agent_in_few_bits_plays_through_onnxruntime(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corridor"
    shutil.copytree(trained, folder)
    list(quantize(folder, bits=(4,), workers=1, name="modulated"))
    names = {each.name for each in runs.load(folder).stage("quantized")}
    assert "modulated-w4a4t8-nearest" in names
    assert not any(name.endswith("tuned") for name in names)  # the comparison does not say how
    result = export(folder, "modulated-w4a4t8-nearest", seed=1)
    assert result["score"] == pytest.approx(result["by_torch"])
    (exported,) = runs.load(folder).stage("exported")
    assert exported.metrics["score"] == result["score"]
    assert "through onnxruntime" in result["examples"]
    page = json.loads(call("report", str(folder), "--json").stdout)
    assert "modulated, 4/4/8 nearest, onnxruntime" in [row["label"] for row in page["rounded"]]
    assert {each["name"] for each in page["environment"]["around"]} <= {"modulated"}
    assert episodes.read(folder / "episodes" / "modulated-0.json").name == "modulated"
