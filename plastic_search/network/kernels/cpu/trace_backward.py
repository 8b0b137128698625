"""Backward loops over the trace: from the derivatives of what one step read to those of what the step before wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.cpu.trace_forward import Block, Columns, Matrices, Row, Scalars, Synapses
from plastic_search.network.kernels.cpu.trace_recompute import Recompute
from plastic_search.network.kernels.layout import Reads, Writes
from plastic_search.network.spec import Bound

__all__ = ["Adjoints", "BackwardEpisode", "BackwardSweep"]


class Adjoints(NamedTuple):
    """Addresses of derivatives. Those of `writes` are set, but for v and column, which are added to."""

    trace: str
    eligibility: str
    alpha: str
    coefs: tuple[str, ...]
    decay: str
    writes: Writes
    pre: str


class BackwardEpisode(NamedTuple):
    """What a sweep does for one episode."""

    m: Matrices  # the trace some steps before the write; where nothing is written, the trace that was read
    w: Writes | None  # the write; None: nothing is written
    reads: Reads  # what the trace after the write was read with, and the derivatives of the results
    d: Adjoints
    before: Callable[[str], Writes]  # the writes between the trace `m` and the write `w`


class _Run(NamedTuple):
    """One episode's part of a sweep over some rows."""

    rows: list[Row]
    grads: list[Adjoints]
    d_drives: list[str]
    d_recalls: list[str]
    sums: dict[str, list[str]]  # slots, by name and row
    scalars: Scalars
    d_eta: str  # a slot


class _ColumnSums:
    """Sums down the columns, kept in registers for one block of rows."""

    def __init__(self, e: Emitter, d: Adjoints, w: Writes | None, at: str) -> None:
        self.e = e
        targets = {"pre": d.pre}
        if w is not None:
            targets |= {f"v{k}": v for k, v in enumerate(d.writes.v)}
            targets |= {"column": d.writes.column} if w.column else {}
        self.addresses = {name: e.at(target, at) for name, target in targets.items()}
        self.now = {name: e.load(address) for name, address in self.addresses.items()}

    def add(self, name: str, a: str, b: str) -> None:
        self.now[name] = self.e.fma(a, b, self.now[name])

    def store(self) -> None:
        for name, address in self.addresses.items():
            self.e.store(self.now[name], address)


class _Cell(NamedTuple):
    """One block of one row, in one episode."""

    run: _Run
    r: int  # which row
    pre: str
    columns: Columns
    column_sums: _ColumnSums
    block: Block

    @property
    def row(self) -> Row:
        return self.run.rows[self.r]

    @property
    def grad(self) -> Adjoints:
        return self.run.grads[self.r]

    def slot(self, name: str) -> str:
        """Where a sum along the row is."""
        return self.run.sums[name][self.r]


