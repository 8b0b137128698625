"""Nodes of a captured program in fixed point: integers of 32 bits, each node with its own number of fraction bits.

What an operation computes is written once, in `computed`, over a few primitives; those are text of C in one case, and
NumPy's integers of 64 bits in the other, the golden model. How large a node can become follows from its arguments, and
decides how many bits of it are a fraction. What could become larger than `LARGEST` is clipped there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.kernels.tracing.ir import COMPARISONS, REDUCTIONS, Axis, Node
from plastic_search.network.kernels.tracing.program import Slot, slot_of

__all__ = ["CURVE", "LARGEST", "Fixed", "Form", "Primitives", "fitted", "whole"]

LARGEST = 2.0**15
CURVE = [min(round(math.tanh(k / 32) * 2**15), 2**15) for k in range(257)]  # tanh from 0 to 8, in 2^-15


class Form(NamedTuple):
    """How a number is held: value = integer * 2^-fraction, at most `largest` in size."""

    fraction: int
    largest: float


def fitted(largest: float, bits: int = 32) -> Form:
    """The form of most fraction bits for numbers of a size; a quarter of the range of the integers stays free."""
    largest = min(largest, LARGEST)
    above = math.ceil(math.log2(largest)) if largest > 0 else -30
    return Form(min(30, bits - 2 - above), largest)


def whole(value: float, form: Form) -> int:
    """The integer that holds a number."""
    return round(value * 2.0**form.fraction)


class Primitives(Protocol):
    """What integers can do; `Any` is text, or an array."""

    def literal(self, value: int) -> Any: ...
    def add(self, a: Any, b: Any) -> Any: ...
    def sub(self, a: Any, b: Any) -> Any: ...
    def shift(self, a: Any, bits: int) -> Any:
        """a * 2^bits, rounded down."""
        ...

    def mul(self, a: Any, b: Any, bits: int) -> Any:
        """a * b * 2^-bits, rounded to nearest, clipped to +-2^30."""
        ...

    def short(self, a: Any) -> Any:
        """An integer that fits in 16 bits, as one of 16 bits."""
        ...

    def product(self, a: Any, b: Any) -> Any:
        """a * b, of integers of 16 bits."""
        ...

    def nearest(self, a: Any, bits: int) -> Any:
        """a * 2^-bits, rounded to nearest, halves up."""
        ...

    def excess(self, a: Any) -> Any:
        """By how many bits an integer is too large for 15 bits with a sign."""
        ...

    def down(self, a: Any, bits: Any) -> Any:
        """a * 2^-bits, rounded down."""
        ...

    def nearest_down(self, a: Any, bits: Any) -> Any:
        """a * 2^-bits, rounded to nearest, halves up; 0 bits or more."""
        ...

    def atleast(self, a: Any, b: Any) -> Any: ...
    def atmost(self, a: Any, b: Any) -> Any: ...
    def clip(self, a: Any, most: int) -> Any: ...
    def compare(self, op: str, a: Any, left: int, b: Any, right: int) -> Any:
        """Compare a * 2^left with b * 2^right."""
        ...

    def logic(self, op: str, *args: Any) -> Any: ...
    def select(self, condition: Any, a: Any, b: Any) -> Any: ...
    def even(self, a: Any, bits: int) -> Any:
        """a * 2^-bits, rounded to nearest, halves to even."""
        ...

    def curve(self, a: Any, bits: int) -> Any:
        """tanh of a * 2^-bits, in 2^-15."""
        ...


class Fixed:
    """The forms of the nodes of one program, and what they compute.

    Args:
        inputs: of a slot, its form, or the number that it always is.
        counts: lengths of the axes.
    """

    def __init__(self, inputs: Callable[[Slot], Form | float], counts: dict[Axis, int]) -> None:
        self.inputs, self.counts = inputs, counts
        self.known: dict[Node, Form | float] = {}

    def of(self, node: Node) -> Form | float:
        """The form of a node, or the number that it always is."""
        if node not in self.known:
            self.known[node] = self._constant(node) if self._is_constant(node) else self._form(node)
        return self.known[node]

    def form(self, node: Node) -> Form:
        """The form of a node, one of a constant included."""
        found = self.of(node)
        return found if isinstance(found, Form) else fitted(abs(found))

    def literal(self, node: Node) -> int | None:
        """The integer of a constant; None of what changes."""
        found = self.of(node)
        return None if isinstance(found, Form) or node.is_bool else whole(found, fitted(abs(found)))

    def _is_constant(self, node: Node) -> bool:
        if node.op in ("constant", "input"):
            return node.op == "constant" or not isinstance(self.inputs(slot_of(node)), Form)
        plain = node.op in ("add", "sub", "mul", "div", "neg")
        return plain and not any(isinstance(self.of(a), Form) for a in node.args)

    def _constant(self, node: Node) -> float:
        if node.op == "input":
            return float(self.inputs(slot_of(node)))  # pyright: ignore[reportArgumentType]
        if node.op == "constant":
            return node.value
        a, *b = (float(self.of(x)) for x in node.args)  # pyright: ignore[reportArgumentType]
        if node.op == "neg":
            return -a
        return {"add": a + b[0], "sub": a - b[0], "mul": a * b[0], "div": a / b[0] if b[0] else math.inf}[node.op]

    def _form(self, node: Node) -> Form:
        if node.op == "input":
            found = self.inputs(slot_of(node))
            assert isinstance(found, Form)
            return found
        sizes = [self.form(a).largest for a in node.args if not a.is_bool]
        match node.op:
            case "add" | "sub":
                return fitted(sizes[0] + sizes[1])
            case "mul":
                return fitted(sizes[0] * sizes[1])
            case "div":
                divisor = self.of(node.args[1])
                if isinstance(divisor, Form) or divisor == 0:
                    raise PlasticSearchError("it divides by a number that changes, which integers here cannot")
                return fitted(sizes[0] / abs(divisor))
            case "neg" | "abs" | "max":
                return fitted(sizes[0])
            case "floor" | "ceil" | "round" | "trunc":
                return fitted(sizes[0] + 1)
            case "tanh" | "sigmoid":
                return fitted(1.0)
            case "select":
                return fitted(max(sizes))
            case "sum":
                over = [axis for axis in (Axis.POST, Axis.PRE) if node.args[0].axis & axis & ~node.axis]
                total = sizes[0] * math.prod(self.counts[axis] for axis in over)
                if total >= 2 * LARGEST:  # the quarter of the range that stays free is used up
                    raise PlasticSearchError(f"a sum in it may reach {total:.3g}, and integers here hold {LARGEST:g}")
                return fitted(total)
        if node.is_bool:
            return Form(0, 1.0)
        raise PlasticSearchError(f"it uses {node.op}, for which integers here have no table")

    def computed(self, p: Primitives, node: Node, args: list[Any]) -> Any:
        """A node of its arguments."""
        out, forms = self.form(node), [self.form(a) for a in node.args]
        to = [out.fraction - form.fraction for form in forms]
        if node.op in COMPARISONS:
            most = max(form.fraction for form in forms)
            left, right = (most - form.fraction for form in forms)
            return p.compare(node.op, args[0], left, args[1], right)
        match node.op:
            case "and" | "or" | "not":
                return p.logic(node.op, *args)
            case "add" | "sub":
                a, b = (p.shift(x, n) for x, n in zip(args, to, strict=True))
                both = p.add(a, b) if node.op == "add" else p.sub(a, b)
                return both if out.largest < LARGEST else p.clip(both, 2**30)
            case "mul":
                return p.mul(args[0], args[1], forms[0].fraction + forms[1].fraction - out.fraction)
            case "div":
                inverse = 1.0 / float(self.of(node.args[1]))  # pyright: ignore[reportArgumentType]
                form = fitted(abs(inverse))
                factor = p.literal(whole(inverse, form))
                return p.mul(args[0], factor, forms[0].fraction + form.fraction - out.fraction)
            case "select":
                return p.select(args[0], p.shift(args[1], to[1]), p.shift(args[2], to[2]))
        return self._of_one(p, node.op, args[0], forms[0].fraction, out.fraction)

    def _of_one(self, p: Primitives, op: str, a: Any, fraction: int, out: int) -> Any:
        """The operations of one argument."""
        zero = p.literal(0)
        negative = p.compare("lt", a, 0, zero, 0)
        minus = p.sub(zero, a)
        match op:
            case "neg":
                return p.shift(minus, out - fraction)
            case "abs":
                return p.shift(p.select(negative, minus, a), out - fraction)
            case "floor":
                return p.shift(p.shift(a, -fraction), out)
            case "ceil":
                return p.shift(p.sub(zero, p.shift(minus, -fraction)), out)
            case "trunc":
                up = p.sub(zero, p.shift(minus, -fraction))
                return p.shift(p.select(negative, up, p.shift(a, -fraction)), out)
            case "round":
                return p.shift(p.even(a, fraction), out)
            case "tanh":
                return p.shift(p.curve(a, fraction), out - 15)
            case "sigmoid":
                return p.shift(p.add(p.curve(a, fraction + 1), p.literal(2**15)), out - 16)
        assert op in REDUCTIONS
        return a
