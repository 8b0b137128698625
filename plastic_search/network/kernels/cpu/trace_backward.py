"""The loops over the trace backwards: from the derivatives of what was read to those of what was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.cpu.trace_forward import Block, Episode, Matrices, Row
from plastic_search.network.kernels.cpu.trace_recompute import AgainSweeps
from plastic_search.network.kernels.layout import Writes
from plastic_search.network.spec import Bound

__all__ = ["Adjoints", "BackSweeps", "Return"]


class Adjoints(NamedTuple):
    """Addresses of derivatives. Those of `writes` are set, but for v and column, which are added to."""

    trace: str
    eligibility: str
    alpha: str
    coefs: tuple[str, ...]
    decay: str
    writes: Writes
    pre: str


class Return(NamedTuple):
    """What a sweep backwards does for one episode: the forward episode, and where derivatives are."""

    of: Episode  # its `reading` holds what was read with, and the derivatives of what was read
    d: Adjoints
    before: Callable[[str], Writes]  # the writes between the trace `of.m` and that of this step


class _Run(NamedTuple):
    """One episode's part of a sweep backwards over some rows."""

    rows: list[Row]
    grads: list[Adjoints]
    answers: list[str]
    recalls: list[str]
    sums: dict[str, list[str]]
    kept: str
    lost: str
    dither: str


class _Step(NamedTuple):
    """One block of a row, in one episode."""

    row: Row
    grad: Adjoints
    sums: dict[str, str]
    vs: tuple[str, ...]
    column: str
    block: Block
    spread: _Columns


class _Columns:
    """Sums down the columns, kept in registers for one block of rows."""

    def __init__(self, e: Emitter, d: Adjoints, w: Writes | None, at: str) -> None:
        self.e = e
        places = {"pre": d.pre}
        if w is not None:
            places |= {f"v{k}": v for k, v in enumerate(d.writes.v)}
            places |= {"column": d.writes.column} if w.column else {}
        self.addresses = {name: e.at(place, at) for name, place in places.items()}
        self.now = {name: e.load(address) for name, address in self.addresses.items()}

    def add(self, name: str, a: str, b: str) -> None:
        self.now[name] = self.e.fma(a, b, self.now[name])

    def store(self) -> None:
        for name, address in self.addresses.items():
            self.e.store(self.now[name], address)