class BackwardSweep:
    """Emits sweeps backward."""

    def __init__(self, synapses: Synapses, recompute: Recompute) -> None:
        self.synapses, self.recompute, self.e = synapses, recompute, synapses.e

    def emit(self, episodes: Sequence[BackwardEpisode], steps: str) -> None:
        """From the derivatives of one step's reads and of the trace before them, to those of the write before.

        The trace before the write is recomputed in registers, from that some `steps` before. `d.trace` is the
        derivative of the trace after the write without that of the reads, and becomes that before the write; where
        nothing is written, that of the trace that was read.
        """
        self.e.groups(self.synapses.post, lambda i, count: self._rows(i, count, episodes, steps), len(episodes))

    def _rows(self, i: str, count: int, episodes: Sequence[BackwardEpisode], steps: str) -> None:
        e, s, recompute = self.e, self.synapses, self.recompute
        first = [self._adjoint_addresses(episodes[0].d, i, r) for r in range(count)]
        runs = [self._begin(i, count, x, episodes[0].m, first) for x in episodes]
        with e.loop(s.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            shared = [recompute.constants(row.matrices, at) for row in runs[0].rows]
            slots = [[recompute.load(row.matrices, at) for row in run.rows] for run in runs]
            with e.loop(steps) as step:
                for x, run, own in zip(episodes, runs, slots, strict=True):
                    recompute.step(x.before(step), i, [row.matrices for row in run.rows], own, shared, at)
            columns = [s.columns(x.w, at) for x in episodes]
            pre = [e.load(e.at(x.reads.pre, at)) for x in episodes]
            column_sums = [_ColumnSums(e, x.d, x.w, at) for x in episodes]
            for r in range(count):
                for k, (x, run) in enumerate(zip(episodes, runs, strict=True)):
                    cell = _Cell(run, r, pre[k], columns[k], column_sums[k], shared[r])
                    self._cell(cell, x.w, *recompute.values(slots[k][r]))
                shared[r].store()
            for sums in column_sums:
                sums.store()
        self._finish(episodes, runs, i)

    def _begin(self, i: str, count: int, x: BackwardEpisode, like: Matrices, first: list[Adjoints]) -> _Run:
        s, grads = self.synapses, []
        for r in range(count):
            own = self._adjoint_addresses(x.d, i, r)
            grads.append(first[r]._replace(trace=own.trace, eligibility=own.eligibility))
        d_drives = [s.spread(x.reads.drive, i, r) for r in range(count)]
        d_recalls = [s.spread(x.reads.recall, i, r) if x.reads.recall else "" for r in range(count)]
        sums = {name: [self.e.sum_slot() for _ in range(count)] for name in self._row_sums(x.w)}
        rows, keep, d_eta = s.rows(x.m, x.w, i, count, like), s.keep(x.w), self.e.sum_slot()
        return _Run(rows, grads, d_drives, d_recalls, sums, Scalars(keep, s.dither(x.w)), d_eta)

    def _cell(self, cell: _Cell, w: Writes | None, h: str, eligibility: str) -> None:
        """One block, from its trace and eligibility trace before the write."""
        e, s, row = self.e, self.synapses, cell.row
        if w is None:
            e.store(self._read(cell, h), e.at(cell.grad.trace, cell.block.at))
            return
        if s.change.retroactive:
            change = e.binary("mul", row.write, eligibility)
        else:
            change = s.rule_change(row, cell.columns, h, cell.block)
        moved, share, rises = s.moved(h, change)
        after = s.rounded(s.clipped(moved), row, cell.run.scalars.dither, cell.block)
        q = self._unclipped(self._read(cell, after), moved)
        self._write(cell, h, eligibility, q, change, share, rises)

    def _finish(self, episodes: Sequence[BackwardEpisode], runs: list[_Run], i: str) -> None:
        e, s = self.e, self.synapses
        for name in runs[0].sums:
            u = int(name[1:]) if name[0] == "u" else -1
            addresses = [x.d.writes.u[u] if u >= 0 else getattr(x.d.writes, name) for x in episodes]
            e.store_sums([run.sums[name] for run in runs], addresses, i, add=False)
        for x, run in zip(episodes, runs, strict=True):
            if x.w is not None and s.change.retroactive:
                one = e.number.name
                total = e.binary("add", e.load(x.d.writes.eta, one), e.total(e.load(run.d_eta)), one)
                e.store(total, x.d.writes.eta, one)

    def _read(self, cell: _Cell, h: str) -> str:
        """The derivative of the trace `h` that was read; those of alpha and of `pre` are added to."""
        e, s, row, block = self.e, self.synapses, cell.row, cell.block
        d_drive, d_recall = cell.run.d_drives[cell.r], cell.run.d_recalls[cell.r]
        block.add(cell.grad.alpha, e.binary("mul", d_drive, cell.pre), h)
        gain = e.binary("mul", block.load(row.matrices.alpha), d_drive)
        if row.matrices.weight:
            cell.column_sums.add("pre", d_drive, s.gain(row, h, block))
        else:
            cell.column_sums.add("pre", gain, h)
        if d_recall:
            gain = e.binary("add", gain, d_recall)
            cell.column_sums.add("pre", d_recall, h)
        return e.fma(gain, cell.pre, e.load(e.at(cell.grad.trace, block.at)))

    def _unclipped(self, g: str, moved: str) -> str:
        """A derivative where the trace was not clipped, else 0."""
        if self.synapses.bound is Bound.NONE:
            return g
        e = self.e
        return e.select(e.compare("eq", self.synapses.clipped(moved), moved), g, e.constant(0.0))

    def _write(self, cell: _Cell, h: str, eligibility: str, q: str, change: str, share: str, rises: str) -> None:
        """From the derivative `q` of the trace before it was clipped to those of the vectors that were written."""
        e, s, row, grad, block = self.e, self.synapses, cell.row, cell.grad, cell.block
        d_change, d_trace = q, q
        if s.bound is Bound.SOFT:
            d_change = e.binary("mul", q, share)
            slope = e.binary("mul", change, s.per_limit)
            slope = e.select(rises, e.unary("neg", slope), slope)
            d_trace = e.fma(q, slope, q)
        if s.change.retroactive:
            target = e.at(grad.eligibility, block.at)
            old = e.load(target)
            e.accumulate(cell.slot("write"), d_change, eligibility)
            e.accumulate(cell.run.d_eta, e.unary("neg", old), eligibility)
            e.store(e.fma(cell.run.scalars.keep, old, e.binary("mul", d_change, row.write)), target)
            d_change = old
        for k, (u, v, coef) in enumerate(zip(row.u, cell.columns.v, row.matrices.coefs, strict=True)):
            scaled = d_change
            if coef:
                block.add(grad.coefs[k], e.binary("mul", d_change, u), v)
                scaled = e.binary("mul", d_change, block.load(coef))
            e.accumulate(cell.slot(f"u{k}"), scaled, v)
            cell.column_sums.add(f"v{k}", scaled, u)
        e.store(self._decay(cell, h, d_change, d_trace), e.at(grad.trace, block.at))

    def _decay(self, cell: _Cell, h: str, d_change: str, d_trace: str) -> str:
        e, s, row, column, block = self.e, self.synapses, cell.row, cell.columns.column, cell.block
        if not row.row:
            return d_trace
        decay = s.decay(row, cell.columns, block)
        minus = e.unary("neg", e.binary("mul", d_change, h))
        others = minus
        if column:
            others = e.binary("mul", minus, column)
            cell.column_sums.add("column", minus, row.row)
        if s.change.matrix:
            others = e.binary("mul", minus, block.load(row.matrices.decay))
            block.add(cell.grad.decay, minus, row.row)
        e.accumulate(cell.slot("row"), others, e.constant(1.0))
        return e.fma(e.unary("neg", decay), d_change, d_trace)

    def _adjoint_addresses(self, d: Adjoints, i: str, r: int) -> Adjoints:
        m = self.synapses.addresses(Matrices(d.trace, d.eligibility, d.alpha, d.coefs, d.decay, "", ""), i, r)
        return Adjoints(m.trace, m.eligibility, m.alpha, m.coefs, m.decay, d.writes, d.pre)

    def _row_sums(self, w: Writes | None) -> list[str]:
        if w is None:
            return []
        names = [f"u{k}" for k in range(len(w.u))]
        return names + ["row"] * bool(w.row) + ["write"] * self.synapses.change.retroactive
