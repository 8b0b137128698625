"""The leaky unit: its equation, the range of its time constant, and that it is learned."""

from __future__ import annotations

import math

import pytest
import torch

from plastic_search.cells.leaky import Leaky
from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.topology.shrink import shrink

pytestmark = pytest.mark.usefixtures("quick_code")


def of_units(count: int, cell: Leaky, kernel: str | None = None) -> Network:
    """Leaky units of one input, with weight 1."""
    net = Network(NetworkSpec((Layer(count, cell, structure=FeedForward()),)), 1, kernel=kernel).double()
    with torch.no_grad():
        net.bags()[0].tensor("weight").fill_(1.0)
    return net


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_it_approaches_tanh_of_its_drive_by_one_over_tau_a_step(kernel: str) -> None:
    y, _ = of_units(1, Leaky(start=4.0), kernel)(torch.ones(3, 1, 1).double())
    goal, wanted = math.tanh(1.0), [0.0]
    for _ in range(3):
        wanted.append(wanted[-1] + (goal - wanted[-1]) / 4.0)
    assert y.flatten().tolist() == pytest.approx(wanted[1:], abs=1e-6)


@pytest.mark.parametrize("stored", [-1e30, -100.0, 0.0, 100.0, 1e30])
def test_no_stored_number_is_invalid(stored: float) -> None:
    cell = Leaky(start=5.0, shortest=2.0, longest=50.0)
    net = of_units(1, cell)
    with torch.no_grad():
        net.bags()[0].tensor("cell.leak").fill_(stored)
    y, _ = net(torch.ones(1, 1, 1).double())
    assert 2.0 - 1e-9 <= math.tanh(1.0) / y.item() <= 50.0 + 1e-9


@pytest.mark.parametrize("settings", [{"start": 1.0}, {"shortest": 0.5}, {"start": 200.0}, {"shortest": 3.0}])
def test_settings_of_no_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(PlasticSearchError, match="1 <= shortest < start < longest, in time steps"):
        Leaky(**settings)


def test_a_time_constant_is_learned() -> None:
    """From outputs of a unit with another one, both started at 2."""
    teacher, net = of_units(1, Leaky(start=9.0)), of_units(1, Leaky())
    x = torch.randn(30, 8, 1, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        wanted = teacher(x)[0]
    leak = net.bags()[0].get_parameter("cell__leak")
    optimizer = torch.optim.Adam([leak], lr=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        (net(x)[0] - wanted).square().mean().backward()
        optimizer.step()
    assert leak.item() == pytest.approx(teacher.bags()[0].tensor("cell.leak").item(), abs=0.1)


def apart(net: Network) -> Network:
    """The network, with another time constant for each unit."""
    with torch.no_grad():
        for bag in net.bags():
            leak = bag.tensor("cell.leak")
            leak.copy_(torch.linspace(-2.0, 2.0, len(leak)))
    return net


def test_units_that_are_removed_take_their_time_constants_along() -> None:
    """Of six units the first and the fourth reach the output."""
    reads = Graph(fixed=((0, 0), (1, 3)), support=FeedForward())
    layers = (Layer(6, Leaky(), structure=FeedForward()), Layer(2, Leaky(), structure=reads))
    net = apart(Network(NetworkSpec(layers), 3))
    small, x = shrink(net), torch.randn(5, 2, 3)
    assert small.bags()[0].tensor("cell.leak").tolist() == net.bags()[0].tensor("cell.leak")[[0, 3]].tolist()
    torch.testing.assert_close(small(x)[0], net(x)[0])


def test_members_of_a_population_have_their_own() -> None:
    spec = NetworkSpec((Layer(7, Leaky(), plastic=Pathway.BOTH),))
    nets = [Network(spec, 3, seed).double() for seed in range(2)]
    apart(nets[1])
    x = torch.randn(6, 4, 3).double()
    population = Population(nets)
    y = population(x)[0]
    y.square().sum().backward()
    grad = population.get_parameter("layers.0.cell__leak").grad
    assert grad is not None
    for k, net in enumerate(nets):
        alone = net(x)[0]
        alone.square().sum().backward()
        torch.testing.assert_close(y[k], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(grad[k], net.bags()[0].get_parameter("cell__leak").grad, rtol=1e-10, atol=1e-12)
