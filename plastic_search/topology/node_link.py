"""Node-link JSON, the format of `networkx.node_link_data`: edges are called `edges`, or `links` as before networkx 3.6.

Files are not trusted: their number of values is limited before they are parsed.
"""

from __future__ import annotations

import json
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.topology.attributes import parse_flag
from plastic_search.topology.raw import Edge, Raw, quoted, refuse_size

__all__ = ["decode", "parse"]

_MAX_BYTES = 40 * 2**20  # decoded, they may take four times as many
_MAX_VALUES = 2_400_000
_EDGES = ("edges", "links")
_NO_GRAPH = "is no graph in node-link JSON"
_REMEDY = "export it again, or put a copy of it back"


def decode(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        PlasticSearchError: it is no JSON object, or too large.
    """
    if len(content) > _MAX_BYTES:
        raise PlasticSearchError(f"{where} has {len(content):,} bytes, more than the {_MAX_BYTES:,} that JSON may have")
    if sum(map(content.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise PlasticSearchError(f"{where} has more than {_MAX_VALUES:,} values, the most that it may have")
    try:
        data = json.loads(content)
    except RecursionError:
        raise PlasticSearchError(f"{where} is damaged, it is nested too deeply; {_REMEDY}") from None
    except ValueError as error:
        raise PlasticSearchError(
            f"{where} is damaged, it is not JSON ({str(error).partition(';')[0]}); {_REMEDY}"
        ) from None
    if not isinstance(data, dict):
        raise PlasticSearchError(f"{where} must hold a JSON object, but holds a {type(data).__name__}; {_REMEDY}")
    nodes, edges = (
        max((len(data[name]) for name in names if isinstance(data.get(name), list)), default=0)
        for names in (("nodes",), _EDGES)
    )
    refuse_size(nodes, edges, where)
    return data


def parse(data: dict[str, Any], where: str) -> Raw:
    """The graph in node-link JSON; where `directed` is missing, its edges are directed.

    Raises:
        PlasticSearchError: it is damaged; the message names the node or the edge.
    """
    nodes, edges = _list(data, where, "nodes"), _list(data, where, *_EDGES)
    attributes = data.get("graph", {})
    if not isinstance(attributes, dict):
        raise PlasticSearchError(f"{where} {_NO_GRAPH}: its 'graph' is no object; {_REMEDY}")
    directed = _flag(data, True, where)
    found: dict[Any, dict[Any, Any]] = {}
    for node in nodes:
        identity = node.get("id") if isinstance(node, dict) else None
        if not _is_id(identity) or identity in found:
            raise PlasticSearchError(
                f"{where}: node {quoted(node)} needs an id that no other has, text or a whole number"
            )
        found[identity] = _without(node, "id")
    each = (_edge(edge, found, directed, where) for edge in edges)
    return Raw(found, each, attributes)


def _edge(edge: Any, nodes: dict[Any, dict[Any, Any]], directed: bool, where: str) -> Edge:
    ends = (edge.get("source"), edge.get("target")) if isinstance(edge, dict) else (None, None)
    if not all(_is_id(end) and end in nodes for end in ends):
        raise PlasticSearchError(f"{where}: edge {quoted(edge)} needs a source and a target that are nodes")
    found = Edge(*ends, _without(edge, "source", "target"), directed)
    return found if "directed" not in edge else found._replace(directed=_flag(edge, directed, f"{where}: {found}"))


def _list(data: dict[str, Any], where: str, *names: str) -> list[Any]:
    """The list that `data` has under one of `names`."""
    found = [name for name in names if name in data]
    if len(found) > 1:
        raise PlasticSearchError(f"{where} {_NO_GRAPH}: it has both {found[0]!r} and {found[1]!r}; keep one")
    if not found or not isinstance(data[found[0]], list):
        or_names = " or ".join(map(repr, names))
        raise PlasticSearchError(f"{where} {_NO_GRAPH}: it has no list of {or_names}; {_REMEDY}")
    return data[found[0]]


def _flag(data: dict[str, Any], default: bool, where: str) -> bool:
    flag = parse_flag(data.get("directed", default))
    if flag is None:
        raise PlasticSearchError(f"{where} has directed={quoted(data['directed'])}, which must be true or false")
    return flag


def _is_id(value: Any) -> bool:
    """Whether a value can be the id of a node: an int, or text that can be written (no half of a surrogate pair)."""
    if type(value) is str:
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    return type(value) is int


def _without(data: dict[str, Any], *names: str) -> dict[Any, Any]:
    return {name: value for name, value in data.items() if name not in names}
