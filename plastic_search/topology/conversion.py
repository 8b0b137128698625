"""A network's connections as a graph, and a graph as a layer's structure."""

from __future__ import annotations

import networkx as nx
import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.structures import Shape
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.structures.selected import Selected
from plastic_search.topology.schema import connected, sizes

__all__ = ["recurrent", "structure", "to_graph"]


@torch.no_grad()
def to_graph(net: Network) -> nx.DiGraph:
    """The synapses that exist, gates made hard, as edges from pre to post. Units that do not have none.

    Nodes are `input.3` and `layers.1.4`, with `layer` (-1 for the input) and `index`. Edges carry `weight` (of the
    plastic drive, where a cell has several), `alpha` (0 where not plastic), `plastic`, `exists` (always true) and
    `layer`, the one that they lead into.
    """
    graph = nx.DiGraph(inputs=net.inputs)
    graph.add_nodes_from((f"input.{i}", {"layer": -1, "index": i}) for i in range(net.inputs))
    absent: set[str] = set()  # units that do not exist
    ready = net.resolve()
    for i, (layer, shape, made, params) in enumerate(zip(net.spec.layers, net.shapes, ready, net.parts(), strict=True)):
        units = [f"layers.{i}.{j}" for j in range(shape.post)]
        graph.add_nodes_from((unit, {"layer": i, "index": j}) for j, unit in enumerate(units))
        columns = _presynaptic(shape)
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
                exists=True,
                layer=i,
            )
    return graph


def structure(graph: nx.Graph, net: Network, layer: int) -> Graph:
    """The edges into one layer as a structure, to train a network anew on a graph that was learned or drawn.

    Raises:
        PlasticSearchError: an edge comes from a node that the layer does not hear, leads to a unit that it does not
            have, or is plastic where the layer has no trace; or the graph is no network's, as `read` would say.
    """
    if not 0 <= layer < len(net.shapes):
        raise PlasticSearchError(f"there is no layer {layer}; the network has layers 0 to {len(net.shapes) - 1}")
    shape, prefix = net.shapes[layer], f"layers.{layer}."
    columns = {name: i for i, name in enumerate(_presynaptic(shape))}
    _known(graph, net)  # by the names that it has, or `connected` would ask for all layers up to a strange one
    graph = connected(graph)
    _known(graph, net)  # ... and by ours, if it has others
    _fits(graph, net, layer)
    fixed, plastic = [], []
    for pre, post, edge in graph.edges(data=True):
        if not str(post).startswith(prefix) or not edge.get("exists", True):
            continue
        if pre not in columns:
            raise PlasticSearchError(f"edge {pre} -> {post} starts at a node that layer {layer} does not hear")
        pair = (int(post.rsplit(".", 1)[1]), columns[pre])
        if edge.get("plastic") and not shape.plastic.start <= pair[1] < shape.plastic.stop:
            way = net.spec.layers[layer].plastic.value
            raise PlasticSearchError(
                f"edge {pre} -> {post} is plastic, but layer {layer} has plastic={way!r}; make the edge fixed, or "
                "give the layer another `plastic`"
            )
        (plastic if edge.get("plastic") else fixed).append(pair)
    support, places = Dense() if shape.recurrent else FeedForward(), net.spec.layers[layer].structure.selection
    if places is not None:
        support = Selected(places, support)
    return Graph(tuple(sorted(fixed)), tuple(sorted(plastic)), support)


def recurrent(graph: nx.Graph, heard: int, plastic: bool = True) -> Graph:
    """A structure whose recurrent block is a graph over a layer's own units, each of which hears all sources.

    Node number i, in the graph's own order, is unit i; an edge runs from pre to post, or both ways where the graph is
    undirected. Edges from the sources are fixed.

    Args:
        graph: any graph of networkx's, or a `connectome`; its nodes may be called anything.
        heard: how many numbers the layer hears of its sources.
        plastic: whether an edge is, that does not say so itself by an attribute `plastic`.

    Raises:
        PlasticSearchError: the graph has no nodes, parallel edges, or an edge whose `plastic` is no truth value.
    """
    if type(heard) is not int or heard < 0:
        raise PlasticSearchError(f"heard must be how many numbers the layer hears of its sources, but is {heard!r}")
    if not len(graph):
        raise PlasticSearchError("the graph has no nodes; a layer needs at least one unit")
    if graph.is_multigraph() and len(set(graph.edges())) < graph.number_of_edges():
        raise PlasticSearchError("the graph has parallel edges; `nx.DiGraph(graph)` keeps one of each")
    number = {node: i for i, node in enumerate(graph)}
    pairs: dict[tuple[int, int], bool] = {}
    for pre, post, told in graph.edges(data="plastic", default=plastic):
        if type(told) is not bool:
            raise PlasticSearchError(f"edge {pre} -> {post} has plastic={told!r}, which must be true or false")
        pairs[number[post], heard + number[pre]] = told
        if not graph.is_directed():
            pairs[number[pre], heard + number[post]] = told
    fixed = [(post, pre) for post in range(len(graph)) for pre in range(heard)]
    fixed += [pair for pair, told in pairs.items() if not told]
    return Graph(tuple(sorted(fixed)), tuple(sorted(pair for pair, told in pairs.items() if told)))


def _known(graph: nx.Graph, net: Network) -> None:
    """Refuse a graph with nodes of a layer that the network has not."""
    for node in graph:
        part = str(node).rpartition(".")[0]
        if part.startswith("layers.") and part not in {f"layers.{i}" for i in range(len(net.shapes))}:
            raise PlasticSearchError(
                f"node {node} is one too many: this network has layers 0 to {len(net.shapes) - 1}; "
                "the graph is of another size"
            )


def _fits(graph: nx.Graph, net: Network, layer: int) -> None:
    """Refuse a graph with nodes that neither the layer nor what it hears has."""
    widths = {"input": net.inputs} | {f"layers.{i}": shape.post for i, shape in enumerate(net.shapes)}
    for node in graph:
        part, _, index = str(node).rpartition(".")
        if int(index) >= widths[part]:
            raise PlasticSearchError(
                f"node {node} is one too many: {part} of this network has {widths[part]}; the graph is of another size"
            )
    units_of = sizes(graph)
    if len(units_of) < layer + 2:
        raise PlasticSearchError(
            f"node layers.{layer}.0 is missing: the graph has no layer {layer}; it is of another size"
        )
    for i, units in enumerate(units_of):
        part = "input" if i == 0 else f"layers.{i - 1}"
        if i <= layer + 1 and part in widths and units != widths[part]:
            raise PlasticSearchError(
                f"node {part}.{units} is missing: {part} of this network has {widths[part]}; "
                "the graph is of another size"
            )


def _presynaptic(shape: Shape) -> list[str]:
    """The node of each column of `pre`."""
    return [f"input.{unit}" if layer < 0 else f"layers.{layer}.{unit}" for layer, unit in shape.presynaptic]
