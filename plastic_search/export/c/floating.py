"""Nodes of a captured program as expressions of C, in single precision, by <math.h>."""

from __future__ import annotations

from collections.abc import Sequence

from plastic_search.export.c.text import number
from plastic_search.network.kernels.tracing.ir import Node
from plastic_search.network.kernels.tracing.program import Slot

__all__ = ["Floating"]

_CALLS = {
    "exp": "expf", "log": "logf", "sqrt": "sqrtf", "tanh": "tanhf", "sin": "sinf", "cos": "cosf", "abs": "fabsf",
    "floor": "floorf", "ceil": "ceilf", "round": "rintf", "trunc": "truncf",
}  # fmt: skip
_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
    "ne": "!=", "and": "&&", "or": "||",
}  # fmt: skip


class Floating:
    """Expressions of single precision."""

    kind = "float"

    def literal(self, node: Node) -> str | None:
        return number(node.value) if node.op == "constant" else None

    def apply(self, node: Node, args: Sequence[str]) -> str:
        if node.op in _INFIX:
            return f"{args[0]} {_INFIX[node.op]} {args[1]}"
        if node.op in _CALLS:
            return f"{_CALLS[node.op]}({args[0]})"
        match node.op:
            case "neg":
                return f"-{args[0]}"
            case "not":
                return f"!{args[0]}"
            case "sigmoid":
                return f"1.0f / (1.0f + expf(-{args[0]}))"
            case "select":
                return f"{args[0]} ? {args[1]} : {args[2]}"
        raise AssertionError(f"a node of the operation {node.op}")

    def first(self, node: Node) -> str:
        return "0.0f" if node.op == "sum" else "(-INFINITY)"

    def reduced(self, node: Node, total: str, value: str) -> str:
        if node.op == "sum":
            return f"{total} += {value};"
        return f"if ({value} > {total} || {value} != {value}) {total} = {value};"

    def written(self, node: Node, slot: Slot, value: str) -> str:
        return value
