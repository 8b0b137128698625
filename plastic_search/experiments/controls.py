"""Controls of a winner: the same network without one of its features."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from dataclasses import replace

import torch
from torch import Tensor

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.records.run import Finalist
from plastic_search.structures import LearnedStructure, Shape, Structure
from plastic_search.structures._budget import Budget, LearnedSubset
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.structures.pruned import Pruned
from plastic_search.structures.rewired import Rewired
from plastic_search.structures.selected import Selected

__all__ = ["controls", "dense", "fixed", "fixed_lstm", "identity", "is_plastic", "pruned", "random_mask"]


def controls(spec: NetworkSpec, inputs: int) -> dict[Finalist, NetworkSpec]:
    """What a network must be compared with; some of it may be the network itself (`identity`)."""
    count = Network(spec, inputs).count()
    found = {
        Finalist.DENSE: dense(spec),
        Finalist.RANDOM_MASK: random_mask(spec, inputs),
        Finalist.PRUNED: pruned(spec),
    }
    if is_plastic(spec, inputs):
        found[Finalist.FIXED] = fixed(spec, inputs, count)
    return found | {Finalist.FIXED_LSTM: fixed_lstm(spec, inputs, count)}


def is_plastic(spec: NetworkSpec, inputs: int) -> bool:
    """Whether any connection has a trace."""
    return Network(spec, inputs).plastic_connections() > 0


def identity(spec: NetworkSpec, inputs: int) -> Hashable:
    """Equal for specs of one network, however its connections are written, and whatever it makes no use of."""
    each = zip(spec.layers, shapes(spec, inputs), strict=True)
    return spec.precision, spec.initial, spec.held, *(_layer(layer, shape) for layer, shape in each)


def _layer(layer: Layer, shape: Shape) -> Hashable:
    used = layer if shape.width else Layer(layer.units, layer.cell, skip=layer.skip)
    pathway = used.plastic
    return replace(used, structure=FeedForward(), plastic=Pathway.NONE), pathway, _connections(layer.structure, shape)


def _connections(structure: Structure, shape: Shape) -> Hashable:
    """Where connections and traces are; of a structure that chooses them, the structure."""
    if isinstance(structure, LearnedSubset) and structure.budget is not None and _keeps_all(structure, shape):
        return _connections(structure.support, shape)
    if isinstance(structure, LearnedStructure):
        return structure
    gates = structure.gates((), shape, torch.zeros(1))
    exists = _allowed(structure, shape)
    plastic = exists[:, shape.plastic] if gates.plastic is None else gates.plastic > 0.5
    return structure.recurrent, structure.selection, exists.numpy().tobytes(), plastic.numpy().tobytes()


def _keeps_all(structure: LearnedSubset, shape: Shape) -> bool:
    """Whether its budget is as large as what it chooses among."""
    budget, allowed = structure.budget, _allowed(structure.support, shape)
    if budget is None or structure.pool is not None:
        return budget is not None and budget.density == budget.plastic == 1.0
    every, plastic = int(allowed.sum()), int(allowed[:, shape.plastic].sum())
    return budget.existing()(every) == every and budget.carrying()(plastic) == plastic


def _allowed(structure: Structure, shape: Shape) -> Tensor:
    """Where a structure without parameters has connections [post, pre], as booleans."""
    exists = structure.gates((), shape, torch.zeros(1)).exists
    return torch.ones(shape.post, shape.pre, dtype=torch.bool) if exists is None else exists > 0.5


def dense(spec: NetworkSpec) -> NetworkSpec:
    """The same network with every connection allowed that its gates chose among, or that its graphs are part of."""
    return replace(spec, layers=tuple(replace(each, structure=_ungated(each.structure)) for each in spec.layers))


def random_mask(spec: NetworkSpec, inputs: int) -> NetworkSpec:
    """The same network with as many connections as its gates chose or its graphs have, but chosen by chance.

    In place of gates they are drawn anew for each seed; in place of a graph there is another graph.
    """
    masked = _instead(
        spec, lambda budget: Rewired(budget.density, budget.plastic, exchanged=0.0, support=budget.support)
    )
    each = zip(masked.layers, shapes(spec, inputs), strict=True)
    return replace(masked, layers=tuple(_redrawn(layer, shape, i) for i, (layer, shape) in enumerate(each)))


def _redrawn(layer: Layer, shape: Shape, seed: int) -> Layer:
    structure = layer.structure
    if isinstance(structure, Graph):
        return replace(layer, structure=_random_graph(structure, shape, seed))
    if isinstance(structure, Selected) and isinstance(structure.support, Graph):
        graph = _random_graph(structure.support, shape, seed)
        return replace(layer, structure=replace(structure, support=graph))
    return layer


def _random_graph(graph: Graph, shape: Shape, seed: int) -> Graph:
    """As many fixed and plastic edges, drawn without replacement from where `graph.support` or `graph` has any."""
    rng = random.Random(seed)
    edges = {(int(post), int(pre)) for post, pre in _allowed(graph.support, shape).nonzero()}
    edges |= {*graph.fixed, *graph.plastic}
    pathway = range(shape.plastic.start, shape.plastic.stop)
    plastic = rng.sample(sorted(edge for edge in edges if edge[1] in pathway), len(graph.plastic))
    fixed = rng.sample(sorted(edges.difference(plastic)), len(graph.fixed))
    return replace(graph, fixed=tuple(sorted(fixed)), plastic=tuple(sorted(plastic)))


def pruned(spec: NetworkSpec) -> NetworkSpec:
    """The same network with as many connections as its gates chose, but those of largest magnitude."""
    return _instead(spec, lambda budget: Pruned(budget.density, budget.plastic, support=budget.support))


def _instead(spec: NetworkSpec, control: Callable[[Budget], Structure]) -> NetworkSpec:
    """Another structure for every one with a budget; layers in a pool get equal parts of a number of connections."""
    own = [each.structure for each in spec.layers]
    pools = [each.pool if isinstance(each, LearnedSubset) else None for each in own]
    layers = []
    for i, (layer, structure) in enumerate(zip(spec.layers, own, strict=True)):
        if isinstance(structure, LearnedSubset) and structure.budget is not None:
            pool, budget = structure.pool, structure.budget
            size, place = (pools.count(pool), pools[:i].count(pool)) if pool is not None else (1, 0)
            parts = {name: _part(getattr(budget, name), size, place) for name in ("density", "plastic")}
            structure = control(budget._replace(**parts))
        layers.append(replace(layer, structure=structure))
    return replace(spec, layers=tuple(layers))


def _part(amount: float, size: int, place: int) -> float:
    """What one of `size` layers gets of a budget; a share is everyone's."""
    if amount <= 1.0 or size == 1:
        return amount
    whole, left = divmod(int(amount), size)
    return float(max(whole + (place < left), 2))  # 1 would be all of them


