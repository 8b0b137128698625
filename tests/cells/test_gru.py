"""The GRU against torch's, and against numbers worked by hand where it is plastic."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from plastic_search.cells.gru import GRU
from plastic_search.modulations.constant import Constant
from plastic_search.network.module import Network
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import load_named, named
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward

pytestmark = pytest.mark.usefixtures("quick_code")
INPUTS, UNITS = 3, 11


@torch.no_grad()
def filled(net: Network, theirs: nn.GRU) -> Network:
    """A network with the weights of torch's: its gates have two biases where one would do, its candidate needs both."""
    bag, n, of = net.bags()[0], net.shapes[0].post, dict(theirs.named_parameters())
    bag.tensor("weight").copy_(torch.cat([of["weight_ih_l0"], of["weight_hh_l0"]], 1).view(3, n, -1))
    into, own = (of[name].view(3, n) for name in ("bias_ih_l0", "bias_hh_l0"))
    bag.tensor("bias").copy_(torch.stack([into[0] + own[0], into[1] + own[1], into[2], own[2]]))
    return net


def results(y: Tensor, last: Tensor, x: Tensor) -> list[Tensor]:
    (y.square().sum() + last.sum()).backward()
    assert x.grad is not None
    return [y.detach(), last.detach(), x.grad]


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_it_equals_torchs(kernel: str, dtype: torch.dtype, allowed: float) -> None:
    torch.manual_seed(0)
    theirs = nn.GRU(INPUTS, UNITS).to(dtype)
    net = filled(Network(NetworkSpec((Layer(UNITS, GRU()),)), INPUTS, kernel=kernel).to(dtype), theirs)
    x, before = torch.randn(9, 4, INPUTS, dtype=dtype), 0.5 * torch.randn(4, UNITS, dtype=dtype)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    wanted, last = theirs(inputs[0], before.unsqueeze(0))
    start = load_named(dict.fromkeys(named(net.initial_state(4)), before), net.initial_state(4))
    y, end = net(inputs[1], start)
    pairs = zip(results(y, end[0].output, inputs[1]), results(wanted, last[0], inputs[0]), strict=True)
    for found, expected in pairs:
        assert (found - expected).abs().max() <= allowed * (1.0 + expected.abs().max())
    grads = filled(Network(net.spec, INPUTS).to(dtype), theirs)  # a network to hold torch's gradients, likewise nested
    for p in theirs.parameters():
        assert p.grad is not None
        p.data = p.grad
    filled(grads, theirs)
    found, expected = (net.bags()[0].get_parameter("weight").grad, grads.bags()[0].tensor("weight"))
    assert found is not None
    assert (found - expected).abs().max() <= 10 * allowed * (1.0 + expected.abs().max())


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_a_recurrent_trace_is_gated_by_the_reset_and_one_of_inputs_is_not(kernel: str) -> None:
    layer = Layer(1, GRU(), Hebb(), Constant(0.5), Dense(), Pathway.BOTH, Bound.NONE)
    net = Network(NetworkSpec((layer,)), 1, kernel=kernel).double()
    weight, bias = torch.arange(1.0, 7.0).view(3, 1, 2) / 10, torch.tensor([[0.1], [-0.2], [0.3], [-0.4]])
    alpha = torch.tensor([[0.6, -0.7]])
    with torch.no_grad():
        for name, value in {"weight": weight, "bias": bias, "alpha": alpha}.items():
            net.bags()[0].tensor(name).copy_(value)
    w, b, (of_input, of_output) = (
        weight[:, 0].double().tolist(),
        bias[:, 0].double().tolist(),
        alpha[0].double().tolist(),
    )
    y, trace, outputs = 0.0, [0.0, 0.0], []
    xs = [1.0, -0.5, 2.0, 0.25]
    for x in xs:
        r, z = (sigmoid(w[d][0] * x + w[d][1] * y + b[d]) for d in (0, 1))
        own = (w[2][1] + of_output * trace[1]) * y + b[3]
        n = math.tanh((w[2][0] + of_input * trace[0]) * x + b[2] + r * own)
        trace = [trace[0] + 0.5 * n * x, trace[1] + 0.5 * n * y]
        y = (1.0 - z) * n + z * y
        outputs.append(y)
    found, state = net(torch.tensor(xs).double().view(-1, 1, 1))
    assert found.flatten().tolist() == pytest.approx(outputs, abs=1e-12)
    assert named(state)["layers.0.trace"].flatten().tolist() == pytest.approx(trace, abs=1e-12)


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_without_a_recurrent_block_its_recurrent_part_is_a_bias(kernel: str) -> None:
    net = Network(NetworkSpec((Layer(2, GRU(), structure=FeedForward()),)), 1, kernel=kernel).double()
    with torch.no_grad():
        net.bags()[0].tensor("weight").fill_(0.5)
        net.bags()[0].tensor("bias").copy_(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).unsqueeze(1))
    y, _ = net(torch.ones(2, 1, 1).double())
    z, n = sigmoid(0.7), math.tanh(0.8 + sigmoid(0.6) * 0.4)
    first = (1.0 - z) * n
    assert y[:, 0, 0].tolist() == pytest.approx([first, (1.0 - z) * n + z * first], abs=1e-12)
    assert net.count() == 3 * 2 + 4 * 2


def test_the_parameters_are_those_of_torchs_but_for_two_biases() -> None:
    net = Network(NetworkSpec((Layer(UNITS, GRU()),)), INPUTS)
    assert net.count() == sum(p.numel() for p in nn.GRU(INPUTS, UNITS).parameters()) - 2 * UNITS
    assert net.connections() == UNITS * (INPUTS + UNITS)
