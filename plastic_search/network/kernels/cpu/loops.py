"""Programs as loops over the units. One loop computes all nodes that do not wait for a reduction of an earlier one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.tracing.ir import REDUCTIONS, Axis, Node
from plastic_search.network.kernels.tracing.program import Output, Program, loop_over, slot_of, stored, sum_depths

__all__ = ["AddressOf", "Loops"]

AddressOf = Callable[[str, Axis, int], str]  # of a row, from its buffer, axis and number

_UNMASKED = {"state", "row", "params", "derived"}  # buffers whose padding over POST is never read
_ADDED = {"params", "previous"}  # buffers whose rows are added to what is there
_FIRST = {"sum": 0.0, "max": -math.inf}  # what a reduction begins as


class Loops:
    """Emits a program at the address where the emitter is.

    Args:
        blocks: registers with the number of vectors that rows of POST and PRE fill.
        counts: registers with the number of units.
        source, target: where rows are read and written; the buffer `temporary` is for nodes that a later loop reads.
        constants: registers with the constants, and their vectors.
    """

    def __init__(
        self, e: Emitter, blocks: dict[Axis, str], counts: dict[Axis, str], source: AddressOf, target: AddressOf,
        constants: dict[float, tuple[str, str]],
    ) -> None:  # fmt: skip
        self.e, self.blocks, self.counts, self.constants = e, blocks, counts, constants
        self.source, self.target = source, target

    def emit(self, program: Program) -> None:
        nodes = program.nodes()
        self.depth, self.scalars = sum_depths(nodes), {}
        rows: dict[Axis, int] = {Axis.POST: 0, Axis.PRE: 0}
        self.stored: dict[int, str] = {}  # addresses
        for node in stored(program):
            self.stored[node.index] = self.target("temporary", node.axis, rows[node.axis])
            rows[node.axis] += 1
        for depth in range(max(self.depth.values(), default=0) + 1):
            self._scalars([x for x in nodes if self.depth[x.index] == depth], program.outputs)
            for axis in (Axis.POST, Axis.PRE):
                self._loop(depth, axis, program)

    def _scalars(self, nodes: Sequence[Node], outputs: Sequence[Output]) -> None:
        """Single numbers, and the outputs among them."""
        for node in nodes:
            if node.axis is Axis.ONE and node.op not in (*REDUCTIONS, "constant"):
                self.scalars[node.index] = self._computed(node, self._scalar, self.e.number.name)
        indices = {x.index for x in nodes}
        for output in outputs:
            if output.axis is Axis.ONE and output.node.index in indices:
                self._write(output, self._scalar(output.node), self.e.number.name, None, "0")

    def _scalar(self, node: Node) -> str:
        return self.constants[node.value][0] if node.op == "constant" else self.scalars[node.index]

    def _computed(self, node: Node, value: Callable[[Node], str], type_: str) -> str:
        e = self.e
        if node.op == "input":
            return e.load(self.source(*slot_of(node)), type_)
        return e.apply(node.op, [value(a) for a in node.args], type_)

    def _loop(self, depth: int, axis: Axis, program: Program) -> None:
        """One loop over the units; nothing where there is nothing to do."""
        here, sums, keep = loop_over(program, axis, depth)
        if not (here or sums or keep):
            return
        e = self.e
        totals = [e.sum_slot(_FIRST[x.op]) for x in sums]
        spread = self._spread(here, sums, keep, depth)
        inputs = {x.index: self.source(*slot_of(x)) for x in program.nodes() if x.op == "input" and x.axis is axis}
        addresses = [self.target(o.buffer, axis, o.number) for o in here]
        with e.loop(self.blocks[axis]) as block:
            offset = e.mul(block, str(e.number.lanes))
            mask = e.inside(offset, self.counts[axis])
            body = _Body(self, depth, axis, spread, inputs, offset)
            for node in keep:
                e.store(body.value(node), e.at(self.stored[node.index], offset))
            for node, total in zip(sums, totals, strict=True):
                part = e.select(mask, body.value(node.args[0]), e.constant(_FIRST[node.op]))
                before = e.load(total)
                e.store(e.binary("add", before, part) if node.op == "sum" else e.maximum(before, part), total)
            for output, address in zip(here, addresses, strict=True):
                self._write(output, body.value(output.node), e.vector, mask, offset, address)
        for node, total in zip(sums, totals, strict=True):
            self.scalars[node.index] = e.total(e.load(total), "fadd" if node.op == "sum" else "fmaximum")

    def _write(
        self, output: Output, value: str, type_: str, mask: str | None, offset: str, address: str | None = None
    ) -> None:
        e = self.e
        address = e.at(address or self.target(output.buffer, output.axis, output.number), offset)
        if output.buffer in _ADDED:
            value = e.binary("add", e.load(address, type_), value, type_)
        if mask and (output.axis is Axis.PRE or output.buffer not in _UNMASKED):
            value = e.select(mask, value, e.constant(0.0))
        e.store(value, address, type_)

    def _spread(
        self, outputs: Sequence[Output], sums: Sequence[Node], keep: Sequence[Node], depth: int
    ) -> dict[int, str]:
        """Vectors of the single numbers that a loop reads, emitted before it."""
        vectors: dict[int, str] = {}
        stack = [o.node for o in outputs] + [s.args[0] for s in sums] + list(keep)
        seen: set[int] = set()
        while stack:
            node = stack.pop()
            if node.index in seen:
                continue
            seen.add(node.index)
            if node.axis is Axis.ONE:
                if node.op == "constant":
                    vectors[node.index] = self.constants[node.value][1]
                elif node.is_bool:
                    vectors[node.index] = self.e.splat(self.scalars[node.index], "i1")
                else:
                    vectors[node.index] = self.e.splat(self.scalars[node.index])
            elif node.index not in self.stored or self.depth[node.index] == depth:
                stack.extend(node.args)
        return vectors


class _Body:
    """The inside of one loop: every node is computed once."""

    def __init__(
        self, loops: Loops, depth: int, axis: Axis, spread: dict[int, str], inputs: dict[int, str], offset: str
    ) -> None:
        self.loops, self.depth, self.axis, self.inputs, self.offset = loops, depth, axis, inputs, offset
        self.values = dict(spread)

    def value(self, node: Node) -> str:
        if node.index not in self.values:
            self.values[node.index] = self._computed(node)
        return self.values[node.index]

    def _computed(self, node: Node) -> str:
        loops, e = self.loops, self.loops.e
        if node.op == "input":
            return e.load(e.at(self.inputs[node.index], self.offset))
        if loops.depth[node.index] < self.depth and not node.is_bool:
            return e.load(e.at(loops.stored[node.index], self.offset))
        return loops._computed(node, self.value, e.vector)