def fixed(spec: NetworkSpec, inputs: int, count: int) -> NetworkSpec:
    """The same network without plasticity, its gates gone, its first layer widened to at least `count` parameters.

    A graph's edges name columns that widening moves, so it goes with the gates. The task sets the width of a
    network's last layer: where that is the only one, a layer of the same kind is put before it and widened, and the
    last layer receives both that one and the input.
    """
    still = [replace(each, plastic=Pathway.NONE, structure=_open(each.structure)) for each in spec.layers]
    bare = replace(spec, layers=tuple(still))
    if len(still) == 1 and Network(bare, inputs).count() < count:
        (last,) = still
        hidden = replace(last, units=1, structure=Dense() if last.structure.recurrent else FeedForward())
        bare = replace(bare, layers=(hidden, replace(last, skip=(1,))))
    return _widened(bare, inputs, count)


def fixed_lstm(spec: NetworkSpec, inputs: int, count: int) -> NetworkSpec:
    """A recurrent LSTM without plasticity and a linear readout, of at least `count` parameters."""
    readout = Layer(units=spec.layers[-1].units, cell=Linear(), structure=FeedForward(), skip=(1,))
    return _widened(NetworkSpec((Layer(units=1, cell=LSTM(), structure=Dense()), readout)), inputs, count)


def _ungated(structure: Structure) -> Structure:
    """What gates choose among, or a graph is part of."""
    if isinstance(structure, Selected):
        return replace(structure, support=_ungated(structure.support))
    return structure.support if isinstance(structure, LearnedSubset | Graph) else structure


def _open(structure: Structure) -> Structure:
    """The same without any gates or graph."""
    inner = _ungated(structure)
    return structure if inner == structure else _open(inner)


def _widened(spec: NetworkSpec, inputs: int, count: int) -> NetworkSpec:
    """`spec` with the fewest units in its first layer that give at least `count` parameters."""
    if len(spec.layers) == 1:  # it has them already
        return spec

    def at(units: int) -> NetworkSpec:
        return replace(spec, layers=(replace(spec.layers[0], units=units), *spec.layers[1:]))

    low, high = spec.layers[0].units, spec.layers[0].units
    while Network(at(high), inputs).count() < count:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if Network(at(middle), inputs).count() >= count else (middle + 1, high)
    return at(high)
