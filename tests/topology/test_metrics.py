"""What is measured of graphs, held against networkx and against cases whose answer is known."""

from __future__ import annotations

import json
import time
from collections import Counter

import networkx as nx
import numpy as np
import pytest

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.rewired import Rewired
from plastic_search.topology import conversion
from plastic_search.topology import metrics as graph_metrics
from plastic_search.topology.comparison import compare
from plastic_search.topology.files import from_json, to_json
from plastic_search.topology.metrics import census, clustering, metrics, projections, randomized


def graph(density: float = 0.2, units: int = 20, seed: int = 0) -> nx.DiGraph:
    layers = (
        Layer(units=units, structure=Rewired(density=density, support=FeedForward())),  # evenly drawn, until trained
        Layer(units=units, structure=Rewired(density=density, plastic=0.5), plastic=Pathway.BOTH, skip=(1,)),
        Layer(units=5, structure=Rewired(density=density)),
    )
    return conversion.to_graph(Network(NetworkSpec(layers), 30, seed))


def plain(made: nx.DiGraph) -> tuple[nx.DiGraph, np.ndarray]:
    """The graph and its matrix without edges from a unit to itself."""
    bare = nx.DiGraph((a, b) for a, b in made.edges if a != b)
    bare.add_nodes_from(made)
    return bare, nx.to_numpy_array(bare, nodelist=list(made)).astype(np.float32)


def test_counts_are_those_of_networkx() -> None:
    made = graph()
    bare, matrix = plain(made)
    told = metrics(made)
    assert told["sizes"] == [30, 20, 20, 5]
    assert (told["nodes"], told["edges"]) == (75, made.number_of_edges())
    assert told["loops"] == nx.number_of_selfloops(made) > 0
    assert told["plastic"] == sum(p for *_, p in made.edges(data="plastic"))
    assert told["reciprocity"] == pytest.approx(nx.overall_reciprocity(bare))
    assert told["clustering"] == pytest.approx(nx.average_clustering(bare), abs=1e-6)
    assert told["strong_components"] == nx.number_strongly_connected_components(made)
    assert told["longest_path"] == nx.dag_longest_path_length(nx.condensation(made))
    both = nx.Graph(bare.edges)
    both.add_nodes_from(bare)
    lengths = [n for _, ways in nx.all_pairs_shortest_path_length(both) for n in ways.values() if n]
    assert told["path_length"] == pytest.approx(np.mean(lengths))
    assert told["degrees"]["out"]["distribution"] == dict(Counter(d for _, d in made.out_degree()))
    triads = nx.triadic_census(bare)
    assert census(matrix) == {name: triads[name] for name in census(matrix)}
    assert len(census(matrix)) == 13
    assert sum(told["communities"]) == 75
    assert json.loads(json.dumps(told, allow_nan=False))["edges"] == told["edges"]


def test_projections_tell_what_is_plastic() -> None:
    made = graph()
    told = {(p.pre, p.post): p for p in projections(made)}
    assert set(told) == {(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 2), (2, 2)}
    assert told[-1, 0].possible == 30 * 20
    assert sum(p.edges for p in told.values()) == made.number_of_edges()
    assert told[-1, 0].plastic == told[1, 2].plastic == 0 < told[1, 1].plastic < told[1, 1].edges


def test_random_graphs_keep_every_degree_in_every_projection() -> None:
    made = graph()
    _, matrix = plain(made)
    other = randomized(made, np.random.default_rng(0))
    layer = np.array([at for _, at in made.nodes(data="layer")])
    for pre in range(-1, 3):
        for post in range(-1, 3):
            old, new = (each[layer == pre][:, layer == post] for each in (matrix, other))
            np.testing.assert_array_equal(old.sum(0), new.sum(0))
            np.testing.assert_array_equal(old.sum(1), new.sum(1))
    assert 0.5 < 1 - (matrix * other).sum() / matrix.sum() < 1.0
    assert not other.diagonal().any()
    np.testing.assert_array_equal(other, randomized(made, np.random.default_rng(0)))


def test_a_motif_that_was_put_there_stands_out() -> None:
    made = nx.DiGraph()
    made.add_node("input.0")
    made.add_nodes_from(f"layers.0.{i}" for i in range(60))
    made.add_edge("input.0", "layers.0.0")
    for i in range(0, 60, 3):  # cycles of three
        for a, b in ((0, 1), (1, 2), (2, 0)):
            made.add_edge(f"layers.0.{i + a}", f"layers.0.{i + b}")
    told = metrics(from_json(to_json(made)))
    assert told["motifs"]["030C"]["count"] == 20
    assert told["motifs"]["030C"]["z"] > 5
    assert told["communities"][0] == 4
    assert told["modularity"] > 0.9
    assert told["largest_strong_component"] == 3


def test_a_small_world_is_told_from_a_random_graph() -> None:
    found = []
    for p in (0.1, 1.0):
        ring = nx.watts_strogatz_graph(100, 6, p, seed=0)
        net = Network(
            NetworkSpec((Layer(units=100, structure=conversion.recurrent(ring, 1), plastic=Pathway.RECURRENT),)), 1
        )
        found.append(metrics(conversion.to_graph(net))["small_worldness"])
    assert found[0] > 1.5 * found[1]


def test_clustering_of_a_complete_graph_is_one() -> None:
    assert clustering(np.ones((5, 5), np.float32) - np.eye(5, dtype=np.float32)) == pytest.approx(1.0)


def test_a_graph_of_five_thousand_edges_takes_seconds() -> None:
    made = graph(density=0.3, units=80)
    assert made.number_of_edges() > 5000
    began = time.perf_counter()
    told = metrics(made)
    assert time.perf_counter() - began < 30  # 1.2 on an idle core
    assert any("random graphs" in note for note in told["notes"])


def test_what_is_too_large_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_metrics, "_MAX_NODES", 50)
    told = metrics(graph())
    assert "motifs" not in told
    assert "left out" in told["notes"][0]
    empty = nx.DiGraph()
    empty.add_node("input.0", layer=-1, index=0)
    with pytest.raises(PlasticSearchError, match="no edges"):
        metrics(empty)


def test_graphs_are_compared_with_chance() -> None:
    a, b = graph(seed=0), graph(seed=1)
    told = compare(a, b)
    assert told["shared"] + told["only_a"] == a.number_of_edges()
    assert told["shared"] + told["only_b"] == b.number_of_edges()
    assert abs(told["by_chance"]["z"]) < 4
    assert told["by_degree"]["shared"] == pytest.approx(told["by_chance"]["shared"], rel=0.2)
    assert len(told["edges"]["only_a"]) == told["only_a"]
    same = compare(a, a)
    assert (same["jaccard"], same["only_a"], same["plastic_only_a"], same["metrics"]) == (1.0, 0, 0, {})
    assert same["by_chance"]["z"] > 10
    other = a.copy()
    edge = next(e for e in a.edges if a.edges[e]["plastic"])
    other.edges[edge]["plastic"] = False
    told = compare(a, other)
    assert told["edges"]["plastic_only_a"] == [list(edge)]
    assert told["metrics"] == {"plastic": [told["plastic_both"] + 1, told["plastic_both"]]}
    with pytest.raises(PlasticSearchError, match=r"layers.0 has 20 nodes in the first and 21"):
        compare(a, graph(units=21))
