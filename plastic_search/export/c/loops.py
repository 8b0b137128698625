"""A program of units as loops of C. One loop computes all nodes that do not wait for a reduction of an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from plastic_search.export.c.text import block
from plastic_search.network.kernels.tracing.ir import REDUCTIONS, Axis, Node
from plastic_search.network.kernels.tracing.program import Output, Program, Slot, loop_over, slot_of, stored, sum_depths

__all__ = ["INDEX", "Body", "Loops", "Numbers"]

INDEX = {Axis.ONE: "0", Axis.POST: "i", Axis.PRE: "j"}


class Numbers(Protocol):
    """How numbers are held and computed with in C; names and expressions are text."""

    kind: str

    def literal(self, node: Node) -> str | None:
        """A node that is always the same number; None of others."""
        ...

    def apply(self, node: Node, args: Sequence[str]) -> str:
        """The operation of a node on its arguments, which are names or literals."""
        ...

    def first(self, node: Node) -> str:
        """What a reduction begins as."""
        ...

    def reduced(self, node: Node, total: str, value: str) -> str:
        """The statement by which a reduction takes in one value."""
        ...

    def written(self, node: Node, slot: Slot, value: str) -> str:
        """The value of a node as its slot holds it."""
        ...


class Body:
    """Statements that compute each node once, in the order in which they are needed.

    Args:
        prefix: of the names of variables.
        known: names of nodes that are there already; gains the others.
        load: the expression of an input, or of a node that was computed elsewhere; None where it is computed here.
    """

    def __init__(
        self, numbers: Numbers, prefix: str, known: dict[int, str], load: Callable[[Node], str | None]
    ) -> None:
        self.numbers, self.prefix, self.known, self.load = numbers, prefix, known, load
        self.lines: list[str] = []

    def value(self, node: Node) -> str:
        """The name of a node, or its literal."""
        literal = self.numbers.literal(node)
        if literal is not None:
            return literal
        if node.index not in self.known:
            text = self.load(node)
            if text is None:
                text = self.numbers.apply(node, [self.value(a) for a in node.args])
            name = f"{self.prefix}{node.index}"
            self.lines.append(f"const {'int' if node.is_bool else self.numbers.kind} {name} = {text};")
            self.known[node.index] = name
        return self.known[node.index]


class Loops:
    """Emits a program of units.

    Args:
        counts: the lengths of rows over POST and PRE.
        source: the expression of an input at the index of its axis (`INDEX`).
        target: the same of an output.
    """

    def __init__(
        self, numbers: Numbers, counts: dict[Axis, int], source: Callable[[Slot], str], target: Callable[[Slot], str]
    ) -> None:
        self.numbers, self.counts, self.source, self.target = numbers, counts, source, target
        self.scalars: dict[int, str] = {}
        self.lines: list[str] = []

    def emit(self, program: Program) -> list[str]:
        """The statements that compute it."""
        nodes = program.nodes()
        self.depth = sum_depths(nodes)
        self.stored = {node.index: f"kept{node.index}" for node in stored(program)}
        for node in stored(program):
            self.lines.append(f"{self.numbers.kind} kept{node.index}[{self.counts[node.axis]}];")
        for depth in range(max(self.depth.values(), default=0) + 1):
            self._scalars([x for x in nodes if self.depth[x.index] == depth], program.outputs)
            for axis in (Axis.POST, Axis.PRE):
                self._loop(depth, axis, program)
        return self.lines

    def _scalars(self, nodes: Sequence[Node], outputs: Sequence[Output]) -> None:
        """Single numbers, and the outputs among them."""
        body = Body(self.numbers, "u", self.scalars, lambda node: self._input(node))
        for node in nodes:
            if node.axis is Axis.ONE and node.op not in REDUCTIONS:
                body.value(node)
        indices = {x.index for x in nodes}
        for output in outputs:
            if output.axis is Axis.ONE and output.node.index in indices:
                body.lines.append(f"{self.target(output[:3])} = {self._written(output, body.value(output.node))};")
        self.lines += body.lines

    def _input(self, node: Node) -> str | None:
        return self.source(slot_of(node)) if node.op == "input" else None

    def _loop(self, depth: int, axis: Axis, program: Program) -> None:
        """One loop over the units; nothing where there is nothing to do."""
        here, sums, keep = loop_over(program, axis, depth)
        if not (here or sums or keep):
            return
        for node in sums:
            self.lines.append(f"{self.numbers.kind} u{node.index} = {self.numbers.first(node)};")
            self.scalars[node.index] = f"u{node.index}"
        body = Body(self.numbers, "u", dict(self.scalars), lambda node: self._loaded(node, depth))
        for node in keep:
            body.lines.append(f"{self.stored[node.index]}[{INDEX[axis]}] = {body.value(node)};")
        for node in sums:
            body.lines.append(self.numbers.reduced(node, f"u{node.index}", body.value(node.args[0])))
        values = [body.value(o.node) for o in here]  # all of them, before what they read is overwritten
        body.lines += [
            f"{self.target(o[:3])} = {self._written(o, value)};" for o, value in zip(here, values, strict=True)
        ]
        index = INDEX[axis]
        head = f"for (size_t {index} = 0; {index} < {self.counts[axis]}; {index}++)"
        self.lines += block(head, body.lines)

    def _written(self, output: Output, value: str) -> str:
        return self.numbers.written(output.node, output[:3], value)

    def _loaded(self, node: Node, depth: int) -> str | None:
        if node.op == "input":
            return self.source(slot_of(node))
        if self.depth[node.index] < depth and not node.is_bool and node.axis:
            return f"{self.stored[node.index]}[{INDEX[node.axis]}]"
        return None
