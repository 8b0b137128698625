"""Schema of a network's graph: names of its nodes, attributes of nodes and edges, and validation.

Nodes are `input.3` and `layers.1.4` and carry `layer` (-1 for the input) and `index`. Edges run from the presynaptic to
the postsynaptic node and carry `weight`, `alpha`, `exists`, `plastic` and `layer`, that of the postsynaptic node.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import networkx as nx

from plastic_search.core.errors import PlasticSearchError
from plastic_search.topology.attributes import own_attributes, parse_flag, parse_number, parse_whole
from plastic_search.topology.raw import Edge, Raw, label, quoted

INPUT = -1  # the layer of input nodes


@dataclass(frozen=True)
class Node:
    """Position of a node in a network; its fields are also the attributes of a node in a file."""

    layer: int  # -1 is the input
    index: int

    @property
    def name(self) -> str:
        return f"{layer_name(self.layer)}.{self.index}"


def layer_name(layer: int) -> str:
    """`input` or `layers.1`, the first part of the names of a layer's nodes."""
    return "input" if layer == INPUT else f"layers.{layer}"


def parse_name(name: Any) -> Node | None:
    """The position that a name such as `layers.1.4` stands for; None for any other name."""
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    return None if match is None else Node(INPUT if match[1] is None else int(match[1]), int(match[2]))


class Type(NamedTuple):
    """Values that an attribute of an edge may have."""

    parse: Callable[[Any], Any]  # None for any other value
    requirement: str


_FLAG = Type(parse_flag, "true or false")
_NUMBER = Type(parse_number, "a finite number")
_LAYER = Type(parse_whole, "a whole number")
_EDGE = {"exists": _FLAG, "plastic": _FLAG, "weight": _NUMBER, "alpha": _NUMBER, "layer": _LAYER}
_NODE = ("layer", "index")
_GRAPH = ("inputs",)
_NAME = re.compile(r"(?:input|layers\.(\d{1,9}))\.(\d{1,9})", re.ASCII)


def sizes(graph: nx.Graph) -> list[int]:
    """Number of inputs, then of the units of each layer."""
    counts: Counter[int] = Counter(data["layer"] for _, data in graph.nodes(data=True))
    return [counts[layer] for layer in sorted(counts)]


def outputs(graph: nx.DiGraph) -> list[str]:
    """Nodes of the last layer."""
    last = len(sizes(graph)) - 2
    return [node for node, layer in graph.nodes(data="layer") if layer == last]


def reachable(graph: nx.DiGraph) -> set[str]:
    """Input nodes, and units that a path connects to one of them."""
    inputs = [node for node, layer in graph.nodes(data="layer") if layer == INPUT]
    return {node for distance in nx.bfs_layers(graph, inputs) for node in distance}


def connected(graph: nx.Graph | Raw, where: str = "the graph") -> nx.DiGraph:
    """`canonical`, and refused unless a path leads from some input to some output."""
    result = canonical(graph, where)
    if not result.number_of_edges():
        raise PlasticSearchError(f"{where} has {len(result)} nodes but no edge that exists")
    last = outputs(result)
    if reachable(result).isdisjoint(last):
        raise PlasticSearchError(
            f"{where}: no path leads from any input to any output ({last[0]} to {last[-1]}); add the missing edge"
        )
    return result


def canonical(graph: nx.Graph | Raw, where: str = "the graph") -> nx.DiGraph:
    """The graph with canonical names of nodes, in order, and edges that have at least `layer`, `exists` and `plastic`.

    Edges whose `exists` is false are left out. Nodes may have any name if they carry `layer` and `index`. Attributes
    of other programs are left out, but a name that is nearly one of ours is refused.

    Args:
        where: names the graph in messages, such as the path of its file.

    Raises:
        PlasticSearchError: no network of layers has such a graph; the message names the node or the edge.
    """
    raw = Raw.of(graph) if isinstance(graph, nx.Graph) else graph
    nodes = _nodes(raw, where)
    _refuse_gaps(nodes.values(), where)
    result = nx.DiGraph()
    result.add_nodes_from((node.name, asdict(node)) for node in sorted(nodes.values(), key=_order))
    result.graph["inputs"] = _inputs(raw, result, where)
    absent: set[tuple[str, str]] = set()
    names = {name: node.name for name, node in nodes.items()}
    for edge in raw.edges:
        ends = names[edge.pre], names[edge.post]
        if ends in absent or result.has_edge(*ends):
            raise PlasticSearchError(f"{where}: {edge} occurs more than once; keep one of them")
        data = _edge(edge, nodes[edge.pre], nodes[edge.post], where)
        if data["exists"]:
            result.add_edge(*ends, **data)
        else:
            absent.add(ends)
    return result


