"""The reference step equals the papers' index notation, number by number, over what can be combined."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import index_notation
import pytest
import torch
from torch import Tensor

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.modulations import FanOut
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.structures.self_recurrent import SelfRecurrent

pytestmark = pytest.mark.usefixtures("quick_code")
INPUTS, UNITS, STEPS = 3, 4, 5
CELLS = (RNN(), LSTM(), Linear())
RULES = (Hebb(), Hebb(decay=0.4), Oja(), Delta(), BCM(rate=0.3), ABCD())
MODULATIONS = (
    Constant(0.3),
    Learned(),
    Simple(FanOut.NEURON),
    Simple(FanOut.NETWORK),
    Retroactive(FanOut.NEURON),
    Retroactive(FanOut.NETWORK),
)


def plain(tree: Any) -> Any:
    """A nest of tensors as one of lists."""
    if isinstance(tree, Tensor):
        return tree.tolist()
    return type(tree)(*(plain(t) for t in tree)) if hasattr(tree, "_fields") else tree


def same(spec: NetworkSpec, exists: Callable[[int, int], bool] = lambda j, i: True, inputs: int = INPUTS) -> None:
    """Two episodes of a network with large random parameters, beside each other and one by one in plain floats."""
    net = Network(spec, inputs).double()
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.6 * torch.randn(p.shape, generator=rng))
    x = torch.randn(STEPS, 2, inputs, generator=rng).double()
    y, state = net(x)
    for b in range(2):
        outputs, memories = index_notation.network(spec, [plain(p) for p in net.parts()], x[:, b].tolist(), exists)
        torch.testing.assert_close(y[:, b].tolist(), outputs, rtol=1e-9, atol=1e-9)
        for now, memory in zip(state, memories, strict=True):
            if now.trace is not None:
                first, last = memory["columns"].start, memory["columns"].stop
                written = [row[first:last] for row in memory["H"]]
                torch.testing.assert_close(now.trace[b].tolist(), written, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_in_every_cell_under_every_modulation(rule: Any, cell: Any, every: bool) -> None:
    pathways = (Pathway.INPUT, Pathway.RECURRENT, Pathway.BOTH)
    for k, (modulation, pathway) in enumerate(product(range(len(MODULATIONS)), pathways)):
        turn = RULES.index(rule) + CELLS.index(cell) + modulation
        if not every and (turn % 3 or (turn // 3 + k) % 3):  # each rule and modulation in one cell, by one pathway
            continue
        same(NetworkSpec((Layer(UNITS, cell, rule, MODULATIONS[modulation], plastic=pathway, limit=0.8),)))


@pytest.mark.parametrize("bound", Bound)
@pytest.mark.parametrize("alpha", AlphaShape)
def test_every_bound_and_every_shape_of_alpha(bound: Bound, alpha: AlphaShape) -> None:
    for modulation in (Simple(), Retroactive()):
        same(NetworkSpec((Layer(UNITS, RNN(), Hebb(), modulation, Dense(), Pathway.BOTH, bound, 0.5, alpha),)))


def test_skip_connections() -> None:
    """The second layer also receives the input, the third every output before it."""
    features = Layer(2, structure=FeedForward())
    second = Layer(3, LSTM(), plastic=Pathway.BOTH, skip=(1,))
    third = Layer(2, Linear(), Oja(), Constant(0.5), FeedForward(), Pathway.INPUT, skip=(2, 1))
    same(NetworkSpec((features, second, third)))


def test_skip_connections_stand_after_the_layer_before_in_the_order_given() -> None:
    spec = NetworkSpec(tuple(Layer(1, Linear(), structure=FeedForward(), skip=skip) for skip in ((), (), (2, 1))))
    net = Network(spec, 1).double()
    with torch.no_grad():
        for bag, weight in zip(net.layers, ([10.0], [10.0], [1.0, 2.0, 3.0]), strict=True):
            bag.get_parameter("weight").copy_(torch.tensor(weight))
    y, _ = net(torch.ones(1, 1, 1).double())
    assert y.item() == 1.0 * 100.0 + 2.0 * 1.0 + 3.0 * 10.0


@pytest.mark.parametrize("cell", [RNN(), LSTM()], ids=str)
def test_self_recurrence(cell: Any) -> None:
    """Each unit receives all inputs, and of its own layer only itself."""
    spec = NetworkSpec((Layer(UNITS, cell, plastic=Pathway.BOTH, structure=SelfRecurrent()),))
    same(spec, lambda j, i: i < INPUTS or i - INPUTS == j)


def test_a_graph_of_its_own() -> None:
    edges = ((0, 0), (1, 2), (2, 4), (3, 3), (3, 6))
    spec = NetworkSpec((Layer(UNITS, plastic=Pathway.BOTH, structure=Graph(plastic=edges)),))
    same(spec, lambda j, i: (j, i) in edges)


@pytest.mark.parametrize("units", [1, 7])
def test_odd_sizes(units: int) -> None:
    spec = NetworkSpec(
        (Layer(units, plastic=Pathway.BOTH), Layer(1, LSTM(), modulation=Retroactive(), plastic=Pathway.BOTH))
    )
    same(spec, inputs=1)
