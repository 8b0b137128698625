"""Activity in few bits: which levels, which gradient, what is rounded and what is not."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from brevitas import nn as qnn
from brevitas.quant import Int8ActPerTensorFloat, SignedBinaryActPerTensorConst, SignedTernaryActPerTensorConst
from torch import Tensor, nn

from plastic_search.cells.lif import LIF
from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations.constant import Constant
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.quantization import round_activity
from plastic_search.network.recording import record
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Format, Role
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

BITS = (1, 2, 3, 4, 8, 16)


def only(activity: int | None) -> Integer:
    return Integer(None, None, None, activity=activity)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_levels_by_hand() -> None:
    x = torch.tensor([-7.0, -1.0, -0.51, -0.5, -0.1, -0.0, 0.0, 0.1, 0.5, 0.51, 1.0, 7.0])
    by_hand = {
        1: [-1.0, -1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        2: [-1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        3: [-1.0, -1.0, -2 / 3, -2 / 3, 0.0, 0.0, 0.0, 0.0, 2 / 3, 2 / 3, 1.0, 1.0],
    }
    for bits, expected in by_hand.items():
        torch.testing.assert_close(round_activity(x, Format(bits)), torch.tensor(expected), rtol=0, atol=1e-7)
    assert round_activity(torch.tensor([torch.nan, torch.inf]), Format(1)).tolist()[1] == 1.0
    assert round_activity(torch.tensor(torch.nan), Format(1)).isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bits", BITS)
def test_as_many_levels_as_it_says_from_minus_1_to_1(bits: int, dtype: torch.dtype) -> None:
    form = Format(bits)
    rounded = round_activity(torch.linspace(-1.5, 1.5, 200_001, dtype=dtype), form).unique()
    assert len(rounded) == form.levels == (2 if bits == 1 else 2**bits - 1)
    assert torch.equal(rounded, -rounded.flip(0))
    assert rounded[-1] == 1.0
    assert torch.equal(round_activity(rounded, form), rounded)


def test_spikes_stay_0_or_1_in_any_number_of_bits() -> None:
    x, found = 2.0 * drawn(12, 3, 4), []
    for bits in (None, 1, 2, 8):
        layers = (Layer(6, LIF(), Hebb(), Constant(0.1), plastic=Pathway.BOTH), Layer(5), Layer(2))
        net = Network(NetworkSpec(layers, only(bits)), 4, seed=0)
        inside, _ = record(net, x, ["layers.0.output", "layers.0.trace", "layers.1.output"])
        found.append((inside["layers.0.output"], inside["layers.0.trace"]))
        if bits == 1:  # the other cells' activity is rounded
            assert set(inside["layers.1.output"].unique().tolist()) == {-1.0, 1.0}
    assert set(found[0][0].unique().tolist()) == {0.0, 1.0}
    assert all(torch.equal(one, other) for each in found[1:] for one, other in zip(found[0], each, strict=True))


def test_the_gradient_is_1_within_1_and_0_beyond() -> None:
    for bits in BITS:
        x = torch.tensor([-1.01, -1.0, -0.3, 0.0, 0.7, 1.0, 1.01], requires_grad=True)
        weights = torch.arange(1.0, 8.0)
        (round_activity(x, Format(bits)) * weights).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]


@pytest.mark.parametrize("bits", BITS)
def test_it_is_the_quantizer_of_brevitas(bits: int) -> None:
    """After a hard tanh, whose gradient is theirs, too."""
    own = {"bit_width": bits, "narrow_range": True, "scaling_impl_type": "const"}
    kinds = {1: SignedBinaryActPerTensorConst, 2: SignedTernaryActPerTensorConst}
    kind, own = (kinds[bits], {}) if bits in kinds else (Int8ActPerTensorFloat, own)
    theirs = nn.Sequential(nn.Hardtanh(), qnn.QuantIdentity(kind, scaling_init=1.0, **own)).eval()
    x, results = 2.0 * drawn(20_000, seed=bits), []
    for function in (theirs, lambda x: round_activity(x, Format(bits))):
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        y.backward(drawn(len(x)))
        results.append((y.detach(), leaf.grad))
    (their_values, their_grads), (our_values, our_grads) = results
    assert torch.equal(our_values, their_values)
    torch.testing.assert_close(our_grads, their_grads, rtol=1e-6, atol=0)


LAYERS = (
    Layer(7, LSTM(), plastic=Pathway.BOTH),
    Layer(5, Linear(), Hebb(0.5), Constant(0.3), plastic=Pathway.INPUT, skip=(1,)),
    Layer(4, plastic=Pathway.BOTH),
)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_what_units_send_is_rounded_and_the_input_and_the_answer_are_not(bits: int) -> None:
    net = Network(NetworkSpec(LAYERS, only(bits)), 3)
    names = [f"layers.{i}.{name}" for i in range(3) for name in ("output", "post", "pre")]
    x = 3.0 * drawn(20, 2, 3)
    inside, _ = record(net, x, names)
    assert torch.equal(inside["layers.0.pre"][..., :3], x)
    most = Format(bits).levels
    for i in (0, 1):
        for name in ("output", "post"):
            value = inside[f"layers.{i}.{name}"]
            assert len(value.unique()) <= most
            assert torch.equal(round_activity(value, Format(bits)), value)
    received = inside["layers.2.pre"][..., :5]
    assert torch.equal(received, inside["layers.1.output"])
    answer = inside["layers.2.output"]
    assert len(answer.unique()) > 100, "an answer is a float"
    assert torch.equal(inside["layers.2.pre"][1:, :, 5:], answer[:-1]), "and so is what the last layer sends itself"


def test_a_step_by_hand() -> None:
    """Two units of a ternary layer, whose trace is written by what it sends, and not by what it computed."""
    layer = Layer(2, Linear(), Hebb(), Constant(0.5), FeedForward(), Pathway.INPUT)
    net = Network(NetworkSpec((layer, Layer(1, Linear(), structure=FeedForward())), only(2)), 2)
    with torch.no_grad():
        net.layers[0].get_parameter("weight").copy_(torch.tensor([[[0.6, 0.2], [0.1, -3.0]]]))
        net.layers[1].get_parameter("weight").copy_(torch.tensor([[[2.0, 3.0]]]))
    y, state = net(torch.tensor([[[1.0, 0.5]]]))  # drives 0.7 and -1.4
    assert state[0].output.tolist() == [[1.0, -1.0]]
    assert state[0].trace is not None
    assert state[0].trace.tolist() == [[[0.5, 0.25], [-0.5, -0.25]]]
    assert y.tolist() == [[[-1.0]]]
    y.sum().backward()
    grad = net.layers[0].get_parameter("weight").grad
    assert grad is not None
    assert grad.tolist() == [[[2.0, 1.0], [0.0, 0.0]]], "straight through where |drive| <= 1"


@pytest.mark.parametrize("bits", [1, 4])
def test_pieces_steps_and_members_are_the_same_network(bits: int) -> None:
    spec, x = NetworkSpec(LAYERS, only(bits)), 2.0 * drawn(9, 2, 3).double()
    nets = [Network(spec, 3, seed).double() for seed in (0, 1)]
    whole, last = nets[0](x)
    first, middle = nets[0](x[:4])
    second, end = nets[0](x[4:], middle)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(named(end), named(last))
    rollout = Rollout(nets[0], batch=2)
    torch.testing.assert_close(torch.stack([rollout.step(each) for each in x]), whole.detach())
    together, _ = Population(nets)(x)
    torch.testing.assert_close(together[0], whole)
    for net in nets:
        net.kernel = "reference"
    torch.testing.assert_close(nets[0](x)[0], whole)
    torch.testing.assert_close(Population(nets)(x)[0], together)


def test_a_network_learns_with_activity_in_4_bits_as_it_does_in_float() -> None:
    task = PatternCompletion(bits=6)
    losses = {}
    for bits in (None, 4):
        layers = (Layer(16, plastic=Pathway.BOTH), Layer(task.outputs, structure=FeedForward()))
        net = Network(NetworkSpec(layers, only(bits)), task.inputs)
        losses[bits] = [p.loss for p in Gradient(steps=60, learning_rate=0.02, batch=16).train(net, task, seed=0)]
    for bits, each in losses.items():
        assert sum(each[-5:]) < 0.8 * sum(each[:5]), f"{bits}: {each}"


def test_at_one_bit_a_unit_that_receives_nothing_sends_1() -> None:
    for bits, sent in ((1, 1.0), (2, 0.0), (None, 0.0)):
        net = Network(NetworkSpec((Layer(3), Layer(2, structure=FeedForward())), only(bits)), 2)
        with torch.no_grad():
            net.layers[0].get_parameter("weight").zero_()
        y, state = net(drawn(2, 1, 2))
        assert state[0].output.tolist() == [[sent] * 3]
        torch.testing.assert_close(y[1, 0], (sent * net.layers[1].get_parameter("weight")[0].sum(1)).tanh())
        assert net.initial_state(1)[0].output.tolist() == [[0.0] * 3], "before the first step nothing is sent"


def test_bits_from_1_to_16_and_a_layer_that_reads_what_is_rounded() -> None:
    for bits, role in itertools.product((0, 17), Role):
        least = 2 if role is Role.TRACE else 1
        with pytest.raises(
            PlasticSearchError, match=rf"Integer\.{role.value} wants {least} to 16 bits, but got {bits}"
        ):
            replace(Integer(), **{role.value: bits})
    assert only(1).format(Role.ACTIVITY) == Format(1)
    for precision in (Floating(), Integer()):
        assert precision.format(Role.ACTIVITY) is None
    with pytest.raises(PlasticSearchError, match="a network of one layer has no activity to round; add a layer"):
        NetworkSpec((Layer(4),), only(4))


def test_precisions_written_before_are_read() -> None:
    old = {"kind": "Integer", "weight": 4, "alpha": 4, "trace": 8, "rounding": "nearest"}
    assert Integer.from_json(old).activity is None
    assert Integer.from_json(only(2).to_json()) == only(2)
