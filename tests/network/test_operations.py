"""Operations of an episode, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations.constant import Constant
from plastic_search.network.module import Network
from plastic_search.network.operations import count_operations
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.structures import Structure
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph

X = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]).unsqueeze(1)  # [time, 1, inputs]


def tiny(structure: Structure, plastic: Pathway = Pathway.NONE) -> Network:
    """Two units, which fire in the step in which input 0 fires (both), or input 1 (unit 1 alone); and a readout."""
    hidden = Layer(2, LIF(), Hebb(decay=0.0), Constant(rate=0.1), structure, plastic)
    net = Network(NetworkSpec((hidden, Layer(1, Integrator(), structure=FeedForward()))), 2)
    parameters: Any = net.layers[0]
    with torch.no_grad():
        parameters.weight.copy_(torch.tensor([[[9.0, 0.0], [9.0, 9.0]]]))
        if plastic is not Pathway.NONE:
            parameters.alpha.zero_()
    return net


def test_a_network_without_traces() -> None:
    found = count_operations(tiny(FeedForward()), X)
    # unit 0 fires in steps 0 and 1, unit 1 in steps 0, 1 and 3: 5 spikes of 2 units in 4 steps
    assert found.spikes == {0: 5 / 8}
    assert found.rate == 5 / 8
    # 4 input spikes to 2 synapses each, 5 spikes to the one synapse of each unit
    assert (found.accumulates, found.multiply_accumulates, found.writes) == (4 * 2 + 5, 0.0, 0.0)
    assert found.energy == pytest.approx(13 * 0.9e-3)


def test_inputs_that_are_no_spikes_are_multiplied_in_every_step() -> None:
    found = count_operations(tiny(FeedForward()), 2.0 * X)
    assert (found.accumulates, found.multiply_accumulates) == (5, 4 * 4)
    assert found.energy == pytest.approx((5 * 0.9 + 16 * 4.6) * 1e-3)


def test_a_trace_is_read_and_written() -> None:
    found = count_operations(tiny(FeedForward(), Pathway.INPUT), X)
    # the weight of each of the 4 synapses is W + alpha H: a multiply-accumulate beside each of 8 accumulates
    assert (found.accumulates, found.multiply_accumulates) == (13, 8)
    # dH = post (x) pre is not 0: step 0, both units, input 0; step 1, both and both; step 3, unit 1, input 1
    assert found.writes == 2 + 4 + 1
    assert found.energy == pytest.approx((13 * 0.9 + 15 * 4.6) * 1e-3)


def test_only_what_exists_is_counted() -> None:
    graph = Graph(fixed=((0, 0),), plastic=((1, 0), (1, 1)), support=FeedForward())
    found = count_operations(tiny(graph, Pathway.INPUT), X)
    assert found.accumulates == 2 * 2 + 2 * 1 + 5
    assert found.multiply_accumulates == 2 * 1 + 2 * 1  # the traces alone
    assert found.writes == 1 + 2 + 1


def test_a_network_without_spikes_is_refused() -> None:
    with pytest.raises(PlasticSearchError, match="no layer that fires"):
        count_operations(Network(NetworkSpec((Layer(2),)), 2), X)
