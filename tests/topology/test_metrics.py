"""Measures of graphs, compared with networkx and with cases of known values."""

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


def plain(sample: nx.DiGraph) -> tuple[nx.DiGraph, np.ndarray]:
    """The graph and its matrix without edges from a unit to itself."""
    bare = nx.DiGraph((a, b) for a, b in sample.edges if a != b)
    bare.add_nodes_from(sample)
    return bare, nx.to_numpy_array(bare, nodelist=list(sample)).astype(np.float32)


def test_counts_are_those_of_networkx() -> None:
    sample = graph()
    bare, matrix = plain(sample)
    result = metrics(sample)
    assert result["sizes"] == [30, 20, 20, 5]
    assert (result["nodes"], result["edges"]) == (75, sample.number_of_edges())
    assert result["loops"] == nx.number_of_selfloops(sample) > 0
    assert result["plastic"] == sum(p for *_, p in sample.edges(data="plastic"))
    assert result["reciprocity"] == pytest.approx(nx.overall_reciprocity(bare))
    assert result["clustering"] == pytest.approx(nx.average_clustering(bare), abs=1e-6)
    assert result["strong_components"] == nx.number_strongly_connected_components(sample)
    assert result["longest_path"] == nx.dag_longest_path_length(nx.condensation(sample))
    both = nx.Graph(bare.edges)
    both.add_nodes_from(bare)
    lengths = [n for _, ways in nx.all_pairs_shortest_path_length(both) for n in ways.values() if n]
    assert result["path_length"] == pytest.approx(np.mean(lengths))
    assert result["degrees"]["out"]["distribution"] == dict(Counter(d for _, d in sample.out_degree()))
    triads = nx.triadic_census(bare)
    assert census(matrix) == {name: triads[name] for name in census(matrix)}
    assert len(census(matrix)) == 13
    assert sum(result["communities"]) == 75
    assert json.loads(json.dumps(result, allow_nan=False))["edges"] == result["edges"]


def test_projections_count_plastic_edges() -> None:
    sample = graph()
    counts = {(p.pre, p.post): p for p in projections(sample)}
    assert set(counts) == {(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 2), (2, 2)}
    assert counts[-1, 0].possible == 30 * 20
    assert sum(p.edges for p in counts.values()) == sample.number_of_edges()
    assert counts[-1, 0].plastic == counts[1, 2].plastic == 0 < counts[1, 1].plastic < counts[1, 1].edges


def test_random_graphs_keep_every_degree_in_every_projection() -> None:
    sample = graph()
    _, matrix = plain(sample)
    other = randomized(sample, np.random.default_rng(0))
    layer = np.array([at for _, at in sample.nodes(data="layer")])
    for pre in range(-1, 3):
        for post in range(-1, 3):
            old, new = (each[layer == pre][:, layer == post] for each in (matrix, other))
            np.testing.assert_array_equal(old.sum(0), new.sum(0))
            np.testing.assert_array_equal(old.sum(1), new.sum(1))
    assert 0.5 < 1 - (matrix * other).sum() / matrix.sum() < 1.0
    assert not other.diagonal().any()
    np.testing.assert_array_equal(other, randomized(sample, np.random.default_rng(0)))


def test_a_motif_that_was_put_there_stands_out() -> None:
    sample = nx.DiGraph()
    sample.add_node("input.0")
    sample.add_nodes_from(f"layers.0.{i}" for i in range(60))
    sample.add_edge("input.0", "layers.0.0")
    for i in range(0, 60, 3):  # cycles of three
        for a, b in ((0, 1), (1, 2), (2, 0)):
            sample.add_edge(f"layers.0.{i + a}", f"layers.0.{i + b}")
    result = metrics(from_json(to_json(sample)))
    assert result["motifs"]["030C"]["count"] == 20
    assert result["motifs"]["030C"]["z"] > 5
    assert result["communities"][0] == 4
    assert result["modularity"] > 0.9
    assert result["largest_strong_component"] == 3


def test_a_small_world_differs_from_a_random_graph() -> None:
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
    sample = graph(density=0.3, units=80)
    assert sample.number_of_edges() > 5000
    began = time.perf_counter()
    result = metrics(sample)
    assert time.perf_counter() - began < 30  # 1.2 on an idle core
    assert any("random graphs" in note for note in result["notes"])


def test_measures_of_too_large_a_graph_are_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_metrics, "_MAX_NODES", 50)
    result = metrics(graph())
    assert "motifs" not in result
    assert "left out" in result["notes"][0]
    empty = nx.DiGraph()
    empty.add_node("input.0", layer=-1, index=0)
    with pytest.raises(PlasticSearchError, match="no edges"):
        metrics(empty)


def test_graphs_are_compared_with_chance() -> None:
    a, b = graph(seed=0), graph(seed=1)
    result = compare(a, b)
    assert result["shared"] + result["only_a"] == a.number_of_edges()
    assert result["shared"] + result["only_b"] == b.number_of_edges()
    assert abs(result["by_chance"]["z"]) < 4
    assert result["by_degree"]["shared"] == pytest.approx(result["by_chance"]["shared"], rel=0.2)
    assert len(result["edges"]["only_a"]) == result["only_a"]
    same = compare(a, a)
    assert (same["jaccard"], same["only_a"], same["plastic_only_a"], same["metrics"]) == (1.0, 0, 0, {})
    assert same["by_chance"]["z"] > 10
    other = a.copy()
    edge = next(e for e in a.edges if a.edges[e]["plastic"])
    other.edges[edge]["plastic"] = False
    result = compare(a, other)
    assert result["edges"]["plastic_only_a"] == [list(edge)]
    assert result["metrics"] == {"plastic": [result["plastic_both"] + 1, result["plastic_both"]]}
    with pytest.raises(PlasticSearchError, match=r"layers.0 has 20 nodes in the first and 21"):
        compare(a, graph(units=21))
