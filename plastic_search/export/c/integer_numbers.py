"""Fixed point as expressions of C: the primitives as text, and what writes programs of units in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from plastic_search.export.c.fixed import CURVE, Fixed, Form
from plastic_search.export.c.text import FILES, Constants
from plastic_search.network.kernels.tracing.ir import Node
from plastic_search.network.kernels.tracing.program import Slot

__all__ = ["IntegerNumbers", "Text", "helpers", "moved"]

_SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


class Text:
    """`fixed.Primitives` as text."""

    def literal(self, value: int) -> Any:
        return f"({int(value)})" if value < 0 else str(int(value))

    def add(self, a: Any, b: Any) -> Any:
        return f"({a} + {b})"

    def sub(self, a: Any, b: Any) -> Any:
        return f"({a} - {b})"

    def shift(self, a: Any, bits: int) -> Any:
        if bits == 0:
            return a
        return f"({a} * {2**bits})" if bits > 0 else f"({a} >> {min(-bits, 31)})"

    def mul(self, a: Any, b: Any, bits: int) -> Any:
        return f"scaled({a}, {b}, {bits})"

    def short(self, a: Any) -> Any:
        return f"(int16_t){a}"

    def product(self, a: Any, b: Any) -> Any:
        return f"({a} * {b})"

    def nearest(self, a: Any, bits: int) -> Any:
        return f"(({a} + {1 << (bits - 1)}) >> {bits})" if bits > 0 else self.shift(a, -bits)

    def excess(self, a: Any) -> Any:
        return f"excess({a})"

    def down(self, a: Any, bits: Any) -> Any:
        return f"({a} >> {bits})"

    def nearest_down(self, a: Any, bits: Any) -> Any:
        return f"(({a} + ((1 << {bits}) >> 1)) >> {bits})"

    def atleast(self, a: Any, b: Any) -> Any:
        return f"({a} < {b} ? {b} : {a})"

    def atmost(self, a: Any, b: Any) -> Any:
        return f"({a} > {b} ? {b} : {a})"

    def clip(self, a: Any, most: int) -> Any:
        return f"clipped({a}, {most})"

    def compare(self, op: str, a: Any, left: int, b: Any, right: int) -> Any:
        a, b = (f"(int64_t){x} * {2**n}" if n else x for x, n in ((a, left), (b, right)))
        return f"({a} {_SIGNS[op]} {b})"

    def logic(self, op: str, *args: Any) -> Any:
        return f"(!{args[0]})" if op == "not" else f"({args[0]} {'&&' if op == 'and' else '||'} {args[1]})"

    def select(self, condition: Any, a: Any, b: Any) -> Any:
        return f"({condition} ? {a} : {b})"

    def even(self, a: Any, bits: int) -> Any:
        return f"even({a}, {bits})" if bits > 0 else self.shift(a, -bits)

    def curve(self, a: Any, bits: int) -> Any:
        return f"curve({a}, {bits})"


_P = Text()


def moved(value: Any, form: Form, to: Form, most: int, p: Any = _P) -> Any:
    """An integer of one form as one of another, clipped."""
    up = to.fraction - form.fraction
    value = p.clip(value, most >> up) if up > 0 else value
    return p.clip(p.shift(value, up), most)


class IntegerNumbers:
    """The numbers of one program in C.

    Args:
        to: how an output is held, as its form and its largest integer; None as the node itself.
    """

    kind = "int32_t"

    def __init__(self, fixed: Fixed, to: Callable[[Slot], tuple[Form, int] | None]) -> None:
        self.fixed, self.to = fixed, to

    def literal(self, node: Node) -> str | None:
        found = self.fixed.literal(node)
        return None if found is None else _P.literal(found)

    def apply(self, node: Node, args: Sequence[str]) -> str:
        text = self.fixed.computed(_P, node, list(args))
        return text[1:-1] if re.fullmatch(r"\([^()]*\)", text) else text

    def first(self, node: Node) -> str:
        return "0" if node.op == "sum" else "INT32_MIN"

    def reduced(self, node: Node, total: str, value: str) -> str:
        if node.op == "max":
            return f"if ({value} > {total}) {total} = {value};"
        by = self.fixed.form(node).fraction - self.fixed.form(node.args[0]).fraction
        return f"{total} += {_P.shift(value, by)};"

    def written(self, node: Node, slot: Slot, value: str) -> str:
        to = self.to(slot)
        if to is None:
            return value
        text = moved(value, self.fixed.form(node), *to)
        return f"(int16_t){text}" if to[1] < 2**15 else text


def helpers(text: str, constants: Constants) -> list[str]:
    """The functions that some text of C calls, and that they call."""
    every = {re.findall(r"(\w+)\(", each)[0]: each for each in (FILES / "fixed.c").read_text().split("\n\n")}
    used: list[str] = []
    for name in reversed(every):
        if re.search(rf"\b{name}\(", "\n".join([text, *(every[n] for n in used)])):
            used.insert(0, name)
    if "curve" in used:
        constants.array("TANH", np.array(CURVE, np.int64), "uint16_t")
    return [line for name in used for line in (*every[name].strip().splitlines(), "")]
