"""The part of a step that is linear in the units, as a graph of lanes.

A lane is a number for every unit (`Axis.POST`), for every plastic input (`Axis.PRE`), or one number (`Axis.ONE`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["Axis", "Book", "Declined", "Lane"]


class Declined(Exception):  # noqa: N818, it is no error that a kernel declines
    """Why a kernel does not take a layer, in a few words."""


class Axis(IntEnum):
    """Over what a lane runs."""

    ONE = 0
    POST = 1
    PRE = 2


@dataclass(frozen=True, eq=False)
class Lane:
    """One operation of the graph; equal lanes are the same object, within one `Book`.

    Kinds of `op`: input (of slot `slot`), constant (its `value`), sum (over the axis of its argument), those of
    `Emitter.unary`, `Emitter.binary` and `Emitter.compare`, select, and the logical and, or, not.
    """

    op: str
    axis: Axis
    args: tuple[Lane, ...] = ()
    value: float = 0.0
    slot: tuple[str, int] = ("", 0)  # buffer, number
    index: int = 0  # in the order in which lanes were made

    @property
    def truth(self) -> bool:
        """Whether this is a truth value."""
        return self.op in ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not")


@dataclass
class Book:
    """Makes lanes, each once, and leaves out arithmetic that does nothing."""

    made: dict[tuple[object, ...], Lane] = field(default_factory=dict)

    def _lane(
        self, op: str, axis: Axis, args: tuple[Lane, ...] = (), value: float = 0.0, slot: tuple[str, int] = ("", 0)
    ) -> Lane:
        key = (op, axis, tuple(a.index for a in args), repr(value), slot)
        if key not in self.made:
            self.made[key] = Lane(op, axis, args, value, slot, len(self.made))
        return self.made[key]

    def input(self, buffer: str, number: int, axis: Axis) -> Lane:
        return self._lane("input", axis, slot=(buffer, number))

    def constant(self, value: float) -> Lane:
        return self._lane("constant", Axis.ONE, value=float(value))

    def number(self, a: Lane) -> Lane:
        """A truth value as 1 or 0; any other lane as it is."""
        return self.select(a, self.constant(1.0), self.constant(0.0)) if a.truth else a

    def truth(self, a: Lane) -> Lane:
        """Whether a number is not 0."""
        return a if a.truth else self.binary("ne", a, self.constant(0.0))

    def unary(self, op: str, a: Lane) -> Lane:
        a = self.truth(a) if op == "not" else self.number(a)
        return self._lane(op, a.axis, (a,))

    def binary(self, op: str, a: Lane, b: Lane) -> Lane:
        made = self.truth if op in ("and", "or") else self.number
        a, b = made(a), made(b)
        same = _neutral(op, a, b)
        return same if same is not None else self._lane(op, _joined(a, b), (a, b))

    def select(self, condition: Lane, a: Lane, b: Lane) -> Lane:
        condition, a, b = self.truth(condition), self.number(a), self.number(b)
        return self._lane("select", _joined(condition, a, b), (condition, a, b))

    def sum(self, a: Lane) -> Lane:
        return self._lane("sum", Axis.ONE, (self.number(a),))


def _neutral(op: str, a: Lane, b: Lane) -> Lane | None:
    """The argument that `a op b` equals, where the other one is 0 or 1."""
    for one, other, commutes in ((a, b, True), (b, a, False)):
        if other.op != "constant" or one.axis < other.axis:
            continue
        if (op == "add" or (op == "sub" and commutes)) and other.value == 0.0:
            return one
        if (op == "mul" or (op == "div" and commutes)) and other.value == 1.0:
            return one
    return None


def _joined(*lanes: Lane) -> Axis:
    axes = {lane.axis for lane in lanes} - {Axis.ONE}
    if len(axes) > 1:
        raise Declined("a value for every pair of units, beside the outer products")
    return axes.pop() if axes else Axis.ONE
