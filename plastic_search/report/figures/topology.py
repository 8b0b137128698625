"""The learned graph: layers in columns, images as grids, and beside the picture each layer's adjacency matrix."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from plastic_search.records.run import Record
from plastic_search.report import groups as findings
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures import _graph, _modules
from plastic_search.report.figures._graph import Block, Edge

TITLE = "The learned graph"
QUESTION = "Which connections did the winner keep, and which of them are plastic?"
SECTION, ORDER, NEEDS = "topology", 30, "run"

_MOST = 240  # edges drawn into one layer


class Topology(NamedTuple):
    """One learned graph."""

    name: str  # of the graph
    others: list[str]  # graphs of the same network that are not drawn
    sizes: list[int]  # of the input, then of each layer
    edges: list[Edge]  # the strongest first
    drawn: list[int]  # how many edges into each layer the picture shows
    blocks: list[Block]  # connections from each part of the network to each other


def data(record: Record) -> Topology | None:
    """The winner's graph of the first seed; None where none was kept."""
    names = sorted(record.topologies, key=lambda name: (not name.startswith("winner"), name))
    for name in names:
        result = read(name, [n for n in names if n != name], record.topologies[name])
        if result is not None:
            return result
    return None


def read(name: str, others: list[str], graph: dict[str, Any]) -> Topology | None:
    """What there is to draw of a graph in node-link JSON; None where it has no layers."""
    nodes = {
        str(node.get("id")): (int(node["layer"]), int(node["index"]))
        for node in graph.get("nodes", [])
        if findings.finite(node.get("layer")) is not None and findings.finite(node.get("index")) is not None
    }
    depth = max((layer for layer, _ in nodes.values()), default=-1)
    if depth < 0:
        return None
    sizes = [1 + max((i for at, i in nodes.values() if at == layer), default=-1) for layer in range(-1, depth + 1)]
    edges = [e for raw in graph.get("edges", []) if (e := _edge(raw, nodes)) is not None]
    edges.sort(key=lambda e: (-abs(e.weight), e.source, e.target))
    into = [sum(e.post[0] == layer for e in edges) for layer in range(depth + 1)]
    return Topology(name, others, sizes, edges, [min(n, _MOST) for n in into], _blocks(edges, sizes))


def _edge(raw: dict[str, Any], nodes: dict[str, tuple[int, int]]) -> Edge | None:
    source, target = str(raw.get("source")), str(raw.get("target"))
    weight, alpha = findings.finite(raw.get("weight")), findings.finite(raw.get("alpha"))
    if source not in nodes or target not in nodes:
        return None
    return Edge(source, target, nodes[source], nodes[target], weight or 0.0, alpha or 0.0, raw.get("plastic") is True)


def _blocks(edges: list[Edge], sizes: list[int]) -> list[Block]:
    pairs = sorted({(e.post[0], e.pre[0]) for e in edges})
    result = []
    for post, pre in pairs:
        mine = [e for e in edges if (e.post[0], e.pre[0]) == (post, pre)]
        possible = sizes[post + 1] * sizes[pre + 1]
        result.append(Block(pre, post, len(mine), possible, sum(e.plastic for e in mine)))
    return result


def caption(data: Topology) -> str:
    """How to read it."""
    lacking = [
        f"{drawn} of {n:,} into layer {layer}"
        for layer, drawn in enumerate(data.drawn)
        if (n := sum(e.post[0] == layer for e in data.edges)) > drawn
    ]
    strongest = f" Only the strongest are drawn in the picture: {', '.join(lacking)}." if lacking else ""
    grid = _graph.grid(data.sizes[0])
    image = f" The input is laid out as an image of {grid} by {grid}" if grid else ""
    extra = data.sizes[0] - grid * grid
    image += (f", with its other {extra} below." if extra else ".") if grid else ""
    return (
        f"Graph {data.name}. Orange connections are plastic, grey ones fixed; the wider, the larger the weight."
        f"{strongest}{image} The bolder an input, the more weight leaves it. Below, every connection: a row is a "
        "unit, a column one of its inputs; the bolder, the larger the weight."
    )


def draw(data: Topology) -> str:
    """The picture, then the matrices below it."""
    body, height = _graph.picture(data.edges, data.sizes, _MOST)
    matrices, below = _graph.matrices(data.edges, data.sizes, height + 24)
    total = math.ceil(below)
    return canvas.header(f"{TITLE}. {QUESTION}", total) + canvas.variable(body + matrices) + "</svg>"


def sheet(data: Topology, groups: list[set[str]]) -> str:
    """A picture that stands by itself: the graph, each layer's matrix, and the whole with its communities side by side.

    Args:
        groups: the names of the nodes in each community, the largest first.
    """
    body, height = _graph.picture(data.edges, data.sizes, _MOST)
    matrices, below = _graph.matrices(data.edges, data.sizes, height + 24)
    modules, end = _modules.matrix_of_modules(data.edges, groups, below + 12)
    total = math.ceil(end)
    return _modules.alone(f"The graph {data.name}", total, body + matrices + modules)


def page(data: Topology, sheet: str) -> str:
    """An HTML file of its own around such a picture."""
    framed = "The last matrix has all nodes, those of a community side by side and framed."
    return _modules.page(f"The graph {data.name}", f"{caption(data)} {framed} Point at an edge to read it.", sheet)
