"""Axonal delays: what is sent arrives later, by every path, and a unit's own synapses see it at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parity import gaps, network, results, started

from plastic_search.cells import Cell
from plastic_search.cells.delayed import Delayed
from plastic_search.cells.gru import GRU
from plastic_search.cells.lif import LIF
from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.cells.softmax import Softmax
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import choice, fillings, integer, override, search_parameters
from plastic_search.modulations import Reads
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.contract import build
from plastic_search.network.initial import Full, Initial, OneToOne
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.blocks import Blocks
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.grown import Grown
from plastic_search.testing import cell_promises
from plastic_search.training.adaptation import Adaptation

pytestmark = pytest.mark.usefixtures("quick_code")


def noise(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_cell_without_a_state_keeps_the_promises_of_cells_with_a_delay() -> None:
    cell_promises(Delayed(RNN(), steps=3))


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_outputs_are_those_of_the_cell_later(kernel: str) -> None:
    def of(cell: Cell) -> torch.Tensor:
        layers = (Layer(6, cell, structure=FeedForward()), Layer(2, Linear(), structure=FeedForward()))
        net = Network(NetworkSpec(layers), 3, kernel=kernel)
        y, state = net.double()(4.0 * noise(12, 2, 3))
        return torch.cat([y, net(4.0 * noise(8, 2, 3, seed=1), state)[0]])

    plain, late = of(LIF()), of(Delayed(LIF(), steps=5))
    assert plain.any()
    assert torch.equal(late[5:], plain[:-5])
    assert not late[:5].any()


def test_a_loop_takes_the_delay_and_one_step() -> None:
    spec = NetworkSpec((Layer(1, Delayed(Linear(), steps=3)),), initial=(Initial("layers.0.weight", Full(1.0)),))
    net = Network(spec, 1).double()
    x = torch.zeros(13, 1, 1, dtype=torch.float64)
    x[0] = 1.0
    assert net(x)[0].flatten().nonzero().flatten().tolist() == [3, 7, 11]


def test_a_rule_sees_what_arrives_and_its_own_unit_at_once() -> None:
    sender = Layer(1, Delayed(Linear(), steps=2), structure=FeedForward())
    reader = Layer(
        1, Delayed(Linear(), steps=4), Hebb(decay=0.0), Constant(1.0), FeedForward(), Pathway.INPUT, Bound.NONE
    )
    net = Network(NetworkSpec((sender, reader), initial=(Initial("layers.*.weight", Full(1.0)),)), 1).double()
    x = torch.tensor([1.0, 0.0, 0.0, 0.0]).double().view(4, 1, 1)
    traces = []
    state = None
    for each in x:
        _, state = net(each[None], state)
        traces.append(float(state[1].trace.detach()))  # type: ignore[arg-type]
    assert traces == [0.0, 0.0, 1.0, 1.0]  # in step 2 it arrives, and the reader is active at once


PLASTIC: list[Any] = [
    Layer(5, Delayed(LSTM(), 3), Oja(), Retroactive(), plastic=Pathway.BOTH, bound=Bound.SOFT),
    Layer(5, Delayed(GRU(), 2), Oja(), Simple(reads=Reads.MEMORY), plastic=Pathway.RECURRENT),
]


@pytest.mark.parametrize("layer", PLASTIC, ids=lambda layer: type(layer.cell.cell).__name__)
def test_kernels_equal_the_reference(layer: Layer) -> None:
    net = network(NetworkSpec((layer,)), 3, torch.float64)
    x, given = noise(9, 3, 3), {"lengths": torch.tensor([9, 4, 7]), "clear": noise(9, 3) > 1.0}
    state = started(net, x[:2])
    exact, found = (results(net, kernel, x, state, **given) for kernel in ("reference", "cpu"))  # type: ignore[arg-type]
    assert max(gaps(exact, found).values()) <= 1e-10


def test_populations_and_rollouts_carry_what_is_on_its_way() -> None:
    spec = NetworkSpec((PLASTIC[0], Layer(2)))
    nets, x = [Network(spec, 3, seed).double() for seed in range(2)], noise(6, 2, 3)
    together = Population(nets)(torch.stack([x, x]))[0]
    for net, each in zip(nets, together, strict=True):
        assert torch.allclose(each, net(x)[0], rtol=0, atol=1e-12)
    rollout = Rollout(nets[0], 2)
    steps = torch.stack([rollout.step(each) for each in x])
    assert torch.allclose(steps, together[0], rtol=0, atol=1e-12)
    assert torch.allclose(rollout.replay()[0], together[0], rtol=0, atol=1e-12)


def test_delays_are_searched_and_are_json() -> None:
    space = NetworkSpec((Layer(4, choice(LIF(), Delayed(choice(LIF(), LSTM()), integer(1, 16)))),))
    paths = [path for path, _ in search_parameters(space)]
    assert paths == ["layers.0.cell", "layers.0.cell.Delayed.cell", "layers.0.cell.Delayed.steps"]
    found = list(fillings(space, 20))
    assert {type(each.layers[0].cell) for each in found} == {LIF, Delayed}
    assert all(NetworkSpec.from_json(each.to_json()) == each for each in found)
    assert override(NetworkSpec((Layer(4, Delayed()),)), "layers.0.cell.steps", "7").layers[0].cell == Delayed(steps=7)


def test_block_gates_learn_which_of_two_delays_a_layer_receives() -> None:
    """The target is the input of five steps before; one projection brings it, the other brings the input at once."""
    layers = (
        Layer(3, Linear(), structure=FeedForward()),
        Layer(3, Delayed(Linear(), steps=5), structure=FeedForward()),
        Layer(3, Linear(), structure=Blocks(keep=1, support=FeedForward()), skip=(1,)),
    )
    alike = ("layers.0.weight", "layers.1.weight")
    initial = tuple(Initial(path, OneToOne()) for path in alike)
    kept = []
    for steps in (5, 0):
        net = Network(NetworkSpec(layers, initial=initial, held=(*alike, "layers.*.bias")), 3, seed=1)
        adam, adaptation = torch.optim.Adam(net.parameters(), 0.05), Adaptation(net, seeds=(0,), steps=60)
        adaptation.after(0)
        for update in range(1, 61):
            x = noise(12, 8, 3, seed=update).float()
            adam.zero_grad()
            (net(x)[0][5:] - x[5 - steps : 12 - steps]).square().mean().backward()
            adam.step()
            adaptation.after(update)
        kept.append(net.existing()[2].any(0).tolist())
    assert kept == [[True] * 3 + [False] * 3, [False] * 3 + [True] * 3]


@pytest.mark.parametrize("steps", [0, -1, 101])
def test_a_number_of_steps_that_is_no_delay_is_refused(steps: int) -> None:
    with pytest.raises(PlasticSearchError, match=r"Delayed\.steps wants.*use the cell alone"):
        Delayed(RNN(), steps)


def test_a_cell_that_sends_for_units_that_do_not_exist_is_refused_with_a_delay_too() -> None:
    with pytest.raises(PlasticSearchError, match="choose another cell"):
        build(NetworkSpec((Layer(4, Delayed(Softmax()), structure=Grown()), Layer(2))), 3)
