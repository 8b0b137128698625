"""What is captured of a layer's step: its programs, and how its states and parameters lie in buffers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from plastic_search.network.kernels.tracing.ir import Axis, Node

__all__ = [
    "BufferLayout", "ChangeTerms", "Leaf", "Output", "Program", "StepProgram", "layout_of", "ordered", "rows_of",
    "stored", "sum_depths",
]  # fmt: skip


class Leaf(NamedTuple):
    """One tensor of a part's state or parameters, as rows along the axis over units."""

    axis: Axis
    dim: int  # which of its dimensions is that axis, batch not counted; -1 for none
    other_dims: tuple[int, ...]  # the lengths of all others
    first: int  # its first row among all rows of its axis

    @property
    def rows(self) -> int:
        return math.prod(self.other_dims)


class BufferLayout(NamedTuple):
    """How nested tensors lie in one buffer: rows over post, then rows over pre, then single numbers."""

    leaves: tuple[Leaf | None, ...]  # None: a matrix, which is not in the buffer
    counts: tuple[int, int, int]  # rows of Axis.ONE, POST and PRE


class ChangeTerms(NamedTuple):
    """The form of a rule's change: which coefficients are matrices, and which factors its decay has."""

    matrices: tuple[bool, ...]  # for each outer product, whether its coefficient is a matrix
    row: bool  # whether the decay has a factor for every unit,
    column: bool  # ... for every input,
    matrix: bool  # ... for every pair
    retroactive: bool  # whether changes go through an eligibility trace


class Output(NamedTuple):
    """One row that a program writes."""

    buffer: str
    axis: Axis  # of the row; the node may be one number for all of it
    number: int  # among the buffer's rows along that axis
    node: Node


class Program(NamedTuple):
    """What is computed for one time step of one episode."""

    outputs: tuple[Output, ...]

    def nodes(self) -> list[Node]:
        return ordered([o.node for o in self.outputs])

    def uses(self, buffer: str) -> bool:
        """Whether any output depends on an input from `buffer`."""
        return any(node.slot[0] == buffer for node in self.nodes())


@dataclass(frozen=True, eq=False)
class StepProgram:
    """One step of a layer's cell, rule and modulation, as programs of the step and of its derivative."""

    drives: int
    plastic: int  # which drive is plastic
    state: BufferLayout  # of cell and rule
    params: BufferLayout  # of rule and modulation
    results: BufferLayout  # of a step, in the order of the rows that `forward` writes
    initial_states: Any  # of cell and rule, nested as the parts nest them; not of the layer's size
    change: ChangeTerms | None  # None: no connection is plastic
    forward: Program
    backward: Program
    verified: dict[Any, str] = field(default_factory=dict)  # sizes -> how it differs from its parts (see `verify`)


def ordered(roots: Sequence[Node]) -> list[Node]:
    """`roots` and all nodes that they depend on, in order of creation."""
    found: dict[int, Node] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.index not in found:
            found[node.index] = node
            stack.extend(node.args)
    return [found[i] for i in sorted(found)]


def layout_of(tensors: Sequence[Tensor], sizes: dict[int, Axis], batched: bool) -> BufferLayout:
    """Where each of some tensors lies in their buffer; `sizes` maps lengths to the axes that they stand for."""
    leaves: list[Leaf | None] = []
    counts = [0, 0, 0]
    for tensor in tensors:
        shape = tuple(tensor.shape)[batched:]
        dims = [i for i, n in enumerate(shape) if n in sizes]
        if len(dims) > 1:
            leaves.append(None)
            continue
        dim = dims[0] if dims else -1
        axis = sizes[shape[dim]] if dims else Axis.ONE
        leaf = Leaf(axis, dim, tuple(n for i, n in enumerate(shape) if i != dim), counts[axis])
        leaves.append(leaf)
        counts[axis] += leaf.rows
    return BufferLayout(tuple(leaves), (counts[0], counts[1], counts[2]))


def rows_of(tensor: Tensor, leaf: Leaf, batched: int) -> Tensor:
    """A tensor as [..., rows, n], where `...` are its first `batched` dimensions."""
    batch = tensor.shape[:batched]
    if leaf.dim < 0:
        return tensor.reshape(*batch, leaf.rows, 1)
    return tensor.movedim(batched + leaf.dim, -1).reshape(*batch, leaf.rows, -1)


def sum_depths(nodes: Sequence[Node]) -> dict[int, int]:
    """For each node, how many sums, one after another, precede it."""
    depth: dict[int, int] = {}
    for node in nodes:
        depth[node.index] = max((depth[a.index] for a in node.args), default=0) + (node.op == "sum")
    return depth


def stored(program: Program) -> list[Node]:
    """The nodes that one loop over the units must store for a later loop."""
    nodes = program.nodes()
    depth = sum_depths(nodes)
    kept: dict[int, Node] = {}
    for node in nodes:
        for arg in _numeric_args(node):
            if arg.axis and arg.op != "input" and node.op != "sum" and depth[arg.index] < depth[node.index]:
                kept[arg.index] = arg
    return [kept[i] for i in sorted(kept)]


def _numeric_args(node: Node) -> list[Node]:
    """A node's arguments; in place of a truth value, which is computed again, that value's own arguments."""
    found = []
    for a in node.args:
        found += _numeric_args(a) if a.is_bool else [a]
    return found
