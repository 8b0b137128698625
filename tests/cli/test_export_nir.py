"""`plastic-search export RUN --out NAME.nir`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call, refused

from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.experiments.comparison import Case, Comparison
from plastic_search.experiments.runner import run
from plastic_search.export import nir
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import run as runs
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

pytestmark = pytest.mark.usefixtures("quick_code")
QUESTION = Comparison(
    question="Does it fire?",
    spec=NetworkSpec((Layer(5, LIF(), plastic=Pathway.BOTH), Layer(4, Integrator(), structure=FeedForward()))),
    task=PatternCompletion(bits=4, patterns=1, present=1, delay=0),
    trainer=Gradient(steps=2, batch=4, reports=1),
    cases=(Case("spiking"),),
    seeds=(0,),
)


def test_a_spiking_network_of_a_run_is_written(tmp_path: Path) -> None:
    pytest.importorskip("nir", reason="the package nir is not installed")
    list(run(QUESTION, "small", tmp_path / "run", 1))
    before = len(runs.load(tmp_path / "run").runs)
    said = call("export", "run", "--name", "spiking", "--out", "mine.nir", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "spiking of seed 0" in said.stdout
    net = nir.read(tmp_path / "mine.nir")
    assert QUESTION.spec is not None
    assert net.spec.layers == QUESTION.spec.layers
    about = json.loads(call("export", "run", "--name", "spiking", "--out", "mine.nir", "--json", cwd=tmp_path).stdout)
    assert (about["name"], about["plastic"], about["bytes"]) == (
        "spiking", net.plastic_connections(), (tmp_path / "mine.nir").stat().st_size,
    )  # fmt: skip
    assert len(runs.load(tmp_path / "run").runs) == before
    (tmp_path / "folder.nir").mkdir()
    assert "is a folder" in refused("export", "run", "--name", "spiking", "--out", "folder.nir", cwd=tmp_path)
