"""What happens at a synapse, in integers of 16 bits and their products of 32, with the trace counted in its levels.

A program of synapses divides by the distance between two levels, and rounds. Here that division is carried inwards, to
the numbers of units where it costs least, until it meets the trace, of which it leaves the integer that is stored. So a
trace to which nothing is added is exactly itself, and what is added has a fraction of a level in the remaining bits.
"""

from __future__ import annotations

import math
from typing import Any

from plastic_search.export.c.fixed import Fixed, Form, Primitives, whole
from plastic_search.network.kernels.tracing.ir import Axis, GraphBuilder, Node
from plastic_search.network.kernels.tracing.program import Slot

__all__ = ["CODE", "Levels", "Products"]

CODE: Slot = ("code", Axis.PAIR, 0)  # the integer that is stored of a trace
_HALF = 14  # bits of what is multiplied, its sign and one more not counted
_SHORT = ("pre", "eligibility")  # inputs of 16 bits
_COST = {Axis.ONE: 0, Axis.POST: 1, Axis.PRE: 2, Axis.PAIR: 3}  # where a multiplication is cheapest


class Levels:
    """Rewrites nodes of a captured program in a builder of its own.

    Args:
        fixed: knows which nodes of the program are always the same number.
        products: in which the nodes that it writes are computed.
        fine: the number that the integer of a stored trace is multiplied by.
    """

    def __init__(self, fixed: Fixed, products: Products, fine: float) -> None:
        self.fixed, self.products, self.fine, self.builder = fixed, products, fine, GraphBuilder()
        self.known: dict[tuple[Node, float], Node] = {}

    def times(self, node: Node, factor: float = 1.0) -> Node:
        """A node times a number."""
        factor = _near_power(factor)
        if (node, factor) not in self.known:
            self.known[node, factor] = self._times(node, factor)
        return self.known[node, factor]

    def _times(self, node: Node, factor: float) -> Node:
        build, constant = self.builder, self._constant(node)
        if constant is not None:
            return build.constant(constant * factor)
        match node.op:
            case "input":
                return self._scaled(self._input(node), factor * (self.fine if node.slot[0] == "trace" else 1.0))
            case "add" | "sub":
                return build.binary(node.op, *(self.times(a, factor) for a in node.args))
            case "neg":
                return build.unary("neg", self.times(node.args[0], factor))
            case "mul" | "div":
                return self._product(node, factor)
            case "select":
                return self._chosen(node, factor)
        return self._scaled(build.again(node, tuple(self.times(a) for a in node.args)), factor)

    def _constant(self, node: Node) -> float | None:
        found = None if node.is_bool else self.fixed.of(node)
        return found if isinstance(found, float) else None

    def _scaled(self, node: Node, factor: float) -> Node:
        factor = _near_power(factor)
        return node if factor == 1.0 else self.builder.binary("mul", node, self.builder.constant(factor))

    def _input(self, node: Node) -> Node:
        match node.slot[0]:
            case "trace":
                return self.builder.input(CODE[0], CODE[2], CODE[1])
            case "phases":  # whose fraction alone is used: that of a unit, and that of a column
                rows = (self.builder.input("phase", 0, axis) for axis in (Axis.POST, Axis.PRE))
                return self.builder.binary("add", *rows)
        return self.builder.input(*node.slot, node.axis)

    def _product(self, node: Node, factor: float) -> Node:
        a, b = node.args
        constants = self._constant(a), self._constant(b)
        if node.op == "div":
            if constants[1]:
                return self.times(a, factor / constants[1])
            return self.builder.binary("div", self.times(a, factor), self.times(b))
        for constant, other in zip(constants, (b, a), strict=True):
            if constant is not None:
                return self.times(other, factor * constant)
        first, second = sorted((a, b), key=lambda x: _COST[x.axis])
        if first.axis is Axis.PAIR:
            return self._scaled(self.builder.binary("mul", self.times(a), self.times(b)), factor)
        x, y = self.times(first, factor), self.times(second)
        if x.axis & Axis.PRE or not y.axis & Axis.PRE or not self.products.narrowed(x)[0]:
            return self.builder.binary("mul", x, y)
        excess = self.builder.again(Node("excess", x.axis), (x,))
        return self.builder.again(Node("row times", Axis(x.axis | y.axis)), (x, y, excess))

    def _chosen(self, node: Node, factor: float) -> Node:
        condition, a, b = node.args
        bound = self._constant(a)
        clips = condition.op in ("lt", "gt") and condition.args[0] is b and factor > 0
        if clips and bound is not None and self._constant(condition.args[1]) == bound:
            x = self.times(b, factor)
            kind = "atleast" if condition.op == "lt" else "atmost"
            return self.builder.again(Node(kind, x.axis, value=bound * factor), (x,))
        return self.builder.select(self.times(condition), self.times(a, factor), self.times(b, factor))


