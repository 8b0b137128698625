"""A trace that is clipped where it is read, and not where it is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from parity import gaps, network, poison, results, started

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.precisions.integer import Integer
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward

pytestmark = pytest.mark.usefixtures("quick_code")
LAYERS = [
    Layer(9, rule=Delta(), modulation=Simple(), plastic=Pathway.BOTH, limit=0.1),
    Layer(17, LSTM(), Hebb(decay=0.3), Retroactive(), plastic=Pathway.RECURRENT, limit=0.003),
    Layer(7, Linear(), Oja(), Constant(0.4), FeedForward(), Pathway.INPUT, limit=0.1),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_kernel_equals_the_reference(layer: Layer, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch)
    net = network(NetworkSpec((replace(layer, bound=Bound.READ),)), 5, dtype)
    x = 1.5 * torch.randn(13, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    state = started(net, x)
    trace = state[0].trace
    assert trace is not None
    assert (trace.abs() > layer.limit).any()
    assert (trace.abs() < layer.limit).any()  # both sides of the clip are seen
    for begin in (None, state):
        exact, ours = (results(net, kernel, x, begin) for kernel in ("reference", "cpu"))
        assert max(gaps(exact, ours).values()) < (1e-11 if dtype is torch.float64 else 2e-4)


def test_what_is_read_is_clipped_and_what_is_written_is_not() -> None:
    layer = Layer(1, Linear(), Hebb(), Constant(1.0), FeedForward(), Pathway.INPUT, Bound.READ, limit=1.5)
    net = Network(NetworkSpec((layer,)), 1).double()
    with torch.no_grad():
        net.layers[0].get_parameter("weight").fill_(1.0)
        net.layers[0].get_parameter("alpha").fill_(1.0)
    x = torch.ones(4, 1, 1, dtype=torch.float64)
    y, state = net(x)
    assert y.flatten().tolist() == [1.0, 2.0, 1.0 + 1.5, 1.0 + 1.5]  # of a trace of 0, 1, 3 and 5.5
    assert state[0].trace is not None
    assert state[0].trace.item() == 8.0
    inside, _ = record(net, x, "layers.0.recall")
    assert inside["layers.0.recall"].flatten().tolist() == [0.0, 1.0, 1.5, 1.5]


def test_rounding_needs_a_bound_at_the_write() -> None:
    with pytest.raises(PlasticSearchError, match="needs a bound where it is written, hard or soft"):
        NetworkSpec((Layer(2, plastic=Pathway.BOTH, bound=Bound.READ),), Integer())
