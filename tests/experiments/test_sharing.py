"""Where there are more workers than networks, those share the candidates of an evolution: with the same result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plastic_search.core.loading import load_module
from plastic_search.experiments.runner import run
from plastic_search.experiments.sharing import processes
from plastic_search.records import run as runs

FILE = """
import os
from dataclasses import dataclass

from plastic_search.cells.linear import Linear
from plastic_search.environments.bandit import Bandit
from plastic_search.experiments.comparison import Case, Comparison, Metric
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.trainers.evolution import Evolution


@dataclass(frozen=True)
class Noted(Bandit):
    \"\"\"a bandit that notes which processes play it\"\"\"

    folder: str = ""

    def reset(self, batch, rng):
        open(os.path.join(self.folder, str(os.getpid())), "w").close()
        return super().reset(batch, rng)


STUDY = Comparison(
    question="Who plays?",
    spec=NetworkSpec((Layer(3), Layer(2, Linear(), structure=FeedForward()))),
    task=Noted(arms=2, steps=3, folder=os.environ["NOTED"]),
    trainer=Evolution(generations=2, candidates=8, episodes=1, chunk=2),
    cases=(Case("alone"),),
    metrics=(Metric("score", "reward"),),
    seeds=(0,),
)
"""


def test_workers_without_a_network_share_the_candidates_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, noted = tmp_path / "noted.py", tmp_path / "pids"
    file.write_text(FILE)
    noted.mkdir()
    monkeypatch.setenv("NOTED", str(noted))
    study = load_module(file).STUDY
    curves = []
    for workers in (1, 2):
        for _ in run(study, "noted", tmp_path / str(workers), workers, [file]):
            pass
        (result,) = runs.load(tmp_path / str(workers)).runs
        curves.append([(point.fitness, point.best_fitness) for point in result.curve])
    assert curves[0] == curves[1]
    others = {int(each.name) for each in noted.iterdir()} - {os.getpid()}
    assert len(others) >= 2  # the process that trains, which measures the result, and those that it shares with


def test_one_process_is_this_one() -> None:
    with processes(1, ()) as executor:
        assert executor is None
