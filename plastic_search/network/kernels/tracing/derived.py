"""What of a step follows from parameters alone, and so is computed once a sequence instead of at every step.

Such as 1 / tau, which is a sigmoid of a trained number (`cells/_ranges.py`): it becomes one more row of the parameters,
which a program of its own fills in. The derivative is still that of the stored numbers; the factor by which it differs
from that of 1 / tau is such a row, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import NamedTuple

from plastic_search.network.kernels.tracing.ir import REDUCTIONS, Axis, GraphBuilder, Node
from plastic_search.network.kernels.tracing.program import BufferLayout, Output, ordered, rebuilt

__all__ = ["Derived", "derived"]

_COSTLY = {"div", "exp", "log", "sqrt", "tanh", "sigmoid", "sin", "cos", *REDUCTIONS}  # cheaper to load than to compute
_FIXED = ("params", "lengths")  # buffers


class Derived(NamedTuple):
    """A step and its derivative, which read further rows of the parameters."""

    rows: list[Output]
    forward: list[Output]
    backward: list[Output]
    params: BufferLayout  # with room for the rows


class _Alone(NamedTuple):
    """Nodes that depend on parameters, lengths and constants alone, by index."""

    fixed: set[int]
    of_params: set[int]  # those of them that depend on parameters,
    costly: set[int]  # ... by costly operations


def derived(
    builder: GraphBuilder, forward: Sequence[Output], backward: Sequence[Output], params: BufferLayout
) -> Derived:
    """Divide a step and its derivative from what their parameters alone decide.

    Args:
        forward, backward: outputs whose nodes are of `builder`.
        params: how the parameters lie in their buffer.
    """
    outputs = _with([*forward, *backward], _multiplied(builder, [o.node for o in (*forward, *backward)]))
    alone = _alone([o.node for o in outputs])
    nodes = [_regrouped(builder, o.node, alone) if o.buffer == "params" else o.node for o in outputs]
    outputs, chosen, counts, rows = _with(outputs, nodes), _chosen(nodes), list(params.counts), []

    def row(node: Node, copy: Node) -> Node:
        if node.index not in chosen:
            return copy
        counts[node.axis] += 1
        rows.append(Output("derived", node.axis, counts[node.axis] - 1, node))
        return builder.input("params", rows[-1].number, node.axis)

    outputs = _with(outputs, rebuilt(builder, nodes, row))
    layout = params._replace(counts=(counts[0], counts[1], counts[2]))
    return Derived(rows, outputs[: len(forward)], outputs[len(forward) :], layout)


def _with(outputs: Sequence[Output], nodes: Sequence[Node]) -> list[Output]:
    return [o._replace(node=node) for o, node in zip(outputs, nodes, strict=True)]


def _alone(roots: Sequence[Node]) -> _Alone:
    fixed: set[int] = set()
    of_params: set[int] = set()
    costly: set[int] = set()
    for node in ordered(roots):
        inner = {a.index for a in node.args}
        if node.axis is Axis.PAIR or not inner <= fixed or (node.op == "input" and node.slot[0] not in _FIXED):
            continue
        fixed.add(node.index)
        if inner & of_params or node.slot[0] == "params":
            of_params.add(node.index)
            if inner & costly or node.op in _COSTLY:
                costly.add(node.index)
    return _Alone(fixed, of_params, costly)


def _multiplied(builder: GraphBuilder, roots: Sequence[Node]) -> list[Node]:
    """The same nodes, which multiply by the reciprocal of what parameters decide instead of dividing by it."""
    alone = _alone(roots)

    def product(node: Node, copy: Node) -> Node:
        if node.op != "div" or node.index in alone.fixed or node.args[1].index not in alone.of_params:
            return copy
        dividend, divisor = copy.args
        return builder.binary("mul", dividend, builder.binary("div", builder.constant(1.0), divisor))

    return rebuilt(builder, roots, product)


def _regrouped(builder: GraphBuilder, node: Node, alone: _Alone) -> Node:
    """A product with all its factors that parameters alone decide as a single one."""
    rest, factors = node, []
    while rest.op in ("neg", "mul", "div"):
        if rest.op == "neg":
            factors.append(builder.constant(-1.0))
            rest = rest.args[0]
        elif rest.args[-1].index in alone.fixed:
            factor = rest.args[1]
            factors.append(factor if rest.op == "mul" else builder.binary("div", builder.constant(1.0), factor))
            rest = rest.args[0]
        elif rest.op == "mul" and rest.args[0].index in alone.fixed:
            factors.append(rest.args[0])
            rest = rest.args[1]
        else:
            break
    if not any(factor.index in alone.costly for factor in factors):
        return node
    return builder.binary("mul", rest, reduce(partial(builder.binary, "mul"), factors))


def _chosen(roots: Sequence[Node]) -> set[int]:
    """The largest nodes that parameters alone decide and that are costly; of truth values, what these depend on."""
    alone, read, chosen = _alone(roots), {root.index for root in roots}, set()
    for node in reversed(ordered(roots)):
        if node.index not in read:
            continue
        if node.index in alone.costly and not node.is_bool:
            chosen.add(node.index)
        else:
            read |= {a.index for a in node.args}
    return chosen
