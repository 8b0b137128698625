"""Divides a captured step into what is computed once for a unit and what is computed for every synapse.

A node belongs to the synapses if it has a value for each of them. What they read of the units becomes rows, which the
unit program writes; what they add up becomes inputs of the unit program's derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from plastic_search.network.kernels.tracing.ir import Axis, GraphBuilder, Node, UnsupportedError
from plastic_search.network.kernels.tracing.program import STATIC, Output, Program, ordered

__all__ = ["Divided", "divided"]


class Divided(NamedTuple):
    """The programs of a step."""

    derived: Program
    forward: Program
    backward: Program
    synapses_forward: Program
    synapses_backward: Program
    read: Program
    read_backward: Program


def divided(
    derived: Sequence[Output], forward: Sequence[Output], backward: Sequence[Output], read: Sequence[Output] = (),
    read_backward: Sequence[Output] = (),
) -> Divided:  # fmt: skip
    """The programs of units and of synapses, from the outputs of a step and of its derivative.

    Args:
        derived: rows that follow from parameters alone, of no synapse.
        read, read_backward: the trace as it is read, and the derivative of that: of synapses alone.

    Raises:
        UnsupportedError: something at a synapse waits for a sum over synapses, or something of a unit for such a sum
            within the step.
    """
    return _Division().divided(derived, forward, backward, read, read_backward)


class _Copy:
    """Copies nodes to a builder, with some replaced."""

    def __init__(self, builder: GraphBuilder, replace: Callable[[Node], Node | None]) -> None:
        self.builder, self.replace = builder, replace
        self.copies: dict[int, Node] = {}

    def __call__(self, root: Node) -> Node:
        stack = [root]
        while stack:
            node = stack[-1]
            copy = self.copies.get(node.index) or self.replace(node)
            if copy is None:
                missing = [a for a in node.args if a.index not in self.copies]
                if missing:
                    stack += missing
                    continue
                copy = self.builder.again(node, tuple(self.copies[a.index] for a in node.args))
            self.copies[node.index] = copy
            stack.pop()
        return self.copies[root.index]


class _Division:
    def __init__(self) -> None:
        units, self.synapses = GraphBuilder(), GraphBuilder()
        self.units = units
        self.of_unit = _Copy(units, self._sum)
        self.of_synapse = _Copy(self.synapses, self._row)
        self.rows: list[Output] = []  # what the synapses read of the units
        self.sums: list[Output] = []  # what they add up
        self.counts = {"row": dict.fromkeys(Axis, 0), "sum": dict.fromkeys(Axis, 0)}

    def divided(
        self, derived: Sequence[Output], forward: Sequence[Output], backward: Sequence[Output],
        read: Sequence[Output], read_backward: Sequence[Output],
    ) -> Divided:  # fmt: skip
        once = self._copied(derived, of_synapses=False)
        results = self._copied(forward, of_synapses=False)
        if self.sums:
            raise UnsupportedError("a sum over synapses within the step")
        traces = self._copied(forward, of_synapses=True)
        grads = self._copied(backward, of_synapses=False)
        d_traces = self._copied(backward, of_synapses=True)
        done: list[Output] = []
        while len(done) < len(self.sums):  # a sum may read rows, which may not be sums again
            output = self.sums[len(done)]
            done.append(output._replace(node=self.of_synapse(output.node)))
        return Divided(
            Program(tuple(once)), Program((*results, *self.rows)), Program(tuple(grads)), Program(tuple(traces)),
            Program((*d_traces, *done)), *(Program(tuple(self._copied(o, True))) for o in (read, read_backward)),
        )  # fmt: skip

    def _copied(self, outputs: Sequence[Output], of_synapses: bool) -> list[Output]:
        copy = self.of_synapse if of_synapses else self.of_unit
        return [o._replace(node=copy(o.node)) for o in outputs if (o.axis is Axis.PAIR) is of_synapses]

    def _sum(self, node: Node) -> Node | None:
        """In place of a sum over synapses, an input of the units."""
        if node.axis is Axis.PAIR:
            raise UnsupportedError("something of a unit that has a value for every synapse")
        if node.op == "max" and node.args[0].axis is Axis.PAIR:
            raise UnsupportedError("a largest value over synapses")
        if node.op != "sum":
            return None
        over = node.args[0]
        if over.op == "sum" and over.args[0].axis is Axis.PAIR:  # over all synapses
            over = over.args[0]
        if over.axis is not Axis.PAIR:
            return None
        return self._next("sum", node.axis, self.units, self.sums, over)

    def _row(self, node: Node) -> Node | None:
        """In place of a value of a unit, an input of the synapses."""
        if node.axis is Axis.PAIR or node.op == "constant":
            return None
        if node.op == "input":
            return self.synapses.input(*node.slot, node.axis)
        if node.axis is Axis.ONE and all(x.op != "input" or x.slot[0] in STATIC for x in ordered([node])):
            return None
        number = self.units.as_number(self.of_unit(node))
        if any(x.slot[0] == "sum" for x in ordered([number])):
            raise UnsupportedError("something at a synapse that waits for a sum over synapses")
        row = self._next("row", node.axis, self.synapses, self.rows, number)
        return self.synapses.as_bool(row) if node.is_bool else row

    def _next(self, buffer: str, axis: Axis, reader: GraphBuilder, outputs: list[Output], node: Node) -> Node:
        """An input of one program, which is the next output of the other."""
        number = self.counts[buffer][axis]
        self.counts[buffer][axis] += 1
        outputs.append(Output(buffer, axis, number, node))
        return reader.input(buffer, number, axis)
