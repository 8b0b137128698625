"""Rounding: the same numbers as Brevitas' own, noise that is right on average, and codes that give the value back."""

from __future__ import annotations

import pytest
import torch
from brevitas import nn as qnn
from brevitas.nn.mixin.parameter import QuantWeightMixin
from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerTensorFloat
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.variants import variants
from plastic_search.modulations.constant import Constant
from plastic_search.network.module import Network
from plastic_search.network.quantization import (
    codes,
    next_dither,
    parameter_rounder,
    power_of_two,
    reading,
    round_trace,
    start_dither,
    step_size,
)
from plastic_search.network.recording import record
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Format, Role, Rounding, Spacing
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.precisions.logarithmic import Logarithmic
from plastic_search.rules.hebb import Hebb
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated

BITS = (8, 4, 3, 2)


class Brevitas(QuantWeightMixin, nn.Module):  # type: ignore[misc]
    """A plain parameter seen through Brevitas' weight quantizer."""

    output_channel_dim = 0  # type: ignore[assignment]
    channelwise_separable = False

    def __init__(self, weight: Tensor, bits: int) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(weight)
        QuantWeightMixin.__init__(self, Int8WeightPerTensorFloat, weight_bit_width=bits)

    @property
    def out_channels(self) -> int:
        return len(self.weight)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", [(1, 5, 7), (4, 6, 9), (30, 40)])
def test_weights_are_rounded_as_brevitas_does(bits: int, shape: tuple[int, ...]) -> None:
    for seed in range(5):
        x = 3.0**seed * noise(*shape, seed=seed)
        theirs = Brevitas(x.flatten(0, -2), bits).quant_weight().value.detach().view(shape)
        ours = parameter_rounder(Format(bits))(x)
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("bits", BITS)
def test_an_integer_has_as_many_levels_as_it_says(bits: int) -> None:
    rounded = parameter_rounder(Format(bits))(torch.linspace(-3.0, 3.0, 10_001)).unique()
    assert len(rounded) == 2**bits - 1
    assert torch.equal(rounded, -rounded.flip(0)), "symmetric, with a level at 0"


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codes_give_the_value_back_bit_for_bit(bits: int, dtype: torch.dtype) -> None:
    form = Format(bits)
    for seed in range(200):
        rounded = parameter_rounder(form)(10 ** (seed % 9 - 4.5) * noise(6, 7, seed=seed).to(dtype))
        whole, step = codes(rounded, form)
        assert whole.dtype == torch.int32
        assert whole.abs().max() == form.top
        assert torch.equal(whole.to(dtype) * step, rounded)


def test_what_is_0_stays_0() -> None:
    x = torch.zeros(3, 4)
    assert torch.equal(parameter_rounder(Format(4))(x), x)
    assert torch.equal(codes(x, Format(4))[0], x.int())
    assert parameter_rounder(Format(4))(torch.zeros(0, 0)).shape == (0, 0)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("limit", [1.0, 0.3, 2.0])
def test_the_trace_is_rounded_to_nearest_as_brevitas_does(bits: int, limit: float) -> None:
    """Away from exact ties, where Brevitas rounds to even and we round up."""
    theirs = qnn.QuantIdentity(
        Int8ActPerTensorFloat, bit_width=bits, narrow_range=True, scaling_impl_type="const", scaling_init=limit
    ).eval()
    form = Format(bits, Rounding.NEAREST)
    x = limit * (2 * torch.rand(2, 50, 60, generator=torch.Generator().manual_seed(bits)) - 1)
    place = x / step_size(form, limit)
    tie = (place - place.floor() - 0.5).abs() < 1e-4
    ours = round_trace(x, form, limit, start_dither(2, x))
    assert tie.float().mean() < 0.01
    torch.testing.assert_close(ours[~tie], theirs(x).detach()[~tie], rtol=1e-6, atol=1e-7)


