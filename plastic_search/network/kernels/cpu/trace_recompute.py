"""Recomputes Hebbian traces between checkpoints in the backward pass (gradient checkpointing, Chen et al. 2016).

All writes of a segment are on the tape, so a block of the trace goes through all its steps in registers before the
next block does, and only the inner checkpoints are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.trace_forward import Block, Matrices, Scalars, Synapses
from plastic_search.network.kernels.layout import Writes

__all__ = ["Recompute", "Segment"]


class Segment(NamedTuple):
    """One episode's segment."""

    start: Matrices  # the checkpoint at its first step
    writes: Callable[[str], Writes]  # of a step, counted from the start
    inner: Callable[[str], Matrices]  # where an inner checkpoint is stored, counted from 1


class Slots(NamedTuple):
    """Where a block of a trace, and of its eligibility trace, is on its way; LLVM keeps it in registers."""

    trace: str
    eligibility: str  # "" where there is none


class Recompute:
    """Emits the loops that recompute traces."""

    def __init__(self, synapses: Synapses) -> None:
        self.synapses, self.e = synapses, synapses.e

    def emit(self, segments: Sequence[Segment], steps: str, count: str) -> None:
        """Store the inner checkpoints 1 to `count` - 1, which lie `steps` steps apart."""
        self.e.groups(self.synapses.post, lambda i, rows: self._rows(i, rows, segments, steps, count))

    def _rows(self, i: str, count: int, segments: Sequence[Segment], steps: str, checkpoints: str) -> None:
        e, s = self.e, self.synapses
        starts = [[s.addresses(segment.start, i, r) for r in range(count)] for segment in segments]
        rows = [
            [like._replace(trace=m.trace, eligibility=m.eligibility) for m, like in zip(own, starts[0], strict=True)]
            for own in starts
        ]  # matrices that episodes share have the same addresses
        with e.loop(s.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            shared = [self.constants(m, at) for m in rows[0]]
            slots = [[self.load(m, at) for m in own] for own in rows]
            with e.loop(checkpoints, start="1") as checkpoint:
                first = e.mul(e.sub(checkpoint, "1"), steps)
                with e.loop(steps) as step:
                    for segment, own_rows, own_slots in zip(segments, rows, slots, strict=True):
                        self.step(segment.writes(e.add(first, step)), i, own_rows, own_slots, shared, at)
                for segment, own_slots in zip(segments, slots, strict=True):
                    to = segment.inner(checkpoint)
                    for r, slot in enumerate(own_slots):
                        s.store(*self.values(slot), s.addresses(to, i, r), at)

    def constants(self, m: Matrices, at: str) -> Block:
        """A block of a row, with what is constant within an episode loaded in advance."""
        block = Block(self.e, at)
        for address in (*m.coefs, m.decay if self.synapses.change.matrix else "", m.phases):
            if address:
                block.load(address)
        return block

    def load(self, m: Matrices, at: str) -> Slots:
        """Slots that hold a block of a row."""
        values = self.synapses.load(m, at)
        slots = Slots(*(self.e.slot(self.e.vector) if value else "" for value in values))
        self._set(slots, values)
        return slots

    def _set(self, slots: Slots, values: tuple[str, str]) -> None:
        for slot, value in zip(slots, values, strict=True):
            if slot:
                self.e.store(value, slot)

    def values(self, slots: Slots) -> tuple[str, str]:
        """The trace and the eligibility trace that slots hold."""
        return self.e.load(slots.trace), self.e.load(slots.eligibility) if slots.eligibility else ""

    def step(self, w: Writes, i: str, rows: list[Matrices], slots: list[Slots], shared: list[Block], at: str) -> None:
        """One step of one episode, for one block of some rows."""
        s = self.synapses
        columns, scalars = s.columns(w, at), Scalars(s.keep(w), s.dither(w))
        for r, slot in enumerate(slots):
            row = s.row(rows[r], w, i, r)
            self._set(slot, s.written(row, columns, scalars, *self.values(slot), shared[r]))
