"""Controls of a winner: the same network without one of its features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures import Structure
from plastic_search.structures._budget import Budget, LearnedSubset
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.structures.pruned import Pruned
from plastic_search.structures.rewired import Rewired

__all__ = ["dense", "fixed", "fixed_lstm", "pruned", "random_mask"]


def dense(spec: NetworkSpec) -> NetworkSpec:
    """The same network with every connection allowed that its gates chose among."""
    return replace(spec, layers=tuple(replace(each, structure=_ungated(each.structure)) for each in spec.layers))


def random_mask(spec: NetworkSpec) -> NetworkSpec:
    """The same network with as many connections as its gates chose, but chosen by chance."""
    return _instead(spec, lambda budget: Rewired(budget.density, budget.plastic, exchanged=0.0, support=budget.support))


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
    return structure.support if isinstance(structure, LearnedSubset) else structure


def _open(structure: Structure) -> Structure:
    """What gates or a graph chose within."""
    return _open(structure.support) if isinstance(structure, LearnedSubset | Graph) else structure


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
