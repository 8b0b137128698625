"""Backward loops over the trace: from the derivatives of what one step read to those of what the step before wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.cpu.trace_forward import TRACE, Block, Matrices, Synapse, Synapses
from plastic_search.network.kernels.cpu.trace_recompute import Recompute
from plastic_search.network.kernels.layout import Reads
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import Output, Slot

__all__ = ["Adjoints", "BackwardEpisode", "BackwardSweep"]

_D_TRACE, _D_ELIGIBILITY = ("d.trace", Axis.PAIR, 0), ("d.eligibility", Axis.PAIR, 0)


class Adjoints(NamedTuple):
    """Addresses of derivatives."""

    m: Matrices  # of trace, eligibility trace, alpha, and the constants of an episode
    sums: dict[tuple[Axis, int], str]  # of the program of the synapses; those over POST are set, others are added to
    pre: str


class BackwardEpisode(NamedTuple):
    """What a sweep does for one episode."""

    m: Matrices  # the trace some steps before the write; where nothing is written, the trace that was read
    w: dict[Slot, str] | None  # addresses of what the synapses read at the write; None: nothing is written
    reads: Reads  # what the trace after the write was read with, and the derivatives of the results
    d: Adjoints
    before: Callable[[str], dict[Slot, str]]  # the same of the writes between the trace `m` and the write `w`


class _Run(NamedTuple):
    """One episode's part of a sweep over some rows."""

    rows: list[Matrices]
    grads: list[Matrices]
    d_drives: list[list[str]]  # of each row, of the sums that a read adds to
    d_recalls: list[str]
    known: list[dict[Slot, str]]  # of each row
    sums: dict[int, list[str]]  # slots for sums over a row, by number and row
    totals: dict[int, str]  # slots for sums over all


class _ColumnSums:
    """Sums down the columns, kept in registers for one block of rows."""

    def __init__(self, e: Emitter, targets: dict[int, str], at: str) -> None:
        self.e = e
        self.addresses = {number: e.at(target, at) for number, target in targets.items()}
        self.now = {number: e.load(address) for number, address in self.addresses.items()}

    def store(self) -> None:
        for number, address in self.addresses.items():
            self.e.store(self.now[number], address)


_READ = -1  # the number of the sum that is the derivative of `pre` by the read


class _Cell(NamedTuple):
    """One block of one row, in one episode."""

    run: _Run
    r: int  # which row
    pre: str
    column_sums: _ColumnSums
    block: Block
    from_others: str  # which columns are; "" where a read does not tell them apart

    @property
    def row(self) -> Matrices:
        return self.run.rows[self.r]

    @property
    def grad(self) -> Matrices:
        return self.run.grads[self.r]


