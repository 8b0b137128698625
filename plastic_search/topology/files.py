"""Graphs of networks in GraphML and node-link JSON files; `topology.schema` lists their attributes.

Files come from other programs and are not trusted: their size is limited.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networkx as nx

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.paths import as_path
from plastic_search.records import run
from plastic_search.records.files import write_text
from plastic_search.topology import graphml, node_link
from plastic_search.topology.attributes import parse_plastic
from plastic_search.topology.raw import Edge, Raw, label, quoted, refuse_size
from plastic_search.topology.schema import canonical, connected

__all__ = ["connectome", "find", "from_json", "read", "read_bytes", "to_json", "write"]

_MAX_BYTES = 64 * 2**20
_SUFFIXES = (".graphml", ".json")


def read(path: Path | str, name: str = "") -> nx.DiGraph:
    """The graph of a network in a .graphml or .json file.

    Edges whose `exists` is false are left out, and so are attributes of other programs.

    Args:
        name: the id of the graph, in a GraphML file of several.

    Raises:
        PlasticSearchError: the file is missing, too large or damaged, or no network could have its graph; the message
            names the node or the edge.
    """
    return connected(_read(as_path(path), name), str(path))


def write(graph: nx.DiGraph, path: Path | str) -> Path:
    """Write a graph as GraphML or node-link JSON, by the path's suffix, in one atomic step.

    Raises:
        PlasticSearchError: `read` would refuse it, or the folder is not writable.
    """
    path = as_path(path)
    _require_suffix(path)
    graph = connected(graph)
    refuse_size(len(graph), graph.number_of_edges(), "the graph")
    text = json.dumps(to_json(graph)) if path.suffix == ".json" else "\n".join(nx.generate_graphml(graph))
    write_text(path, text + "\n")
    return path


def find(path: Path | str, name: str = "") -> tuple[str, nx.DiGraph]:
    """Name and graph of a file, or of the graph `name` in a run folder.

    Args:
        path: a .graphml or .json file, or a run folder.
        name: `winner-0`, or `winner` for its first seed; "" selects the first of all. Of a GraphML file, a graph's id.

    Raises:
        PlasticSearchError: there is none, or it is damaged.
    """
    path = as_path(path)
    if path.is_dir():
        file = _in_run_folder(path, name)
        return file.stem, canonical(_read(file), str(file))
    if not path.suffix and not path.exists():
        raise PlasticSearchError(f"there is no folder {path}; `plastic-search run STUDY` makes one")
    if name and path.suffix != ".graphml":
        raise PlasticSearchError(
            f"--name {name} chooses among the graphs of a run folder or of a GraphML file, but {path} is neither"
        )
    return name or path.stem, read(path, name)


def connectome(path: Path | str, directed: bool | None = None, name: str = "", labels: str = "") -> nx.DiGraph:
    """Any graph in GraphML, with its own ids and attributes, for `conversion.recurrent`.

    An undirected edge becomes one in each direction. Parallel edges become one, with the sum of each number; it is
    plastic if any of them is, where one without `plastic` counts as not plastic.

    Args:
        directed: whether all edges are directed; None takes each edge as the file declares it.
        name: the id of the graph, in a file of several.
        labels: the attribute of nodes that holds their names, such as `id` in files of igraph's, and `name` in those
            of Cytoscape's; "" names them by their ids in the file.

    Raises:
        PlasticSearchError: the file is missing, too large or damaged, or has no edge; the message names the node or the
            edge.

    Example:
        >>> neurons = connectome("worm.graphml")
        >>> structure = conversion.recurrent(neurons, inputs=5)
    """
    path = as_path(path)
    if directed not in (None, True, False):
        raise PlasticSearchError(f"directed must be True, False or None, but is {quoted(directed)}")
    if path.suffix != ".graphml":
        raise PlasticSearchError(f"{path} is not called *.graphml; a connectome is read from GraphML only")
    raw = graphml.parse(read_bytes(path), str(path), name)
    if not raw.edges:
        raise PlasticSearchError(f"{path} has no edges; a connectome needs synapses")
    names = _names(raw, labels, str(path))
    graph = nx.DiGraph()
    graph.add_nodes_from((names[node], data) for node, data in raw.nodes.items())
    for edge in raw.edges:
        data, one_way = _synapse(edge, f"{path}: "), edge.directed if directed is None else directed
        if one_way is None:
            raise PlasticSearchError(
                f"{path}: {edge} does not state whether it is directed, nor does its graph; add edgedefault, or pass "
                "directed=True or False"
            )
        pre, post = names[edge.pre], names[edge.post]
        for ends in ((pre, post),) if one_way or pre == post else ((pre, post), (post, pre)):
            before = graph.get_edge_data(*ends)
            graph.add_edges_from([(*ends, data if before is None else _merged(before, data))])
    return graph


def to_json(graph: nx.DiGraph) -> dict[str, Any]:
    """The graph as node-link JSON."""
    return nx.node_link_data(graph, edges="edges")


def from_json(data: dict[str, Any], where: str = "the graph") -> nx.DiGraph:
    """The graph of a network in node-link JSON, as `to_json` returns it.

    Raises:
        PlasticSearchError: it is damaged, or no network could have it; the message names the node or the edge.
    """
    return canonical(node_link.parse(data, where), where)


def _names(raw: Raw, labels: str, where: str) -> dict[str, str]:
    """The name of each node: its id, or its attribute `labels`, which every node must have and no two share."""
    if not labels:
        return {node: node for node in raw.nodes}
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for node, data in raw.nodes.items():
        if data.get(labels, "") == "":
            raise PlasticSearchError(f"{where}: node {label(node)} has no attribute {labels!r} to name it")
        names[node] = str(data[labels])
        other = taken.setdefault(names[node], node)
        if other != node:
            raise PlasticSearchError(
                f"{where}: nodes {label(other)} and {label(node)} have one {labels!r}, {quoted(data[labels])}"
            )
    return names


def _synapse(edge: Edge, where: str) -> dict[str, Any]:
    """The attributes of an edge in a connectome, `plastic` a bool where it has one."""
    plastic = parse_plastic(edge, None, where)
    if plastic is None:
        return edge.data
    return {name: value for name, value in edge.data.items() if name.lower() != "plastic"} | {"plastic": plastic}


def _merged(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The attributes of two parallel edges as those of one: the sum of each number, and otherwise those of `b`."""
    both = {name for name in a.keys() & b.keys() if _is_number(a[name]) and _is_number(b[name])}
    merged = a | b | {name: a[name] + b[name] for name in both}
    if "plastic" in merged:
        merged["plastic"] = a.get("plastic", False) or b.get("plastic", False)
    return merged


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _in_run_folder(folder: Path, name: str) -> Path:
    """The file of the graph `name` in a run folder; see `find`."""
    files = {path.stem: path for path in sorted((folder / run.TOPOLOGIES).glob("*.json"))}
    if not files:
        raise PlasticSearchError(
            f"{folder} holds no graph: there is no {run.TOPOLOGIES}/*.json in it; "
            "`plastic-search run` keeps those of winners"
        )
    name = name or min(files, key=lambda each: (not each.startswith("winner"), len(each), each))
    if name not in files:  # a network's name without its seed, as for `export` and `shrink`
        seeds = re.compile(re.escape(run.file_name(name)) + r"-\d+")
        name = min(filter(seeds.fullmatch, files), key=len, default=name)
    if name not in files:
        raise unknown("graph", name, files, f"They are in {folder / run.TOPOLOGIES}.")
    return files[name]


def _require_suffix(path: Path) -> None:
    if path.suffix not in _SUFFIXES:
        raise PlasticSearchError(f"a graph's file is called *{' or *'.join(_SUFFIXES)}, but {str(path)!r} is not")


def _read(path: Path, name: str = "") -> Raw:
    _require_suffix(path)
    if path.suffix == ".graphml":
        return graphml.parse(read_bytes(path), str(path), name)
    return node_link.parse(node_link.decode(read_bytes(path), str(path)), str(path))


def read_bytes(path: Path) -> bytes:
    """The content of a graph's file.

    Raises:
        PlasticSearchError: there is no such file, or it is too large or not readable.
    """
    if not path.is_file():
        raise PlasticSearchError(f"there is no file {path}; `plastic-search topology export` writes graphs")
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise PlasticSearchError(f"{path} has {size:,} bytes, more than the {_MAX_BYTES:,} that a graph may have")
        return path.read_bytes()
    except OSError as error:
        raise PlasticSearchError(f"cannot read {path}: {error.strerror}") from None
