"""A network's connections as a graph, and a graph as a layer's structure."""

from __future__ import annotations

from typing import Any

import networkx as nx
import torch

from plastic_search.errors import PlasticSearchError
from plastic_search.network import Network
from plastic_search.structures import Shape
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph

__all__ = ["from_json", "structure", "to_graph", "to_json"]


@torch.no_grad()
def to_graph(net: Network) -> nx.DiGraph:
    """The synapses that exist, gates made hard, as edges from pre to post. Units that do not have none.

    Nodes are `input.3` and `layers.1.4`, with `layer` (-1 for the input) and `index`. Edges carry `weight` (of the
    plastic drive, where a cell has several), `alpha` (0 where not plastic) and `plastic`.
    """
    graph = nx.DiGraph(inputs=net.inputs)
    graph.add_nodes_from((f"input.{i}", {"layer": -1, "index": i}) for i in range(net.inputs))
    absent: set[str] = set()  # units that do not exist
    senders = [[f"input.{i}" for i in range(net.inputs)]]
    ready = net.resolve()
    for i, (layer, shape, made, params) in enumerate(zip(net.spec.layers, net.shapes, ready, net.parts(), strict=True)):
        units = [f"layers.{i}.{j}" for j in range(shape.post)]
        graph.add_nodes_from((unit, {"layer": i, "index": j}) for j, unit in enumerate(units))
        sources = [senders[-1], *(senders[-1 - k] for k in layer.skip)]
        columns = [name for source in sources for name in source] + (units if shape.own else [])
        gates = layer.structure.gates(params.structure, shape, params.weight)
        if gates.units is not None:
            absent |= {unit for unit, there in zip(units, gates.units.tolist(), strict=True) if not there}
        exists = torch.ones(shape.post, shape.pre) if gates.exists is None else gates.exists
        plastic, alpha = torch.zeros(shape.post, shape.pre), torch.zeros(shape.post, shape.pre)
        if made.alpha is not None:
            alpha[:, shape.plastic] = made.alpha
            plastic[:, shape.plastic] = exists[:, shape.plastic] if gates.plastic is None else gates.plastic
        weight = made.weight[layer.cell.plastic]
        for post, pre in (exists > 0.5).nonzero().tolist():
            if columns[pre] in absent:
                continue
            graph.add_edge(
                columns[pre],
                units[post],
                weight=round(float(weight[post, pre]), 6),
                alpha=round(float(alpha[post, pre]), 6),
                plastic=bool(plastic[post, pre] > 0.5),
            )
        senders.append(units)
    return graph


def to_json(graph: nx.DiGraph) -> dict[str, Any]:
    """Node-link JSON."""
    return nx.node_link_data(graph, edges="edges")


def from_json(data: dict[str, Any]) -> nx.DiGraph:
    """The graph that `to_json` wrote."""
    try:
        graph = nx.node_link_graph(data, edges="edges", directed=True, multigraph=False)
    except (KeyError, TypeError, nx.NetworkXError) as error:
        raise PlasticSearchError(f"this is no graph in node-link JSON: {error!r}") from None
    return graph


def structure(graph: nx.DiGraph, net: Network, layer: int) -> Graph:
    """The edges into one layer as a structure, to train a network anew on a graph that was learned or drawn.

    Raises:
        PlasticSearchError: an edge comes from a node that the layer does not hear.
    """
    columns = _columns(net, layer)
    fixed, plastic = [], []
    for pre, post, edge in graph.edges(data=True):
        if not post.startswith(f"layers.{layer}."):
            continue
        if pre not in columns:
            raise PlasticSearchError(f"edge {pre} -> {post} starts at a node that layer {layer} does not hear")
        pair = (int(post.rsplit(".", 1)[1]), columns[pre])
        (plastic if edge.get("plastic") else fixed).append(pair)
    within = Dense() if net.shapes[layer].own else FeedForward()
    return Graph(tuple(sorted(fixed)), tuple(sorted(plastic)), within)


def _columns(net: Network, layer: int) -> dict[str, int]:
    shape: Shape = net.shapes[layer]
    widths = [net.inputs, *(s.post for s in net.shapes)]
    prefixes = ["input", *(f"layers.{i}" for i in range(len(net.shapes)))]
    sources = [layer, *(layer - k for k in net.spec.layers[layer].skip)]
    names = [f"{prefixes[s]}.{i}" for s in sources for i in range(widths[s])]
    names += [f"layers.{layer}.{i}" for i in range(shape.own)]
    return {name: i for i, name in enumerate(names)}
