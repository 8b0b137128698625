"""What is recorded is what the network computes at each step, and gradients flow through it."""

from __future__ import annotations

import pytest
import torch

from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import FanOut
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.recording import record
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions.integer import Integer
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta

SPEC = NetworkSpec(
    (
        Layer(5, LSTM(), BCM(), Retroactive(), plastic=Pathway.BOTH),
        Layer(4, rule=Delta(), modulation=Simple(FanOut.NETWORK), plastic=Pathway.RECURRENT, skip=(1,)),
        Layer(3, modulation=Constant(0.2), plastic=Pathway.INPUT),
        Layer(2),
    ),
    Integer(8, 8, 6),
)
X = torch.randn(7, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_every_value_is_recorded_at_every_step_by_its_path() -> None:
    net = Network(SPEC, 3).double()
    inside, last = record(net, X, [f"layers.{i}" for i in range(4)])
    y, state = net(X)
    torch.testing.assert_close(inside["layers.3.output"], y, rtol=0, atol=1e-12)
    for name, value in named(last).items():
        torch.testing.assert_close(value, named(state)[name], rtol=0, atol=1e-12)
    for k in range(1, len(X) + 1):  # the state after each step
        for name, value in named(net(X[:k])[1]).items():
            torch.testing.assert_close(inside[name][k - 1], value, rtol=0, atol=1e-12)
    assert {name for name in inside if name.startswith("layers.3.")} == {
        "layers.3.output", "layers.3.pre", "layers.3.drive", "layers.3.post",
    }  # fmt: skip
    assert inside["layers.0.cell.memory"].shape == inside["layers.0.rule.threshold"].shape == (7, 2, 5)
    assert inside["layers.0.drive"].shape == (7, 2, 4, 5)
    assert inside["layers.0.rate.eligibility"].shape == (7, 2)
    assert inside["layers.1.rate.write"].shape == inside["layers.2.rate.write"].shape == (7, 2, 1)
    assert torch.equal(inside["layers.2.rate.write"], torch.full((7, 2, 1), 0.2, dtype=torch.float64))
    assert torch.equal(inside["layers.1.pre"][..., :8], torch.cat([inside["layers.0.output"], X], -1))


def test_the_modulator_computes_the_rate_from_the_output() -> None:
    net = Network(SPEC, 3).double()
    inside, _ = record(net, X, ["layers.0.rate.write", "layers.0.output"])
    assert list(inside) == ["layers.0.rate.write", "layers.0.output"]
    signal = net.parts()[0].modulation
    modulator = torch.tanh((inside["layers.0.output"] * signal.weight).sum(-1, keepdim=True) + signal.bias)
    torch.testing.assert_close(inside["layers.0.rate.write"], modulator * signal.fan + signal.base)


def test_a_loss_may_depend_on_what_is_recorded_and_episodes_go_on() -> None:
    net = Network(NetworkSpec((Layer(4, plastic=Pathway.BOTH), Layer(2))), 3).double()
    inside, _ = record(net, X, "layers.0.trace")
    inside["layers.0.trace"][3].square().sum().backward()
    reference = Network(net.spec, 3).double()
    trace = reference(X[:4])[1][0].trace
    assert trace is not None
    trace.square().sum().backward()
    for one, other in zip(net.bags()[0].parameters(), reference.bags()[0].parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None and other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)
    _, half = record(net, X[:3], [])
    rest, _ = record(net, X[3:], "layers.0.trace", half)
    torch.testing.assert_close(rest["layers.0.trace"], inside["layers.0.trace"][3:], rtol=0, atol=0)


def test_what_cannot_be_recorded_is_refused() -> None:
    net = Network(NetworkSpec((Layer(4, plastic=Pathway.INPUT), Layer(2))), 3)
    x = torch.zeros(2, 1, 3)
    with pytest.raises(PlasticSearchError, match=r"no value .* is called 'layers.0.trac'; known: .*Did you mean"):
        record(net, x, ["layers.0.trac"])
    with pytest.raises(PlasticSearchError, match=r"called 'layers.1.trace'; known: layers.0.drive, .*layers.1.post, "):
        record(net, x, ["layers.1.trace"])
    with pytest.raises(PlasticSearchError, match="called '3'"):
        record(net, x, [3])  # type: ignore[list-item]
    with pytest.raises(PlasticSearchError, match=r"names must be paths .* but is None"):
        record(net, x, None)  # type: ignore[arg-type]
    with pytest.raises(PlasticSearchError, match=r"x must be \[time, batch, inputs\]"):
        record(net, x[0], "layers.0")
    with pytest.raises(PlasticSearchError, match=r"layers\.0\.output must be"):
        record(net, x, "layers.0", net.initial_state(2))
    with pytest.raises(PlasticSearchError, match=r"net must be a Network, .*Population.member"):
        record(Population([net]), x, "layers.0")  # type: ignore[arg-type]