class Products(Fixed):
    """Nodes of synapses that `Levels` wrote: products of 16 bits where there is one for each, else of 32."""

    def form(self, node: Node) -> Form:
        found = self.of(node)
        return found if isinstance(found, Form) else _fit(abs(found), _HALF)

    def literal(self, node: Node) -> int | None:
        found = self.of(node)
        return None if isinstance(found, Form) or node.is_bool else whole(found, self.form(node))

    def bounds(self, node: Node) -> tuple[float, float]:
        """The least and the largest that a node can be."""
        if node.op in ("atleast", "atmost"):
            choose = max if node.op == "atleast" else min
            low, high = (choose(bound, node.value) for bound in self.bounds(node.args[0]))
            return low, high
        if node.op in ("floor", "ceil", "round", "trunc"):
            low, high = self.bounds(node.args[0])
            return math.floor(low), math.ceil(high)
        return -self.form(node).largest, self.form(node).largest

    def _power(self, node: Node) -> int | None:
        """The exponent of a constant factor that is a power of two."""
        factor = self.of(node.args[1])
        if isinstance(factor, Form) or factor <= 0 or math.frexp(factor)[0] != 0.5:
            return None
        return math.frexp(factor)[1] - 1

    def narrowed(self, node: Node) -> tuple[int, int]:
        """By how many bits what is multiplied is shifted, if it is as large as can be, and how many are then left."""
        form = self.form(node)
        if form.largest == 0 or (node.op == "input" and node.slot[0] in _SHORT):
            return 0, form.fraction
        drop = max(math.ceil(math.log2(form.largest)) + form.fraction - _HALF, 0)
        return drop, form.fraction - drop

    def _form(self, node: Node) -> Form:
        forms = [self.form(a) for a in node.args if not a.is_bool]
        match node.op:
            case "mul":
                largest, power = forms[0].largest * forms[1].largest, self._power(node)
                if power is not None:
                    return Form(forms[0].fraction - power, largest)
                return self._multiplied(node, largest) if node.axis & Axis.PRE else _fit(largest)
            case "row times":
                return self._multiplied(node, forms[0].largest * forms[1].largest)
            case "excess":
                return Form(0, 32.0)
            case "add" | "sub":
                most = _fit(forms[0].largest + forms[1].largest)
                return most._replace(fraction=min(most.fraction, max(form.fraction for form in forms)))
            case "neg" | "abs":
                return forms[0]
            case "atleast" | "atmost":
                return Form(forms[0].fraction, max(map(abs, self.bounds(node))))
            case "floor" | "ceil" | "round" | "trunc":
                return Form(0, max(map(abs, self.bounds(node))))
        return super()._form(node)

    def _multiplied(self, node: Node, largest: float) -> Form:
        return Form(min(sum(self.narrowed(a)[1] for a in node.args[:2]), 30), largest)

    def computed(self, p: Primitives, node: Node, args: list[Any]) -> Any:
        out, forms = self.form(node), [self.form(a) for a in node.args]
        match node.op:
            case "mul" if self._power(node) is not None:
                return args[0]
            case "mul" if node.axis & Axis.PRE:
                found = [self.narrowed(a) for a in node.args]
                a, b = (p.short(p.nearest(x, drop)) for x, (drop, _) in zip(args, found, strict=True))
                return p.nearest(p.product(a, b), sum(fraction for _, fraction in found) - out.fraction)
            case "excess":
                return p.excess(args[0])
            case "row times":
                (row, first), (drop, second) = (self.narrowed(a) for a in node.args[:2])
                product = p.product(p.short(p.down(args[0], args[2])), p.short(p.nearest(args[1], drop)))
                return p.nearest_down(product, p.sub(p.literal(row + first + second - out.fraction), args[2]))
            case "add" | "sub":
                a, b = (p.shift(x, out.fraction - form.fraction) for x, form in zip(args, forms, strict=True))
                return p.add(a, b) if node.op == "add" else p.sub(a, b)
            case "atleast":
                return p.atleast(args[0], p.literal(whole(node.value, forms[0])))
            case "atmost":
                return p.atmost(args[0], p.literal(whole(node.value, forms[0])))
        return super().computed(p, node, args)


def _near_power(factor: float) -> float:
    """The power of two that a number is but for the rounding of floats; else the number."""
    power = 2.0 ** round(math.log2(factor)) if factor > 0 else 0.0
    return power if math.isclose(factor, power, rel_tol=1e-6) else factor


def _fit(largest: float, bits: int = 30) -> Form:
    """The form of most fraction bits, at most 30, in so many bits but for a sign and one that stays free."""
    above = math.ceil(math.log2(largest)) if largest > 0 else -30
    return Form(min(30, bits - above), largest)
