"""Operations of ATen that are several nodes of our graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch

from plastic_search.network.kernels.tracing.ir import GraphBuilder, Node, UnsupportedError
from plastic_search.network.kernels.tracing.program import ordered

__all__ = ["FORMULAS", "maximum", "minimum", "power"]

aten = torch.ops.aten
_FACTORS = 16  # of a power


def maximum(b: GraphBuilder, x: Node, y: Node) -> Node:
    return b.select(_or_nan(b, b.binary("lt", x, y), y), y, x)


def minimum(b: GraphBuilder, x: Node, y: Node) -> Node:
    return b.select(_or_nan(b, b.binary("gt", x, y), y), y, x)


def _or_nan(b: GraphBuilder, condition: Node, y: Node) -> Node:
    """`condition`, or that y is NaN, which constants and the limits of a trace are not."""
    if all(x.op != "input" or x.slot[0] == "limits" for x in ordered([y])):
        return condition
    return b.binary("or", condition, b.binary("ne", y, y))


def _sign(b: GraphBuilder, x: Node) -> Node:
    """-1, 0 or 1; 0 of NaN, as torch has it."""
    zero, one, minus = (b.constant(v) for v in (0.0, 1.0, -1.0))
    return b.select(b.binary("gt", x, zero), one, b.select(b.binary("lt", x, zero), minus, zero))


def power(b: GraphBuilder, x: Node, exponent: float) -> Node:
    """x ** exponent: products where that is a small whole number; if it is none, NaN of negative x, as in torch."""
    if exponent == 0:
        return b.constant(1.0)
    if exponent < 0:
        return b.binary("div", b.constant(1.0), power(b, x, -exponent))
    if exponent == 0.5:
        return b.unary("sqrt", x)
    if exponent != int(exponent):
        return b.unary("exp", b.binary("mul", b.constant(exponent), b.unary("log", x)))
    if exponent > _FACTORS:
        raise UnsupportedError(f"a power of {exponent:g}, which is more than {_FACTORS}")
    return reduce(lambda product, _: b.binary("mul", product, x), range(int(exponent) - 1), x)


def _log1p(b: GraphBuilder, x: Node) -> Node:
    """log(1 + x), corrected for what 1 + x has rounded off (Kahan)."""
    one = b.constant(1.0)
    above = b.binary("add", x, one)
    corrected = b.binary("mul", b.unary("log", above), b.binary("div", x, b.binary("sub", above, one)))
    large = b.select(b.binary("eq", above, x), b.unary("log", above), corrected)
    return b.select(b.binary("eq", above, one), x, large)


def _expm1(b: GraphBuilder, x: Node) -> Node:
    """exp(x) - 1, corrected likewise."""
    one, power = b.constant(1.0), b.unary("exp", x)
    less = b.binary("sub", power, one)
    corrected = b.binary("mul", less, b.binary("div", x, b.unary("log", power)))
    far = b.binary("or", b.binary("eq", less, power), b.binary("eq", less, b.constant(-1.0)))
    return b.select(b.binary("eq", power, one), x, b.select(far, less, corrected))


FORMULAS: dict[Any, Callable[..., Node]] = {
    aten.where: GraphBuilder.select, aten.maximum: maximum, aten.minimum: minimum, aten.sign: _sign,
    aten.relu: lambda b, x: maximum(b, x, b.constant(0.0)), aten.reciprocal: lambda b, x: power(b, x, -1),
    aten.log1p: _log1p, aten.expm1: _expm1, aten.rsqrt: lambda b, x: power(b, x, -0.5),
}  # fmt: skip
