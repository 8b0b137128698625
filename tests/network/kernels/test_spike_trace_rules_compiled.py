"""Rules with spike traces under every kind of modulation: both kernels equal the reference, forward and backward."""

from __future__ import annotations

import os

import pytest
import torch
from parity import PATHWAYS, gaps, network, poison, results, started

from plastic_search.cells.leaky import Leaky
from plastic_search.cells.lif import LIF
from plastic_search.cells.rnn import RNN
from plastic_search.modulations import FanOut, Modulation
from plastic_search.modulations.external import External
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.several import Several
from plastic_search.network.spec import Bound, Layer, NetworkSpec
from plastic_search.rules import AmplitudeShape, Rule
from plastic_search.rules.pair_stdp import PairSTDP
from plastic_search.rules.trace_bcm import TraceBCM
from plastic_search.rules.trace_oja import TraceOja
from plastic_search.rules.weight_dependent_stdp import WeightDependentSTDP

NEURON, SYNAPSE = AmplitudeShape.NEURON, AmplitudeShape.SYNAPSE
CASES: list[tuple[Rule, Modulation]] = [
    (PairSTDP(per=SYNAPSE), Retroactive(signal=External(1))),
    (WeightDependentSTDP(exponent=0.4, per=SYNAPSE), Several(4)),
    (TraceOja(), Retroactive(signal=Several(2))),
    (TraceBCM(), Retroactive()),
    (PairSTDP(per=NEURON), Several(1)),
    (WeightDependentSTDP(per=NEURON), Retroactive(signal=External(1))),
    (TraceBCM(), Several(3)),
    (PairSTDP(), Learned(per=FanOut.SYNAPSE)),
]


def apart(case: int, kernel: str) -> float:
    """The largest difference between a kernel and the reference, by a layer of one of the cases."""
    rule, modulation = CASES[case]
    cell, bound = (LIF(), RNN(), Leaky())[case % 3], (Bound.HARD, Bound.SOFT, Bound.NONE)[case % 3]
    layer = Layer((5, 7, 1)[case % 3], cell, rule, modulation, plastic=PATHWAYS[case % 3], bound=bound, limit=0.5)
    net = network(NetworkSpec((layer,)), 3, torch.float64)
    x = (12.0, 1.0, 1.0)[case % 3] * (torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(case)) < 0.5).double()
    state = started(net, x[:2])
    assert net(x, state)[0].any(), "the LIF spikes"
    return max(gaps(*(results(net, name, x, state) for name in ("reference", kernel))).values())


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)


@pytest.mark.usefixtures("quick_code")
@pytest.mark.parametrize("case", range(len(CASES)))
def test_on_the_cpu(case: int) -> None:
    assert apart(case, "cpu") <= 1e-10


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1" or torch.cuda.is_available(), reason="Triton is not interpreted here"
)
@pytest.mark.parametrize("case", range(4))  # each rule once
def test_in_tritons_interpreter(case: int) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    assert apart(case, "gpu") <= 1e-10
