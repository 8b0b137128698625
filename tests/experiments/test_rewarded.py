"""A comparison in an environment: what is measured, interruption, what ends badly, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import call

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.environments.bandit import Bandit
from plastic_search.experiments import measures, population
from plastic_search.experiments.comparison import Case, Change, Comparison, Metric
from plastic_search.experiments.runner import run
from plastic_search.modulations import FanOut
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.simple import Simple
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import run as runs
from plastic_search.report import comparison_page
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.trainers.evolution import Evolution
from plastic_search.trainers.gradient import Gradient

SPEC = NetworkSpec(
    (
        Layer(5, modulation=Simple(FanOut.NETWORK), plastic=Pathway.RECURRENT),
        Layer(3, Linear(), structure=FeedForward()),
    )
)
SPEC_OF_TWO = NetworkSpec((Layer(2, Linear(), plastic=Pathway.INPUT, structure=FeedForward()),))
STUDY = Comparison(
    question="Does it pay?",
    spec=SPEC,
    task=Bandit(arms=2, steps=6),
    trainer=ActorCritic(steps=4, batch=6, reports=4),
    cases=(Case("modulated"), Case("learned", changes=(Change("layers.0.modulation", Learned()),))),
    metrics=(Metric("score"),),
    seeds=(0, 1),
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "_SECONDS", 0.0)
    monkeypatch.setattr(population, "_REPORT", 0.0)
    monkeypatch.setattr(measures, "_PLAYED", 8)


@pytest.fixture
def broken() -> Iterator[type[Bandit]]:
    @dataclass(frozen=True)
    class Broken(Bandit):
        """A bandit whose reward is lost after a while."""

        def step(self, state: Any, actions: torch.Tensor, rng: torch.Generator) -> Any:
            state, moment = super().step(state, actions, rng)
            return state, replace(moment, reward=moment.reward + float("nan"))

    yield Broken
    del Part.kinds["Broken"]


def results(out: Path) -> list[dict[str, Any]]:
    found = [run.to_json() | {"costs": {}} for run in runs.load(out).runs]
    return sorted(found, key=lambda each: (each["name"], each["seed"]))


def test_a_stopped_comparison_finds_the_same_and_measures_what_is_promised(tmp_path: Path) -> None:
    texts = [event.text for event in run(STUDY, "small", tmp_path / "straight", 1)]
    assert any("modulated, 2 seeds: step 2 of 4, reward per pull 0." in text and "s left" in text for text in texts)
    events = run(STUDY, "small", tmp_path / "stopped", 1)
    next(events)
    next(events)
    events.close()
    assert list((tmp_path / "stopped" / runs.CHECKPOINTS).iterdir())
    list(run(STUDY, "small", tmp_path / "stopped", 1))
    assert results(tmp_path / "stopped") == results(tmp_path / "straight")

    record = runs.load(tmp_path / "straight")
    for each in record.runs:
        assert {f"trial.{k}" for k in range(6)} <= each.metrics.keys()
        assert each.metrics["test"] == each.metrics["score"] == each.metrics["reward per pull"]
        assert {"validation", "frozen", "shuffled", "best arm, last quarter"} <= each.metrics.keys()
        assert ("clamped" in each.metrics) == (each.name == "modulated"), "a rate that is constant is held already"
        assert [point.step for point in each.curve] == [1, 2, 3, 4]
        assert all(point.score is not None and 0 <= point.score <= 1 for point in each.curve)
        pulls = [each.metrics[f"trial.{k}"] for k in range(6)]
        assert sum(pulls) / 6 == pytest.approx(each.metrics["score"], abs=1e-5)
    assert record.study["task"] == {
        "kind": "Bandit", "about": record.study["task"]["about"], "score_name": "reward per pull", "chance": None,
    }  # fmt: skip
    assert Comparison.from_json(record.study["study"]) == STUDY


def test_evolution_shows_its_generations(tmp_path: Path) -> None:
    recall = PatternCompletion(bits=2, patterns=1, present=1, delay=0)
    evolved = replace(
        STUDY,
        trainer=Evolution(generations=3, candidates=4, episodes=2, reports=3),
        cases=(Case("acts", SPEC_OF_TWO), Case("recalls", SPEC_OF_TWO, task=recall)),
    )
    texts = [event.text for event in run(evolved, "evolved", tmp_path, 1)]
    assert any("acts, 2 seeds: generation 2 of 3, reward per pull 0." in text for text in texts)
    assert all(
        ", fitness " in text and ", best " in text and "s left" in text for text in texts if "generation" in text
    )
    record = runs.load(tmp_path)
    for each in record.runs:
        for point in each.curve:
            score, fitness, best = (float(v) for v in (point.score, point.fitness, point.best_fitness) if v is not None)
            assert 0 <= score <= 1
            assert fitness <= best
            if each.name == "acts":  # six pulls an episode, of which the score is the mean
                assert score == pytest.approx(fitness / 6, abs=1e-5)
        assert -each.curve[0].loss == pytest.approx(each.curve[0].fitness, abs=1e-4)
    curves = comparison_page.contents(record)["curves"]
    for name in ("fitness", "best_fitness"):
        for curve in curves[name]:
            values = [getattr(each.curve[-1], name) for each in record.runs if each.name == curve.name]
            assert curve.middle[-1] == pytest.approx(sum(values) / 2)
            assert curve.low[-1] <= curve.middle[-1] <= curve.high[-1]


def test_a_reward_that_is_not_a_number_ends_the_run_alone(broken: type[Bandit], tmp_path: Path) -> None:
    cases = (Case("whole"), Case("lost", task=broken(arms=2, steps=6)))
    list(run(replace(STUDY, cases=cases), "small", tmp_path, 1))
    for each in runs.load(tmp_path).runs:
        wanted = runs.Outcome.DIVERGED if each.name == "lost" else runs.Outcome.COMPLETE
        assert each.outcome is wanted
        why = (
            r"the loss is not finite at step 1, after the reward of Broken \(.*test_rewarded.py\) that is not .* number"
        )
        assert re.fullmatch(why if each.name == "lost" else "", each.note)


def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path: Path) -> None:
    narrow = replace(STUDY, spec=NetworkSpec((SPEC.layers[0], replace(SPEC.layers[1], units=2))))
    with pytest.raises(PlasticSearchError, match="units=2, but ActorCritic in Bandit wants 3 outputs, of which 2 are"):
        list(run(narrow, "small", tmp_path / "a", 1))
    with pytest.raises(PlasticSearchError, match="Gradient trains networks for tasks, but Bandit is an environment"):
        list(run(replace(STUDY, trainer=Gradient()), "small", tmp_path / "b", 1))
    with pytest.raises(PlasticSearchError, match="but PatternCompletion is a task; use Gradient"):
        list(run(replace(STUDY, task=PatternCompletion()), "small", tmp_path / "c", 1))
    with pytest.raises(PlasticSearchError, match=r"Comparison\.task wants a Task"):
        replace(STUDY, task=Gradient())  # type: ignore[arg-type]
    with pytest.raises(PlasticSearchError, match=r"wants a Task or an Environment, such as Maze\(\), but got 'maze'"):
        replace(STUDY, task="maze")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_setting_of_the_environment_has_a_path(tmp_path: Path) -> None:
    small = ("environment.steps=8", "trainer.steps=1", "trainer.batch=2", "seeds=[0]")
    sets = [word for each in small for word in ("--set", each)]
    assert call("run", "bandit", *sets, "--out", str(tmp_path), "--workers", "1").returncode == 0
    assert runs.load(tmp_path).study["study"]["task"]["steps"] == 8
    refused = call("run", "growing_units", "--set", "environment.size=9", "--out", str(tmp_path / "x"))
    assert "there is no environment that all networks share" in refused.stderr
