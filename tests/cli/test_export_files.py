"""`plastic-search export RUN --out NAME.nir`, `--out NAME.c`, and `--out NAME.qonnx`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call, refused

from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.experiments.comparison import Case, Comparison
from plastic_search.experiments.runner import run
from plastic_search.export import nir, qonnx
from plastic_search.export.c import writing
from plastic_search.export.c.running import compiler
from plastic_search.network.module import Network
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


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run folder `run`."""
    folder = tmp_path_factory.mktemp("exported")
    list(run(QUESTION, "small", folder / "run", 1))
    return folder


def test_a_network_of_a_run_is_written_as_c(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = json.loads(call("export", "run", "--out", "device/mine.c", "--json", cwd=parent).stdout)
    assert {p.name for p in (parent / "device").iterdir()} == {"mine.c", "mine.h", "main.c", "Makefile"}
    assert about["state"] > 4 * 5 * (4 + 5)  # its traces
    assert about["steps"] == (200 if compiler() else 0)
    monkeypatch.setattr(writing, "compiler", lambda: None)
    said = call("export", "run", "--out", "device/mine.c", cwd=parent).stdout
    assert "NOT checked: there is no C compiler here" in said
    assert "main.c was there already, and is as it was" in said
    for options, why in (
        ("z80", "no target is called 'z80'; known: cortex-m4, host"),
        ("cortex-m4", "written in integers"),
    ):
        assert why in refused("export", "run", "--out", "device/other.c", "--target", options, cwd=parent)


def test_a_spiking_network_of_a_run_is_written(parent: Path) -> None:
    pytest.importorskip("nir", reason="the package nir is not installed")
    before = len(runs.load(parent / "run").runs)
    said = call("export", "run", "--name", "spiking", "--out", "mine.nir", cwd=parent)
    assert said.returncode == 0, said.stderr
    assert "spiking of seed 0" in said.stdout
    net = nir.read(parent / "mine.nir")
    assert QUESTION.spec is not None
    assert net.spec.layers == QUESTION.spec.layers
    about = json.loads(call("export", "run", "--name", "spiking", "--out", "mine.nir", "--json", cwd=parent).stdout)
    assert (about["name"], about["plastic"], about["bytes"]) == (
        "spiking", net.plastic_connections(), (parent / "mine.nir").stat().st_size,
    )  # fmt: skip
    assert len(runs.load(parent / "run").runs) == before
    (parent / "folder.nir").mkdir()
    assert "is a folder" in refused("export", "run", "--name", "spiking", "--out", "folder.nir", cwd=parent)


def test_a_network_of_a_run_goes_to_circuits(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("export", "run", "--out", "mine.qonnx")
    assert "nothing in this network is rounded" in refused(*words, cwd=parent)

    def written(net: Network, file: Path) -> qonnx.Written:
        assert net.spec == QUESTION.spec
        file.write_bytes(b"1234")
        return qonnx.Written(file, 3, None)

    monkeypatch.setattr(qonnx, "write", written)
    said = call(*words, cwd=parent).stdout
    assert "mine.qonnx: spiking of seed 0, 4 bytes" in said
    assert "3 quantizers" in said
    assert "NOT checked: qonnx is not installed" in said
    about = json.loads(call(*words, "--json", cwd=parent).stdout)
    assert (about["bytes"], about["quantizers"], about["steps"]) == (4, 3, 0)
