"""Intermediate representation: a graph of scalar operations, each applied along its axes.

The value of a node is a number for every unit (`Axis.POST`), for every plastic input (`Axis.PRE`), for every synapse,
which is a pair of the two (`Axis.PAIR`), or one number (`Axis.ONE`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from functools import reduce
from operator import or_
from typing import NamedTuple

__all__ = ["COMPARISONS", "REDUCTIONS", "Axis", "GraphBuilder", "Node", "Unsupported", "UnsupportedError"]

REDUCTIONS = ("sum", "max")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


class Unsupported(NamedTuple):
    """Why a kernel cannot run a layer, in a few words."""

    reason: str


class UnsupportedError(Exception):
    """Raised while a step is captured; its text is the reason of an `Unsupported`."""


class Axis(IntEnum):
    """The axes along which a node has values; a union of axes is their bitwise or."""

    ONE = 0
    POST = 1
    PRE = 2
    PAIR = 3


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of the graph; equal nodes are the same object, within one `GraphBuilder`.

    Values of `op`: input (read from `slot`), constant (its `value`), sum and max (over the axes of its argument that it
    lacks itself), the arithmetic add, sub, mul, div, neg, the functions exp, log, sqrt, tanh, sigmoid, sin, cos, abs,
    floor, ceil, round, trunc, the comparisons, select, and the logical and, or, not.
    """

    op: str
    axis: Axis
    args: tuple[Node, ...] = ()
    value: float = 0.0
    slot: tuple[str, int] = ("", 0)  # buffer, row
    index: int = 0  # in order of creation, which is a topological order

    @property
    def is_bool(self) -> bool:
        """Whether the value is a truth value."""
        return self.op in (*COMPARISONS, "and", "or", "not")


@dataclass
class GraphBuilder:
    """Creates nodes without duplicates, and leaves out additions of 0 and multiplications by 1."""

    nodes: dict[tuple[object, ...], Node] = field(default_factory=dict)

    def _node(
        self, op: str, axis: Axis, args: tuple[Node, ...] = (), value: float = 0.0, slot: tuple[str, int] = ("", 0)
    ) -> Node:
        key = _key(op, axis, args, value, slot)
        if key not in self.nodes:
            self.nodes[key] = Node(op, axis, args, value, slot, len(self.nodes))
        return self.nodes[key]

    def input(self, buffer: str, row: int, axis: Axis) -> Node:
        return self._node("input", axis, slot=(buffer, row))

    def constant(self, value: float) -> Node:
        if value == 0.0 and math.copysign(1.0, value) < 0.0:  # which a dict of constants takes for 0.0
            return self.unary("neg", self.constant(0.0))
        if math.isnan(value):
            raise UnsupportedError("a constant that is NaN")
        return self._node("constant", Axis.ONE, value=float(value))

    def as_number(self, a: Node) -> Node:
        """A truth value as 1 or 0; any other node unchanged."""
        return self.select(a, self.constant(1.0), self.constant(0.0)) if a.is_bool else a

    def as_bool(self, a: Node) -> Node:
        """Whether a number differs from 0; a truth value unchanged."""
        return a if a.is_bool else self.binary("ne", a, self.constant(0.0))

    def unary(self, op: str, a: Node) -> Node:
        a = self.as_bool(a) if op == "not" else self.as_number(a)
        return self._node(op, a.axis, (a,))

    def binary(self, op: str, a: Node, b: Node) -> Node:
        convert = self.as_bool if op in ("and", "or") else self.as_number
        a, b = convert(a), convert(b)
        same = self._within(a, b) if op == "and" else _identity(op, a, b)
        return same if same is not None else self._node(op, _broadcast(a, b), (a, b))

    def _within(self, a: Node, b: Node) -> Node | None:
        """low <= x and x <= high, the derivative of a clamp, as clamp(x) = x, since the clamp is computed anyway."""
        if (a.op, b.op) != ("ge", "le") or a.args[0] is not b.args[0]:
            return None
        (x, low), high = a.args, b.args[1]
        if low.op == high.op == "constant" and low.value > high.value:
            return None
        raised = self._known("select", self._known("lt", x, low), low, x)
        clamped = self._known("select", self._known("gt", raised, high), high, raised)
        return None if clamped is None else self.binary("eq", clamped, x)

    def _known(self, op: str, *args: Node | None) -> Node | None:
        """A node that was created before."""
        found = [a for a in args if a is not None]
        return self.nodes.get(_key(op, _broadcast(*found), tuple(found))) if len(found) == len(args) else None

    def select(self, condition: Node, a: Node, b: Node) -> Node:
        condition, a, b = self.as_bool(condition), self.as_number(a), self.as_number(b)
        return self._node("select", _broadcast(condition, a, b), (condition, a, b))

    def sum(self, a: Node, over: Axis) -> Node:
        return self._node("sum", Axis(a.axis & ~over), (self.as_number(a),))

    def max(self, a: Node, over: Axis) -> Node:
        if not a.axis & over:
            return a
        return self._node("max", Axis(a.axis & ~over), (self.as_number(a),))

    def again(self, node: Node, args: tuple[Node, ...]) -> Node:
        """A node of another builder, with arguments of this one."""
        return self._node(node.op, node.axis, args, node.value, node.slot)


def _identity(op: str, a: Node, b: Node) -> Node | None:
    """The argument that `a op b` equals, where the other one is 0 or 1."""
    for one, other, right in ((a, b, True), (b, a, False)):
        if other.op != "constant" or one.axis < other.axis:
            continue
        if (op == "add" or (op == "sub" and right)) and other.value == 0.0:
            return one
        if (op == "mul" or (op == "div" and right)) and other.value == 1.0:
            return one
    return None


def _broadcast(*nodes: Node) -> Axis:
    return Axis(reduce(or_, (node.axis for node in nodes)))


def _key(
    op: str, axis: Axis, args: tuple[Node, ...], value: float = 0.0, slot: tuple[str, int] = ("", 0)
) -> tuple[object, ...]:
    """What nodes must have in common to be one."""
    return op, axis, tuple(a.index for a in args), repr(value), slot
