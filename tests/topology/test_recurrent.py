"""A graph as a recurrent block: it fits the layer it was made for, and weights may start from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import networkx as nx
import pytest
import torch

from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.structures import Structure
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.topology import conversion

RING = nx.cycle_graph(5)


@pytest.mark.parametrize(
    ("units", "inputs", "structure", "message"),
    [
        (
            5,
            4,
            conversion.recurrent(RING, 2, plastic=False),
            r"layers\.1: .* column 2, but the layer receives 4",
        ),
        (5, 1, conversion.recurrent(RING, 2), "begins at column 2, but the layer receives 1 inputs; .* with inputs=1"),
        (7, 2, conversion.recurrent(RING, 2), "the graph has 5 units, but the layer has 7; give the layer units=5"),
        (3, 2, conversion.recurrent(RING, 2), "the graph has 5 units, but the layer has 3"),
        (2, 4, Graph(((0, 1),), support=FeedForward(), inputs=3), "inputs up to column 3, but the layer receives 4"),
        (5, 4, Gated(0.5, support=conversion.recurrent(RING, 2)), "begins at column 2, but the layer receives 4"),
        (2, 2, Graph(((0, 5),)), r"edge \(0, 5\) leaves the layer, which has 2 units"),
    ],
)
def test_a_layer_that_a_graph_was_not_made_for_is_refused(
    units: int, inputs: int, structure: Structure, message: str
) -> None:
    plastic = Pathway.RECURRENT if structure.recurrent else Pathway.NONE
    spec = NetworkSpec((Layer(inputs), Layer(units, structure=structure, plastic=plastic)))
    for build in (shapes, Network) if isinstance(structure, Graph) and structure.inputs is not None else (Network,):
        with pytest.raises(PlasticSearchError, match=message):
            build(spec, 3)


def test_a_structure_from_a_network_states_its_size_and_one_of_an_older_file_states_none() -> None:
    net = Network(NetworkSpec((Layer(3), Layer(2, skip=(1,)))), 4)
    structure = conversion.structure(conversion.to_graph(net), net, 1)
    assert (structure.units, structure.inputs, structure.weights) == (2, 7, ())
    old = {name: value for name, value in structure.to_json().items() if name not in ("units", "inputs", "weights")}
    assert (Graph.from_json(old).units, Graph.from_json(old).inputs) == (None, None)
    assert Graph.from_json(structure.to_json()) == structure


def weighted(**more: Any) -> nx.DiGraph:
    """A connectome of three neurons, with counts of synapses that are negative where they inhibit."""
    graph = nx.DiGraph()
    graph.add_edge("b", "a", synapses=3, plastic=False)
    graph.add_edge("a", "c", synapses=-1.5)
    graph.add_edge("c", "c", synapses=0, **more)
    return graph


@pytest.mark.parametrize("cell", [Layer().cell, LSTM()])
def test_initial_weights_are_proportional_to_an_attribute(cell: Any) -> None:
    structure = conversion.recurrent(weighted(), inputs=2, weights="synapses", scale=0.1)
    assert structure.weights == pytest.approx((0.3, -0.15, 0.0))  # fixed first: b -> a
    layer = Layer(3, cell, structure=structure, plastic=Pathway.RECURRENT)
    net, drawn = (Network(NetworkSpec((each,)), 2) for each in (layer, Layer(3, cell, plastic=Pathway.RECURRENT)))
    weight, other = (each.parts()[0].weight.detach() for each in (net, drawn))
    found = {(post, pre): round(float(weight[cell.plastic, post, pre]), 6) for post, pre in ((1, 2), (2, 3), (2, 4))}
    assert found == {(1, 2): 0.3, (2, 3): -0.15, (2, 4): 0.0}  # units b, a, c are 0, 1, 2
    same = torch.ones_like(weight, dtype=torch.bool)
    same[cell.plastic, [1, 2, 2], [2, 3, 4]] = False
    assert torch.equal(weight[same], other[same])  # what the graph does not state is drawn as ever
    gated = replace(layer, structure=Gated(0.5, support=structure))
    assert torch.equal(Network(NetworkSpec((gated,)), 2).parts()[0].weight, weight)
    again = Network(NetworkSpec.from_json(net.spec.to_json()), 2)
    assert torch.equal(again.parts()[0].weight, weight)


def test_weights_are_scaled_as_random_ones_unless_a_scale_is_given() -> None:
    weights = torch.tensor(conversion.recurrent(weighted(), inputs=2, weights="synapses").weights)
    assert float(weights.square().mean()) == pytest.approx(1 / (2 + 3))
    huge = nx.DiGraph([("a", "b", {"w": 1e308}), ("b", "a", {"w": -1e308})])
    assert conversion.recurrent(huge, 0, weights="w").weights == pytest.approx((-(0.5**0.5), 0.5**0.5))
    zero = nx.DiGraph([("a", "b", {"w": 0})])
    assert conversion.recurrent(zero, 0, weights="w").weights == (0.0,)
    both = conversion.recurrent(nx.Graph([("a", "b", {"w": 2})]), 1, weights="w", scale=1.0)
    assert (both.plastic, both.weights) == (((0, 2), (1, 1)), (2.0, 2.0))


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (nx.DiGraph([("a", "b")]), {"weights": "w"}, "edge a -> b has w=None, which must be a finite number"),
        (nx.DiGraph([("a", "b", {"w": float("inf")})]), {"weights": "w"}, "edge a -> b has w=inf, which must be"),
        (nx.DiGraph([("a", "b", {"w": True})]), {"weights": "w"}, "edge a -> b has w=True, which must be"),
        (nx.DiGraph([("a", "b", {"w": 1e300})]), {"weights": "w", "scale": 1e300}, "Graph.weights.0 wants a float"),
        (
            nx.DiGraph([("a", "b", {"w": 3})]),
            {"weights": "w", "scale": 1e39},
            r"edge \(1, 1\) of a Graph would begin with",
        ),
        (RING, {"scale": 2.0}, r"scale=2\.0 must be a finite number, and `weights` name what it scales"),
        (RING, {"weights": "w", "scale": float("nan")}, "scale=nan must be a finite number"),
        (nx.DiGraph([("a", "b", {"plasticity": 0.5})]), {}, r"Did you mean 'plastic'\? It is in edge a -> b"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(graph: nx.Graph, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        conversion.recurrent(graph, inputs=1, **options)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"weights": (1.0,)}, "so Graph.inputs must state where it begins"),
        ({"weights": (1.0,), "inputs": 1}, "each of the 2 connections within the recurrent block, but got 1"),
        ({"units": 0}, "Graph.units must be from 1"),
        ({"inputs": -1}, "Graph.inputs must be from 0"),
    ],
)  # fmt: skip
def test_a_graph_whose_weights_or_sizes_are_impossible_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        Graph(((0, 0), (0, 1)), ((0, 2),), **more)
