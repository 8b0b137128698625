"""Graphs of networks as files: GraphML and node-link JSON, read with suspicion and written whole.

Nodes are `input.3` and `layers.1.4`, with `layer` (-1 for the input) and `index`. Edges run from pre to post and carry
`weight`, `alpha`, `plastic`, `exists` and `layer`, the layer that they lead into.
"""

from __future__ import annotations

import io
import json
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import networkx as nx

from plastic_search import runs
from plastic_search.errors import PlasticSearchError, unknown

__all__ = ["checked", "connectome", "find", "node_link", "parse", "read", "sizes", "whole", "write"]

_NODE, _EDGE, _GRAPH = ("layer", "index"), ("weight", "alpha", "exists", "plastic", "layer"), ("inputs",)
_LARGEST = 64 * 2**20  # bytes
_AGAIN = "export it again, or put a copy of it back"
_SUFFIXES = (".graphml", ".json")


def read(path: Path | str) -> nx.DiGraph:
    """The graph of a network in a .graphml or .json file.

    Edges whose `exists` is false are left out.

    Raises:
        PlasticSearchError: the file is missing, too large or damaged, or no network could have its graph; the message
            names the node or the edge.
    """
    return whole(_raw(Path(path)), str(path))


def write(graph: nx.DiGraph, path: Path | str) -> Path:
    """Write a graph whole or not at all, as GraphML or node-link JSON by the path's suffix.

    Raises:
        PlasticSearchError: `read` would refuse it, or the folder cannot be written in.
    """
    path = Path(path)
    _suffix(path)
    made = whole(graph, "the graph")
    text = json.dumps(node_link(made)) if path.suffix == ".json" else "\n".join(nx.generate_graphml(made))
    runs.write_text(path, text + "\n")
    return path


def find(what: Path | str, name: str = "") -> tuple[str, nx.DiGraph]:
    """The graph in a file, or the one called `name` of a run folder, with its name.

    Args:
        name: `winner-0`, or `winner`, which takes its first seed; "" takes the first of all.

    Raises:
        PlasticSearchError: there is none, or it is damaged.
    """
    path = Path(what)
    if not path.is_dir():
        if not path.suffix and not path.exists():
            raise PlasticSearchError(f"there is no folder {path}; `plastic-search run STUDY` makes one")
        if name:
            raise PlasticSearchError(f"--name {name} chooses among the graphs of a run folder, but {path} is none")
        return path.stem, read(path)
    files = {p.stem: p for p in sorted((path / runs.TOPOLOGIES).glob("*.json"))}
    if not files:
        raise PlasticSearchError(
            f"{path} holds no graph: there is no {runs.TOPOLOGIES}/*.json in it; "
            "`plastic-search run` keeps those of winners"
        )
    chosen = name or min(files, key=lambda each: (not each.startswith("winner"), len(each), each))
    if chosen not in files:  # a network's name without its seed, as `export` and `shrink` know it
        seeds = re.compile(re.escape(chosen.replace(" ", "-")) + r"-\d+")
        chosen = min(filter(seeds.fullmatch, files), key=len, default=chosen)
    if chosen not in files:
        raise unknown("graph", chosen, files, f"They stand in {path / runs.TOPOLOGIES}.")
    return chosen, checked(_raw(files[chosen]), str(files[chosen]))


def connectome(path: Path | str) -> nx.DiGraph:
    """Any graph in GraphML, with the ids and attributes that its author chose; edges both ways where undirected.

    Of parallel edges one is kept, plastic if any of them is.
    """
    path = Path(path)
    if path.suffix != ".graphml":
        raise PlasticSearchError(f"{path} is not called *.graphml; a connectome is read from GraphML only")
    raw = _graphml(path)
    if not raw.number_of_edges():
        raise PlasticSearchError(f"{path} has no edges; a connectome says which neuron speaks to which")
    made = nx.DiGraph()
    made.add_nodes_from(raw.nodes(data=True))
    for pre, post, data in raw.edges(data=True):
        for a, b in ((pre, post),) if raw.is_directed() else ((pre, post), (post, pre)):
            old = made.get_edge_data(a, b, {})
            both = {"plastic": old["plastic"] or data.get("plastic")} if "plastic" in old else {}
            made.add_edge(a, b, **(data | both))
    return made


