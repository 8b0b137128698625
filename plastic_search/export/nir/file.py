"""A file of NIR, which is HDF5, as plain nodes and edges: everything is checked before it is used.

A node is a group with its `type` and the arrays of its kind. A graph among the nodes is dissolved into its own, which
are then called `graph.node`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plastic_search.core.errors import PlasticSearchError, one_line, unknown
from plastic_search.core.loading import optional
from plastic_search.core.paths import as_path

__all__ = ["SHAPED", "UNITS", "Content", "Node", "read_content"]

LINEAR: dict[str, tuple[str, ...]] = {"Affine": ("weight", "bias"), "Linear": ("weight",)}
UNITS: dict[str, tuple[str, ...]] = {  # arrays of one number for each unit, or of one for all
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "LI": ("tau", "r", "v_leak"),
}
SHAPED: dict[str, tuple[str, ...]] = {"Input": ("shape",), "Output": ("shape",)}
_DEFAULTS = {"v_reset": 0.0, "w_in": 1.0}  # what NIR takes where a file has none
_FIELDS = LINEAR | UNITS | SHAPED

_FILE = 256 * 2**20  # bytes of a file
_NUMBERS = 2**30  # bytes of all its arrays
_OBJECTS = 10_000  # groups and arrays
_EDGES = 10_000
_DEPTH = 12  # groups within one another
_TEXT = 16 * 2**20  # characters of a text


class Node(NamedTuple):
    """A node of a graph."""

    kind: str
    values: dict[str, np.ndarray]  # finite numbers, float64
    metadata: dict[str, Any]


class Content(NamedTuple):
    """A graph without graphs in it."""

    nodes: dict[str, Node]
    edges: list[tuple[str, str]]
    inner: frozenset[str]  # inputs and outputs of graphs that were dissolved, which only pass on what they receive
    metadata: dict[str, Any]


def read_content(path: Path | str) -> Content:
    """The graph in a file.

    Raises:
        PlasticSearchError: it is not a file of NIR, has something in it that is not of NIR, or is too large.
    """
    path = as_path(path)
    if not path.is_file():
        raise PlasticSearchError(f"{path} is no file; name a file of NIR, such as network.nir")
    if path.stat().st_size > _FILE:
        raise PlasticSearchError(f"{path} has {path.stat().st_size} bytes; a file of NIR may have {_FILE}")
    h5py = optional("h5py", "NIR needs h5py", "spiking")
    try:
        with h5py.File(path, "r") as file:
            tree = _Reader(h5py, path).group(file, 0)
        root = tree.get("node")
        if not isinstance(root, dict):
            raise PlasticSearchError(f"{path} has no group `node`, in which a file of NIR has its graph")
        return _flat(path, root, "")
    except PlasticSearchError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise PlasticSearchError(f"{path} is not a whole file of NIR, HDF5 ({one_line(error)}); get it anew") from None


class _Reader:
    """Reads groups into dicts, within the limits of one file."""

    def __init__(self, h5py: Any, path: Path) -> None:
        self.h5py, self.path, self.objects, self.bytes = h5py, path, 0, 0

    def group(self, group: Any, depth: int) -> dict[str, Any]:
        if depth > _DEPTH:
            raise PlasticSearchError(f"{self.path} has more than {_DEPTH} groups within one another")
        found: dict[str, Any] = {}
        for name in group:
            self.objects += 1
            if self.objects > _OBJECTS:
                raise PlasticSearchError(f"{self.path} has more than {_OBJECTS} groups and arrays")
            if type(group.get(name, getlink=True)) is not self.h5py.HardLink:
                raise PlasticSearchError(f"{self.path}: {name!r:.60} is a link to elsewhere, which no file of NIR has")
            item = group[name]
            is_group = isinstance(item, self.h5py.Group)
            found[name] = self.group(item, depth + 1) if is_group else self.array(item, name)
        return found

    def array(self, item: Any, name: str) -> Any:
        """A text, a number, an array of numbers, or the pairs of texts that edges are."""
        if not isinstance(item, self.h5py.Dataset) or item.is_virtual or item.external:
            raise PlasticSearchError(f"{self.path}: {name!r:.60} holds no numbers of its own, as arrays of NIR do")
        if item.shape is None:
            return np.zeros(0)
        text = self.h5py.check_string_dtype(item.dtype) is not None
        if not text and item.dtype.kind not in "fiub":
            raise PlasticSearchError(f"{self.path}: {name!r:.60} is of {item.dtype}; arrays of NIR are of real numbers")
        if item.shape == () and text:
            return self.text(item[()], _TEXT)
        if text:
            return self.edges(item, name)
        chunk = int(np.prod(item.chunks, dtype=object)) if item.chunks else 0
        self.bytes += max(int(np.prod(item.shape, dtype=object)), chunk) * max(8, item.dtype.itemsize)
        if self.bytes > _NUMBERS or len(item.shape) > 8:
            raise PlasticSearchError(f"{self.path}: with {name!r:.60} its arrays have more than {_NUMBERS} bytes")
        return np.asarray(item[()])

    def edges(self, item: Any, name: str) -> list[tuple[str, str]]:
        if len(item.shape) != 2 or item.shape[1] != 2 or item.shape[0] > _EDGES:
            raise PlasticSearchError(
                f"{self.path}: {name!r:.60} has texts {item.shape}; edges are pairs of names, at most {_EDGES}"
            )
        rows = (item[i] for i in range(len(item)))
        return [(self.text(one, 1000), self.text(other, 1000)) for one, other in rows]

    def text(self, value: Any, most: int) -> str:
        text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
        if len(text) > most:
            raise PlasticSearchError(
                f"{self.path} has a text of {len(text)} characters, {text!r:.60}; {most} are the most"
            )
        return text


def _flat(path: Path, tree: dict[str, Any], prefix: str) -> Content:
    """A graph and those in it, as one."""
    groups, edges = tree.get("nodes"), tree.get("edges")
    metadata = tree.get("metadata", {})
    if tree.get("type") != "NIRGraph" or not isinstance(groups, dict) or not isinstance(metadata, dict):
        where = f"the graph {prefix[:-1]!r:.60}" if prefix else "its group `node`"
        raise PlasticSearchError(f"{path}: {where} must be a NIRGraph with `nodes`, but is {tree.get('type')!r:.60}")
    edges = [] if isinstance(edges, np.ndarray) and not edges.size else edges
    if not isinstance(edges, list):
        raise PlasticSearchError(f"{path} lacks edges; each is a pair of names of nodes")
    nodes: dict[str, Node] = {}
    inner: frozenset[str] = frozenset()
    joined: list[tuple[str, str]] = []
    ends: dict[str, dict[str, str]] = {"Input": {}, "Output": {}}  # of each graph in this one
    for name, group in groups.items():
        if not isinstance(group, dict):
            raise PlasticSearchError(f"{path}: the node {prefix + name!r:.60} must be a group with its `type`")
        if group.get("type") == "NIRGraph":
            part = _flat(path, group, f"{prefix}{name}.")
            if shared := nodes.keys() & part.nodes.keys():
                raise PlasticSearchError(f"{path} has two nodes {min(shared)!r:.60}; rename one")
            nodes, joined, inner = nodes | part.nodes, joined + part.edges, inner | part.inner
            for kind in ends:
                ends[kind][name] = end = _only(path, part, kind, f"the graph {prefix + name!r:.60}")
                inner |= {end}
        elif prefix + name in nodes:
            raise PlasticSearchError(f"{path} has two nodes {prefix + name!r:.60}; rename one")
        else:
            nodes[prefix + name] = _node(path, prefix + name, group)
    for one, other in edges:
        for end in (one, other):
            if end not in groups:
                raise unknown("node", end, groups, f"{path} has an edge {one!r:.60} -> {other!r:.60}.")
        joined.append((str(ends["Output"].get(one, prefix + one)), str(ends["Input"].get(other, prefix + other))))
    for (one, other), times in Counter(joined).most_common(1):
        if times > 1:
            raise PlasticSearchError(f"{path} has the edge {one!r:.60} -> {other!r:.60} {times} times; keep one")
    return Content(nodes, joined, inner, metadata)


def _only(path: Path, content: Content, kind: str, where: str) -> str:
    """The one node of a kind, Input or Output, that is not of a graph within."""
    names = [name for name, node in content.nodes.items() if node.kind == kind and name not in content.inner]
    if len(names) != 1:
        raise PlasticSearchError(f"{path}: {where} has {len(names)} nodes {kind}; it must have one")
    return names[0]


def _node(path: Path, name: str, group: dict[str, Any]) -> Node:
    kind = str(group.get("type"))
    if kind not in _FIELDS:
        raise unknown("node that plastic_search reads", kind, _FIELDS, f"{path} has it as {name!r:.60}.")
    values: dict[str, np.ndarray] = {}
    for field in _FIELDS[kind]:
        value = group.get(field, _DEFAULTS.get(field))
        if value is None or isinstance(value, str | list | dict):
            raise PlasticSearchError(f"{path}: {name!r:.60}, a {kind}, lacks numbers `{field}`")
        values[field] = number = np.asarray(value, np.float64)
        if not np.isfinite(number).all():
            raise PlasticSearchError(f"{path}: `{field}` of {name!r:.60} has a number that is not finite")
        if number.ndim != 2 if field == "weight" else number.ndim > 1:
            raise PlasticSearchError(
                f"{path}: `{field}` of {name!r:.60} is {list(number.shape)}; layers of plastic_search are not on a "
                "grid: weights are [post, pre], and all else is one number for each unit"
            )
    metadata = group.get("metadata", {})
    return Node(kind, values, metadata if isinstance(metadata, dict) else {})
