"""A graph as a file or networkx states it, before it is validated: every edge with its own direction."""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import Repr
from typing import Any, NamedTuple

import networkx as nx

from plastic_search.core.errors import PlasticSearchError

__all__ = ["MAX_EDGES", "MAX_NODES", "Edge", "Raw", "label", "quoted", "refuse_size"]

MAX_NODES = 100_000  # of a graph in a file
MAX_EDGES = 250_000


class Edge(NamedTuple):
    pre: Any
    post: Any
    data: dict[Any, Any]  # attributes by name
    directed: bool | None  # None where nothing says

    def __str__(self) -> str:
        return f"edge {label(self.pre)} -> {label(self.post)}"


class Raw(NamedTuple):
    """Nodes and edges with all attributes that they have, ours and others'."""

    nodes: dict[Any, dict[Any, Any]]  # attributes of each node, in the order of the graph
    edges: Iterable[Edge]
    attributes: dict[Any, Any]  # of the graph

    @classmethod
    def of(cls, graph: nx.Graph) -> Raw:
        """A graph of networkx's, parallel edges included."""
        directed = graph.is_directed()
        edges = (Edge(pre, post, data, directed) for pre, post, data in graph.edges(data=True))
        return cls(dict(graph.nodes(data=True)), edges, graph.graph)


def refuse_size(nodes: int, edges: int, where: str) -> None:
    """Raise a PlasticSearchError for a graph of more nodes or edges than one in a file may have."""
    for count, limit, what in ((nodes, MAX_NODES, "nodes"), (edges, MAX_EDGES, "edges")):
        if count > limit:
            raise PlasticSearchError(
                f"{where} has more than {limit:,} {what}, the most that a graph in a file may have"
            )


_repr = Repr()
_repr.maxstring = _repr.maxother = 60
_repr.maxlong, _repr.maxdict, _repr.maxlevel = 40, 8, 2


def quoted(value: Any) -> str:
    """`repr(value)` for a message: shortened, and with nothing that a line or a terminal cannot show."""
    try:
        text = _repr.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"<{type(value).__name__} of thousands of digits>"
    return text if text.isprintable() else ascii(text)


def label(name: Any) -> str:
    """The name of a node for a message, without quotes where it is short and printable."""
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 60 else quoted(name)
