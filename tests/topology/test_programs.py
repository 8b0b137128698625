"""Graphs that other programs saved: the same graph comes back."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest
from saved_graphs import PROGRAMS

from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.gated import Gated
from plastic_search.topology import conversion, files

EVERY = pytest.mark.parametrize("program", PROGRAMS)
SPEC = NetworkSpec((Layer(units=4, plastic=Pathway.BOTH, structure=Gated(density=0.5, plastic=0.5)), Layer(units=2)))


def worm() -> nx.DiGraph:
    """A connectome with a loop, a mutual pair and names that XML must escape."""
    graph = nx.DiGraph()
    graph.add_nodes_from(["AVAL", "AVBR", 'R&"I<M>', "ümlaut", "alone"])
    graph.add_edge("AVBR", "AVAL", plastic=True, synapses=3, sign=-1.0)
    graph.add_edge("AVAL", "AVBR", plastic=False, synapses=1, sign=1.0)
    graph.add_edge('R&"I<M>', "ümlaut", plastic=False, synapses=7, sign=0.5)
    graph.add_edge("ümlaut", "ümlaut", plastic=True, synapses=2, sign=-0.25)
    return graph


@EVERY
def test_a_network_that_another_program_saved_comes_back(program: str, tmp_path: Path) -> None:
    graph = conversion.to_graph(Network(SPEC, 3))
    path = tmp_path / "net.graphml"
    path.write_text(PROGRAMS[program][0](graph), encoding="utf-8")
    again = files.read(path)
    assert nx.utils.graphs_equal(again, graph)
    assert list(again) == list(graph)
    assert conversion.structure(again, Network(SPEC, 3), 0) == conversion.structure(graph, Network(SPEC, 3), 0)


@EVERY
def test_a_connectome_that_another_program_saved_comes_back(program: str, tmp_path: Path) -> None:
    graph, (write, labels) = worm(), PROGRAMS[program]
    path = tmp_path / "worm.graphml"
    path.write_text(write(graph), encoding="utf-8")
    again = files.connectome(path, labels=labels)
    assert list(again) == list(graph)
    assert set(again.edges) == set(graph.edges)
    for pre, post, edge in graph.edges(data=True):
        assert edge.items() <= again.edges[pre, post].items()
    wanted = conversion.recurrent(graph, inputs=2, weights="synapses")
    assert conversion.recurrent(files.connectome(path), inputs=2, weights="synapses") == wanted
