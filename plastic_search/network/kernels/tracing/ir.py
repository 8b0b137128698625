"""Intermediate representation: a graph of scalar operations, each applied along one axis.

The value of a node is a number for every unit (`Axis.POST`), for every plastic input (`Axis.PRE`), or one number
(`Axis.ONE`). Whatever needs a value for every pair of units is no part of the graph: the outer products and the
decay of the trace are written by the backends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

__all__ = ["COMPARISONS", "Axis", "GraphBuilder", "Node", "Unsupported", "UnsupportedError"]

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


class Unsupported(NamedTuple):
    """Why a kernel cannot run a layer, in a few words."""

    reason: str


class UnsupportedError(Exception):
    """Raised while a step is captured; its text is the reason of an `Unsupported`."""


class Axis(IntEnum):
    """The axis along which a node has values."""

    ONE = 0
    POST = 1
    PRE = 2


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of the graph; equal nodes are the same object, within one `GraphBuilder`.

    Values of `op`: input (read from `slot`), constant (its `value`), sum (over the axis of its argument), those of
    `Emitter.unary`, `Emitter.binary` and `Emitter.compare`, select, and the logical and, or, not.
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
        key = (op, axis, tuple(a.index for a in args), repr(value), slot)
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
        same = _identity(op, a, b)
        return same if same is not None else self._node(op, _broadcast(a, b), (a, b))

    def select(self, condition: Node, a: Node, b: Node) -> Node:
        condition, a, b = self.as_bool(condition), self.as_number(a), self.as_number(b)
        return self._node("select", _broadcast(condition, a, b), (condition, a, b))

    def sum(self, a: Node) -> Node:
        return self._node("sum", Axis.ONE, (self.as_number(a),))


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
    axes = {node.axis for node in nodes} - {Axis.ONE}
    if len(axes) > 1:
        raise UnsupportedError("a value for every pair of units, beside the outer products")
    return axes.pop() if axes else Axis.ONE
