"""An episode of a network with units that fire, as it is kept beside its run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from plastic_search.cells.alif import ALIF
from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.experiments.comparison import Case, Comparison
from plastic_search.experiments.firing import record_firing
from plastic_search.experiments.runner import run
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.records import run as runs
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks import Split
from plastic_search.tasks.cue_association import CueAssociation
from plastic_search.trainers.gradient import Gradient

pytestmark = pytest.mark.usefixtures("quick_code")
TASK = CueAssociation(cues=1, burst=4, period=6, delay=2, recall=2, group=3)
SPEC = NetworkSpec(
    (Layer(6, ALIF(strength=0.5), structure=FeedForward()), Layer(2, Integrator(), structure=FeedForward()))
)


def test_what_is_kept_is_what_the_network_does() -> None:
    net = Network(SPEC, TASK.inputs)
    with torch.no_grad():
        net.layers[0].weight.mul_(4.0)  # type: ignore[operator, union-attr]
        net.layers[0].cell__membrane[2] -= 1.0  # type: ignore[index, operator]
    kept = record_firing(net, TASK, "case", 0)
    inputs, layer = kept.layers
    x = TASK.episodes(1, Split.TEST, torch.Generator().manual_seed(60_000)).inputs
    found, _ = record(net, x, ["layers.0.output", "layers.0.cell"])
    assert [step for unit in inputs.spikes for step in unit] == x[:, 0].T.nonzero()[:, 1].tolist()
    assert [len(each) for each in layer.spikes] == found["layers.0.output"][:, 0].sum(0).int().tolist()
    assert sum(map(len, layer.spikes)) > 0
    for trace in layer.membranes:
        potential = found["layers.0.cell.potential"][:, 0, trace.unit]
        assert trace.potential == pytest.approx(potential.tolist(), rel=1e-4)
        raised = 1.0 + 0.5 * found["layers.0.cell.recent"][:, 0, trace.unit]
        assert trace.threshold == pytest.approx(raised.tolist(), rel=1e-4)
    assert layer.before == [5.0] * 6
    assert [unit for unit in range(6) if layer.after[unit] != 5.0] == [2]
    assert layer.after[2] > 5.0


def test_a_run_counts_and_keeps_what_fires(tmp_path: Path) -> None:
    readout = SPEC.layers[1]
    cases = (
        Case("fires", NetworkSpec((Layer(6, LIF(), structure=FeedForward()), readout))),
        Case("tanh", NetworkSpec((Layer(2, structure=FeedForward()),))),
    )
    question = Comparison("?", cases, task=TASK, trainer=Gradient(steps=2, batch=2, reports=1), seeds=(0,))
    list(run(question, "cues", tmp_path, workers=1))
    kept = runs.load(tmp_path)
    assert set(kept.spikes) == {"fires-0"}
    fires, other = (kept.stage("comparison", name)[0].metrics for name in ("fires", "tanh"))
    assert fires["spikes"] == fires["spikes.0"]
    assert fires["multiply_accumulates"] == 0.0
    assert fires["energy"] == pytest.approx(0.9e-3 * fires["accumulates"], rel=1e-4)
    assert "energy" not in other
