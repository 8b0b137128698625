"""Dynamics, against numbers worked by hand, and against plain torch where plasticity is switched off."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.cells.rnn import RNN
from plastic_search.modulations import FanOut, Modulation
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import State
from plastic_search.rules import Activity, Rule
from plastic_search.rules.abcd import ABCD, ABCDParams
from plastic_search.rules.bcm import BCM, BCMState
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures import Structure
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.self_recurrent import SelfRecurrent


def net_of(layer: Layer, inputs: int = 1, **values: float) -> Network:
    """A float64 network; the parameters that are named (`weight`, `modulation__fan`) hold one number each."""
    net = Network(NetworkSpec((layer,)), inputs).double()
    with torch.no_grad():
        for name, value in values.items():
            net.layers[0].get_parameter(name).fill_(value)
    return net


def one_unit(rule: Rule, modulation: Modulation, bound: Bound = Bound.NONE, limit: float = 1.0) -> Layer:
    """One linear unit with one input through one plastic synapse."""
    return Layer(1, Linear(), rule, modulation, FeedForward(), Pathway.INPUT, bound, limit)


def responses(net: Network, *xs: float) -> tuple[list[float], list[float]]:
    """The output of a one-unit network at each of `xs`, and its trace after it."""
    state, ys, traces = None, [], []
    for x in xs:
        y, state = net(torch.full((1, 1, 1), x).double(), state)
        ys.append(y.item())
        traces.append(trace_of(state).item())
    return ys, traces


def trace_of(state: State) -> Tensor:
    """The first layer's trace."""
    trace = state[0].trace
    assert trace is not None
    return trace


def near(*numbers: float) -> object:
    return pytest.approx(list(numbers), abs=1e-12)


pytestmark = pytest.mark.usefixtures("quick_code")
ONE_STEP = [  # x = (1, 2), y = 3, H = (0.5, -1), so that H x = -1.5
    (Hebb(), (3.0, 6.0)),
    (Hebb(decay=1.0), (2.5, 7.0)),
    (Oja(), (3.0 - 9.0 * 0.5, 6.0 + 9.0)),
    (Delta(), (4.5, 9.0)),
    (BCM(), (3.0 * (3.0 - 2.0), 3.0 * (3.0 - 2.0) * 2.0)),
    (ABCD(), (10.0 * 3.0 + 1.0 + 2.0 * 3.0 + 7.0, 10.0 * 6.0 + 2.0 + 2.0 * 3.0 + 7.0)),
]


@pytest.mark.parametrize(("rule", "wanted"), ONE_STEP, ids=[str(rule) for rule, _ in ONE_STEP])
def test_one_step_of_every_rule(rule: Rule, wanted: tuple[float, float]) -> None:
    trace = torch.tensor([[[0.5, -1.0]]])
    params: Any = ABCDParams(*(torch.full((1, 2), v) for v in (10.0, 1.0, 2.0, 7.0))) if isinstance(rule, ABCD) else ()
    state: Any = BCMState(torch.full((1, 1), 2.0)) if isinstance(rule, BCM) else ()
    seen = Activity(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]]), torch.tensor([[-1.5]]), trace)
    change, after = rule.step(params, state, seen)
    assert change.full(trace).flatten().tolist() == near(*wanted)
    if isinstance(rule, BCM):
        assert BCMState(*after).threshold.item() == pytest.approx(2.0 + 0.1 * (9.0 - 2.0))


def test_hebb_writes_what_the_next_step_recalls() -> None:
    net = net_of(one_unit(Hebb(), Constant(0.1)), weight=0.5, alpha=1.0)
    ys, traces = responses(net, 2.0, 2.0, -1.0)
    assert traces == near(0.2, 0.2 + 0.1 * 1.4 * 2.0, 0.48 + 0.1 * 0.98)
    assert ys == near(1.0, 1.0 + 0.2 * 2.0, -0.5 - 0.48)


def test_the_retroactive_write_uses_the_eligibility_of_before() -> None:
    """Equations 4 and 5: what happens now is written at the next step at the earliest."""
    layer = one_unit(Hebb(), Retroactive(FanOut.NEURON))
    half = 0.5  # eta; the rate is 0 M + 1
    net = net_of(layer, weight=1, alpha=1, modulation__fan=0, modulation__base=1, modulation__eligibility=half)
    ys, traces = responses(net, 1.0, 1.0, 1.0)
    assert ys == near(1.0, 1.0, 1.5)
    assert traces == near(0.0, 0.5, 0.5 + 0.75)
    _, state = net(torch.ones(3, 1, 1).double())
    eligibility = state[0].eligibility
    assert eligibility is not None
    assert eligibility.item() == pytest.approx(0.5 * 0.75 + 0.5 * 1.5)