def parse(data: dict[str, Any], where: str = "the graph") -> nx.DiGraph:
    """The checked graph that node-link JSON tells of."""
    return checked(_node_link(data, where), where)


def node_link(graph: nx.DiGraph) -> dict[str, Any]:
    """Node-link JSON."""
    return nx.node_link_data(graph, edges="edges")


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


def _suffix(path: Path) -> str:
    if path.suffix not in _SUFFIXES:
        raise PlasticSearchError(f"a graph's file is called *{' or *'.join(_SUFFIXES)}, but {str(path)!r} is not")
    return path.suffix


def _raw(path: Path) -> nx.Graph:
    if _suffix(path) == ".graphml":
        return _graphml(path)
    _there(path)
    try:
        return _node_link(runs.read_json(path, _AGAIN), str(path))
    except RecursionError:
        raise PlasticSearchError(f"{path} is damaged, it is nested too deeply; {_AGAIN}") from None


def _there(path: Path) -> None:
    if not path.is_file():
        raise PlasticSearchError(f"there is no file {path}; `plastic-search topology export` writes graphs")
    if path.stat().st_size > _LARGEST:
        raise PlasticSearchError(
            f"{path} has {path.stat().st_size:,} bytes, more than the {_LARGEST:,} that a graph may have; {_AGAIN}"
        )


def _graphml(path: Path) -> nx.Graph:
    _there(path)
    data = path.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise PlasticSearchError(
            f"{path} declares a document type or entities, which GraphML does not need; remove them"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it doubts is checked below
            made = nx.read_graphml(io.BytesIO(data))
    except (ParseError, nx.NetworkXError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise PlasticSearchError(f"{path} is damaged, it is not GraphML ({error}); {_AGAIN}") from None
    for _, _, edge in made.edges(data=True):
        edge.pop("id", None)  # GraphML's own
    return made


def _node_link(data: dict[str, Any], where: str) -> nx.Graph:
    nodes, edges = data.get("nodes"), data.get("edges")
    if not isinstance(nodes, list) or not isinstance(edges, list):
        lacking = "nodes" if not isinstance(nodes, list) else "edges"
        raise PlasticSearchError(f"{where} is no graph in node-link JSON: it has no list of {lacking!r}; {_AGAIN}")
    if not isinstance(data.get("graph", {}), dict):
        raise PlasticSearchError(f"{where} is no graph in node-link JSON: its 'graph' is no object; {_AGAIN}")
    seen: set[Any] = set()
    for node in nodes:
        if not isinstance(node, dict) or not isinstance(node.get("id"), str | int) or node["id"] in seen:
            raise PlasticSearchError(f"{where}: node {node!r} needs an id that no other has")
        seen.add(node["id"])
    pairs: set[tuple[Any, Any]] = set()
    for edge in edges:
        ends = (edge.get("source"), edge.get("target")) if isinstance(edge, dict) else (None, None)
        if any(not isinstance(end, str | int) or end not in seen for end in ends):
            raise PlasticSearchError(f"{where}: edge {edge!r} needs a source and a target that are nodes")
        if ends in pairs:
            raise PlasticSearchError(f"{where}: edge {ends[0]} -> {ends[1]} stands there twice; keep one of them")
        pairs.add(ends)
    try:
        return nx.node_link_graph(data | {"multigraph": False, "directed": data.get("directed", True)}, edges="edges")
    except (KeyError, TypeError, ValueError, AttributeError, nx.NetworkXError) as error:
        raise PlasticSearchError(f"{where} is no graph in node-link JSON ({error!r}); {_AGAIN}") from None


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