def writes(rounding: Rounding, count: int, change: float, size: tuple[int, int] = (4, 5), batch: int = 3) -> Tensor:
    """A 4-bit trace over [-1, 1] after `count` writes of `change`."""
    form = Format(4, rounding)
    trace = torch.zeros(batch, *size)
    dither = start_dither(batch, trace)
    for _ in range(count):
        trace = round_trace((trace + change).clamp(-1, 1), form, 1.0, dither)
        dither = next_dither(dither)
    return trace


def test_small_writes_stall_when_rounded_to_nearest() -> None:
    assert writes(Rounding.NEAREST, 40, 0.01).abs().max() == 0.0


@pytest.mark.parametrize("change", [0.01, -0.01])
def test_small_writes_arrive_when_rounded_stochastically(change: float) -> None:
    trace = writes(Rounding.STOCHASTIC, 40, change, (40, 50))
    assert trace.mean().item() == pytest.approx(40 * change, abs=0.01)
    assert (trace - 40 * change).abs().max() < 2.5 / 7, "nor does any one synapse go astray"


@pytest.mark.parametrize("remainder", [1, 4, 8])
def test_error_feedback_carries_what_rounding_leaves_over_to_the_next_write(remainder: int) -> None:
    """H' = round(H + R + change), R' = H + R + change - H', in exact integers of 1 / 2^remainder of a level."""
    form, limit, rng = Format(3, Rounding.FEEDBACK, remainder), 0.7, torch.Generator().manual_seed(0)
    one = step_size(form, limit) / 2**remainder
    most = max(2**remainder // 3, 1)  # of a level
    changes = torch.randint(-most, most + 1, (300, 2, 6, 7), generator=rng)
    read, kept = reading(form, limit), torch.zeros(2, 6, 7)
    assert read is not None
    codes, left = torch.zeros(2, 6, 7, dtype=torch.long), torch.zeros(2, 6, 7, dtype=torch.long)
    seen: set[int] = set()
    for change in changes:
        kept = round_trace((kept + change * one).clamp(-limit, limit), form, limit, start_dither(2, kept))
        whole = ((codes << remainder) + left + change).clamp(-(form.top << remainder), form.top << remainder)
        codes = (whole + (1 << remainder - 1)) >> remainder
        left = whole - (codes << remainder)
        assert torch.equal((read(kept) / step_size(form, limit)).round().long(), codes)
        assert torch.equal((kept / one).round().long(), whole)
        seen |= set(codes.unique().tolist())
    assert seen == {-3, -2, -1, 0, 1, 2, 3}


def test_small_writes_arrive_with_error_feedback_where_nearest_loses_them() -> None:
    """One 3-bit trace, in a network: a change of a twentieth of a level adds up."""
    layer = Layer(2, Linear(), Hebb(), Constant(0.02), FeedForward(), Pathway.INPUT)
    found = {}
    for rounding in Rounding:
        net = Network(NetworkSpec((layer,), Integer(None, None, 3, rounding)), 2)
        with torch.no_grad():
            (params,) = net.parts()
            params.weight.fill_(1.0)
            params.alpha.zero_()
            values, _ = record(net, torch.ones(40, 1, 2), "layers.0.recall")
        found[rounding] = float(values["layers.0.recall"][-1, 0, 0]) / 2
    assert found[Rounding.NEAREST] == 0.0
    assert found[Rounding.FEEDBACK] == pytest.approx(1.0)


def dithers(steps: int) -> Tensor:
    """The noise of one episode, step after step [steps, 1, 1]."""
    noise = [start_dither(1, torch.zeros(1))]
    for _ in range(steps - 1):
        noise.append(next_dither(noise[-1]))
    return torch.cat(noise)


NOISE = dithers(20_000)


@given(st.floats(-0.999, 0.999), st.sampled_from(BITS))
def test_stochastic_rounding_is_unbiased_over_time(value: float, bits: int) -> None:
    """The mean of 1000 stochastic roundings of one value is the value."""
    form = Format(bits, Rounding.STOCHASTIC)
    rounded = round_trace(torch.full((1000, 1, 1), value), form, 1.0, NOISE[:1000])
    assert rounded.mean().item() == pytest.approx(value, abs=0.01 * step_size(form, 1.0))
    assert rounded.max() - rounded.min() < 1.001 * step_size(form, 1.0), "only ever one of the two levels beside it"


@given(st.floats(-0.999, 0.999), st.integers(0, 100))
def test_stochastic_rounding_is_unbiased_over_synapses(value: float, steps: int) -> None:
    form, dither = Format(4, Rounding.STOCHASTIC), start_dither(2, torch.zeros(1))
    for _ in range(steps):
        dither = next_dither(dither)
    rounded = round_trace(torch.full((2, 40, 50), value), form, 1.0, dither)
    for b in range(2):
        assert rounded[b].mean().item() == pytest.approx(value, abs=0.01 * step_size(form, 1.0))
    assert rounded[:, 0].mean().item() == pytest.approx(value, abs=0.1 * step_size(form, 1.0)), "nor over one row"
    assert rounded[:, :, 0].mean().item() == pytest.approx(value, abs=0.1 * step_size(form, 1.0)), "nor a column"


def test_the_noise_stays_fair_for_as_long_as_an_episode_may_last() -> None:
    """Float32 adds up its own rounding; after 20,000 steps the noise must still fill [0, 1) evenly."""
    counts = torch.histc(NOISE[-2_000:], 20, 0.0, 1.0)
    assert counts.min() >= 95
    assert counts.max() <= 105


def test_no_two_neighbours_round_as_one() -> None:
    """Two elements of a batch, and two synapses side by side, differ in when they round up."""
    form, dither = Format(2, Rounding.STOCHASTIC), start_dither(2, torch.zeros(1))
    steps = []
    for _ in range(200):
        steps.append(round_trace(torch.full((2, 2, 2), 0.5), form, 1.0, dither))
        dither = next_dither(dither)
    ups = torch.stack(steps).flatten(1)
    together = (ups.unsqueeze(1) == ups.unsqueeze(2)).float().mean(0)
    assert (together + torch.eye(8).neg()).max() < 0.95


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("bits", BITS)
def test_a_rounded_trace_is_a_whole_number_of_steps_to_the_last_bit(bits: int, rounding: Rounding) -> None:
    form = Format(bits, rounding)
    trace = 0.7 * torch.tanh(noise(2, 30, 40))
    rounded = round_trace(trace, form, 0.7, start_dither(2, trace))
    step = step_size(form, 0.7)
    assert torch.equal((rounded / step).round() * step, rounded)


def test_a_network_moves_its_noise_on_at_every_step() -> None:
    net = Network(NetworkSpec((Layer(3, plastic=Pathway.BOTH),), Integer(trace=4)), 2)
    dither, state = start_dither(2, torch.zeros(1)), net.initial_state(2)
    for x in noise(5, 1, 2, 2):
        assert torch.equal(named(state)["layers.0.dither"], dither)
        _, state = net(x, state)
        dither = next_dither(dither)


@pytest.mark.parametrize("rounding", Rounding)
def test_gradients_pass_straight_through(rounding: Rounding) -> None:
    trace = (0.9 * torch.tanh(noise(2, 3, 4))).requires_grad_()
    weights = noise(2, 3, 4, seed=1)
    (round_trace(trace, Format(3, rounding), 1.0, start_dither(2, trace)) * weights).sum().backward()
    assert trace.grad is not None
    assert torch.equal(trace.grad, weights)
    x = noise(3, 4).requires_grad_()
    (parameter_rounder(Format(3))(x) * weights[0]).sum().backward()
    torch.testing.assert_close(x.grad, weights[0])


def test_a_network_rounds_what_its_precision_says() -> None:
    layer = Layer(6, Linear(), Hebb(), Constant(0.05), FeedForward(), Pathway.INPUT)
    for weight, alpha, trace in ((2, None, None), (None, 3, None), (None, None, 4), (8, 4, 2)):
        net = Network(NetworkSpec((layer,), Integer(weight, alpha, trace)), 5)
        ready = net.resolve()[0]
        _, state = net(noise(30, 2, 5))
        roles = (
            (Role.WEIGHT, ready.weight, weight),
            (Role.ALPHA, ready.alpha, alpha),
            (Role.TRACE, state[0].trace, trace),
        )
        for role, tensor, bits in roles:
            assert tensor is not None
            levels = len(tensor.unique())
            assert levels > 15 if bits is None else levels <= 2**bits - 1, f"{role}: {levels} levels at {bits} bits"


def test_what_is_fine_tuned_has_a_float_network_trained_as_long_beside_it() -> None:
    every = variants(BITS)
    assert [v.name for v in every if v.precision == Floating()] == ["w32a32t32-tuned"]
    assert len({v.name for v in every}) == len(every) == 53 + 2 * 3


def test_a_trace_without_a_bound_cannot_be_an_integer() -> None:
    from plastic_search.network.spec import Bound

    with pytest.raises(PlasticSearchError, match=r"layers\.0: an integer trace needs a bound"):
        NetworkSpec((Layer(bound=Bound.NONE, plastic=Pathway.BOTH),), Integer())
    with pytest.raises(PlasticSearchError, match=r"Integer\.trace wants 2 to 16 bits, but got 1"):
        Integer(trace=1)


def test_a_weight_of_one_bit_is_a_sign_and_a_scale() -> None:
    x = torch.tensor([0.5, -0.25, 0.0, -1.5, 2.75], requires_grad=True)
    rounded = parameter_rounder(Format(1))(x)
    assert rounded.tolist() == [1.25, -1.25, 0.0, -1.25, 1.25]  # the mean of four; what a structure removed stays 0
    (rounded * torch.arange(1.0, 6.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 2.0, 3.0, 0.0, 0.0]  # cancelled beyond 1
    x = noise(70, 90)
    once = parameter_rounder(Format(1))(x)
    assert torch.equal(once, torch.where(x < 0, -1.0, 1.0) * once.abs().max())
    torch.testing.assert_close(once.abs().max(), x.abs().mean())
    assert torch.equal(parameter_rounder(Format(1))(once), once)  # to the last bit, as a bundle that is loaded needs
    whole, step = codes(once, Format(1))
    assert torch.equal(whole * step, once)


def test_a_logarithmic_weight_is_a_power_of_two() -> None:
    x = torch.tensor([3.0, -1.5, 1.4, 0.51, 0.25, -0.24, 0.0], requires_grad=True)
    rounded = parameter_rounder(Format(3, spacing=Spacing.POWERS))(x)  # of 4, 2 and 1; 1 from 0.5
    assert rounded.tolist() == [4.0, -2.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    rounded.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0] * 7
    for bits in (2, 3, 4, 5):
        form, values = Format(bits, spacing=Spacing.POWERS), noise(400, seed=bits)
        once = parameter_rounder(form)(values)
        assert len(once.unique()) <= form.levels == 2**bits - 1
        whole, step = codes(once, form)
        assert torch.equal(whole * step, once)
        assert int(whole.abs().max()) == form.top
    with pytest.raises(PlasticSearchError, match=r"Logarithmic\.alpha wants 2 to 5 bits, but got 1"):
        Logarithmic(alpha=1)


def test_ap2_is_the_power_of_two_nearest_in_the_logarithm() -> None:
    x = torch.cat([noise(2000).exp(), -noise(200, seed=1).exp(), torch.tensor([1.41421, 1.41422, 2.0**-100, -8.0])])
    found = power_of_two(x)
    assert torch.equal(found, x.sign() * 2.0 ** torch.log2(x.abs().double()).round().float())
    assert power_of_two(torch.tensor([0.0, -0.0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("precision", [Integer(1, 1, None), Integer(1, 4, 4, activity=1), Logarithmic(3, 3)], ids=str)
def test_compiled_layers_equal_the_reference_in_signs_and_powers(precision: Integer | Logarithmic) -> None:
    layers = (Layer(6, structure=Gated(density=0.6, plastic=0.3), plastic=Pathway.BOTH), Layer(3))
    x, found = noise(7, 2, 5), []
    for kernel in ("reference", "cpu"):
        net = Network(NetworkSpec(layers, precision), 5, kernel=kernel).double()
        y, _ = net(x.double())
        y.square().sum().backward()
        found.append([y, *(p.grad for p in net.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