def test_a_modulator_at_zero_writes_nothing_until_it_is_active() -> None:
    """M(t) follows the new output: v = 1, b = 0, so an output of 0 writes 0."""
    layer = one_unit(Hebb(), Simple(FanOut.NETWORK))
    net = net_of(layer, weight=1.0, alpha=0.0, modulation__weight=1.0, modulation__bias=0.0)
    _, traces = responses(net, 0.0, 2.0, -2.0)
    m = math.tanh(2.0)
    assert traces == near(0.0, m * 4.0, m * 4.0 - m * 4.0)


def test_the_fan_out_gives_each_neuron_its_own_rate() -> None:
    net = net_of(Layer(2, Linear(), Hebb(), Simple(), FeedForward(), Pathway.INPUT, Bound.NONE), weight=1.0, alpha=0.0)
    bag = net.layers[0]
    with torch.no_grad():
        for name, value in {"weight": [1.0, 0.5], "bias": [-0.5], "fan": [2.0, -1.0], "base": [0.0, 0.25]}.items():
            bag.get_parameter(f"modulation__{name}").copy_(torch.tensor(value))
    _, state = net(torch.ones(1, 1, 1).double())
    m = math.tanh(1.0 + 0.5 - 0.5)
    assert trace_of(state).flatten().tolist() == near(2.0 * m, 0.25 - m)


BOUNDS = [
    (Bound.NONE, 0.4, [0.4, 0.8, 1.2]),
    (Bound.HARD, 0.4, [0.4, 0.8, 1.0]),
    (Bound.HARD, -0.7, [-0.7, -1.0, -1.0]),
    (Bound.SOFT, 0.4, [0.4, 0.4 + 0.6 * 0.4, 0.64 + 0.36 * 0.4]),
    (Bound.SOFT, -0.5, [-0.5, -0.75, -0.875]),
    (Bound.SOFT, 3.0, [1.0, 1.0, 1.0]),
]


@pytest.mark.parametrize(("bound", "change", "wanted"), BOUNDS)
@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_bounds(bound: Bound, change: float, wanted: list[float], limit: float) -> None:
    """Each step writes `change`; with twice the limit and twice the change, the trace is twice as large."""
    net = net_of(one_unit(Hebb(), Constant(limit * change), bound, limit), weight=1.0, alpha=0.0)
    assert responses(net, 1.0, 1.0, 1.0)[1] == near(*(limit * w for w in wanted))


@pytest.mark.parametrize("bound", [Bound.HARD, Bound.SOFT])
@pytest.mark.parametrize("rule", [Hebb(), Oja(), Delta(), BCM(), ABCD()], ids=str)
def test_a_bounded_trace_stays_within_its_limit(bound: Bound, rule: Rule) -> None:
    spec = NetworkSpec((Layer(5, RNN(), rule, Constant(3.0), plastic=Pathway.BOTH, bound=bound, limit=0.7),))
    net, state = Network(spec, 3), None
    for x in 5 * torch.randn(20, 1, 4, 3, generator=torch.Generator().manual_seed(0)):
        _, state = net(x, state)
        assert trace_of(state).abs().max() <= 0.7


def test_the_plastic_lstm_learns_from_the_candidate() -> None:
    """pre = h(t-1), post = g = tanh(drive 3), neither the output nor the memory."""
    layer = Layer(1, LSTM(), Hebb(), Constant(1.0), Dense(), Pathway.RECURRENT, Bound.NONE)
    net = net_of(layer, weight=0.0, bias=0.0, alpha=2.0)
    with torch.no_grad():
        net.layers[0].get_parameter("weight")[3, 0, 0] = 1.0  # only the candidate receives the input
    y, state = net(torch.ones(3, 1, 1).double())
    g = math.tanh(1.0)
    memory, h, trace = 0.0, 0.0, 0.0
    for _ in range(3):
        g = math.tanh(1.0 + 2.0 * trace * h)
        memory, trace, h = 0.5 * memory + 0.5 * g, trace + h * g, 0.5 * math.tanh(0.5 * memory + 0.5 * g)
    assert y[-1].item() == pytest.approx(h, abs=1e-12)
    assert trace_of(state).item() == pytest.approx(trace, abs=1e-12)


def test_oja_keeps_its_memory_without_input() -> None:
    net = net_of(one_unit(Oja(), Learned(0.5)), weight=1.0, alpha=0.0, modulation__rate=0.5)
    _, traces = responses(net, 1.0, *[0.0] * 50)
    assert traces == near(*[0.5] * 51)


@pytest.mark.parametrize("eta", [0.01, 0.3])
def test_a_decaying_hebb_forgets_as_one_minus_eta_to_the_t(eta: float) -> None:
    net = net_of(one_unit(Hebb(decay=1.0), Constant(eta)), weight=1.0, alpha=0.0)
    _, traces = responses(net, 1.0, *[0.0] * 50)
    assert traces == near(*(eta * (1 - eta) ** t for t in range(51)))


