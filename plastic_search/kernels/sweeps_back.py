"""The loops over the trace backwards: from the derivatives of what was read to those of what was written."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.kernels.emit import Emitter
from plastic_search.kernels.sweeps import Matrices, Row, Sweeps, Writes
from plastic_search.spec import Bound

__all__ = ["Adjoints", "BackSweeps"]


class Adjoints(NamedTuple):
    """Addresses of derivatives. Those of `writes` are set, but for v and column, which are added to."""

    trace: str
    eligibility: str
    alpha: str
    coefs: tuple[str, ...]
    decay: str
    writes: Writes
    pre: str


class BackSweeps(Sweeps):
    """Emits sweeps backwards, which need those forwards too."""

    def back(self, m: Matrices, w: Writes, d: Adjoints, pre: str, answer: str, recall: str) -> None:
        """From the derivatives of one step's reads and of the trace before them, to those of the write before.

        Args:
            m: the trace before the write.
            d: `d.trace` is the derivative of the trace after the write but for the reads, and becomes that before it.
            pre, answer, recall: what was read with, and the derivatives of what was read.
        """
        self.e.groups(self.post, lambda i, count: self._backward(i, count, m, w, d, (pre, answer, recall)))

    def back_start(self, m: Matrices, d: Adjoints, pre: str, answer: str, recall: str) -> None:
        """`back` where nothing was written before: the start of an episode."""
        self.e.groups(self.post, lambda i, count: self._backward(i, count, m, None, d, (pre, answer, recall)))

    def _backward(
        self, i: str, count: int, m: Matrices, w: Writes | None, d: Adjoints, reading: tuple[str, str, str]
    ) -> None:
        e, s = self.e, self.shares
        rows = [self._row(m, w, i, r) for r in range(count)]
        grads = [self._adjoint_addresses(d, i, r) for r in range(count)]
        answers, recalls = ([self._one(a, i, r) if a else "" for r in range(count)] for a in reading[1:])
        sums = {name: [e.slot(e.vector) for _ in rows] for name in self._row_sums(w)}
        for slots in sums.values():
            for slot in slots:
                e.store(e.constant(0.0), slot)
        eta, lost, dither = self._eta(w), e.slot(e.vector), self._dither(w)
        e.store(e.constant(0.0), lost)
        with e.loop(self.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            vs, column = self._columns(w, at)
            heard, spread = e.load(e.at(reading[0], at)), _Columns(e, d, w, at)
            for r, row in enumerate(rows):
                h = e.load(e.at(row.matrices.trace, at))
                room = rises = after = change = eligible = ""
                if w is not None:
                    if s.retroactive:
                        eligible = e.load(e.at(row.matrices.eligibility, at))
                        change = e.binary("mul", row.write, eligible)
                    else:
                        change = self._change(row, vs, column, h, at)
                    after, room, rises = self._moved(h, change)
                now = self._rounded(self._clipped(after), row, dither, at) if w is not None else h
                g = self._read_back(row, grads[r], answers[r], recalls[r], heard, now, spread, at)
                if w is None:
                    e.store(g, e.at(grads[r].trace, at))
                    continue
                step = _Step(row, grads[r], {n: slots[r] for n, slots in sums.items()}, vs, column, h, at)
                self._write_back(step, self._within(g, after), change, (room, rises), (eta[1], eligible, lost), spread)
            spread.store()
        self._row_totals(sums, d, i)
        if w is not None and s.retroactive:
            total = e.binary("add", e.load(d.writes.eta, e.number.name), e.total(e.load(lost)), e.number.name)
            e.store(total, d.writes.eta, e.number.name)

    def _read_back(
        self, row: Row, grad: Adjoints, answer: str, recall: str, heard: str, now: str, spread: _Columns, at: str
    ) -> str:
        """The derivative of the trace that was read; that of alpha and of what it was read with are added to."""
        e = self.e
        alpha = e.load(e.at(row.matrices.alpha, at))
        pull = e.binary("mul", answer, heard)
        place = e.at(grad.alpha, at)
        e.store(e.fma(pull, now, e.load(place)), place)
        gain = e.binary("mul", alpha, answer)
        if recall:
            gain = e.binary("add", gain, recall)
        spread.add("pre", gain, now)
        return e.fma(gain, heard, e.load(e.at(grad.trace, at)))

    def _within(self, g: str, after: str) -> str:
        """A derivative, where the trace was not clipped."""
        if self.bound is Bound.NONE:
            return g
        e = self.e
        return e.select(e.compare("eq", self._clipped(after), after), g, e.constant(0.0))

    def _write_back(
        self, step: _Step, q: str, change: str, soft: tuple[str, str], retro: tuple[str, str, str], spread: _Columns
    ) -> None:
        e, s, row, grad, at = self.e, self.shares, step.row, step.grad, step.at
        d_change, d_trace = q, q
        if self.bound is Bound.SOFT:
            room, rises = soft
            d_change = e.binary("mul", q, room)
            slope = e.binary("mul", change, self.per_limit)
            slope = e.select(rises, e.unary("neg", slope), slope)
            d_trace = e.fma(q, slope, q)
        if s.retroactive:
            kept, eligible, lost = retro
            place = e.at(grad.eligibility, at)
            old = e.load(place)
            self._add(step.sums["write"], d_change, eligible)
            e.store(e.fma(e.unary("neg", old), eligible, e.load(lost)), lost)
            e.store(e.fma(kept, old, e.binary("mul", d_change, row.write)), place)
            d_change = old
        for k, (u, v, coef) in enumerate(zip(row.u, step.vs, row.matrices.coefs, strict=True)):
            scaled = d_change
            if coef:
                place = e.at(grad.coefs[k], at)
                e.store(e.fma(e.binary("mul", d_change, u), v, e.load(place)), place)
                scaled = e.binary("mul", d_change, e.load(e.at(coef, at)))
            self._add(step.sums[f"u{k}"], scaled, v)
            spread.add(f"v{k}", scaled, u)
        d_trace = self._decay_back(step, d_change, d_trace, spread)
        e.store(d_trace, e.at(grad.trace, at))

    def _decay_back(self, step: _Step, d_change: str, d_trace: str, spread: _Columns) -> str:
        e, row, column, at = self.e, step.row, step.column, step.at
        if not row.row:
            return d_trace
        fade = self._decay(row, column, at)
        minus = e.unary("neg", e.binary("mul", d_change, step.h))
        others = minus
        if column:
            others = e.binary("mul", minus, column)
            spread.add("column", minus, row.row)
        if self.shares.matrix:
            others = e.binary("mul", minus, e.load(e.at(row.matrices.decay, at)))
            place = e.at(step.grad.decay, at)
            e.store(e.fma(minus, row.row, e.load(place)), place)
        self._add(step.sums["row"], others, e.constant(1.0))
        return e.fma(e.unary("neg", fade), d_change, d_trace)

    def _adjoint_addresses(self, d: Adjoints, i: str, r: int) -> Adjoints:
        own = self._addresses(Matrices(d.trace, d.eligibility, d.alpha, d.coefs, d.decay, ""), i, r)
        return Adjoints(*own[:5], d.writes, d.pre)

    def _row_sums(self, w: Writes | None) -> list[str]:
        if w is None:
            return []
        made = [f"u{k}" for k in range(len(w.u))]
        return made + ["row"] * bool(w.row) + ["write"] * self.shares.retroactive

    def _row_totals(self, sums: dict[str, list[str]], d: Adjoints, i: str) -> None:
        for name, slots in sums.items():
            address = d.writes.u[int(name[1:])] if name[0] == "u" else getattr(d.writes, name)
            self._sums(slots, address, i, add=False)

    def _add(self, slot: str, a: str, b: str) -> None:
        self.e.store(self.e.fma(a, b, self.e.load(slot)), slot)


class _Step(NamedTuple):
    """What the backward pass of one block of a row needs."""

    row: Row
    grad: Adjoints
    sums: dict[str, str]
    vs: tuple[str, ...]
    column: str
    h: str
    at: str


class _Columns:
    """Sums down the columns, kept in registers for one block of rows."""

    def __init__(self, e: Emitter, d: Adjoints, w: Writes | None, at: str) -> None:
        self.e, self.at = e, at
        self.places = {"pre": d.pre}
        if w is not None:
            self.places |= {f"v{k}": v for k, v in enumerate(d.writes.v)}
            self.places |= {"column": d.writes.column} if w.column else {}
        self.addresses = {name: e.at(place, at) for name, place in self.places.items()}
        self.now = {name: e.load(address) for name, address in self.addresses.items()}

    def add(self, name: str, a: str, b: str) -> None:
        self.now[name] = self.e.fma(a, b, self.now[name])

    def store(self) -> None:
        for name, address in self.addresses.items():
            self.e.store(self.now[name], address)