class BackSweeps(AgainSweeps):
    """Emits sweeps backwards, which need walks too."""

    def back(self, episodes: Sequence[Return], steps: str) -> None:
        """From the derivatives of one step's reads and of the trace before them, to those of the write before.

        `of.m` is the trace some `steps` before the write, which goes that way again in registers; `d.trace` is the
        derivative of the trace after the write but for the reads, and becomes that before it. Where nothing was
        written, it is that of the trace that was read.
        """
        self.e.groups(self.post, lambda i, count: self._backward(i, count, episodes, steps), len(episodes))

    def _backward(self, i: str, count: int, episodes: Sequence[Return], steps: str) -> None:
        e = self.e
        first = [self._adjoint_addresses(episodes[0].d, i, r) for r in range(count)]
        runs = [self._back_begun(i, count, x, episodes[0].of.m, first) for x in episodes]
        with e.loop(self.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            shared = [self._fixed(row.matrices, at) for row in runs[0].rows]
            slots = [[self._slots(*self._load(row.matrices, at)) for row in run.rows] for run in runs]
            with e.loop(steps) as step:
                for x, run, own in zip(episodes, runs, slots, strict=True):
                    self._walked(x.before(step), i, [row.matrices for row in run.rows], own, shared, at)
            columns = [self._columns(x.of.w, at) for x in episodes]
            heard = [e.load(e.at(x.of.reading.pre, at)) if x.of.reading else "" for x in episodes]
            spreads = [_Columns(e, x.d, x.of.w, at) for x in episodes]
            for r in range(count):
                for k, (x, run) in enumerate(zip(episodes, runs, strict=True)):
                    sums = {name: rooms[r] for name, rooms in run.sums.items()}
                    here = _Step(run.rows[r], run.grads[r], sums, *columns[k], shared[r], spreads[k])
                    self._cell_back(x.of.w, run, r, here, heard[k], self._values(slots[k][r]))
                shared[r].store()
            for spread in spreads:
                spread.store()
        self._finished(episodes, runs, i)

    def _back_begun(self, i: str, count: int, x: Return, like: Matrices, first: list[Adjoints]) -> _Run:
        w, reading = x.of.w, x.of.reading
        if reading is None:
            raise AssertionError("a sweep backwards goes through a read")
        grads = []
        for r in range(count):
            own = self._adjoint_addresses(x.d, i, r)
            grads.append(first[r]._replace(trace=own.trace, eligibility=own.eligibility))
        answers = [self._one(reading.answer, i, r) for r in range(count)]
        recalls = [self._one(reading.recall, i, r) if reading.recall else "" for r in range(count)]
        sums = {name: [self._zero() for _ in range(count)] for name in self._row_sums(w)}
        rows = self._shared_rows(x.of.m, w, i, count, like)
        return _Run(rows, grads, answers, recalls, sums, self._eta(w)[1], self._zero(), self._dither(w))

    def _cell_back(self, w: Writes | None, run: _Run, r: int, step: _Step, heard: str, before: tuple[str, str]) -> None:
        """One block of one row of one episode, from its trace and eligibility trace before the write."""
        e, row, at = self.e, step.row, step.block.at
        h, eligible = before
        now, room, rises, after, change = h, "", "", "", ""
        if w is not None:
            if self.shares.retroactive:
                change = e.binary("mul", row.write, eligible)
            else:
                change = self._change(row, step.vs, step.column, h, step.block)
            after, room, rises = self._moved(h, change)
            now = self._rounded(self._clipped(after), row, run.dither, step.block)
        g = self._read_back(step, run.answers[r], run.recalls[r], heard, now)
        if w is None:
            e.store(g, e.at(step.grad.trace, at))
            return
        q = self._support(g, after)
        self._write_back(step, h, q, change, (room, rises), (run.kept, eligible, run.lost))

    def _finished(self, episodes: Sequence[Return], runs: list[_Run], i: str) -> None:
        e = self.e
        for name in runs[0].sums:
            u = int(name[1:]) if name[0] == "u" else -1
            addresses = [x.d.writes.u[u] if u >= 0 else getattr(x.d.writes, name) for x in episodes]
            self._sums([run.sums[name] for run in runs], addresses, i, add=False)
        for x, run in zip(episodes, runs, strict=True):
            if x.of.w is not None and self.shares.retroactive:
                one = e.number.name
                total = e.binary("add", e.load(x.d.writes.eta, one), e.total(e.load(run.lost)), one)
                e.store(total, x.d.writes.eta, one)

    def _read_back(self, step: _Step, answer: str, recall: str, heard: str, now: str) -> str:
        """The derivative of the trace that was read; that of alpha and of what it was read with are added to."""
        e, row, block = self.e, step.row, step.block
        block.add(step.grad.alpha, e.binary("mul", answer, heard), now)
        gain = e.binary("mul", block.load(row.matrices.alpha), answer)
        if row.matrices.weight:
            step.spread.add("pre", answer, self._gain(row, now, block))
        else:
            step.spread.add("pre", gain, now)
        if recall:
            gain = e.binary("add", gain, recall)
            step.spread.add("pre", recall, now)
        return e.fma(gain, heard, e.load(e.at(step.grad.trace, block.at)))

    def _support(self, g: str, after: str) -> str:
        """A derivative, where the trace was not clipped."""
        if self.bound is Bound.NONE:
            return g
        e = self.e
        return e.select(e.compare("eq", self._clipped(after), after), g, e.constant(0.0))

    def _write_back(
        self, step: _Step, h: str, q: str, change: str, soft: tuple[str, str], retro: tuple[str, str, str]
    ) -> None:
        e, s, row, grad, block = self.e, self.shares, step.row, step.grad, step.block
        d_change, d_trace = q, q
        if self.bound is Bound.SOFT:
            room, rises = soft
            d_change = e.binary("mul", q, room)
            slope = e.binary("mul", change, self.per_limit)
            slope = e.select(rises, e.unary("neg", slope), slope)
            d_trace = e.fma(q, slope, q)
        if s.retroactive:
            kept, eligible, lost = retro
            place = e.at(grad.eligibility, block.at)
            old = e.load(place)
            self._add(step.sums["write"], d_change, eligible)
            self._add(lost, e.unary("neg", old), eligible)
            e.store(e.fma(kept, old, e.binary("mul", d_change, row.write)), place)
            d_change = old
        for k, (u, v, coef) in enumerate(zip(row.u, step.vs, row.matrices.coefs, strict=True)):
            scaled = d_change
            if coef:
                block.add(grad.coefs[k], e.binary("mul", d_change, u), v)
                scaled = e.binary("mul", d_change, block.load(coef))
            self._add(step.sums[f"u{k}"], scaled, v)
            step.spread.add(f"v{k}", scaled, u)
        e.store(self._decay_back(step, h, d_change, d_trace), e.at(grad.trace, block.at))

    def _decay_back(self, step: _Step, h: str, d_change: str, d_trace: str) -> str:
        e, row, column, block = self.e, step.row, step.column, step.block
        if not row.row:
            return d_trace
        fade = self._decay(row, column, block)
        minus = e.unary("neg", e.binary("mul", d_change, h))
        others = minus
        if column:
            others = e.binary("mul", minus, column)
            step.spread.add("column", minus, row.row)
        if self.shares.matrix:
            others = e.binary("mul", minus, block.load(row.matrices.decay))
            block.add(step.grad.decay, minus, row.row)
        self._add(step.sums["row"], others, e.constant(1.0))
        return e.fma(e.unary("neg", fade), d_change, d_trace)

    def _adjoint_addresses(self, d: Adjoints, i: str, r: int) -> Adjoints:
        own = self._addresses(Matrices(d.trace, d.eligibility, d.alpha, d.coefs, d.decay, "", ""), i, r)
        return Adjoints(own.trace, own.eligibility, own.alpha, own.coefs, own.decay, d.writes, d.pre)

    def _row_sums(self, w: Writes | None) -> list[str]:
        if w is None:
            return []
        made = [f"u{k}" for k in range(len(w.u))]
        return made + ["row"] * bool(w.row) + ["write"] * self.shares.retroactive
