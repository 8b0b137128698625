"""Graphs of networks in GraphML and node-link JSON files; `topology.schema` lists their attributes.

Files come from other programs and are not trusted: their size is limited, and GraphML must not declare a document type,
since entities of one can expand to any size.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import networkx as nx
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from networkx.readwrite.graphml import GraphMLReader

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.paths import as_path
from plastic_search.records import run
from plastic_search.records.files import read_json, write_text
from plastic_search.topology.schema import canonical, connected, refuse_duplicates

__all__ = ["connectome", "find", "from_json", "read", "to_json", "write"]

_MAX_BYTES = 64 * 2**20
_REMEDY = "export it again, or put a copy of it back"
_SUFFIXES = (".graphml", ".json")


def read(path: Path | str) -> nx.DiGraph:
    """The graph of a network in a .graphml or .json file.

    Edges whose `exists` is false are left out.

    Raises:
        PlasticSearchError: the file is missing, too large or damaged, or no network could have its graph; the message
            names the node or the edge.
    """
    return connected(_read(as_path(path)), str(path))


def write(graph: nx.DiGraph, path: Path | str) -> Path:
    """Write a graph as GraphML or node-link JSON, by the path's suffix, in one atomic step.

    Raises:
        PlasticSearchError: `read` would refuse it, or the folder is not writable.
    """
    path = as_path(path)
    _require_suffix(path)
    graph = connected(graph)
    text = json.dumps(to_json(graph)) if path.suffix == ".json" else "\n".join(nx.generate_graphml(graph))
    write_text(path, text + "\n")
    return path


def find(path: Path | str, name: str = "") -> tuple[str, nx.DiGraph]:
    """Name and graph of a file, or of the graph `name` in a run folder.

    Args:
        path: a .graphml or .json file, or a run folder.
        name: `winner-0`, or `winner` for its first seed; "" selects the first of all.

    Raises:
        PlasticSearchError: there is none, or it is damaged.
    """
    path = as_path(path)
    if path.is_dir():
        file = _in_run_folder(path, name)
        return file.stem, canonical(_read(file), str(file))
    if not path.suffix and not path.exists():
        raise PlasticSearchError(f"there is no folder {path}; `plastic-search run STUDY` makes one")
    if name:
        raise PlasticSearchError(f"--name {name} chooses among the graphs of a run folder, but {path} is none")
    return path.stem, read(path)


def connectome(path: Path | str) -> nx.DiGraph:
    """Any graph in GraphML, with its own ids and attributes; an undirected edge becomes one in each direction.

    Parallel edges become one, which is plastic if any of them is.

    Example:
        >>> neurons = connectome("worm.graphml")
        >>> structure = conversion.recurrent(neurons, inputs=5)
    """
    path = as_path(path)
    if path.suffix != ".graphml":
        raise PlasticSearchError(f"{path} is not called *.graphml; a connectome is read from GraphML only")
    raw = _read_graphml(path)
    if not raw.number_of_edges():
        raise PlasticSearchError(f"{path} has no edges; a connectome needs synapses")
    graph = nx.DiGraph()
    graph.add_nodes_from(raw.nodes(data=True))
    for pre, post, data in raw.edges(data=True):
        for edge in ((pre, post),) if raw.is_directed() else ((pre, post), (post, pre)):
            before = graph.get_edge_data(*edge, {})
            plastic = {"plastic": before["plastic"] or data.get("plastic")} if "plastic" in before else {}
            graph.add_edge(*edge, **(data | plastic))
    return graph


def to_json(graph: nx.DiGraph) -> dict[str, Any]:
    """The graph as node-link JSON."""
    return nx.node_link_data(graph, edges="edges")


def from_json(data: dict[str, Any], where: str = "the graph") -> nx.DiGraph:
    """The graph of a network in node-link JSON, as `to_json` returns it.

    Raises:
        PlasticSearchError: it is damaged, or no network could have it; the message names the node or the edge.
    """
    return canonical(_parse_json(data, where), where)


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


def _require_size(path: Path) -> None:
    if not path.is_file():
        raise PlasticSearchError(f"there is no file {path}; `plastic-search topology export` writes graphs")
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise PlasticSearchError(f"{path} has {size:,} bytes, more than the {_MAX_BYTES:,} that a graph may have")


def _read(path: Path) -> nx.Graph:
    _require_suffix(path)
    return _read_graphml(path) if path.suffix == ".graphml" else _read_json(path)


def _read_json(path: Path) -> nx.Graph:
    _require_size(path)
    try:
        return _parse_json(read_json(path, _REMEDY), str(path))
    except RecursionError:
        raise PlasticSearchError(f"{path} is damaged, it is nested too deeply; {_REMEDY}") from None


def _read_graphml(path: Path) -> nx.Graph:
    _require_size(path)
    try:
        graph = _graph_of(fromstring(path.read_bytes(), forbid_dtd=True))
    except DefusedXmlException:
        raise PlasticSearchError(
            f"{path} declares a document type or entities, which GraphML does not need; remove them"
        ) from None
    except (ParseError, nx.NetworkXError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise PlasticSearchError(f"{path} is damaged, it is not GraphML ({error}); {_REMEDY}") from None
    for _, _, edge in graph.edges(data=True):
        edge.pop("id", None)  # of GraphML itself, not an attribute
    return graph


def _graph_of(root: Element) -> nx.Graph:
    """The first graph of a GraphML document, read from the element tree since networkx's parser expands entities."""
    reader = GraphMLReader()
    if root.tag == "graphml":  # some programs leave out the namespace
        for element in root.iter():
            element.tag = f"{{{reader.NS_GRAPHML}}}{element.tag}"
    graph = root.find(f"{{{reader.NS_GRAPHML}}}graph")
    if graph is None:
        raise nx.NetworkXError("it has no element 'graph'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `schema.canonical` checks what networkx warns of
        return reader.make_graph(graph, *reader.find_graphml_keys(root))


def _parse_json(data: dict[str, Any], where: str) -> nx.Graph:
    nodes, edges = data.get("nodes"), data.get("edges")
    if not isinstance(nodes, list) or not isinstance(edges, list):
        missing = "nodes" if not isinstance(nodes, list) else "edges"
        raise PlasticSearchError(f"{where} is no graph in node-link JSON: it has no list of {missing!r}; {_REMEDY}")
    if not isinstance(data.get("graph", {}), dict):
        raise PlasticSearchError(f"{where} is no graph in node-link JSON: its 'graph' is no object; {_REMEDY}")
    ids: set[Any] = set()
    for node in nodes:
        if not isinstance(node, dict) or not isinstance(node.get("id"), str | int) or node["id"] in ids:
            raise PlasticSearchError(f"{where}: node {node!r} needs an id that no other has")
        ids.add(node["id"])
    for edge in edges:
        ends = (edge.get("source"), edge.get("target")) if isinstance(edge, dict) else (None, None)
        if any(not isinstance(end, str | int) or end not in ids for end in ends):
            raise PlasticSearchError(f"{where}: edge {edge!r} needs a source and a target that are nodes")
    refuse_duplicates(((edge["source"], edge["target"]) for edge in edges), where)
    try:
        return nx.node_link_graph(data | {"multigraph": False, "directed": data.get("directed", True)}, edges="edges")
    except (KeyError, TypeError, ValueError, AttributeError, nx.NetworkXError) as error:
        raise PlasticSearchError(f"{where} is no graph in node-link JSON ({error!r}); {_REMEDY}") from None
