"""Graphs from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from command_line import call, refused
from small import study

from plastic_search.experiments import runner
from plastic_search.experiments.shrink import gains, size
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.precisions.integer import Integer
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.topology.files import read
from plastic_search.topology.shrink import shrink


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the graphs of two winners."""
    folder = tmp_path_factory.mktemp("ran") / "small"
    for _ in runner.run(study(trials=1), "small", folder, 1):
        pass
    return folder


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    ended = call("topology", "--help")
    assert ended.returncode == 0
    for command in ("show", "diff", "draw", "export", "shrink"):
        assert command in ended.stdout
        assert "--" in call("topology", command, "--help").stdout
    heavy = (
        "import sys; sys.argv = ['plastic-search', 'topology', '--help']\n"
        "from plastic_search.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'networkx', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", heavy], check=True, capture_output=True, cwd=Path(__file__).parents[2])


def test_show_measures_a_run_folders_graph(ran: Path) -> None:
    result = json.loads(call("topology", "show", str(ran), "--json").stdout)
    assert result["name"] == "winner-0"
    graph = read(ran / "topologies" / "winner-1.json")
    result = json.loads(call("topology", "show", str(ran), "--name", "winner-1", "--json").stdout)
    assert (result["name"], result["edges"]) == ("winner-1", graph.number_of_edges())
    shown = call("topology", "show", str(ran)).stdout
    for word in ("modularity", "021C", "layers.1", "longest path", "random graphs of equal degrees"):
        assert word in shown


def test_diff_compares_two_winners(ran: Path) -> None:
    words = ("topology", "diff", str(ran), str(ran), "--name-b", "winner-1")
    result = json.loads(call(*words, "--json").stdout)
    assert (result["a"], result["b"]) == ("winner-0", "winner-1")
    assert result["shared"] + result["only_a"] > 0
    assert "shared by chance" in call(*words).stdout


def test_draw_makes_a_picture_of_its_own(ran: Path, tmp_path: Path) -> None:
    for name in ("x.svg", "x.html"):
        out = tmp_path / name
        assert call("topology", "draw", str(ran), "--out", str(out)).stdout == f"{out}\n"
        text = out.read_text()
        assert "var(--" not in text
        assert "inherit" not in text
        assert text.count("http") == text.count("http://www.w3.org/2000/svg")
        assert "layers.1.0: weight" in text
        assert "community 0: " in text
    ET.fromstring((tmp_path / "x.svg").read_text())
    assert "called *.svg or *.html" in refused("topology", "draw", str(ran), "--out", "x.png")


def test_export_writes_what_read_reads(ran: Path, tmp_path: Path) -> None:
    for name in ("g.graphml", "g.json"):
        assert call("topology", "export", str(ran), "--out", str(tmp_path / name)).returncode == 0
    shown = [call("topology", "show", str(tmp_path / n), "--json").stdout for n in ("g.graphml", "g.json")]
    assert shown[0] == shown[1]


def test_shrink_reports_savings_and_writes_a_bundle(ran: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    shown = call("topology", "shrink", str(ran), "--out", str(out))
    assert shown.returncode == 0, shown.stderr
    assert "times as fast" in shown.stdout
    assert (out / "step.onnx").is_file()
    result = json.loads(call("topology", "shrink", str(ran), "--json").stdout)
    assert result["after"]["parameters"] <= result["before"]["parameters"]
    assert result["after"]["units"][-1] == result["before"]["units"][-1]


@pytest.mark.parametrize(("bits", "weights"), [(None, 4 * 15), (8, 15 + 4), (4, 8 + 4), (3, 8 + 4), (12, 2 * 15 + 4)])
def test_sizes_are_those_of_what_is_deployed(bits: int | None, weights: int) -> None:
    """Three units of five inputs: no scores of gates, and weights as integers of 4, 8 or 16 bits beside a step."""
    layer = Layer(3, structure=Gated(support=FeedForward()), plastic=Pathway.NONE)
    net = Network(NetworkSpec((layer,), Integer(bits, bits, None)), 5)
    biases = 3
    assert net.count() > 15 + 15 + biases
    found = size(net)
    assert (found["parameters"], found["bytes"]) == (15 + biases, weights + 4 * biases)


def test_gains_of_a_sparse_network_are_large() -> None:
    hidden = Layer(units=64, structure=Gated(density=0.05, support=FeedForward()))
    net = Network(NetworkSpec((hidden, hidden, Layer(units=5, structure=FeedForward()))), 20)
    result = gains(net, shrink(net))
    assert result["after"]["parameters"] < 0.5 * result["before"]["parameters"]
    assert result["after"]["bytes"] == 4 * result["after"]["parameters"]
    assert list(result["faster"]) == list(result["seconds"]) == ["rollout", "call"]
    for each in result["faster"].values():
        assert list(each) == ["1 episode", "32 episodes", "256 episodes"]
        assert torch.tensor(list(each.values())).isfinite().all()


def test_mistakes_are_reported_in_a_line(ran: Path, tmp_path: Path) -> None:
    assert "there is no folder nowhere" in refused("topology", "show", "nowhere")
    assert "no graph is called 'winer-0'; known: winner-0, winner-1. Did you mean" in refused(
        "topology", "show", str(ran), "--name", "winer-0"
    )
    assert "holds no graph" in refused("topology", "show", str(tmp_path))
    (tmp_path / "g.json").write_text("[]")
    assert "must hold a JSON object" in refused("topology", "show", str(tmp_path / "g.json"))
    assert "chooses among the graphs of a run folder" in refused(
        "topology", "show", str(tmp_path / "g.json"), "--name", "winner-0"
    )
    assert "*.graphml or *.json" in refused("topology", "export", str(ran), "--out", str(tmp_path / "g.png"))
    assert "no exportable network is called 'loser'" in refused("topology", "shrink", str(ran), "--name", "loser")