def _nodes(raw: Raw, where: str) -> dict[Any, Node]:
    """The position of every node, from its name or its attributes, which must agree."""
    nodes: dict[Any, Node] = {}
    names: dict[Node, Any] = {}
    for name, data in raw.nodes.items():
        own = own_attributes(data, _NODE, f"node {label(name)}", lambda: where)
        by_name = parse_name(name)
        layer, index = (parse_whole(own.get(field, getattr(by_name, field, None))) for field in _NODE)
        if layer is None or index is None or layer < INPUT or index < 0:
            raise PlasticSearchError(
                f"{where}: node {label(name)} needs a `layer` (from -1, the input) and an `index` (from 0), but has "
                f"{quoted(own.get('layer'))} and {quoted(own.get('index'))}; or call it input.3 or layers.0.3. "
                "A graph that is no network of layers is read by `topology.files.connectome`"
            )
        node = Node(layer, index)
        if by_name not in (None, node):
            raise PlasticSearchError(f"{where}: node {name} has the layer and index of {node.name}; rename it")
        if node in names:
            raise PlasticSearchError(f"{where}: nodes {label(names[node])} and {label(name)} are both {node.name}")
        nodes[name], names[node] = node, name
    return nodes


def _refuse_gaps(nodes: Iterable[Node], where: str) -> None:
    """Refuse a graph that lacks the input, a layer, or a unit of a layer."""
    layers: dict[int, set[int]] = {INPUT: set(), 0: set()}
    for node in nodes:
        layers.setdefault(node.layer, set()).add(node.index)
    for layer in range(INPUT, max(layers) + 1):
        indices = layers.get(layer, set())
        missing = next((i for i in range(max(len(indices), 1)) if i not in indices), None)
        if missing is not None:
            raise PlasticSearchError(
                f"{where} lacks node {Node(layer, missing).name}; a network has inputs and at least one layer, and "
                "every unit is a node, even without edges"
            )


def _inputs(raw: Raw, result: nx.DiGraph, where: str) -> int:
    """Number of input nodes, which must be the graph's attribute `inputs` where it has one."""
    count = sizes(result)[0]
    own = own_attributes(raw.attributes, _GRAPH, "a graph", lambda: where)
    if own.get("inputs") is not None and parse_whole(own["inputs"]) != count:
        raise PlasticSearchError(
            f"{where} has the attribute inputs={quoted(own['inputs'])}, but nodes input.0 to input.{count - 1}"
        )
    return count


def _edge(edge: Edge, pre: Node, post: Node, where: str) -> dict[str, Any]:
    """The attributes of an edge, validated and with defaults filled in."""
    data: dict[str, Any] = {"exists": True, "plastic": False, "layer": post.layer}
    for name, value in own_attributes(edge.data, _EDGE, "an edge", lambda: f"{where}: {edge}").items():
        data[name] = _EDGE[name].parse(value)
        if data[name] is None:
            raise PlasticSearchError(
                f"{where}: {edge} has {name}={quoted(value)}, which must be {_EDGE[name].requirement}"
            )
    problem = _problem(edge.directed, pre, post, data)
    if problem:
        raise PlasticSearchError(f"{where}: {edge} {problem}")
    return data


def _problem(directed: bool | None, pre: Node, post: Node, data: dict[str, Any]) -> str:
    """Why no network could have an edge, and what to do; "" for one that it could have."""
    if not directed:
        how = "is undirected" if directed is False else "does not state whether it is directed"
        return f"{how}; edges run from pre to post: make it directed"
    if post.layer == INPUT:
        return "leads into the input, which receives nothing; edges run from pre to post"
    if pre.layer > post.layer:
        return (
            f"runs back from layer {pre.layer} to {post.layer}; a layer receives from earlier layers and from itself: "
            "reverse it"
        )
    if data["layer"] != post.layer:
        return f"has layer={quoted(data['layer'])}, but leads into layer {post.layer}"
    if data["plastic"] and not data["exists"]:
        return "is plastic but does not exist; a trace needs a synapse"
    if data.get("alpha") and not data["plastic"]:
        return f"has alpha={data['alpha']!r} but is not plastic; set alpha to 0, or plastic to true"
    return ""


def _order(node: Node) -> tuple[int, int]:
    return node.layer, node.index
