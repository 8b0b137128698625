"""Conversion between networks and graphs: a network's synapses as a graph, and a graph as a layer's structure."""

from __future__ import annotations

from numbers import Integral

import networkx as nx
import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.structures.selected import Selected
from plastic_search.topology.attributes import flags, parse_number
from plastic_search.topology.raw import Edge, Raw, quoted
from plastic_search.topology.schema import INPUT, Node, connected, layer_name, parse_name, sizes

__all__ = ["recurrent", "structure", "to_graph"]


@torch.no_grad()
def to_graph(net: Network) -> nx.DiGraph:
    """The synapses that exist, gates made hard, as edges from pre to post. Units that do not exist have none.

    Nodes and edges have the attributes of `topology.schema`; of a cell with several drives, `weight` is that of the
    plastic drive. `alpha` is 0 where an edge is not plastic.
    """
    graph = nx.DiGraph(inputs=net.inputs)
    graph.add_nodes_from((Node(INPUT, j).name, {"layer": INPUT, "index": j}) for j in range(net.inputs))
    absent: set[str] = set()  # units that do not exist
    for i, (layer, shape, ready, params) in enumerate(
        zip(net.spec.layers, net.shapes, net.resolve(), net.parts(), strict=True)
    ):
        units = [Node(i, j).name for j in range(shape.post)]
        graph.add_nodes_from((unit, {"layer": i, "index": j}) for j, unit in enumerate(units))
        columns = [Node(*place).name for place in shape.presynaptic]
        gates = layer.structure.gates(params.structure, shape, params.weight)
        if gates.units is not None:
            absent |= {unit for unit, there in zip(units, gates.units.tolist(), strict=True) if not there}
        exists = torch.ones(shape.post, shape.pre) if gates.exists is None else gates.exists
        plastic, alpha = torch.zeros(shape.post, shape.pre), torch.zeros(shape.post, shape.pre)
        if ready.alpha is not None:
            alpha[:, shape.plastic] = ready.alpha
            plastic[:, shape.plastic] = exists[:, shape.plastic] if gates.plastic is None else gates.plastic
        weight = ready.weight[layer.cell.plastic]
        for post, pre in (exists > 0.5).nonzero().tolist():
            if columns[pre] not in absent:
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
        PlasticSearchError: the graph is of a network of another size, or `files.read` would refuse it; or an edge comes
            from a node that the layer does not receive, or is plastic where the layer has no trace.

    Example:
        >>> layers = [replace(each, structure=structure(graph, net, i)) for i, each in enumerate(net.spec.layers)]
        >>> again = Network(NetworkSpec(tuple(layers)), net.inputs)
    """
    if not 0 <= layer < len(net.shapes):
        raise PlasticSearchError(f"there is no layer {layer}; the network has layers 0 to {len(net.shapes) - 1}")
    shape, spec = net.shapes[layer], net.spec.layers[layer]
    columns = {Node(*place).name: i for i, place in enumerate(shape.presynaptic)}
    _require_layers(graph, net)  # first, since `connected` would ask for all layers up to one that is too many
    graph = connected(graph)
    _require_sizes(graph, net, layer)
    fixed, plastic = [], []
    for pre, post, edge in graph.edges(data=True):
        if edge["layer"] != layer:
            continue
        if pre not in columns:
            raise PlasticSearchError(f"edge {pre} -> {post} starts at a node that layer {layer} does not receive")
        column = columns[pre]
        if edge["plastic"] and not shape.plastic.start <= column < shape.plastic.stop:
            raise PlasticSearchError(
                f"edge {pre} -> {post} is plastic, but layer {layer} has plastic={spec.plastic.value!r}; make the edge "
                "fixed, or give the layer another `plastic`"
            )
        (plastic if edge["plastic"] else fixed).append((graph.nodes[post]["index"], column))
    support = Dense() if shape.recurrent else FeedForward()
    if spec.structure.selection is not None:
        support = Selected(spec.structure.selection, support)
    inputs = shape.pre - shape.recurrent
    return Graph(tuple(sorted(fixed)), tuple(sorted(plastic)), support, shape.post, inputs)


def recurrent(
    graph: nx.Graph, inputs: int, plastic: bool = True, weights: str = "", scale: float | None = None
) -> Graph:
    """A structure whose recurrent block is a graph over the layer's units, each of which receives all inputs.

    Node number i, in the graph's own order, is unit i; an edge runs from pre to post, or both ways where the graph is
    undirected; one whose attribute `exists` is false is left out. Synapses from the inputs are not plastic.

    Args:
        graph: any graph of networkx's, or a `files.connectome`; its nodes may have any names.
        inputs: number of outputs that the layer receives from its sources.
        plastic: whether edges without an attribute `plastic` are plastic.
        weights: the attribute of edges, such as a number of synapses or a signed strength, that the initial weights of
            the recurrent block are proportional to; "" draws them at random, as those of the inputs always are.
        scale: initial weight / attribute; None scales them to the root mean square of random ones, 1 / sqrt(pre).

    Raises:
        PlasticSearchError: the graph has no nodes or parallel edges; or an edge has a `plastic` that is no bool, or no
            finite number where `weights` names one.

    Example:
        >>> ring = nx.watts_strogatz_graph(30, k=4, p=0.1)
        >>> layer = Layer(units=30, structure=recurrent(ring, inputs=8), plastic=Pathway.RECURRENT)
    """
    if isinstance(inputs, bool) or not isinstance(inputs, Integral) or inputs < 0:
        raise PlasticSearchError(f"inputs must be the number of outputs of the layer's sources, but is {inputs!r}")
    if not len(graph):
        raise PlasticSearchError("the graph has no nodes; a layer needs at least one unit")
    if graph.is_multigraph() and len(set(graph.edges())) < graph.number_of_edges():
        raise PlasticSearchError("the graph has parallel edges; `nx.DiGraph(graph)` keeps one of each")
    if scale is not None and (not weights or parse_number(scale) is None):
        raise PlasticSearchError(f"scale={quoted(scale)} must be a finite number, and `weights` name what it scales")
    raw, units, inputs = Raw.of(graph), len(graph), int(inputs)
    number = {node: i for i, node in enumerate(raw.nodes)}
    synapses: dict[tuple[int, int], tuple[bool, float]] = {}
    for edge in raw.edges:
        own = flags(edge)
        if not own.get("exists", True):
            continue
        synapse = own.get("plastic", bool(plastic)), _weight(edge, weights)
        synapses[number[edge.post], inputs + number[edge.pre]] = synapse
        if not edge.directed:
            synapses[number[edge.pre], inputs + number[edge.post]] = synapse
    block = [sorted(edge for edge, (flag, _) in synapses.items() if flag is wanted) for wanted in (False, True)]
    fixed = sorted([(post, pre) for post in range(units) for pre in range(inputs)] + block[0])
    initial = [synapses[edge][1] for edge in block[0] + block[1]] if weights else []
    return Graph(
        tuple(fixed), tuple(block[1]), units=units, inputs=inputs, weights=_scaled(initial, scale, inputs + units)
    )


def _scaled(values: list[float], scale: float | None, pre: int) -> tuple[float, ...]:
    """`values` times `scale`; None scales them to the root mean square of random weights, 1 / sqrt(pre)."""
    if scale is None:
        largest = max(map(abs, values), default=0.0) or 1.0
        values = [value / largest for value in values]  # whose squares are finite
        square = sum(value * value for value in values)
        factor = (len(values) / square / pre) ** 0.5 if square else 1.0
    else:
        factor = scale
    return tuple(float(factor * value) for value in values)


def _weight(edge: Edge, name: str) -> float:
    """The attribute of an edge that its initial weight is proportional to; 0 where weights are drawn."""
    weight = parse_number(edge.data.get(name)) if name else 0.0
    if weight is None:
        raise PlasticSearchError(
            f"{edge} has {name}={quoted(edge.data.get(name))}, which must be a finite number to be its initial weight"
        )
    return weight


def _require_layers(graph: nx.Graph, net: Network) -> None:
    """Refuse a graph with nodes named after a layer that the network does not have."""
    for name in graph:
        node = parse_name(name)
        if node is not None and node.layer >= len(net.shapes):
            raise _too_many(name, f"this network has layers 0 to {len(net.shapes) - 1}")


def _require_sizes(graph: nx.DiGraph, net: Network, layer: int) -> None:
    """Refuse a graph with nodes that the network lacks, or that lacks nodes of the layer or of earlier ones."""
    _require_layers(graph, net)  # again, by canonical names
    widths = [net.inputs, *(shape.post for shape in net.shapes)]
    units = sizes(graph)
    for i, (count, width) in enumerate(zip(units, widths, strict=False), start=INPUT):
        limit = f"{layer_name(i)} of this network has {width}"
        if count > width:
            raise _too_many(Node(i, width).name, limit)
        if count < width and i <= layer:
            raise _missing(Node(i, count).name, limit)
    if len(units) < layer + 2:
        raise _missing(Node(layer, 0).name, f"the graph has no layer {layer}")


def _too_many(node: str, limit: str) -> PlasticSearchError:
    return PlasticSearchError(f"node {node} is one too many: {limit}; the graph is of another size")


def _missing(node: str, limit: str) -> PlasticSearchError:
    return PlasticSearchError(f"node {node} is missing: {limit}; the graph is of another size")
