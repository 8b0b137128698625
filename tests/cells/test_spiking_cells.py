"""Units that fire: their equations, worked by a loop of NumPy; their intrinsic numbers, learned within their range."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plastic_search.cells import Reset
from plastic_search.cells._ranges import leak, scaled
from plastic_search.cells.alif import ALIF
from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.structures.feed_forward import FeedForward

pytestmark = pytest.mark.usefixtures("quick_code")
INPUTS, UNITS = 4, 6
CELLS: list[Any] = [
    LIF(),
    LIF(membrane=9.0, synapse=3.0, refractory=2, reset=Reset.SUBTRACT),
    LIF(threshold=0.5, resistance=2.0, refractory=1),
    ALIF(synapse=2.0, refractory=2, adaptation=8.0, strength=0.5),
    ALIF(reset=Reset.SUBTRACT, adaptation=20.0),
]


def firing(cell: Any, seed: int = 0, **settings: Any) -> Network:
    """A layer without recurrence that fires, with other intrinsic numbers for each unit."""
    layer, rng = Layer(UNITS, cell, structure=FeedForward()), torch.Generator().manual_seed(seed)
    net = Network(NetworkSpec((layer,), **settings), INPUTS, seed).double()
    with torch.no_grad():
        for name, tensor in net.bags()[0].tensors().items():
            if tensor.numel():
                size = 0.8 if name == "weight" else 0.4
                tensor.copy_(size * torch.randn(tensor.shape, generator=rng, dtype=torch.float64))
    return net


def by_hand(net: Network, x: np.ndarray) -> np.ndarray:
    """The spikes [time, units] of one episode, in the order of the cell's docstring."""
    cell: Any = net.spec.layers[0].cell
    of = {name: tensor.detach().numpy() for name, tensor in net.bags()[0].tensors().items()}

    def tau(name: str) -> np.ndarray:
        return 1.0 / (1.0 / cell.longest + (1.0 - 1.0 / cell.longest) / (1.0 + np.exp(-of[f"cell.{name}"])))

    def number(name: str, start: float) -> np.ndarray:
        return start * np.exp(np.log(cell.span) * np.tanh(of[f"cell.{name}"] / np.log(cell.span)))

    current, v, a = (np.zeros(UNITS) for _ in range(3))
    waiting, spikes = np.zeros(UNITS, int), []
    for each in x:
        drive = of["weight"][0] @ each + of["bias"][0]
        current = current + (drive - current) / tau("synapse") if cell.synapse else drive
        threshold = number("threshold", cell.threshold)
        if isinstance(cell, ALIF):
            threshold = threshold + number("strength", cell.strength) * a
        y = np.zeros(UNITS)
        for j in range(UNITS):
            if waiting[j]:
                waiting[j] -= 1
                continue
            v[j] += (number("resistance", cell.resistance)[j] * current[j] - v[j]) / tau("membrane")[j]
            if v[j] > threshold[j]:
                y[j], waiting[j] = 1.0, cell.refractory
                v[j] = 0.0 if cell.reset is Reset.ZERO else v[j] - threshold[j]
        if isinstance(cell, ALIF):
            a = (1.0 - 1.0 / tau("adaptation")) * a + y
        spikes.append(y)
    return np.concatenate([np.stack(spikes), v[None]])


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
@pytest.mark.parametrize("cell", CELLS, ids=["LIF", "current", "refractory", "ALIF", "subtracting"])
def test_spikes_are_those_of_the_equations(cell: Any, kernel: str) -> None:
    net = firing(cell)
    net.kernel = kernel
    x = torch.randn(40, 2, INPUTS, generator=torch.Generator().manual_seed(1)).double()
    y, state = net(x)
    assert 0.02 < float(y.detach().mean()) < 0.6
    for episode in range(2):
        *spikes, potential = by_hand(net, x[:, episode].numpy())
        assert np.array_equal(y[:, episode].detach().numpy(), np.stack(spikes))
        found = named(state)["layers.0.cell.potential"][episode].detach().numpy()
        assert np.abs(found - potential).max() <= 1e-10