@pytest.mark.parametrize("modulation", [Constant(0.0), Learned(), Simple(FanOut.NETWORK), Simple()], ids=str)
def test_a_rate_of_0_freezes_the_trace(modulation: Modulation) -> None:
    net = Network(NetworkSpec((Layer(4, modulation=modulation, plastic=Pathway.BOTH),)), 3)
    _, state = net(torch.randn(5, 2, 3))
    with torch.no_grad():
        for name, p in net.layers[0].named_parameters():
            if name.startswith("modulation"):
                p.zero_()
    _, later = net(torch.randn(20, 2, 3), state)
    assert torch.equal(trace_of(later), trace_of(state))


@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
@pytest.mark.parametrize("alpha", AlphaShape)
def test_with_alpha_0_it_is_plain_torch(cell: str, alpha: AlphaShape) -> None:
    spec = NetworkSpec((Layer(7, RNN() if cell == "RNN" else LSTM(), plastic=Pathway.RECURRENT, alpha=alpha),))
    net = Network(spec, 3).double()
    plain = (nn.RNN if cell == "RNN" else nn.LSTM)(3, 7).double()
    order = [0] if cell == "RNN" else [1, 0, 3, 2]  # torch: input, forget, candidate, output; we: f, i, o, g
    of = dict(plain.named_parameters())
    weight = torch.cat([of["weight_ih_l0"], of["weight_hh_l0"]], 1).view(-1, 7, 10)[order]
    bias = (of["bias_ih_l0"] + of["bias_hh_l0"]).view(-1, 7)[order]
    with torch.no_grad():
        for name, value in {"weight": weight, "bias": bias, "alpha": torch.zeros(1)}.items():
            p = net.layers[0].get_parameter(name)
            p.copy_(value.expand_as(p))
    x = torch.randn(9, 4, 3).double()
    y, state = net(x)
    torch.testing.assert_close(y, plain(x)[0])
    assert trace_of(state).abs().max() > 0.01, "the trace goes on changing, it only has no effect on the output"


@pytest.mark.parametrize(("structure", "received"), [(Dense(), 5), (SelfRecurrent(), 3), (FeedForward(), 2)], ids=str)
def test_what_a_unit_receives(structure: Structure, received: int) -> None:
    """Three linear units, weights 1, previous outputs 1, two inputs of 1: each output counts its inputs."""
    net = net_of(Layer(3, Linear(), structure=structure), inputs=2, weight=1.0, bias=0.0)
    start = net.initial_state(1)
    state = (start[0]._replace(output=torch.ones_like(start[0].output)),)
    y, _ = net(torch.ones(1, 1, 2).double(), state)
    assert y.flatten().tolist() == [received] * 3


PARAMETERS = [  # of the programs that Miconi et al. 2019 released: cue-reward (27 inputs, 200 units) and maze (17, 100)
    (None, 27, 200, 3, 46_203),
    (Learned(), 27, 200, 3, 86_204),
    (Simple(FanOut.NETWORK), 27, 200, 3, 86_405 - 1),  # theirs keeps an eta that is never used
    (Retroactive(FanOut.NETWORK), 27, 200, 3, 86_406 - 1),
    (None, 17, 100, 5, 12_305),
    (Learned(), 17, 100, 5, 22_306),
    (Simple(FanOut.NETWORK), 17, 100, 5, 22_406),
    (Retroactive(FanOut.NETWORK), 17, 100, 5, 22_407),
]


@pytest.mark.parametrize(("modulation", "inputs", "units", "outputs", "wanted"), PARAMETERS)
def test_parameter_counts_of_the_papers(
    modulation: Modulation | None, inputs: int, units: int, outputs: int, wanted: int
) -> None:
    """What is outputs is a logit per action and a value; the modulator's own weights belong to the plastic layer."""
    hidden = Layer(units) if modulation is None else Layer(units, modulation=modulation, plastic=Pathway.RECURRENT)
    head = Layer(outputs, Linear(), structure=FeedForward())
    assert Network(NetworkSpec((hidden, head)), inputs).count() == wanted


@pytest.mark.parametrize(("width", "plastic", "wanted"), [(1150, False, 24_221_600), (1149, True, 24_198_893)])
def test_parameter_counts_of_the_large_language_models(width: int, plastic: bool, wanted: int) -> None:
    """Three LSTM layers after a table of 10,000 words, which also reads out; one alpha a neuron, one signal a layer."""
    pathway = Pathway.RECURRENT if plastic else Pathway.NONE
    layers = tuple(Layer(n, LSTM(), plastic=pathway, alpha=AlphaShape.NEURON) for n in (width, width, 400))
    table = 400 * 10_000 + 10_000
    doubled = (3 if plastic else 4) * (2 * width + 400)  # drives that have two biases there, where one would do
    assert Network(NetworkSpec(layers), 400).count() + table + doubled == wanted
