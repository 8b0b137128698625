"""Graphs of networks as files: GraphML and node-link JSON, read with suspicion and written whole.

Nodes are `input.3` and `layers.1.4`, with `layer` (-1 for the input) and `index`. Edges run from pre to post and carry
`weight`, `alpha`, `plastic`, `exists` and `layer`, the layer that they lead into.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import networkx as nx

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.records import run
from plastic_search.records.files import read_json, write_text
from plastic_search.topology.schema import checked, whole

__all__ = ["connectome", "find", "node_link", "parse", "read", "write"]

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
    write_text(path, text + "\n")
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
    files = {p.stem: p for p in sorted((path / run.TOPOLOGIES).glob("*.json"))}
    if not files:
        raise PlasticSearchError(
            f"{path} holds no graph: there is no {run.TOPOLOGIES}/*.json in it; "
            "`plastic-search run` keeps those of winners"
        )
    chosen = name or min(files, key=lambda each: (not each.startswith("winner"), len(each), each))
    if chosen not in files:  # a network's name without its seed, as `export` and `shrink` know it
        seeds = re.compile(re.escape(chosen.replace(" ", "-")) + r"-\d+")
        chosen = min(filter(seeds.fullmatch, files), key=len, default=chosen)
    if chosen not in files:
        raise unknown("graph", chosen, files, f"They stand in {path / run.TOPOLOGIES}.")
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


def _suffix(path: Path) -> str:
    if path.suffix not in _SUFFIXES:
        raise PlasticSearchError(f"a graph's file is called *{' or *'.join(_SUFFIXES)}, but {str(path)!r} is not")
    return path.suffix


def _raw(path: Path) -> nx.Graph:
    if _suffix(path) == ".graphml":
        return _graphml(path)
    _there(path)
    try:
        return _node_link(read_json(path, _AGAIN), str(path))
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
