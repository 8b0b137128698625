"""What is captured of a layer's step: its programs, and how its states and parameters lie in buffers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from plastic_search.network.kernels.tracing.ir import REDUCTIONS, Axis, GraphBuilder, Node
from plastic_search.precisions import Format

__all__ = [
    "LIMITS", "STATIC", "BufferLayout", "Leaf", "Loop", "Output", "Program", "Slot", "StepProgram", "SynapseProgram",
    "layout_of", "loop_over", "ordered", "rebuilt", "rows_of", "slot_of", "stored", "sum_depths",
]  # fmt: skip

STATIC = ("limits", "lengths")  # buffers whose numbers are the same at every step
LIMITS = ("limit", "level", "top")  # the numbers of the first: of the trace, between two levels, and the highest level


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
    counts: tuple[int, int, int]  # rows of Axis.ONE, POST and PRE, those after the tensors' included


Slot = tuple[str, Axis, int]  # a row: its buffer, its axis, and its number among the buffer's rows along that axis


class Output(NamedTuple):
    """One row that a program writes, or one number for every synapse."""

    buffer: str
    axis: Axis  # of the row; the node may be one number for all of it
    number: int  # among the buffer's rows along that axis
    node: Node


class Program(NamedTuple):
    """What is computed for one time step of one episode."""

    outputs: tuple[Output, ...]

    def nodes(self) -> list[Node]:
        return ordered([o.node for o in self.outputs])

    def inputs(self) -> list[Node]:
        return [node for node in self.nodes() if node.op == "input"]

    def uses(self, buffer: str) -> bool:
        """Whether any output depends on an input from `buffer`."""
        return any(node.slot[0] == buffer for node in self.nodes())


class SynapseProgram(NamedTuple):
    """What happens at one synapse in one step, and its derivative. All its nodes are numbers of a synapse, but inputs.

    Inputs of both, beside rows of the layer's units that lie in other buffers (pre, recall, state, params, limits):
        trace, eligibility: H and E before the step.
        row: what the unit program computed for this step, for each unit, for each input, or as one number.
        coef0, decay, param2: constants of an episode, those of `matrices`; phases and dither: the noise of rounding.
    Outputs of `forward` are trace and eligibility, after the step. Inputs of `backward` are also d.trace and
    d.eligibility, the derivatives of these; its outputs are, in this order,
        sum: numbers that are added up over a row of synapses (POST), down a column (PRE), or over all (ONE).
        d.coef0, ...: the derivatives of `matrices`, added up over time and episodes.
        d.trace, d.eligibility: those of the trace and the eligibility trace before the step.
    """

    forward: Program
    backward: Program
    read: Program  # the trace as drive and recall read it; () where that is the trace itself
    read_backward: Program  # from the trace and d.read to d.trace
    matrices: tuple[str, ...]  # a coefficient of the change, `decay`, or a parameter of the rule
    formula: bool  # whether the change is more than outer products and a decay, and so may differ from 0 in padding

    @property
    def retroactive(self) -> bool:
        """Whether changes go through an eligibility trace."""
        return any(o.buffer == "eligibility" for o in self.forward.outputs)

    def uses(self, buffer: str) -> bool:
        """Whether any output depends on an input from `buffer`."""
        return self.forward.uses(buffer) or self.backward.uses(buffer)

    def inputs(self) -> list[Node]:
        """The inputs of forward and backward."""
        return [node for node in ordered([o.node for o in (*self.forward.outputs, *self.backward.outputs)])
                if node.op == "input"]  # fmt: skip

    def nodes(self) -> list[Node]:
        """The nodes of all its programs."""
        every = (self.forward, self.backward, self.read, self.read_backward)
        return ordered([o.node for program in every for o in program.outputs])


@dataclass(frozen=True, eq=False)
class StepProgram:
    """One step of a layer's cell, rule and modulation: the step and its derivative as programs of units and synapses.

    Outputs of `forward` are y, state, and the rows that the synapses read. `backward` has the sums of the synapses'
    derivative among its inputs.
    """

    sums: int  # rows of `drive`
    plastic: int  # which drive is plastic
    recurrent: tuple[int, ...]  # for each drive, the row that its recurrent weights add to: another, if it is split
    state: BufferLayout  # of cell, rule and modulation
    params: BufferLayout  # of cell, rule and modulation; then the rows of `derived`
    initial_states: Any  # of cell, rule and modulation, nested as the parts nest them; not of the layer's size
    controls: tuple[str, ...]  # what is imposed on a step, numbers of an episode: buffers of their own, of one number
    activity: Format | None  # of what the units send
    forward: Program
    backward: Program
    derived: Program  # from parameters to the further rows of them that follow from them alone (see the module)
    synapses: SynapseProgram | None  # None: no connection is plastic
    columns: int | None = None  # of the inputs that the modulation sees; None: it reads none of them
    units: int = 0  # of the layer that the modulation names
    verified: dict[Any, str] = field(default_factory=dict)  # sizes -> how it differs from its parts (see `verify`)

    @property
    def signals(self) -> int:
        """How many numbers the modulation sees of the layer's inputs, and of the layer that it names."""
        return (self.columns or 0) + self.units


def slot_of(node: Node) -> Slot:
    """The row that an input node reads."""
    return node.slot[0], node.axis, node.slot[1]


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


def rebuilt(builder: GraphBuilder, roots: Sequence[Node], rebuild: Callable[[Node, Node], Node]) -> list[Node]:
    """Nodes of `builder` with some of those that they depend on replaced.

    Args:
        rebuild: what takes the place of a node, from the node and from the same with arguments that were rebuilt.
    """
    copies: dict[int, Node] = {}
    for node in ordered(roots):
        args = tuple(copies[a.index] for a in node.args)
        copies[node.index] = rebuild(node, node if args == node.args else builder.again(node, args))
    return [copies[root.index] for root in roots]


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
    """For each node, how many sums or maxima over units, one after another, precede it."""
    depth: dict[int, int] = {}
    for node in nodes:
        depth[node.index] = max((depth[a.index] for a in node.args), default=0) + (node.op in REDUCTIONS)
    return depth


def stored(program: Program) -> list[Node]:
    """The nodes that one loop over the units must store for a later loop."""
    nodes = program.nodes()
    depth = sum_depths(nodes)
    kept: dict[int, Node] = {}
    for node in nodes:
        for arg in _numeric_args(node):
            if arg.axis and arg.op != "input" and node.op not in REDUCTIONS and depth[arg.index] < depth[node.index]:
                kept[arg.index] = arg
    return [kept[i] for i in sorted(kept)]


class Loop(NamedTuple):
    """What one loop over the units does."""

    outputs: list[Output]  # that it writes
    reductions: list[Node]  # sums and maxima of what it computes
    kept: list[Node]  # stored for later loops


def loop_over(program: Program, axis: Axis, depth: int) -> Loop:
    """The loop over an axis that comes after so many reductions (`sum_depths`)."""
    nodes = program.nodes()
    depths = sum_depths(nodes)
    return Loop(
        [o for o in program.outputs if o.axis is axis and depths[o.node.index] == depth],
        [x for x in nodes if x.op in REDUCTIONS and x.args[0].axis is axis and depths[x.index] == depth + 1],
        [x for x in stored(program) if x.axis is axis and depths[x.index] == depth],
    )


def _numeric_args(node: Node) -> list[Node]:
    """A node's arguments; in place of a truth value, which is computed again, that value's own arguments."""
    found = []
    for a in node.args:
        found += _numeric_args(a) if a.is_bool else [a]
    return found