class BackwardSweep:
    """Emits sweeps backward."""

    def __init__(self, synapses: Synapses, recompute: Recompute) -> None:
        self.synapses, self.recompute, self.e = synapses, recompute, synapses.e

    def emit(self, episodes: Sequence[BackwardEpisode], steps: str) -> None:
        """From the derivatives of one step's reads and of the trace before them, to those of the write before.

        The trace before the write is recomputed in registers, from that some `steps` before. `d.m.trace` is the
        derivative of the trace after the write without that of the reads, and becomes that before the write; where
        nothing is written, that of the trace that was read.
        """
        self.e.groups(self.synapses.post, lambda i, count: self._rows(i, count, episodes, steps), len(episodes))

    def _rows(self, i: str, count: int, episodes: Sequence[BackwardEpisode], steps: str) -> None:
        e, s, recompute = self.e, self.synapses, self.recompute
        runs = [self._begin(i, count, x, episodes[0]) for x in episodes]
        with e.loop(s.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            shared = [recompute.constants(row, at) for row in runs[0].rows]
            traces = [[recompute.load(row, at) for row in run.rows] for run in runs]
            with e.loop(steps) as step:
                for x, run, own in zip(episodes, runs, traces, strict=True):
                    recompute.step(x.before(step), i, run.rows, own, shared, at)
            columns = [s.every.column(s, x.w, at) if x.w else {} for x in episodes]
            pre = [e.load(e.at(x.reads.pre, at)) for x in episodes]
            column_sums = [_ColumnSums(e, _column_targets(x), at) for x in episodes]
            from_others = s.from_others(at)
            for r in range(count):
                for k, (x, run) in enumerate(zip(episodes, runs, strict=True)):
                    cell = _Cell(run, r, pre[k], column_sums[k], shared[r], from_others)
                    self._cell(cell, bool(x.w), recompute.values(traces[k][r]) | run.known[r] | columns[k])
                shared[r].store()
            for sums in column_sums:
                sums.store()
        self._finish(episodes, runs, i)

    def _begin(self, i: str, count: int, x: BackwardEpisode, first: BackwardEpisode) -> _Run:
        s, e = self.synapses, self.e
        known: list[dict[Slot, str]] = [{} for _ in range(count)]
        sums, totals = {}, {}
        if x.w:
            ones = s.every.one(s, x.w)
            known = [ones | s.every.row(s, x.w, i, r) for r in range(count)]
            sums = {k: [e.sum_slot() for _ in range(count)] for axis, k in x.d.sums if axis is Axis.POST}
            totals = {k: e.sum_slot() for axis, k in x.d.sums if axis is Axis.ONE}
        return _Run(
            rows=s.rows(x.m, i, count, first.m),
            grads=s.rows(x.d.m, i, count, first.d.m),
            d_drives=[[s.spread(each, i, r) for each in x.reads.drives] for r in range(count)],
            d_recalls=[s.spread(x.reads.recall, i, r) if x.reads.recall else "" for r in range(count)],
            known=known,
            sums=sums,
            totals=totals,
        )

    def _cell(self, cell: _Cell, writes: bool, known: dict[Slot, str]) -> None:
        """One block, from its trace and eligibility trace before the write, which are `known`."""
        e, s, at = self.e, self.synapses, cell.block.at
        if not writes:
            e.store(self._read(cell, known[TRACE]), e.at(cell.grad.trace, at))
            return
        synapse = Synapse(s, cell.row, known, cell.block)
        known[_D_TRACE] = self._read(cell, s.written(synapse)[TRACE])
        if s.program.retroactive:
            known[_D_ELIGIBILITY] = e.load(e.at(cell.grad.eligibility, at))
        for output in s.program.backward.outputs:
            self._add(cell, synapse, output)

    def _add(self, cell: _Cell, synapse: Synapse, output: Output) -> None:
        """What the program of the synapses does with one of its results."""
        e, block, buffer = self.e, cell.block, output.buffer
        if buffer in ("d.trace", "d.eligibility"):
            address = cell.grad.trace if buffer == "d.trace" else cell.grad.eligibility
            e.store(block.inside(synapse(output.node)), e.at(address, block.at))
            return
        factors = self._factors(synapse, output.node)  # in padding a formula's may have any value
        if buffer != "sum":
            block.add(cell.grad.constants[buffer.removeprefix("d.")], *factors)
        elif output.axis is Axis.PRE:
            now = cell.column_sums.now
            now[output.number] = e.fma(*factors, now[output.number])
        elif output.axis is Axis.POST:
            e.accumulate(cell.run.sums[output.number][cell.r], *factors, block.mask)
        else:
            e.accumulate(cell.run.totals[output.number], *factors, block.mask)

    def _factors(self, synapse: Synapse, node: Node) -> tuple[str, str]:
        """A node as a product."""
        if node.op == "mul":
            return synapse(node.args[0]), synapse(node.args[1])
        return synapse(node), self.e.constant(1.0)

    def _finish(self, episodes: Sequence[BackwardEpisode], runs: list[_Run], i: str) -> None:
        e = self.e
        for number in runs[0].sums:
            addresses = [x.d.sums[Axis.POST, number] for x in episodes]
            e.store_sums([run.sums[number] for run in runs], addresses, i, add=False)
        for x, run in zip(episodes, runs, strict=True):
            for number, slot in run.totals.items():
                address, one = x.d.sums[Axis.ONE, number], e.number.name
                e.store(e.binary("add", e.load(address, one), e.total(e.load(slot)), one), address, one)

    def _read(self, cell: _Cell, h: str) -> str:
        """The derivative of the trace `h` that was read; those of alpha and of `pre` are added to."""
        e, s, row, block, now = self.e, self.synapses, cell.row, cell.block, cell.column_sums.now
        d_drives, d_recall = cell.run.d_drives[cell.r], cell.run.d_recalls[cell.r]
        d_drive = e.select(cell.from_others, *d_drives) if cell.from_others else d_drives[0]
        trace, h = h, s.read(h, block)
        block.add(cell.grad.alpha, e.binary("mul", d_drive, cell.pre), h)
        gain = e.binary("mul", block.load(row.alpha), d_drive)
        if row.weight:
            now[_READ] = e.fma(d_drive, s.gain(row, h, block), now[_READ])
        else:
            now[_READ] = e.fma(gain, h, now[_READ])
        if d_recall:
            gain = e.binary("add", gain, d_recall)
            now[_READ] = e.fma(d_recall, h, now[_READ])
        d_trace = e.load(e.at(cell.grad.trace, block.at))
        if not s.program.read.outputs:
            return e.fma(gain, cell.pre, d_trace)
        return e.binary("add", s.read_backward(trace, e.binary("mul", gain, cell.pre), block), d_trace)


def _column_targets(x: BackwardEpisode) -> dict[int, str]:
    """Where sums down the columns are, by number."""
    sums = {k: address for (axis, k), address in x.d.sums.items() if axis is Axis.PRE} if x.w else {}
    return {_READ: x.d.pre} | sums
