"""Bytes, operations and energy of small networks, counted by hand."""

from __future__ import annotations

import pytest
import torch

from plastic_search.cells.lif import LIF
from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.network.footprint import count_numbers
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Layer, NetworkSpec, Pathway
from plastic_search.precisions import Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated


def layer(units: int, **more: object) -> Layer:
    return Layer(units, cell=Linear(), structure=FeedForward(), plastic=Pathway.INPUT, **more)  # type: ignore[arg-type]


def test_bytes_are_numbers_times_bits_of_each_role_filled_up_to_whole_bytes() -> None:
    numbers = count_numbers(Network(NetworkSpec((layer(3),)), inputs=2))
    assert (numbers.weight, numbers.alpha, numbers.trace) == ((6,), (6,), (6,))
    in_float = numbers.footprint(Floating())
    assert (in_float.weight, in_float.alpha, in_float.trace, in_float.bytes) == (24, 24, 24, 72)
    few = numbers.footprint(Integer(4, 3, 2, Rounding.FEEDBACK, remainder=4))
    assert (few.weight, few.alpha, few.trace) == (3, 3, 5)  # 24, 18, and 6 x (2 + 4) bits
    assert few.bytes == 11
    assert few.other == 4 * (3 + 3 + 3 + 1 + 3), "biases; and of the modulation"
    assert few.state == 4 * 3, "outputs"


def test_what_does_not_exist_takes_nothing_and_a_shared_alpha_is_one_number() -> None:
    sparse = Layer(8, structure=Gated(), plastic=Pathway.BOTH, alpha=AlphaShape.NEURON)
    net = Network(NetworkSpec((sparse,)), inputs=8)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "structure" in name:
                p.copy_(torch.where(torch.arange(p.numel()) % 4 == 0, 3.0, -3.0).view_as(p))
    numbers = count_numbers(net)
    assert numbers.weight == (net.connections(),) != (128,)
    assert numbers.trace == (net.plastic_connections(),)
    assert 0 < numbers.trace[0] <= numbers.weight[0]
    assert numbers.alpha == (8,)


def test_an_lstm_has_a_weight_for_each_drive_and_one_trace() -> None:
    numbers = count_numbers(Network(NetworkSpec((Layer(3, LSTM(), structure=FeedForward()),)), inputs=2))
    assert numbers.weight == (24,)
    assert numbers.trace == (0,)


def test_energy_of_a_step_is_that_of_its_products_and_of_the_bits_that_move() -> None:
    numbers = count_numbers(Network(NetworkSpec((layer(3),)), inputs=2))
    in_float = numbers.footprint(Floating())
    assert (in_float.multiply_accumulates, in_float.writes) == (12, 6)
    assert in_float.energy == pytest.approx((18 * 4.6 + 10 * (72 + 24) / 8) / 1000)
    few = numbers.footprint(Integer(8, 8, 8, activity=8))
    assert few.energy == pytest.approx((18 * 0.3 + 10 * (18 + 6) / 8) / 1000)
    mixed = numbers.footprint(Integer(8, 4, 8))  # units send floats: alpha * H alone is of integers
    assert mixed.energy == pytest.approx((12 * 4.6 + 6 * (0.1 + 0.2 * 32 / 64) + 10 * (6 + 3 + 6 + 6) / 8) / 1000)
    fires = count_numbers(Network(NetworkSpec((Layer(3, LIF()), layer(2))), inputs=2))
    assert fires.footprint(Floating()).energy is None
