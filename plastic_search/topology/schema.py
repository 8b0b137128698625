"""Schema of a network's graph: names of its nodes, attributes of nodes and edges, and validation.

Nodes are `input.3` and `layers.1.4` and carry `layer` (-1 for the input) and `index`. Edges run from the presynaptic to
the postsynaptic node and carry `weight`, `alpha`, `exists`, `plastic` and `layer`, that of the postsynaptic node.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import networkx as nx

from plastic_search.core.errors import PlasticSearchError, unknown

INPUT = -1  # the layer of input nodes


@dataclass(frozen=True, order=True)
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
    match = re.fullmatch(r"(?:input|layers\.(\d{1,9}))\.(\d{1,9})", str(name))
    return None if match is None else Node(INPUT if match[1] is None else int(match[1]), int(match[2]))


class Type(NamedTuple):
    """Values that an attribute of an edge may have."""

    accepts: Callable[[Any], bool]
    requirement: str


def _is_finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False


_FLAG = Type(lambda value: type(value) is bool, "true or false")
_NUMBER = Type(_is_finite, "a finite number")
_LAYER = Type(lambda value: type(value) is int, "a whole number")
_EDGE = {"exists": _FLAG, "plastic": _FLAG, "weight": _NUMBER, "alpha": _NUMBER, "layer": _LAYER}
_NODE = ("layer", "index")
_GRAPH = ("inputs",)
_NETWORKX = ("node_default", "edge_default")  # attributes of a graph that networkx's GraphML reader adds


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


def connected(graph: nx.Graph, where: str = "the graph") -> nx.DiGraph:
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


def canonical(graph: nx.Graph, where: str = "the graph") -> nx.DiGraph:
    """The graph with canonical names of nodes, in order, and edges that have at least `layer`, `exists` and `plastic`.

    Edges whose `exists` is false are left out. Nodes may have any name if they carry `layer` and `index`.

    Args:
        where: names the graph in messages, such as the path of its file.

    Raises:
        PlasticSearchError: no network of layers has such a graph; the message names the node or the edge.
    """
    if not graph.is_directed():
        raise PlasticSearchError(f"{where} is undirected; edges must run from pre to post: make it directed")
    if graph.is_multigraph():
        refuse_duplicates(graph.edges(), where)
    _refuse_unknown((name for name in graph.graph if name not in _NETWORKX), _GRAPH, "attribute of a graph", where)
    nodes = _nodes(graph, where)
    _refuse_gaps(nodes.values(), where)
    result = nx.DiGraph()
    result.add_nodes_from((node.name, asdict(node)) for node in sorted(nodes.values()))
    result.graph["inputs"] = _inputs(graph, result, where)
    for pre, post, data in graph.edges(data=True):
        edge = _edge(f"{where}: edge {pre} -> {post}", nodes[pre], nodes[post], data)
        if edge["exists"]:
            result.add_edge(nodes[pre].name, nodes[post].name, **edge)
    return result


def refuse_duplicates(edges: Iterable[tuple[Any, Any]], where: str) -> None:
    """Raise a PlasticSearchError where two edges connect the same nodes in the same direction."""
    for (pre, post), count in Counter(edges).items():
        if count > 1:
            raise PlasticSearchError(f"{where}: edge {pre} -> {post} occurs more than once; keep one of them")


def _refuse_unknown(attributes: Iterable[Any], known: Iterable[str], what: str, where: str) -> None:
    for name in attributes:
        if name not in known:
            raise unknown(what, str(name), known, f"It is in {where}.")


def _nodes(graph: nx.Graph, where: str) -> dict[Any, Node]:
    """The position of every node, from its name or its attributes, which must agree."""
    nodes: dict[Any, Node] = {}
    names: dict[Node, Any] = {}
    for name, data in graph.nodes(data=True):
        _refuse_unknown(data, _NODE, f"attribute of node {name}", where)
        by_name = parse_name(name)
        layer, index = (data.get(field, getattr(by_name, field, None)) for field in _NODE)
        if type(layer) is not int or type(index) is not int or layer < INPUT or index < 0:
            raise PlasticSearchError(
                f"{where}: node {name} needs a `layer` (from -1, the input) and an `index` (from 0), but has "
                f"{layer!r} and {index!r}; or call it input.3 or layers.0.3"
            )
        node = Node(layer, index)
        if by_name not in (None, node):
            raise PlasticSearchError(f"{where}: node {name} has the layer and index of {node.name}; rename it")
        if node in names:
            raise PlasticSearchError(f"{where}: nodes {names[node]} and {name} are both {node.name}")
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


def _inputs(graph: nx.Graph, result: nx.DiGraph, where: str) -> int:
    """Number of input nodes, which must be the graph's attribute `inputs` where it has one."""
    count = sizes(result)[0]
    if graph.graph.get("inputs") not in (None, count):
        raise PlasticSearchError(
            f"{where} has the attribute inputs={graph.graph['inputs']}, but nodes input.0 to input.{count - 1}"
        )
    return count


def _edge(where: str, pre: Node, post: Node, data: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an edge, validated and with defaults filled in; `where` names the edge."""
    _refuse_unknown(data, _EDGE, "attribute of an edge", where)
    if post.layer == INPUT:
        raise PlasticSearchError(f"{where} leads into the input, which receives nothing; edges run from pre to post")
    if pre.layer > post.layer:
        raise PlasticSearchError(
            f"{where} runs back from layer {pre.layer} to {post.layer}; a layer receives from earlier layers and from "
            "itself: reverse it"
        )
    edge: dict[str, Any] = {"exists": True, "plastic": False, "layer": post.layer} | data
    for name, value in edge.items():
        if not _EDGE[name].accepts(value):
            raise PlasticSearchError(f"{where} has {name}={value!r}, which must be {_EDGE[name].requirement}")
    if edge["layer"] != post.layer:
        raise PlasticSearchError(f"{where} has layer={edge['layer']!r}, but leads into layer {post.layer}")
    if edge["plastic"] and not edge["exists"]:
        raise PlasticSearchError(f"{where} is plastic but does not exist; a trace needs a synapse")
    if edge.get("alpha") and not edge["plastic"]:
        raise PlasticSearchError(
            f"{where} has alpha={edge['alpha']!r} but is not plastic; set alpha to 0, or plastic to true"
        )
    return edge
