"""What nodes and edges of a graph must say, and how one is checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import networkx as nx

from plastic_search.core.errors import PlasticSearchError, unknown

_NODE, _EDGE, _GRAPH = ("layer", "index"), ("weight", "alpha", "exists", "plastic", "layer"), ("inputs",)


def sizes(graph: nx.Graph) -> list[int]:
    """How many inputs there are, then how many units each layer has."""
    counts: dict[int, int] = {}
    for node in graph:
        layer = graph.nodes[node]["layer"]
        counts[layer] = counts.get(layer, 0) + 1
    return [counts[layer] for layer in sorted(counts)]


def whole(graph: nx.Graph, where: str = "the graph") -> nx.DiGraph:
    """`checked`, and refused where nothing that an input says can reach the output."""
    made = checked(graph, where)
    if not made.number_of_edges():
        raise PlasticSearchError(f"{where} has {len(made)} nodes but no edge that exists; a network needs connections")
    last = len(sizes(made)) - 2
    heard = nx.DiGraph()
    heard.add_edges_from(made.edges)
    heard.add_edges_from(("any input", n) for n, layer in made.nodes(data="layer") if layer == -1)
    reached = nx.descendants(heard, "any input")
    if not any(layer == last and n in reached for n, layer in made.nodes(data="layer")):
        raise PlasticSearchError(
            f"{where}: no path leads from any input to the output: none of layers.{last}.0 to "
            f"layers.{last}.{sizes(made)[-1] - 1} hears, even by way of others, what is put in; add an edge that does"
        )
    return made


def checked(graph: nx.Graph, where: str = "the graph") -> nx.DiGraph:
    """The graph with its nodes called by our names, in order, and every edge with `layer`, `exists` and `plastic`.

    Raises:
        PlasticSearchError: it contradicts itself, or is not the graph of any network of layers.
    """
    if not graph.is_directed():
        raise PlasticSearchError(f"{where} is undirected; an edge must say who speaks and who hears: make it directed")
    if graph.is_multigraph():
        if len(set(graph.edges())) < graph.number_of_edges():
            raise _twice(graph, where)
        graph = nx.DiGraph(graph)
    inputs = graph.graph.get("inputs")
    for name in graph.graph:
        if name not in (*_GRAPH, "node_default", "edge_default"):
            raise unknown("attribute of a graph", str(name), _GRAPH, f"It stands in {where}.")
    places = _places(graph, where)
    named = {node: _called(*place) for node, place in places.items()}
    made = nx.DiGraph()
    made.add_nodes_from((_called(*place), dict(zip(_NODE, place, strict=True))) for place in sorted(places.values()))
    made.graph["inputs"] = _complete(made, inputs, where)
    for pre, post, data in graph.edges(data=True):
        edge = _edge(f"{where}: edge {pre} -> {post}", places[pre], places[post], data)
        if edge["exists"]:
            made.add_edge(named[pre], named[post], **edge)
    return made


def _twice(graph: nx.Graph, where: str) -> PlasticSearchError:
    pairs = list(graph.edges())
    pre, post = next((p for p in pairs if pairs.count(p) > 1), ("?", "?"))
    return PlasticSearchError(f"{where}: edge {pre} -> {post} stands there twice; keep one of them")


def _called(layer: int, index: int) -> str:
    return f"input.{index}" if layer == -1 else f"layers.{layer}.{index}"


def _places(graph: nx.Graph, where: str) -> dict[Any, tuple[int, int]]:
    """The layer and the index of every node, by its id or by its attributes, which must agree."""
    made: dict[Any, tuple[int, int]] = {}
    owner: dict[tuple[int, int], Any] = {}
    for node, data in graph.nodes(data=True):
        for name in data:
            if name not in _NODE:
                raise unknown(f"attribute of node {node}", str(name), _NODE, f"It stands in {where}.")
        told = re.fullmatch(r"(?:input|layers\.(\d{1,9}))\.(\d{1,9})", str(node))
        by_id = (-1 if told[1] is None else int(told[1]), int(told[2])) if told else None
        place = tuple(data.get(name, by_id[i] if by_id else None) for i, name in enumerate(_NODE))
        if not all(type(each) is int for each in place) or place[0] < -1 or place[1] < 0:
            raise PlasticSearchError(
                f"{where}: node {node} needs a `layer` (from -1, the input) and an `index` (from 0), but has "
                f"{place[0]!r} and {place[1]!r}; or call it input.3 or layers.0.3"
            )
        if by_id is not None and place != by_id:
            raise PlasticSearchError(f"{where}: node {node} says that it is {_called(*place)}; rename it, or mend that")
        if place in owner:
            raise PlasticSearchError(f"{where}: nodes {owner[place]} and {node} are both {_called(*place)}")
        made[node], owner[place] = place, node
    return made


def _complete(graph: nx.DiGraph, inputs: Any, where: str) -> int:
    """How many inputs there are, once every layer is known to have all its units."""
    counts: dict[int, list[int]] = {}
    for _, data in graph.nodes(data=True):
        counts.setdefault(data["layer"], []).append(data["index"])
    for layer in range(-1, max(counts, default=-1) + 1) if counts else (-1,):
        for gap in _gaps(counts.get(layer, [])):
            raise PlasticSearchError(f"{where} lacks node {_called(layer, gap)}; name every unit, also idle ones")
    if max(counts) < 0:
        raise PlasticSearchError(f"{where} lacks node layers.0.0; a network has at least one layer")
    if inputs not in (None, len(counts[-1])):
        raise PlasticSearchError(f"{where} says inputs={inputs}, but has nodes input.0 to input.{len(counts[-1]) - 1}")
    return len(counts[-1])


def _gaps(indices: list[int]) -> Iterator[int]:
    """The first index that is missing, if any is."""
    there = set(indices)
    yield from (i for i in range(max(len(there), 1)) if i not in there)


def _edge(at: str, pre: tuple[int, int], post: tuple[int, int], data: dict[str, Any]) -> dict[str, Any]:
    """What an edge says, once it is known to make sense; `at` names it."""
    for name in data:
        if name not in _EDGE:
            raise unknown("attribute of an edge", str(name), _EDGE, f"It stands in {at}.")
    if post[0] == -1:
        raise PlasticSearchError(f"{at} leads into the input, which hears nothing; edges run from pre to post")
    if pre[0] > post[0]:
        raise PlasticSearchError(
            f"{at} runs back from layer {pre[0]} to {post[0]}; a layer hears those before it, and itself: turn it round"
        )
    made: dict[str, Any] = {"exists": True, "plastic": False, "layer": post[0]} | data
    for name in ("exists", "plastic"):
        if type(made[name]) is not bool:
            raise PlasticSearchError(f"{at} has {name}={made[name]!r}, which must be true or false")
    for name in ("weight", "alpha"):
        if name in made and (type(made[name]) not in (int, float) or not math.isfinite(made[name])):
            raise PlasticSearchError(f"{at} has {name}={made[name]!r}, which must be a finite number")
    if made["layer"] != post[0]:
        raise PlasticSearchError(f"{at} says layer={made['layer']!r}, but leads into layer {post[0]}")
    if made["plastic"] and not made["exists"]:
        raise PlasticSearchError(f"{at} is plastic but does not exist; a trace needs a synapse")
    if made.get("alpha") and not made["plastic"]:
        raise PlasticSearchError(
            f"{at} has alpha={made['alpha']!r} but is not plastic; set alpha to 0, or plastic to true"
        )
    return made
