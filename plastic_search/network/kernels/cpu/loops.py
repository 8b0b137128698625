"""Lanes become loops: one loop over the units for all that no sum stands between."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.tracing.ir import Axis, Lane
from plastic_search.network.kernels.tracing.program import Output, Program, _levels, ordered, stored

__all__ = [
    "Vectors",
]

Place = Callable[[str, Axis, int], str]  # buffer, axis and number of a row -> its address

_UNMASKED = {"state", "u", "row", "write", "params"}  # rows whose padding nothing reads
_ADDED = {"params"}  # rows that are added to what is there


class Vectors:
    """Emits a program at the place where the emitter is.

    Args:
        blocks: registers with the number of vectors that rows of POST and PRE fill.
        counts: registers with the number of units.
        source, target: where rows are read and written; those of `temporary` are free for lanes that a later loop
            reads.
        constants: registers with the constants, and their vectors.
    """

    def __init__(
        self, e: Emitter, blocks: dict[Axis, str], counts: dict[Axis, str], source: Place, target: Place,
        constants: dict[float, tuple[str, str]],
    ) -> None:  # fmt: skip
        self.e, self.blocks, self.counts, self.constants = e, blocks, counts, constants
        self.source, self.target = source, target

    def emit(self, program: Program) -> None:
        roots = [o.lane for o in program.outputs]
        lanes = ordered(roots)
        self.level, self.scalars = _levels(lanes), {}
        kept = stored(program)
        rows: dict[Axis, int] = {Axis.POST: 0, Axis.PRE: 0}
        self.kept: dict[int, str] = {}
        for lane in kept:
            self.kept[lane.index] = self.target("temporary", lane.axis, rows[lane.axis])
            rows[lane.axis] += 1
        for level in range(max(self.level.values(), default=0) + 1):
            mine = [x for x in lanes if self.level[x.index] == level]
            self._numbers(mine, program.outputs)
            for axis in (Axis.POST, Axis.PRE):
                self._loop(level, axis, lanes, program.outputs)

    def _numbers(self, lanes: Sequence[Lane], outputs: Sequence[Output]) -> None:
        """Single numbers, and those outputs that are."""
        for lane in lanes:
            if lane.axis is Axis.ONE and lane.op not in ("sum", "constant"):
                self.scalars[lane.index] = self._computed(lane, self._number, self.e.number.name)
        own = {x.index for x in lanes}
        for output in outputs:
            if output.axis is Axis.ONE and output.lane.index in own:
                self._write(output, self._number(output.lane), self.e.number.name, None, "0")

    def _number(self, lane: Lane) -> str:
        return self.constants[lane.value][0] if lane.op == "constant" else self.scalars[lane.index]

    def _computed(self, lane: Lane, value: Callable[[Lane], str], kind: str) -> str:
        e = self.e
        if lane.op == "input":
            return e.load(self.source(*_slot(lane)), kind)
        args = [value(a) for a in lane.args]
        if lane.op == "select":
            return e.select(args[0], args[1], args[2], kind)
        if lane.op in ("lt", "le", "gt", "ge", "eq", "ne"):
            return e.compare(lane.op, args[0], args[1], kind)
        if lane.op in ("and", "or"):
            return e.let(f"{lane.op} {e.truth(kind)} {args[0]}, {args[1]}")
        if lane.op == "not":
            return e.let(f"xor {e.truth(kind)} {args[0]}, {e.truths(kind)}")
        return e.binary(lane.op, args[0], args[1], kind) if len(args) == 2 else e.unary(lane.op, args[0], kind)

    def _loop(self, level: int, axis: Axis, lanes: Sequence[Lane], outputs: Sequence[Output]) -> None:
        """One pass over the units: what this level computes, stores and sums."""
        mine = [o for o in outputs if o.axis is axis and self.level[o.lane.index] == level]
        sums = [x for x in lanes if x.op == "sum" and x.args[0].axis is axis and self.level[x.index] == level + 1]
        keep = [x for x in lanes if x.index in self.kept and x.axis is axis and self.level[x.index] == level]
        if not (mine or sums or keep):
            return
        e = self.e
        totals = [e.slot(e.vector) for _ in sums]
        for total in totals:
            e.store(e.constant(0.0), total)
        spread = self._spread(mine, sums, keep, level)
        inputs = {x.index: self.source(*_slot(x)) for x in lanes if x.op == "input" and x.axis is axis}
        places = [self.target(o.buffer, axis, o.number) for o in mine]
        with e.loop(self.blocks[axis]) as block:
            offset = e.mul(block, str(e.number.lanes))
            mask = e.inside(offset, self.counts[axis])
            body = _Body(self, level, axis, spread, inputs, offset)
            for lane in keep:
                e.store(body.value(lane), e.at(self.kept[lane.index], offset))
            for lane, total in zip(sums, totals, strict=True):
                part = e.select(mask, body.value(lane.args[0]), e.constant(0.0))
                e.store(e.binary("add", e.load(total), part), total)
            for output, place in zip(mine, places, strict=True):
                self._write(output, body.value(output.lane), e.vector, mask, offset, place)
        for lane, total in zip(sums, totals, strict=True):
            self.scalars[lane.index] = e.total(e.load(total))

    def _write(
        self, output: Output, value: str, kind: str, mask: str | None, offset: str, place: str | None = None
    ) -> None:
        e = self.e
        address = e.at(place or self.target(output.buffer, output.axis, output.number), offset)
        if output.buffer in _ADDED:
            value = e.binary("add", e.load(address, kind), value, kind)
        if mask and output.buffer not in _UNMASKED:
            value = e.select(mask, value, e.constant(0.0))
        e.store(value, address, kind)

    def _spread(
        self, outputs: Sequence[Output], sums: Sequence[Lane], keep: Sequence[Lane], level: int
    ) -> dict[int, str]:
        """Vectors of the single numbers that a loop reads, made before it."""
        made: dict[int, str] = {}
        stack = [o.lane for o in outputs] + [s.args[0] for s in sums] + list(keep)
        seen: set[int] = set()
        while stack:
            lane = stack.pop()
            if lane.index in seen:
                continue
            seen.add(lane.index)
            if lane.axis is Axis.ONE:
                if lane.op == "constant":
                    made[lane.index] = self.constants[lane.value][1]
                elif lane.truth:
                    made[lane.index] = self.e.splat(self.scalars[lane.index], "i1")
                else:
                    made[lane.index] = self.e.splat(self.scalars[lane.index])
            elif lane.index not in self.kept or self.level[lane.index] == level:
                stack.extend(lane.args)
        return made


class _Body:
    """The inside of one loop: every lane is computed once."""

    def __init__(
        self, vectors: Vectors, level: int, axis: Axis, spread: dict[int, str], inputs: dict[int, str], offset: str
    ) -> None:
        self.vectors, self.level, self.axis, self.inputs, self.offset = vectors, level, axis, inputs, offset
        self.known = dict(spread)

    def value(self, lane: Lane) -> str:
        if lane.index not in self.known:
            self.known[lane.index] = self._made(lane)
        return self.known[lane.index]

    def _made(self, lane: Lane) -> str:
        v, e = self.vectors, self.vectors.e
        if lane.op == "input":
            return e.load(e.at(self.inputs[lane.index], self.offset))
        if v.level[lane.index] < self.level and not lane.truth:
            return e.load(e.at(v.kept[lane.index], self.offset))
        return v._computed(lane, self.value, e.vector)


def _slot(lane: Lane) -> tuple[str, Axis, int]:
    return lane.slot[0], lane.axis, lane.slot[1]
