"""Traces that were not kept, written anew from one that was.

What is written is known for every step, so a few rows can go through all steps before others do: they stay in
registers, and only what is asked for goes to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.trace_forward import Block, Matrices, Row, Sweeps
from plastic_search.network.kernels.layout import Writes

__all__ = ["AgainSweeps", "Walk"]


class Walk(NamedTuple):
    """One episode's way through time."""

    m: Matrices  # the trace at its start
    writes: Callable[[str], Writes]  # of a step, counted from the start
    to: Callable[[str], Matrices]  # where the trace goes at a place, counted from 1


class AgainSweeps(Sweeps):
    """Emits walks, beside sweeps forward."""

    def again(self, walks: Sequence[Walk], steps: str, places: str) -> None:
        """Store the trace at every place before `places`; they are `steps` steps apart."""
        self.e.groups(self.post, lambda i, count: self._again(i, count, walks, steps, places))

    def _again(self, i: str, count: int, walks: Sequence[Walk], steps: str, places: str) -> None:
        e = self.e
        begins = [[self._addresses(walk.m, i, r) for r in range(count)] for walk in walks]
        rows = [
            [like._replace(trace=m.trace, eligibility=m.eligibility) for m, like in zip(mine, begins[0], strict=True)]
            for mine in begins
        ]  # what walks share has the very same addresses
        with e.loop(self.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            shared = [self._fixed(m, at) for m in rows[0]]
            slots = [[self._slots(*self._load(m, at)) for m in mine] for mine in rows]
            with e.loop(places, start="1") as place:
                first = e.mul(e.sub(place, "1"), steps)
                with e.loop(steps) as step:
                    for walk, mine, own in zip(walks, rows, slots, strict=True):
                        self._walked(walk.writes(e.add(first, step)), i, mine, own, shared, at)
                for walk, own in zip(walks, slots, strict=True):
                    to = walk.to(place)
                    for r, slot in enumerate(own):
                        self._store(*self._values(slot), self._addresses(to, i, r), at)

    def _fixed(self, m: Matrices, at: str) -> Block:
        """What does not change on the way, loaded before it begins."""
        block = Block(self.e, at)
        for address in (*m.coefs, m.decay if self.shares.matrix else "", m.phases):
            if address:
                block.load(address)
        return block

    def _slots(self, *values: str) -> tuple[str, ...]:
        """Room for blocks, which registers become; "" where there is none."""
        slots = tuple(self.e.slot(self.e.vector) if value else "" for value in values)
        self._set(slots, values)
        return slots

    def _set(self, slots: tuple[str, ...], values: tuple[str, ...]) -> None:
        for slot, value in zip(slots, values, strict=True):
            if slot:
                self.e.store(value, slot)

    def _values(self, slots: tuple[str, ...]) -> tuple[str, str]:
        """The trace and the eligibility trace that lie in slots."""
        trace, eligible = slots
        return self.e.load(trace), self.e.load(eligible) if eligible else ""

    def _walked(
        self, w: Writes, i: str, rows: list[Matrices], slots: list[tuple[str, ...]], shared: list[Block], at: str
    ) -> None:
        """One step of one episode, for one block of some rows."""
        columns, numbers = self._columns(w, at), (self._eta(w)[1], self._dither(w))
        for r, slot in enumerate(slots):
            one = lambda a, r=r: self._one(a, i, r) if a else ""  # noqa: E731
            row = Row(rows[r], tuple(map(one, w.u)), one(w.row), one(w.write))
            self._set(slot, self._written(row, columns, numbers, *self._values(slot), shared[r]))