def test_intrinsic_gradients_are_the_recursions_of_backpropagated_intrinsic_plasticity() -> None:
    """du/dtau, du/dR, ds/dV_th of Zhang and Li's unit, forward in time, with kappa = 1 - 1 / tau and R / tau for R."""
    net = firing(LIF())
    x = torch.randn(30, 1, INPUTS, generator=torch.Generator().manual_seed(2)).double()
    g = torch.randn(30, UNITS, generator=torch.Generator().manual_seed(3)).double()
    (net(x)[0][:, 0] * g).sum().backward()
    of = {name: tensor.detach() for name, tensor in net.bags()[0].tensors().items()}
    rate = leak(of["cell.membrane"], 1.0, 1000.0)
    resistance, threshold = (scaled(of[f"cell.{n}"], s, 10.0) for n, s in (("resistance", 5.0), ("threshold", 1.0)))
    u, of_rate, of_resistance = (torch.zeros(UNITS).double() for _ in range(3))
    totals = [torch.zeros(UNITS).double() for _ in range(3)]
    for each, weight in zip(x[:, 0], g, strict=True):
        drive = of["weight"][0] @ each + of["bias"][0]
        of_rate = (1 - rate) * of_rate + resistance * drive - u
        of_resistance = (1 - rate) * of_resistance + rate * drive
        u = u + rate * (resistance * drive - u)
        slope = (1.0 + (10.0 * (u - threshold)).abs()) ** -2 * weight
        for total, term in zip(totals, (of_rate, of_resistance, -torch.ones(UNITS)), strict=True):
            total += slope * term
        u, of_rate, of_resistance = (torch.where(u > threshold, 0.0, t) for t in (u, of_rate, of_resistance))
    stored = [of[f"cell.{n}"].clone().requires_grad_() for n in ("membrane", "resistance", "threshold")]
    values = [leak(stored[0], 1.0, 1000.0), scaled(stored[1], 5.0, 10.0), scaled(stored[2], 1.0, 10.0)]
    torch.autograd.backward(values, totals)
    for name, expected in zip(("membrane", "resistance", "threshold"), stored, strict=True):
        found = net.bags()[0].get_parameter(f"cell__{name}").grad
        torch.testing.assert_close(found, expected.grad, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("cell", [CELLS[1], CELLS[3], Integrator()], ids=lambda cell: type(cell).__name__)
@pytest.mark.parametrize("rate", [1e30, -1e30])
def test_no_update_makes_a_number_invalid(cell: Any, rate: float) -> None:
    net, x = firing(cell), torch.ones(20, 1, INPUTS).double()
    net(x)[0].square().sum().backward()
    with torch.no_grad():
        for name, p in net.bags()[0].named_parameters():
            if name.startswith("cell__") and p.grad is not None:
                p.add_(rate * (p.grad + 1e-20))
                assert 1.0 <= (1.0 / leak(p, 1.0, cell.longest)).min() <= (1.0 / leak(p, 1.0, cell.longest)).max()
                assert (1.0 / leak(p, 1.0, cell.longest)).max() <= cell.longest * (1 + 1e-12)
                in_span = scaled(p, 2.0, 10.0)
                assert ((in_span >= 0.2 - 1e-12) & (in_span <= 20.0 + 1e-9)).all()
    y, _ = net(x)
    assert y.isfinite().all()
    if cell.spiking:
        assert ((y == 0) | (y == 1)).all()


@pytest.mark.parametrize(("settings", "message"), [
    ({"membrane": 1.0}, r"LIF wants 1 < membrane < longest"), ({"synapse": 0.5}, "or 0 for no synaptic current"),
    ({"synapse": 2000.0}, "1 < synapse < longest"), ({"threshold": 0.0}, r"LIF\.threshold must be above 0"),
    ({"refractory": -1}, "refractory wants a number of time steps"), ({"span": 1.0}, "span is a factor"),
])  # fmt: skip
def test_settings_of_no_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        replace(LIF(), **settings)
    with pytest.raises(PlasticSearchError, match="1 < start < longest"):
        Integrator(start=1.0)


def test_which_numbers_are_trained_is_a_setting_of_the_network() -> None:
    every, some, none = (firing(CELLS[3], held=held) for held in ((), ("layers.*.cell.threshold",), ("layers.*.cell",)))
    names = [{name for name, _ in net.bags()[0].named_parameters() if name.startswith("cell")} for net in
             (every, some, none)]  # fmt: skip
    assert len(names[0]) == 6
    assert names[0] - names[1] == {"cell__threshold"}
    assert not names[2]
    x = torch.randn(20, 2, INPUTS).double()
    assert torch.equal(every(x)[0], none(x)[0])
    none(x)[0].sum().backward()


def test_a_unit_of_three_time_constants_integrates_as_its_equation() -> None:
    net = Network(NetworkSpec((Layer(1, Integrator(start=4.0), structure=FeedForward()),)), 1).double()
    with torch.no_grad():
        net.bags()[0].tensor("weight").fill_(2.0)
    y, _ = net(torch.ones(3, 1, 1).double())
    assert y.flatten().tolist() == pytest.approx([2.0 * (1 - 0.75**k) for k in (1, 2, 3)], abs=1e-6)


def test_members_of_a_population_have_their_own() -> None:
    layers = (Layer(UNITS, CELLS[3], plastic=Pathway.BOTH), Layer(2, Integrator(), structure=FeedForward()))
    nets = [Network(NetworkSpec(layers), INPUTS, seed).double() for seed in range(2)]
    with torch.no_grad():
        for k, net in enumerate(nets):
            net.bags()[0].tensor("weight").mul_(3.0)
            net.bags()[0].tensor("cell.threshold").fill_(0.5 * k)
    x = torch.randn(12, 3, INPUTS).double()
    population = Population(nets)
    y = population(x)[0]
    y.square().sum().backward()
    grad: Tensor | None = population.get_parameter("layers.0.cell__threshold").grad
    assert grad is not None
    for k, net in enumerate(nets):
        alone = net(x)[0]
        alone.square().sum().backward()
        torch.testing.assert_close(y[k], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(grad[k], net.bags()[0].get_parameter("cell__threshold").grad, rtol=1e-10, atol=1e-12)
        assert grad[k].any()
