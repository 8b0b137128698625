"""Graphs in files: what is read equals what was written; invalid graphs are refused with the node or edge named."""

from __future__ import annotations

import codecs
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.topology import conversion, files

SPEC = NetworkSpec(
    (
        Layer(units=6, structure=Gated(density=0.4, support=FeedForward())),
        Layer(units=4, skip=(1,), plastic=Pathway.BOTH, structure=Gated(density=0.5, plastic=0.5)),
    )
)
SUFFIXES = pytest.mark.parametrize("suffix", [".json", ".graphml"])


@SUFFIXES
def test_a_graph_comes_back_as_it_was_written(suffix: str, tmp_path: Path) -> None:
    graph = conversion.to_graph(Network(SPEC, 3))
    path = files.write(graph, tmp_path / f"deep/g{suffix}")
    again = files.read(path)
    assert nx.utils.graphs_equal(graph, again)
    assert list(again) == list(graph)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert set(next(iter(again.edges(data=True)))[2]) == {"weight", "alpha", "plastic", "exists", "layer"}


def data() -> dict[str, Any]:
    """A network of two inputs, two units and one output, in node-link JSON."""
    nodes = [("input.0", -1, 0), ("input.1", -1, 1), ("layers.0.0", 0, 0), ("layers.0.1", 0, 1), ("layers.1.0", 1, 0)]
    edges = [("input.0", "layers.0.0"), ("layers.0.0", "layers.0.1"), ("layers.0.1", "layers.1.0")]
    return {
        "directed": True,
        "multigraph": False,
        "graph": {"inputs": 2},
        "nodes": [{"id": name, "layer": layer, "index": index} for name, layer, index in nodes],
        "edges": [{"source": pre, "target": post, "weight": 1.0} for pre, post in edges],
    }


