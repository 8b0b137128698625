"""What GraphML means, as connectomes: defaults, directions, boxes, keys, and what is refused by name."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from command_line import refused

from plastic_search.core.errors import PlasticSearchError
from plastic_search.topology import conversion, files, graphml, node_link, raw

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
PLASTIC = '<key id="p" for="edge" attr.name="plastic" attr.type="boolean"/>'
ABC = '<node id="a"/><node id="b"/><node id="c"/>'
ENTITY = '<!DOCTYPE graphml [<!ENTITY a "b">]>'
TRUE, FALSE = '<data key="p">true</data>', '<data key="p">false</data>'
Edges = dict[tuple[str, str], Any]


def edge(pre: str, post: str, more: str = "", inside: str = "") -> str:
    return f'<edge source="{pre}" target="{post}"{more}>{inside}</edge>'


def document(content: str, keys: str = PLASTIC, where: str = ' edgedefault="directed"', head: str = HEAD) -> str:
    return f"{head}{keys}<graph{where}>{content}</graph></graphml>"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., nx.DiGraph]:
    """A connectome from the text or bytes of a file."""

    def load(text: str | bytes, **options: Any) -> nx.DiGraph:
        path = tmp_path / "worm.graphml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return files.connectome(path, **options)

    return load


def plastic(graph: nx.DiGraph) -> Edges:
    return {(pre, post): flag for pre, post, flag in graph.edges(data="plastic")}


A_TO_B: Edges = {("a", "b"): None}
DEFAULT = PLASTIC.replace("/>", "><default>\n false </default></key>")
MIXED = edge("a", "b") + edge("b", "c", ' directed="false"')
BOX = '<node id="head">{}<graph id="head:" edgedefault="directed"><node id="a"/><node id="b"/>{}</graph></node>'
INNER = BOX.format("", edge("a", "b"))
GRAPHS: dict[str, tuple[str, Edges]] = {
    "a default applies where an edge has no value": (
        document(ABC + edge("a", "b", inside=TRUE) + edge("b", "c"), DEFAULT), {("a", "b"): True, ("b", "c"): False}),
    "a default for all elements applies to edges": (
        document(ABC + edge("a", "b"), DEFAULT.replace('"edge"', '"all"')), {("a", "b"): False}),
    "an edge whose `exists` defaults to false is none": (
        document(ABC + edge("a", "b", inside=TRUE) + edge("b", "c"), DEFAULT.replace('"plastic"', '"exists"')), A_TO_B),
    "an empty default is none": (document(ABC + edge("a", "b"), DEFAULT.replace("false", "")), A_TO_B),
    "each edge has its own direction": (document(ABC + MIXED), {("a", "b"): None, ("b", "c"): None, ("c", "b"): None}),
    "a directed edge in an undirected graph": (
        document(ABC + edge("a", "b", ' directed="true"') + edge("b", "c"), where=' edgedefault="undirected"'),
        {("a", "b"): None, ("b", "c"): None, ("c", "b"): None}),
    "a box goes, its nodes and edges stay": (
        document(INNER + '<node id="c"/>' + edge("b", "c")), {("a", "b"): None, ("b", "c"): None}),
    "boxes in a box, of other directions": (
        document(BOX.format("", BOX.replace("head", "in").replace('"a"', '"c"').replace('"b"', '"d"').replace(
            'edgedefault="directed"', 'edgedefault="undirected"').format("", edge("c", "a")) + edge("a", "b"))),
        {("c", "a"): None, ("a", "c"): None, ("a", "b"): None}),
    "a nested graph that states no direction has that around it": (
        document(INNER.replace(' edgedefault="directed"', "")), A_TO_B),
    "an empty group of yEd's is a box": (
        document('<node id="g" yfiles.foldertype="group"><graph/></node>' + ABC + edge("a", "b")),
        A_TO_B),
    "values are padded": (
        document(ABC + edge("a", "b", inside='<data key="p">\n True\t</data>')), {("a", "b"): True}),
    "numbers as flags": (document(ABC + edge("a", "b", inside='<data key="p">1</data>')), {("a", "b"): True}),
    "types that are unknown, or missing": (
        document(ABC + edge("a", "b", inside=TRUE), PLASTIC.replace('attr.type="boolean"', "")), {("a", "b"): True}),
    "a key without a name is called by its id": (
        document(ABC + edge("a", "b", inside='<data key="plastic">TRUE</data>'), '<key id="plastic" for="edge"/>'),
        {("a", "b"): True}),
    "one id for nodes and for edges": (
        document('<node id="a"><data key="p">x</data></node>' + ABC[13:] + edge("a", "b", inside=TRUE),
            PLASTIC + '<key id="p" for="node" attr.name="pool" attr.type="string"/>'), {("a", "b"): True}),
    "another case": (
        document(ABC + edge("a", "b", inside=TRUE), PLASTIC.replace("plastic", "Plastic")), {("a", "b"): True}),
    "ports are ignored, with their data": (
        document('<node id="a"><port name="x"><data key="p">1</data></port></node>' + ABC[13:]
            + edge("a", "b", ' sourceport="x"')), A_TO_B),
    "edges before nodes, and padded ids": (document(edge(" a", "b ") + ABC), A_TO_B),
    "descriptions, comments, CDATA and foreign content": (
        document(f'<desc>an <edge/></desc><!-- <node id="a"/> -->{ABC}'
            + edge("a", "b", inside='<data key="p"><![CDATA[true]]><y:x xmlns:y="y"><node/>false</y:x></data>')),
        {("a", "b"): True}),
    "parallel edges of which one has no value": (
        document(ABC + edge("a", "b", inside=FALSE) + edge("a", "b") + edge("b", "c") + edge("b", "c", inside=TRUE)),
        {("a", "b"): False, ("b", "c"): True}),
    "a loop that is undirected is one edge": (document(ABC + edge("a", "a", ' directed="0"')), {("a", "a"): None}),
    "another namespace": (document(ABC + edge("a", "b"), head=HEAD.replace("xmlns\">", 'xmlns/graphml">')), A_TO_B),
    "a namespace of its own": (
        document(ABC + edge("a", "b"), head=HEAD.replace("http://graphml.graphdrawing.org", "urn:x")), A_TO_B),
    "no namespace": (document(ABC + edge("a", "b"), head="<graphml>"), A_TO_B),
    "a prefix": (
        document(ABC + edge("a", "b"), keys="", head=HEAD).replace("<", "<g:").replace("<g:/", "</g:").replace(
            "<g:?", "<?").replace("xmlns=", "xmlns:g="), A_TO_B),
    "a byte order mark and lines of Windows": ("\ufeff" + document(ABC + "\r\n" + edge("a", "b")), A_TO_B),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_read_as_it_is_meant(name: str, load: Callable[..., nx.DiGraph]) -> None:
    text, edges = GRAPHS[name]
    graph = load(text)
    assert plastic(graph) == edges
    assert "head" not in graph


TWO = f'<graph id="herm" edgedefault="directed">{ABC}{edge("a", "b")}</graph>'
TWO += TWO.replace("herm", "male").replace(edge("a", "b"), edge("b", "c") + edge("c", "a"))
REFUSED: dict[str, str] = {
    r"edge b -> bb ends at bb, which is not declared as a node": document(ABC + edge("b", "bb")),
    r"edge b -> head ends at head, a node that holds a graph of its own": document(INNER + edge("b", "head")),
    r"node a holds a graph without nodes": document(
        '<node id="a"><graph edgedefault="directed"/></node><node id="b"/>' + edge("b", "b")),
    r"has 2 graphs: herm and male; choose one by `name`": f"{HEAD}{TWO}</graphml>",
    r"node a more than once": document(ABC + '<node id="a"/>' + edge("a", "b")),
    r"a node has no id": document(ABC + "<node/>"),
    r"edge \{'source': 'a'\} has no target": document(ABC + '<edge source="a"/>'),
    r"graph holds an element 'hyperedge'; a synapse has two ends": document(
        ABC + '<hyperedge><endpoint node="a"/></hyperedge>'),
    r"edge a -> b holds an element 'graph'; only nodes": document(ABC + edge("a", "b", inside="<graph/>")),
    r"holds an element 'locator'; its content is in another file": document('<locator/>' + ABC + edge("a", "b")),
    r"no element of graph in GraphML is called 'nodes'": document("<nodes/>" + ABC + edge("a", "b")),
    r"has directed='maybe', which must be true or false": document(ABC + edge("a", "b", ' directed="maybe"')),
    r"edge a -> b does not state whether it is directed": document(ABC + edge("a", "b"), where=""),
    r"no edgedefault is called 'both'; known: directed, undirected": document(ABC, where=' edgedefault="both"'),
    r"edge a -> b has plastic='yes', which must be true or false": document(
        ABC + edge("a", "b", inside='<data key="p">yes</data>')),
    r"edge a -> b has plastic='', which": document(ABC + edge("a", "b", inside='<data key="p"/>')),
    r"edge a -> b has plastic=2, which": document(
        ABC + edge("a", "b", inside=TRUE.replace("true", "2")), PLASTIC.replace("boolean", "int")),
    r"key plastic has two defaults; keep one": document(
        ABC + edge("a", "b"), PLASTIC.replace("/>", "><default>true</default><default>false</default></key>")),
    r"edge a -> b has two values of plastic, True and False": document(ABC + edge("a", "b", inside=TRUE + FALSE)),
    r"no attribute of an edge is called 'plastics'; known: .* Did you mean 'plastic'\?.*edge a -> b": document(
        ABC + edge("a", "b", inside=TRUE), PLASTIC.replace("plastic", "plastics")),
    r"edge a -> b has data with the key 'q', which is not declared": document(
        ABC + edge("a", "b", inside='<data key="q">1</data>')),
    r"node d has data with the key 'p', which is not declared; add <key .* for=\"node\"": document(
        f'<node id="d">{TRUE}</node>' + ABC + edge("a", "b")),
    r"declares the key p of edge as plastic and as sign; rename one": document(
        ABC + edge("a", "b"), PLASTIC + PLASTIC.replace("plastic", "sign")),
    r"two defaults of plastic": document(
        ABC + edge("a", "b"), DEFAULT + DEFAULT.replace('"p"', '"q"').replace("false", "true")),
    r"has a key without an id": document(ABC, PLASTIC.replace('id="p"', "")),
    r"no element that a key is for is called 'edges'": document(ABC, PLASTIC.replace('"edge"', '"edges"')),
    r"key plastic follows a graph": document(ABC + edge("a", "b"), "").replace("</graphml>", PLASTIC + "</graphml>"),
    r"has no edges": document(ABC),
    r"is damaged, it has no element 'graph'": f"{HEAD}</graphml>",
    r"is damaged, it is not GraphML: it begins with 'svg'": "<svg/>",
    r"is damaged, it is not GraphML \(no element found": "",
    r"is damaged, it is not GraphML \(unknown encoding: bogus\)": document(ABC).replace("UTF-8", "bogus"),
    r"node 'a\\n\\u202e' more than once": document('<node id="a&#10;&#x202E;"/>' * 2),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_a_graph_without_one_meaning_is_refused_by_name(message: str, load: Callable[..., nx.DiGraph]) -> None:
    with pytest.raises(PlasticSearchError, match=message) as caught:
        load(REFUSED[message])
    assert "\n" not in str(caught.value)


def test_a_graph_of_several_is_chosen_by_name(load: Callable[..., nx.DiGraph], tmp_path: Path) -> None:
    text = f"{HEAD}{TWO}</graphml>"
    assert plastic(load(text, name="herm")) == A_TO_B
    assert plastic(load(text, name="male")) == {("b", "c"): None, ("c", "a"): None}
    assert list(load(text, name="male")) == ["a", "b", "c"]
    with pytest.raises(PlasticSearchError, match=r"no graph is called 'mail'; known: herm, male. Did you mean 'male'"):
        load(text, name="mail")
    with pytest.raises(PlasticSearchError, match="two graphs with the id male"):
        load(text.replace("herm", "male"), name="male")
    with pytest.raises(PlasticSearchError, match="has 2 graphs: one without an id and male"):
        load(text.replace(' id="herm"', ""))
    network = '<node id="input.0"/><node id="layers.0.0"/>' + edge("input.0", "layers.0.0")
    (tmp_path / "nets.graphml").write_text(document(network, where=' id="x" edgedefault="directed"').replace(
        "</graphml>", "<graph id='y'/></graphml>"))  # fmt: skip
    assert files.read(tmp_path / "nets.graphml", name="x").number_of_edges() == 1
    assert files.find(tmp_path / "nets.graphml", "x")[0] == "x"


def test_directions_and_names_of_neurons_can_be_overruled(load: Callable[..., nx.DiGraph]) -> None:
    text = document(ABC + edge("a", "b") + edge("b", "c", ' directed="false"'), where="")
    assert list(load(text, directed=True).edges) == [("a", "b"), ("b", "c")]
    assert sorted(load(text, directed=False).edges) == [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]
    with pytest.raises(PlasticSearchError, match="directed must be True, False or None, but is 'false'"):
        load(text, directed="false")
    named = '<node id="n0"><data key="n">AVAL</data></node><node id="n1"><data key="n">{}</data></node>'
    keys, link = '<key id="n" for="node" attr.name="name" attr.type="string"/>', edge("n0", "n1")
    assert list(load(document(named.format("AVBR") + link, keys), labels="name").edges) == [("AVAL", "AVBR")]
    with pytest.raises(PlasticSearchError, match="nodes n0 and n1 have one 'name', 'AVAL'"):
        load(document(named.format("AVAL") + link, keys), labels="name")
    with pytest.raises(PlasticSearchError, match="node n1 has no attribute 'name' to name it"):
        load(document(named.format("") + link, keys), labels="name")


def test_numbers_of_parallel_edges_are_added_up(load: Callable[..., nx.DiGraph]) -> None:
    keys = PLASTIC + '<key id="n" for="edge" attr.name="synapses" attr.type="int"/>'
    three, two = '<data key="n">3</data>', '<data key="n">2.0</data>'
    gap = edge("b", "a", ' directed="false"', two)
    graph = load(
        document(ABC + edge("a", "b", inside=three) + edge("a", "b", inside=three) + gap + edge("a", "b"), keys)
    )
    assert graph.edges["a", "b"]["synapses"] == 8
    assert graph.edges["b", "a"]["synapses"] == 2


@pytest.mark.parametrize(
    ("value", "kind", "result"),
    [
        ("3.0", "int", 3), ("-3", "long", -3), ("0x1.8p+1", "double", 3.0), (" 1e3 ", "float", 1000.0),
        ("7", "byte", 7), ("720575940628857211", "long", 720575940628857211), ("1_0", "int", "1_0"),
        ("1.5", "int", 1.5),
        ("NaN", "double", "NaN"), ("INF", "float", "INF"), ("1" * 400, "double", "1" * 400), ("", "int", ""),
        ("1" * 5000, "int", "1" * 5000), ("0x1p99999", "double", "0x1p99999"), ("0.5", "vector_float", "0.5"),
        ("yes", "boolean", "yes"),
    ],
)  # fmt: skip
def test_values_are_of_their_type_or_text(value: str, kind: str, result: Any, load: Callable[..., nx.DiGraph]) -> None:
    keys = f'<key id="n" for="edge" attr.name="n" attr.type="{kind}"/>'
    graph = load(document(ABC + edge("a", "b", inside=f'<data key="n">{value}</data>'), keys))
    assert graph.edges["a", "b"]["n"] == result
    assert type(graph.edges["a", "b"]["n"]) is type(result)


def test_large_and_packed_files_are_refused_with_the_limit(
    load: Callable[..., nx.DiGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = document(ABC + edge("a", "b"))
    with pytest.raises(PlasticSearchError, match="is compressed; unpack it first"):
        load(gzip.compress(text.encode()))
    with pytest.raises(PlasticSearchError, match="a tag or comment of more than 1,048,576 bytes"):
        load(text.replace("<node", f'<node x="{"y" * 2**20}"', 1))
    monkeypatch.setattr(graphml, "_MAX_ELEMENTS", 7)
    load(text)
    with pytest.raises(PlasticSearchError, match="has more than 7 elements"):
        load(text.replace("<node", "<desc/><node", 1))
    with pytest.raises(PlasticSearchError, match="has more than 7 elements"):
        load(document(ABC + edge("a", "b"), DEFAULT))
    monkeypatch.setattr(graphml, "_MAX_ELEMENTS", 10)
    for name, what in (("MAX_NODES", "nodes"), ("MAX_EDGES", "edges")):
        with monkeypatch.context() as patch:
            patch.setattr(raw, name, 0)
            with pytest.raises(PlasticSearchError, match=f"has more than 0 {what}, the most that a graph in a file"):
                load(text)


JSON: dict[str, Any] = {
    "nodes": [{"id": "input.0"}, {"id": 7, "layer": 0.0, "index": 0, "label": [1, 2]}],
    "links": [{"source": "input.0", "target": 7, "key": 0, "Weight": "0.5", "colour": {"r": 1}}],
}


def test_node_link_json_of_other_programs_is_read() -> None:
    graph = files.from_json(JSON)
    assert dict(graph.edges) == {("input.0", "layers.0.0"): {
        "weight": 0.5, "exists": True, "plastic": False, "layer": 0}}  # fmt: skip
    assert files.from_json(JSON | {"directed": True, "graph": {"inputs": 1.0, "owner": "me"}}).graph == {"inputs": 1}
    for wrong, message in (
        ({"edges": []}, "it has both 'edges' and 'links'; keep one"),
        ({"links": None}, "it has no list of 'edges' or 'links'"),
        ({"directed": "false"}, "edge input.0 -> 7 is undirected"),
        ({"directed": "both"}, "has directed='both', which must be true or false"),
        ({"links": [JSON["links"][0] | {"directed": False}]}, "edge input.0 -> 7 is undirected"),
        ({"nodes": [{"id": True}]}, "needs an id"),
        ({"nodes": [{"id": "\ud800"}]}, r"node \{'id': '\\ud800'\} needs an id that no other has, text"),
        ({"nodes": [{"id": [[[["deep"]]]]}]}, "needs an id"),
        ({"links": [{"source": 1, "target": 7}]}, "needs a source and a target"),
        ({"links": [JSON["links"][0] | {"weight": 10**5000}]}, "has weight=<int of thousands of digits>"),
    ):
        with pytest.raises(PlasticSearchError, match=message):
            files.from_json(JSON | wrong)


def test_json_files_are_limited_before_they_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.json"
    path.write_text(json.dumps(JSON))
    assert files.read(path).number_of_edges() == 1
    for module, name, value, message in (
        (node_link, "_MAX_VALUES", 5, "has more than 5 values"),
        (node_link, "_MAX_BYTES", 5, "more than the 5 that JSON may have"),
        (raw, "MAX_EDGES", 0, "has more than 0 edges"),
        (raw, "MAX_NODES", 1, "has more than 1 nodes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            with pytest.raises(PlasticSearchError, match=message):
                files.read(path)


def test_the_command_line_refuses_files_in_one_line(tmp_path: Path) -> None:
    network = '<node id="input.0"/><node id="layers.0.0"/>' + edge("input.0", "layers.0.0", inside=TRUE)
    heavy = PLASTIC.replace("plastic", "weight").replace("boolean", "double")
    path = tmp_path / "g.graphml"
    for content, message in (
        (document(ABC + edge("a", "b")), "A graph that is no network of layers is read by `topology.files.connectome`"),
        (document(network).replace("UTF-8", "bogus"), "unknown encoding: bogus"),
        (document(network, heavy).replace("true", "1" * 400), "which must be a finite number"),
        (
            document(network, head=HEAD.replace("UTF-8", "UTF-16").replace("?>", f"?>{ENTITY}")),
            "declares a",
        ),
        (document(network).replace("input.0", "&#xD800;"), "reference to invalid character number"),
        (document(network).replace("input.0", "&#x9B;31m"), "node '\\x9b31m' needs"),
    ):
        path.write_bytes(content.encode("UTF-16" if "UTF-16" in content else "UTF-8"))
        said = refused("topology", "show", str(path))
        assert message in said
        assert said.strip().isprintable()
    for text, message in (
        ("[" * 10**5, "nested too deeply"), ('{"nodes":' + "[" * 900 + "]" * 900 + "}", "no list of 'edges'"),
        (r'{"nodes": [{"id": "\ud800"}], "edges": []}', "needs an id"), ("9" * 5000, "is damaged"),
    ):  # fmt: skip
        (tmp_path / "g.json").write_text(text)
        assert message in refused("topology", "show", str(tmp_path / "g.json"))


@pytest.mark.parametrize("value", [np.True_, True])
def test_flags_of_numpy_are_flags(value: Any) -> None:
    graph = nx.DiGraph([("a", "b", {"plastic": value}), ("b", "a", {"plastic": np.False_})])
    assert conversion.recurrent(graph, inputs=0).plastic == ((1, 0),)
