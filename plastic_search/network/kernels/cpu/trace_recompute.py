"""Recomputes Hebbian traces between checkpoints in the backward pass (gradient checkpointing, Chen et al. 2016).

All writes of a segment are on the tape, so a block of the trace goes through all its steps in registers before the
next block does, and only the inner checkpoints are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.trace_forward import Block, Matrices, Synapse, Synapses
from plastic_search.network.kernels.tracing.program import Slot

__all__ = ["Recompute", "Segment"]


class Segment(NamedTuple):
    """One episode's segment."""

    start: Matrices  # the checkpoint at its first step
    writes: Callable[[str], dict[Slot, str]]  # what the synapses read at a step, counted from the start
    inner: Callable[[str], Matrices]  # where an inner checkpoint is stored, counted from 1


Traces = dict[Slot, str]  # where a block of a trace, and of its eligibility trace, is on its way


class Recompute:
    """Emits the loops that recompute traces."""

    def __init__(self, synapses: Synapses) -> None:
        self.synapses, self.e = synapses, synapses.e

    def emit(self, segments: Sequence[Segment], steps: str, count: str) -> None:
        """Store the inner checkpoints 1 to `count` - 1, which lie `steps` steps apart."""
        self.e.groups(self.synapses.post, lambda i, rows: self._rows(i, rows, segments, steps, count))

    def _rows(self, i: str, count: int, segments: Sequence[Segment], steps: str, checkpoints: str) -> None:
        e, s = self.e, self.synapses
        rows = [s.rows(segment.start, i, count, segments[0].start) for segment in segments]
        with e.loop(s.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            shared = [self.constants(m, at) for m in rows[0]]
            traces = [[self.load(m, at) for m in own] for own in rows]
            with e.loop(checkpoints, start="1") as checkpoint:
                first = e.mul(e.sub(checkpoint, "1"), steps)
                with e.loop(steps) as step:
                    for segment, own_rows, own in zip(segments, rows, traces, strict=True):
                        self.step(segment.writes(e.add(first, step)), i, own_rows, own, shared, at)
                for segment, own in zip(segments, traces, strict=True):
                    to = segment.inner(checkpoint)
                    for r, each in enumerate(own):
                        s.store(self.values(each), s.addresses(to, i, r), at)

    def constants(self, m: Matrices, at: str) -> Block:
        """A block of a row, with what is constant within an episode loaded in advance."""
        block = self.synapses.block(at)
        for name in self.synapses.forward.constants:
            block.load(m.constants[name])
        return block

    def load(self, m: Matrices, at: str) -> Traces:
        """Slots that hold a block of a row, which LLVM keeps in registers."""
        values = self.synapses.load(m, at)
        traces = {name: self.e.slot(self.e.vector) for name in values}
        self._set(traces, values)
        return traces

    def _set(self, traces: Traces, values: dict[Slot, str]) -> None:
        for name, slot in traces.items():
            self.e.store(values[name], slot)

    def values(self, traces: Traces) -> dict[Slot, str]:
        """The trace and the eligibility trace that slots hold."""
        return {name: self.e.load(slot) for name, slot in traces.items()}

    def step(
        self, w: dict[Slot, str], i: str, rows: list[Matrices], traces: list[Traces], shared: list[Block], at: str
    ) -> None:
        """One step of one episode, for one block of some rows."""
        s, inputs = self.synapses, self.synapses.forward
        known = inputs.column(s, w, at) | inputs.one(s, w)
        for r, own in enumerate(traces):
            here = self.values(own) | known | inputs.row(s, w, i, r)
            self._set(own, s.written(Synapse(s, rows[r], here, shared[r])))
