"""A graph of NIR as layers in order: which units receive what from where.

The discrete convention: within a time step a layer receives what those before it send in the same step, and what it
sends itself arrives a step later. So a loop of NIR, in which time is continuous, is a layer that is recurrent; loops
through several layers are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export.nir.file import UNITS, Content, Node

__all__ = ["READOUT", "Population", "Wiring", "wiring"]

READOUT = ""  # the name of a population that has no node: weighted sums, which are the network's output
_WEIGHTS = 2**27  # of all layers


class Population(NamedTuple):
    """The units of one layer, and what they receive."""

    name: str
    node: Node | None  # None for a readout
    weights: dict[str, np.ndarray]  # [post, units of the sender], by its name
    bias: np.ndarray  # [post]

    @property
    def units(self) -> int:
        return len(self.bias)


class Wiring(NamedTuple):
    """A graph as layers."""

    source: str  # the name of the input
    inputs: int
    layers: tuple[Population, ...]  # none receives anything from a later one


class _Parts(NamedTuple):
    path: Path
    nodes: dict[str, Node]
    senders: dict[str, list[str]]  # of each node
    targets: dict[str, list[str]]
    sizes: dict[str, int]  # numbers that each node but weights sends

    def refused(self, what: str) -> PlasticSearchError:
        return PlasticSearchError(f"{self.path}: {what}")


def wiring(path: Path | str, content: Content) -> Wiring:
    """The layers of a graph.

    Raises:
        PlasticSearchError: a node receives or sends nothing, shapes do not match, two nodes of weights follow one
            another, or there is a loop other than that of a layer with itself.
    """
    parts = _parts(as_path(path), content)
    source, sink = (_end(parts, kind) for kind in ("Input", "Output"))
    units = [name for name, node in parts.nodes.items() if node.kind in UNITS]
    direct = parts.senders[sink][0] if len(parts.senders[sink]) == 1 else READOUT
    wanted = sum(_weights(parts, name) for name in [*units, sink])
    if wanted > _WEIGHTS:
        raise parts.refused(f"its layers would have {wanted} weights; {_WEIGHTS} are the most")
    populations = {name: _population(parts, name, name) for name in units}
    if direct not in populations:
        populations[READOUT] = _population(parts, sink, READOUT)
    for name, each in populations.items():
        if not each.weights.keys() - {name}:
            raise parts.refused(f"{name!r:.60} receives nothing, or only what it sends itself; an edge is missing")
    order = TopologicalSorter({n: sorted(p.weights.keys() - {n, source}) for n, p in populations.items()})
    try:
        names = tuple(order.static_order())
    except CycleError as error:
        loop = " -> ".join(repr(name) for name in error.args[1][::-1])
        raise parts.refused(
            f"there is a loop through several layers, {loop:.200}; a layer may receive from itself and from layers "
            "before it: make one population of those in the loop"
        ) from None
    if idle := populations.keys() - _before(populations, direct if direct in populations else READOUT):
        raise parts.refused(f"{min(idle)!r:.60} does not lead to the output; connect it, or leave it out")
    return Wiring(source, parts.sizes[source], tuple(populations[name] for name in names))


def _before(populations: dict[str, Population], last: str) -> set[str]:
    """Those that lead to `last`, itself included."""
    seen, ahead = set(), [last]
    while ahead:
        here = ahead.pop()
        if here not in seen and here in populations:
            seen.add(here)
            ahead += populations[here].weights
    return seen


def _parts(path: Path, content: Content) -> _Parts:
    """The graph without nodes that only pass on, checked edge by edge."""
    edges = _passed_on(path, content)
    nodes = {name: node for name, node in content.nodes.items() if name not in content.inner}
    senders: dict[str, list[str]] = {name: [] for name in nodes}
    targets: dict[str, list[str]] = {name: [] for name in nodes}
    for one, other in edges:
        senders[other].append(one)
        targets[one].append(other)
    parts = _Parts(path, nodes, senders, targets, {})
    for name, node in nodes.items():
        for side, around, end in (("receives", senders, "Input"), ("sends", targets, "Output")):
            if bool(around[name]) == (node.kind == end):
                missing = f"{side} nothing; an edge is missing" if node.kind != end else f"{side} something"
                raise parts.refused(f"{name!r:.60}, of kind {node.kind}, {missing}")
        if "weight" in node.values:
            _check_alone(parts, name)
    for name in nodes:
        parts.sizes[name] = _size(parts, name)
    _check_sizes(parts, edges)
    return parts


def _passed_on(path: Path, content: Content) -> list[tuple[str, str]]:
    """The edges, where those into and out of a node that only passes on are joined."""
    edges = dict.fromkeys(content.edges)
    for node in sorted(content.inner):
        before = [one for one, other in edges if other == node]
        after = [other for one, other in edges if one == node]
        if node in before:
            raise PlasticSearchError(f"{path}: there is a loop through {node!r:.60} without a unit in it")
        edges = {edge: None for edge in edges if node not in edge}
        for joined in ((one, other) for one in before for other in after):
            if joined in edges:
                raise PlasticSearchError(f"{path} connects {joined[0]!r:.60} to {joined[1]!r:.60} twice; keep one")
            edges[joined] = None
            if len(edges) > 10 * len(content.edges) + 1000:
                raise PlasticSearchError(f"{path}: graphs within graphs connect too many nodes to one another")
    return list(edges)


def _check_alone(parts: _Parts, name: str) -> None:
    """Refuse weights that receive from, or send to, other weights."""
    follow = [other for other in parts.targets[name] if "weight" in parts.nodes[other].values]
    if not follow:
        return
    seen, ahead = set(), follow[:]
    while ahead:
        here = ahead.pop()
        if here == name:
            raise parts.refused(f"there is a loop through {name!r:.60} without a unit in it, which nothing delays")
        if here not in seen and "weight" in parts.nodes[here].values:
            seen.add(here)
            ahead += parts.targets[here]
    raise parts.refused(
        f"the weights {name!r:.60} are followed by the weights {follow[0]!r:.60} without units between them; multiply "
        "them into one node"
    )


def _end(parts: _Parts, kind: str) -> str:
    names = [name for name, node in parts.nodes.items() if node.kind == kind]
    if len(names) != 1:
        raise parts.refused(f"it has {len(names)} nodes {kind}; a network here has one")
    return names[0]


def _size(parts: _Parts, name: str) -> int:
    """How many numbers a node sends: as its own arrays have, or, where they have one for all, its neighbours."""
    node = parts.nodes[name]
    if "weight" in node.values:
        return node.values["weight"].shape[0]
    if "shape" in node.values:
        axes = np.atleast_1d(node.values["shape"])
        if not (axes >= 1).all() or (axes % 1).any() or (axes > 1).sum() > 1 or axes.max(initial=0) > _WEIGHTS:
            raise parts.refused(f"{name!r:.60} has the shape {axes.tolist()}; give a network here vectors, flattened")
        return int(axes.prod()) if len(axes) else 1
    sizes = {value.size for value in node.values.values()} - {1}
    if len(sizes) > 1:
        raise parts.refused(f"{name!r:.60} has arrays of different sizes: {sorted(sizes)}")
    if sizes:
        return sizes.pop()
    before = [parts.nodes[other].values["weight"].shape[0] for other in _weighing(parts, parts.senders[name])]
    after = [parts.nodes[other].values["weight"].shape[1] for other in _weighing(parts, parts.targets[name])]
    return next(iter(before + after), 1)


def _weighing(parts: _Parts, names: Iterable[str]) -> list[str]:
    return [name for name in names if "weight" in parts.nodes[name].values]


def _check_sizes(parts: _Parts, edges: list[tuple[str, str]]) -> None:
    for one, other in edges:
        weight = parts.nodes[other].values.get("weight")
        takes = parts.sizes[other] if weight is None else weight.shape[1]
        if parts.sizes[one] != takes:
            raise parts.refused(f"{one!r:.60} sends {parts.sizes[one]} numbers to {other!r:.60}, which takes {takes}")
    for name, node in parts.nodes.items():
        if "bias" in node.values and node.values["bias"].size != parts.sizes[name]:
            raise parts.refused(f"{name!r:.60} has {node.values['bias'].size} biases for {parts.sizes[name]} rows")


def _weights(parts: _Parts, name: str) -> int:
    """How many weights the layer of a node has."""
    columns = sum(
        parts.sizes[sender]
        for one in parts.senders[name]
        for sender in (parts.senders[one] if "weight" in parts.nodes[one].values else [one])
    )
    return parts.sizes[name] * columns


def _population(parts: _Parts, at: str, name: str) -> Population:
    """What arrives at the node `at`."""
    size = parts.sizes[at]
    weights: dict[str, np.ndarray] = {}
    bias = np.zeros(size)
    for one in parts.senders[at]:
        values = parts.nodes[one].values
        matrix = values.get("weight", None)
        bias = bias + values.get("bias", 0.0) if matrix is not None else bias
        for sender in parts.senders[one] if matrix is not None else [one]:
            added = np.eye(size) if matrix is None else matrix
            weights[sender] = weights[sender] + added if sender in weights else added
    return Population(name, parts.nodes[at] if name else None, weights, bias)
