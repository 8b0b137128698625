"""Keeps a derivative 0 where nothing asks for it, which torch, too, leaves out: 0 times an infinite derivative is NaN.

What the last step writes to a trace that nobody reads has a derivative of 0, and so has the rate that it was written
with; where that is the root of 0, the reference never computes the root's derivative, but a program computes all of its
nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

from plastic_search.network.kernels.tracing.ir import GraphBuilder, Node
from plastic_search.network.kernels.tracing.program import STATIC, rebuilt

__all__ = ["guarded"]


def guarded(builder: GraphBuilder, roots: Sequence[Node]) -> list[Node]:
    """The same derivatives, in which a cotangent of 0 gives 0 whatever it is divided by, or multiplied with.

    Args:
        roots: nodes of `builder`, linear in its inputs `d.*`. Only quotients and logarithms are taken to be infinite,
            and factors that depend on them.
    """
    asked: set[int] = set()  # the nodes that depend on a cotangent
    infinite: set[int] = set()  # those that do not, and may be infinite
    changing: set[int] = set()  # those that differ from step to step
    zero = builder.constant(0.0)

    def guard(node: Node, copy: Node) -> Node:
        if any(a.index in changing for a in node.args) or (node.op == "input" and node.slot[0] not in STATIC):
            changing.add(node.index)
        if any(a.index in asked for a in node.args) or (node.op == "input" and node.slot[0].startswith("d.")):
            asked.add(node.index)
            return _guarded(builder, node, copy, asked, infinite, changing, zero)
        if any(a.index in infinite for a in node.args) or _may_be_infinite(node, changing):
            infinite.add(node.index)
        return copy

    return rebuilt(builder, roots, guard)


def _may_be_infinite(node: Node, changing: set[int]) -> bool:
    return node.op == "log" or (node.op == "div" and node.args[1].index in changing)


def _guarded(
    builder: GraphBuilder, node: Node, copy: Node, asked: set[int], infinite: set[int], changing: set[int], zero: Node
) -> Node:
    """A node that depends on a cotangent."""
    if node.op not in ("mul", "div"):
        return copy
    one, other = (0, 1) if node.args[0].index in asked else (1, 0)
    factor = node.args[other]
    risky = node.op == "div" and factor.index in changing
    if factor.index in asked or not (risky or factor.index in infinite):
        return copy
    return builder.select(builder.binary("eq", copy.args[one], zero), zero, copy)