def edge(pre: str, post: str, **more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda d: d["edges"].append({"source": pre, "target": post} | more)


def change(group: str, i: int, **more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda d: d[group][i].update(more)


MISTAKES: dict[str, Callable[[dict[str, Any]], Any]] = {
    r"has no list of 'edges'": lambda d: d.pop("edges"),
    r"has no list of 'nodes'": lambda d: d.update(nodes=3),
    r"undirected; .*make it directed": lambda d: d.update(directed=False),
    r"5 nodes but no edge": lambda d: d["edges"].clear(),
    r"no path leads from any input to any output \(layers.1.0": lambda d: d["edges"].pop(1),
    r"edge layers.1.0 -> layers.0.0 runs back from layer 1 to 0": edge("layers.1.0", "layers.0.0"),
    r"edge layers.0.0 -> input.1 leads into the input": edge("layers.0.0", "input.1"),
    r"edge input.0 -> layers.0.0 occurs more than once": edge("input.0", "layers.0.0"),
    r"'source': 'input.9'.* that are nodes": edge("input.9", "layers.0.0"),
    r"node \{.*'id': 'input.0'.*\} needs an id that no other": lambda d: d["nodes"].append(d["nodes"][0]),
    r"no attribute of an edge is called 'wieght'; known: .*Did you mean 'weight'.*edge input.1 -> layers.0.0":
        edge("input.1", "layers.0.0", wieght=1.0),
    r"no attribute of node input.0 is called 'layers'.*Did you mean 'layer'": change("nodes", 0, layers=0),
    r"no attribute of a graph is called 'Input'.*Did you mean 'inputs'": lambda d: d.update(graph={"Input": 1}),
    r"node input.0 has the layer and index of layers.3.0": change("nodes", 0, layer=3),
    r"node input.0 needs a `layer`": change("nodes", 0, layer="first"),
    r"nodes input.0 and x are both input.0": lambda d: d["nodes"].append({"id": "x", "layer": -1, "index": 0}),
    r"lacks node layers.0.2": lambda d: d["nodes"].append({"id": "layers.0.3"}),
    r"lacks node layers.2.0": lambda d: d["nodes"].append({"id": "layers.3.0"}),
    r"has the attribute inputs=7, but nodes input.0 to input.1": lambda d: d["graph"].update(inputs=7),
    r"edge input.0 -> layers.0.0 has weight=nan": change("edges", 0, weight=float("nan")),
    r"edge input.0 -> layers.0.0 has weight='big'": change("edges", 0, weight="big"),
    r"edge input.0 -> layers.0.0 has weight=10*\.\.\.0*, which must be a finite": change("edges", 0, weight=10**400),
    r"edge input.0 -> layers.0.0 has plastic=2, which must be true or false": change("edges", 0, plastic=2),
    r"edge input.0 -> layers.0.0 has layer=1, but leads into layer 0": change("edges", 0, layer=1),
    r"edge input.0 -> layers.0.0 is plastic but does not exist": change("edges", 0, plastic=True, exists=False),
    r"edge input.0 -> layers.0.0 has alpha=0.5 but is not plastic": change("edges", 0, alpha=0.5),
}  # fmt: skip


@pytest.mark.parametrize("message", MISTAKES)
def test_an_invalid_graph_is_refused_with_its_node_or_edge(message: str, tmp_path: Path) -> None:
    raw = data()
    MISTAKES[message](raw)
    (tmp_path / "g.json").write_text(json.dumps(raw))
    with pytest.raises(PlasticSearchError, match=message) as caught:
        files.read(tmp_path / "g.json")
    assert "g.json" in str(caught.value)


def test_nodes_may_have_any_name_if_they_have_attributes_and_absent_edges_are_left_out() -> None:
    raw = data()
    raw["nodes"][3] = {"id": "deep", "layer": 0, "index": 1}
    for each in raw["edges"]:
        for end in ("source", "target"):
            each[end] = "deep" if each[end] == "layers.0.1" else each[end]
    edge("input.1", "deep", exists=False)(raw)
    graph = files.from_json(raw)
    assert list(graph.edges) == list(files.from_json(data()).edges)


def test_damaged_large_and_strange_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = conversion.to_graph(Network(SPEC, 3))
    for name, text, message in (
        ("a.json", "{", "is damaged, it is not JSON"),
        ("a.graphml", "<graphml", "is damaged, it is not GraphML"),
        ("b.graphml", "<a/>", "is damaged, it is not GraphML"),
        ("c.graphml", "<!DOCTYPE lol [<!ENTITY a 'a'>]><graphml/>", "declares a document type or entities"),
        ("a.gexf", "", r"called \*.graphml or \*.json"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(PlasticSearchError, match=message):
            files.read(tmp_path / name)
    for path in (tmp_path / "none.json", tmp_path / "none.graphml"):
        with pytest.raises(PlasticSearchError, match="there is no file"):
            files.read(path)
    with pytest.raises(PlasticSearchError, match=r"called \*.graphml or \*.json"):
        files.write(graph, tmp_path / "g.txt")
    files.write(graph, tmp_path / "g.graphml")
    monkeypatch.setattr(files, "_MAX_BYTES", 100)
    with pytest.raises(PlasticSearchError, match="more than the 100 that"):
        files.read(tmp_path / "g.graphml")


@SUFFIXES
def test_damaged_files_raise_our_own_error(suffix: str, tmp_path: Path) -> None:
    path, draw = tmp_path / f"g{suffix}", random.Random(0)
    raw = files.write(conversion.to_graph(Network(SPEC, 3)), path).read_bytes()
    refused = 0
    for _ in range(150):
        torn, at = bytearray(raw), draw.randrange(len(raw))
        torn[at : at + draw.randint(0, 40)] = draw.choice(
            [b"", b"-1", b"9999999999", b"null", b"{}", b"1e999", b"\xff"]
        )
        path.write_bytes(bytes(torn))
        try:
            files.read(path)
        except PlasticSearchError:
            refused += 1
    assert refused > 75
    path.write_text("[" * 10**5 if suffix == ".json" else "<a>" * 10**5)
    with pytest.raises(PlasticSearchError, match="is damaged"):
        files.read(path)


ENCODINGS = {"UTF-8": b"", "UTF-16LE": codecs.BOM_UTF16_LE, "UTF-16BE": codecs.BOM_UTF16_BE, "ISO-8859-1": b""}
DECLARATIONS = (
    '<!DOCTYPE graphml [<!ENTITY a "layers.0.0">]>',
    '<!DOCTYPE graphml [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
    '<!DOCTYPE graphml [<!ENTITY % a "b"> %a;]>',
    '<!DOCTYPE graphml SYSTEM "http://example.com/graphml.dtd">',
    "<!DOCTYPE graphml>",
)


def encoded(path: Path, encoding: str, declaration: str = "", entity: str = "layers.0.0") -> Path:
    """A graph of one edge in GraphML, in an encoding with its byte order mark."""
    name = "UTF-16" if encoding.startswith("UTF-16") else encoding
    text = (
        f'<?xml version="1.0" encoding="{name}"?>{declaration}'
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="directed">'
        f'<node id="input.0"/><node id="layers.0.0"/><edge source="input.0" target="{entity}"/></graph></graphml>'
    )
    path.write_bytes(ENCODINGS.get(encoding, b"") + text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_graphml_is_read_in_any_encoding_and_refused_with_a_document_type(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "g.graphml"
    assert list(files.read(encoded(path, encoding)).edges) == [("input.0", "layers.0.0")]
    for declaration in DECLARATIONS:
        for entity in ("layers.0.0", "&a;"):
            encoded(path, encoding, declaration, entity)
            for load in (files.read, files.connectome):
                with pytest.raises(PlasticSearchError, match=r"g\.graphml declares a document type or entities"):
                    load(path)


def test_encodings_that_the_parser_lacks_are_refused(tmp_path: Path) -> None:
    for encoding in ("UTF-32", "UTF-7"):
        for declaration in ("", DECLARATIONS[0]):
            with pytest.raises(PlasticSearchError, match="is damaged, it is not GraphML"):
                files.read(encoded(tmp_path / "g.graphml", encoding, declaration, "&a;" if declaration else "a"))
    text = encoded(tmp_path / "g.graphml", "UTF-8").read_text().replace("UTF-8", "bogus")
    (tmp_path / "g.graphml").write_text(text)
    with pytest.raises(PlasticSearchError, match="is damaged, it is not GraphML"):
        files.read(tmp_path / "g.graphml")


def test_graphml_without_its_namespace_is_read(tmp_path: Path) -> None:
    path = encoded(tmp_path / "g.graphml", "UTF-8")
    path.write_text(path.read_text().replace(' xmlns="http://graphml.graphdrawing.org/xmlns"', ""))
    assert files.read(path).number_of_edges() == 1


def test_parallel_and_undirected_edges_in_graphml_are_refused(tmp_path: Path) -> None:
    twice = nx.MultiDiGraph()
    twice.add_edges_from([("input.0", "layers.0.0"), ("input.0", "layers.0.0")])
    nx.write_graphml(twice, tmp_path / "twice.graphml")
    with pytest.raises(PlasticSearchError, match=r"edge input.0 -> layers.0.0 occurs more than once"):
        files.read(tmp_path / "twice.graphml")
    nx.write_graphml(nx.Graph([("input.0", "layers.0.0")]), tmp_path / "plain.graphml")
    with pytest.raises(PlasticSearchError, match="is undirected"):
        files.read(tmp_path / "plain.graphml")


def test_a_graph_edited_by_hand_is_validated_before_it_is_a_structure() -> None:
    net = Network(SPEC, 3)
    whole = conversion.to_graph(net)
    empty, cut, odd = whole.copy(), whole.copy(), whole.copy()
    empty.remove_edges_from(list(whole.edges))
    cut.remove_edges_from([edge for edge in whole.edges if edge[0].startswith("input")])
    pre, post = next(iter(odd.edges))
    odd.edges[pre, post]["plastics"] = True
    cases: tuple[tuple[Any, str], ...] = (
        (empty, "no edge that exists"),
        (cut, "no path leads from any input to any output"),
        (odd, f"no attribute of an edge is called 'plastics'.*edge {pre} -> {post}"),
        (nx.Graph(whole), "is undirected"),
    )
    for graph, message in cases:
        with pytest.raises(PlasticSearchError, match=message):
            conversion.structure(graph, net, 1)


def test_a_graph_is_of_use_after_it_was_made_without_numbers() -> None:
    spec = NetworkSpec((Layer(2, structure=Graph(((0, 1),), ((1, 3),)), plastic=Pathway.BOTH),))
    with torch.device("meta"):
        Network(spec, 3)
    assert Network(spec, 3).connections() == 2


def test_a_structure_takes_a_graph_whatever_its_nodes_are_called() -> None:
    net = Network(SPEC, 3)
    graph = conversion.to_graph(net)
    wanted = conversion.structure(graph, net, 1)
    renamed = nx.relabel_nodes(graph, {node: f"cell {i}" for i, node in enumerate(graph)})
    assert conversion.structure(renamed, net, 1) == wanted
    assert conversion.structure(nx.MultiDiGraph(graph), net, 1) == wanted
    twice = nx.MultiDiGraph(graph)
    pre, post, edge = next(iter(graph.edges(data=True)))
    twice.add_edge(pre, post, **edge)
    with pytest.raises(PlasticSearchError, match=rf"edge {pre} -> {post} occurs more than once"):
        conversion.structure(twice, net, 1)
    with pytest.raises(PlasticSearchError, match="its 'graph' is no object"):
        files.from_json(files.to_json(graph) | {"graph": [1]})


def test_a_structure_refuses_a_graph_of_another_network() -> None:
    graph, net = conversion.to_graph(Network(SPEC, 3)), Network(SPEC, 3)
    assert conversion.structure(graph, net, 1).recurrent
    with pytest.raises(PlasticSearchError, match="there is no layer 2; the network has layers 0 to 1"):
        conversion.structure(graph, net, 2)
    with pytest.raises(PlasticSearchError, match=r"node input.2 is one too many: input of this network has 2"):
        conversion.structure(graph, Network(SPEC, 2), 1)
    with pytest.raises(PlasticSearchError, match=r"node input.3 is missing: input of this network has 5"):
        conversion.structure(graph, Network(SPEC, 5), 1)
    with pytest.raises(PlasticSearchError, match=r"node layers\.2\.0 is one too many: this network has layers 0 to 1"):
        conversion.structure(nx.compose(graph, nx.DiGraph([("layers.1.0", "layers.2.0")])), net, 1)
    first = graph.subgraph([n for n in graph if not n.startswith("layers.1.")])
    with pytest.raises(PlasticSearchError, match=r"node layers\.1\.0 is missing: the graph has no layer 1"):
        conversion.structure(first, net, 1)
    still = Network(NetworkSpec((SPEC.layers[0], Layer(units=4, skip=(1,)))), 3)
    with pytest.raises(PlasticSearchError, match=r"edge .* -> layers.1.\d is plastic, but layer 1 has plastic='none'"):
        conversion.structure(graph, still, 1)
    narrow = Network(NetworkSpec((SPEC.layers[0], Layer(units=4, plastic=Pathway.BOTH))), 3)
    with pytest.raises(
        PlasticSearchError, match=r"edge input.\d -> layers.1.\d starts at a node that layer 1 does not"
    ):
        conversion.structure(graph, narrow, 1)


@pytest.mark.parametrize(
    ("fixed", "plastic", "message"),
    [
        (((0, 1), (0, 1)), (), r"edge \(0, 1\) of a Graph is named twice"),
        (((0, 1),), ((0, 1),), r"edge \(0, 1\) of a Graph is named in both"),
        (((0, -1),), (), r"edge \(0, -1\) of a Graph must be \(post, pre\), both from 0"),
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(fixed: Any, plastic: Any, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        Graph(fixed, plastic)
    with pytest.raises(PlasticSearchError, match="learns nothing"):
        Graph(support=Gated())


def test_gates_are_made_without_a_loop_and_the_structure_stays_a_value() -> None:
    edges = tuple((post, pre) for post in range(50) for pre in range(46))
    graph, shape = Graph(edges[:1000], edges[1000:]), shapes(NetworkSpec((Layer(50, plastic=Pathway.BOTH),)), 50)[0]
    gates = graph.gates((), shape, torch.zeros(1, dtype=torch.float64))
    assert gates.exists is not None
    assert gates.plastic is not None
    assert gates.exists.dtype == torch.float64
    assert (int(gates.exists.sum()), int(gates.plastic.sum())) == (2300, 1300)
    gates.exists.zero_()  # a copy, which the caller may change
    again = graph.gates((), shape, torch.zeros(1)).exists
    assert again is not None
    assert int(again.sum()) == 2300
    assert graph == Graph(edges[:1000], edges[1000:])
    assert hash(graph) == hash(Graph(edges[:1000], edges[1000:]))


@pytest.mark.parametrize("directed", [False, True])
def test_any_graph_is_a_recurrent_block(directed: bool) -> None:
    ring = nx.watts_strogatz_graph(12, 4, 0.2, seed=0)
    graph = nx.DiGraph([("b", "a"), ("a", "c")]) if directed else ring
    structure = conversion.recurrent(graph, inputs=3)
    n, edges = len(graph), 2 if directed else 2 * ring.number_of_edges()
    net = Network(NetworkSpec((Layer(units=n, structure=structure, plastic=Pathway.RECURRENT),)), 3)
    assert net.connections() == 3 * n + edges
    result = conversion.to_graph(net)
    assert sum(result.edges[e]["plastic"] for e in result.edges) == edges
    if directed:  # b, a, c in the order in which they came
        assert {e for e in result.edges if result.edges[e]["plastic"]} == {
            ("layers.0.0", "layers.0.1"), ("layers.0.1", "layers.0.2"),
        }  # fmt: skip


def test_a_connectome_keeps_its_names_and_its_plastic_edges(tmp_path: Path) -> None:
    worm = nx.MultiDiGraph()
    worm.add_edge("AVAL", "AVBR", plastic=True, synapses=3)
    worm.add_edge("AVAL", "AVBR", plastic=False, synapses=1)
    worm.add_edge("AVBR", "RIML", plastic=False, synapses=2)
    nx.write_graphml(worm, tmp_path / "worm.graphml")
    graph = files.connectome(tmp_path / "worm.graphml")
    assert list(graph) == ["AVAL", "AVBR", "RIML"]
    structure = conversion.recurrent(graph, inputs=2)
    assert structure.plastic == ((1, 2),)
    assert (2, 3) in structure.fixed
    nx.write_graphml(nx.path_graph(3), tmp_path / "path.graphml")
    assert files.connectome(tmp_path / "path.graphml").number_of_edges() == 4
    for wrong, message in (
        (nx.DiGraph([("a", "b", {"plastic": "yes"})]), "edge a -> b has plastic='yes'"),
        (nx.DiGraph(), "no nodes"),
        (worm, "parallel edges"),
    ):
        with pytest.raises(PlasticSearchError, match=message):
            conversion.recurrent(wrong, inputs=2)
    with pytest.raises(PlasticSearchError, match="inputs must be"):
        conversion.recurrent(graph, inputs=-1)
    nx.write_graphml(nx.empty_graph(3), tmp_path / "none.graphml")
    with pytest.raises(PlasticSearchError, match="has no edges"):
        files.connectome(tmp_path / "none.graphml")
    with pytest.raises(PlasticSearchError, match="GraphML only"):
        files.connectome(tmp_path / "worm.json")
