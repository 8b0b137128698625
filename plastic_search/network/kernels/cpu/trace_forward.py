"""Forward loops over the trace: write the change of one step, and read the result in the next, in one pass.

These loops are the same for every rule. A sweep takes `Emitter.rows` rows at a time, so that vectors over the inputs
are loaded once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.layout import Reads, Writes
from plastic_search.network.kernels.tracing.program import ChangeTerms
from plastic_search.network.spec import Bound
from plastic_search.precisions import Rounding

__all__ = ["Block", "ForwardEpisode", "ForwardSweep", "Matrices", "Row", "Synapses"]


class Matrices(NamedTuple):
    """Addresses of what has a number for every synapse; "" for what there is not."""

    trace: str
    eligibility: str
    alpha: str
    coefs: tuple[str, ...]  # of the outer products
    decay: str
    phases: str  # of the noise, where a trace is rounded stochastically
    weight: str  # where the sweep computes weight @ pre as well


class Row(NamedTuple):
    """One row of a sweep: addresses of its matrices, and its numbers, spread to vectors."""

    matrices: Matrices
    u: tuple[str, ...]
    row: str
    write: str


class Columns(NamedTuple):
    """One block of the vectors over the inputs that one step writes."""

    v: tuple[str, ...] = ()
    column: str = ""


class Scalars(NamedTuple):
    """What one step writes with, equal for all synapses, spread to vectors; "" where it is not used."""

    keep: str  # 1 - eta
    dither: str


class Block:
    """One vector's width of one row. What episodes share is loaded once, and added to once."""

    def __init__(self, e: Emitter, at: str) -> None:
        self.e, self.at = e, at
        self.loaded: dict[str, str] = {}
        self.sums: dict[str, str] = {}

    def load(self, address: str) -> str:
        """A vector of a matrix that does not change."""
        if address not in self.loaded:
            self.loaded[address] = self.e.load(self.e.at(address, self.at))
        return self.loaded[address]

    def add(self, address: str, a: str, b: str) -> None:
        """Add a product to a vector, which is stored at the end."""
        if address not in self.sums:
            self.sums[address] = self.e.load(self.e.at(address, self.at))
        self.sums[address] = self.e.fma(a, b, self.sums[address])

    def store(self) -> None:
        for address, total in self.sums.items():
            self.e.store(total, self.e.at(address, self.at))


class Synapses:
    """What happens at a block of synapses: change, bound and rounding of the trace; and the addresses of its rows.

    Args:
        bound, rounding: how the trace stays finite, and how it is rounded; None leaves it as it is.
        sizes: registers with the rows of a trace, the numbers in a row, padding included, and the vectors in a row.
        limits: registers with the bound, the distance of two levels and the highest level, as vectors.
    """

    def __init__(
        self, e: Emitter, change: ChangeTerms, bound: Bound, rounding: Rounding | None, sizes: tuple[str, str, str],
        limits: tuple[str, str, str],
    ) -> None:  # fmt: skip
        self.e, self.change, self.bound, self.rounding = e, change, bound, rounding
        self.limit, self.level, self.top = limits
        self.post, self.width, self.blocks = sizes
        self._common: dict[tuple[Matrices, str, int], Matrices] = {}
        if bound is not Bound.NONE:
            self.minus_limit = e.unary("neg", self.limit)
        if bound is Bound.SOFT:
            self.per_limit = e.binary("div", e.constant(1.0), self.limit)

    # -- the write

    def load(self, m: Matrices, at: str) -> tuple[str, str]:
        """A block of the trace, and of the eligibility trace, or ""."""
        e = self.e
        return e.load(e.at(m.trace, at)), e.load(e.at(m.eligibility, at)) if self.change.retroactive else ""

    def store(self, h: str, eligibility: str, to: Matrices, at: str) -> None:
        e = self.e
        e.store(h, e.at(to.trace, at))
        if self.change.retroactive:
            e.store(eligibility, e.at(to.eligibility, at))

    def written(
        self, row: Row, columns: Columns, scalars: Scalars, h: str, eligibility: str, block: Block
    ) -> tuple[str, str]:
        """The trace, and the eligibility trace if there is one, after a write."""
        e, change = self.e, self.rule_change(row, columns, h, block)
        if self.change.retroactive:
            change, eligibility = e.binary("mul", row.write, eligibility), e.fma(scalars.keep, eligibility, change)
        return self.rounded(self.clipped(self.moved(h, change)[0]), row, scalars.dither, block), eligibility

    def rule_change(self, row: Row, columns: Columns, h: str, block: Block) -> str:
        """sum_k C_k u_k v_k - decay h"""
        e, total = self.e, ""
        for u, v, coef in zip(row.u, columns.v, row.matrices.coefs, strict=True):
            factor = e.binary("mul", u, block.load(coef)) if coef else u
            total = e.fma(factor, v, total) if total else e.binary("mul", factor, v)
        decay = self.decay(row, columns, block)
        if decay:
            total = e.fma(e.unary("neg", decay), h, total or e.constant(0.0))
        return total or e.constant(0.0)

    def decay(self, row: Row, columns: Columns, block: Block) -> str:
        e, decay = self.e, row.row
        if columns.column:
            decay = e.binary("mul", decay, columns.column)
        if self.change.matrix:
            decay = e.binary("mul", decay, block.load(row.matrices.decay))
        return decay

    def moved(self, h: str, change: str) -> tuple[str, str, str]:
        """The trace before it is clipped; with a soft bound, the share of the change, and whether that is positive."""
        e = self.e
        if self.bound is not Bound.SOFT:
            return e.binary("add", h, change), "", ""
        rises = e.compare("gt", change, e.constant(0.0))
        left = e.select(rises, e.binary("sub", self.limit, h), e.binary("add", self.limit, h))
        share = e.binary("div", left, self.limit)
        return e.fma(share, change, h), share, rises

    def clipped(self, value: str) -> str:
        return value if self.bound is Bound.NONE else self.e.clamp(value, self.minus_limit, self.limit)

    def rounded(self, value: str, row: Row, dither: str, block: Block) -> str:
        """A trace on the levels of its format, as `quantization.round_trace` rounds it."""
        if self.rounding is None:
            return value
        e = self.e
        shift = e.constant(0.5)
        if self.rounding is Rounding.STOCHASTIC:
            noise = e.binary("add", block.load(row.matrices.phases), dither)
            shift = e.binary("sub", noise, e.unary("floor", noise))
        steps = e.let(f"fdiv {e.vector} {value}, {self.level}")
        level = e.unary("floor", e.let(f"fadd {e.vector} {steps}, {shift}"))
        return e.binary("mul", e.clamp(level, e.unary("neg", self.top), self.top), self.level)

    def gain(self, row: Row, h: str, block: Block) -> str:
        """weight + alpha h, or alpha h"""
        e, alpha = self.e, block.load(row.matrices.alpha)
        if not row.matrices.weight:
            return e.binary("mul", alpha, h)
        return e.fma(alpha, h, block.load(row.matrices.weight))

    # -- rows and columns

    def rows(self, m: Matrices, w: Writes | None, i: str, count: int, like: Matrices) -> list[Row]:
        """`count` rows from `i` on. Matrices that episodes share have the addresses of those of `like`."""
        rows = []
        for r in range(count):
            if (like, i, r) not in self._common:
                self._common[like, i, r] = self.addresses(like, i, r)
            own = self.addresses(m, i, r)
            common = self._common[like, i, r]._replace(trace=own.trace, eligibility=own.eligibility)
            rows.append(self.row(common, w, i, r))
        return rows

    def row(self, matrices: Matrices, w: Writes | None, i: str, r: int) -> Row:
        if w is None:
            return Row(matrices, (), "", "")
        one = lambda a: self.spread(a, i, r) if a else ""  # noqa: E731
        return Row(matrices, tuple(map(one, w.u)), one(w.row), one(w.write))

    def spread(self, address: str, i: str, r: int) -> str:
        """A row's own number, as a vector."""
        e = self.e
        return e.splat(e.load(e.at(address, e.add(i, str(r))), e.number.name))

    def addresses(self, m: Matrices, i: str, r: int) -> Matrices:
        """Where a row of every matrix begins."""
        offset = self.e.mul(self.e.add(i, str(r)), self.width)
        at = lambda a: self.e.at(a, offset) if a else ""  # noqa: E731
        return Matrices(
            trace=at(m.trace),
            eligibility=at(m.eligibility),
            alpha=at(m.alpha),
            coefs=tuple(map(at, m.coefs)),
            decay=at(m.decay),
            phases=at(m.phases),
            weight=at(m.weight),
        )

    def columns(self, w: Writes | None, at: str) -> Columns:
        if w is None:
            return Columns()
        e = self.e
        return Columns(tuple(e.load(e.at(v, at)) for v in w.v), e.load(e.at(w.column, at)) if w.column else "")

    def keep(self, w: Writes | None) -> str:
        """1 - eta, the share of the eligibility trace that stays, as a vector."""
        if w is None or not self.change.retroactive:
            return ""
        e = self.e
        return e.binary("sub", e.constant(1.0), e.splat(e.load(w.eta, e.number.name)))

    def dither(self, w: Writes | None) -> str:
        if w is None or self.rounding is not Rounding.STOCHASTIC:
            return ""
        return self.e.splat(self.e.load(w.dither, self.e.number.name))


class ForwardEpisode(NamedTuple):
    """What a sweep does for one episode. Episodes that are swept together share all matrices but traces."""

    m: Matrices
    w: Writes | None  # None: nothing is written
    reads: Reads | None  # None: nothing is read


class _Run(NamedTuple):
    """One episode's part of a sweep over some rows."""

    rows: list[Row]
    targets: list[Matrices]
    drives: list[str]  # slots for sums
    recalls: list[str]
    scalars: Scalars


class ForwardSweep:
    """Emits sweeps forward."""

    def __init__(self, synapses: Synapses) -> None:
        self.synapses, self.e = synapses, synapses.e

    def emit(self, episodes: Sequence[ForwardEpisode]) -> None:
        """H = bound(H + change), where there is a write; then drive += (weight + alpha * H) pre, recall = H pre"""
        self.e.groups(self.synapses.post, lambda i, count: self._rows(i, count, episodes), len(episodes))

    def _rows(self, i: str, count: int, episodes: Sequence[ForwardEpisode]) -> None:
        e, s = self.e, self.synapses
        runs = [self._begin(i, count, episode, episodes[0].m) for episode in episodes]
        with e.loop(s.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            columns = [s.columns(episode.w, at) for episode in episodes]
            pre = [e.load(e.at(x.reads.pre, at)) if x.reads else "" for x in episodes]
            for r in range(count):
                shared = Block(e, at)
                for k, (episode, run) in enumerate(zip(episodes, runs, strict=True)):
                    row = run.rows[r]
                    if episode.w is None:
                        h = e.load(e.at(row.matrices.trace, at))
                    else:
                        h, eligibility = s.load(row.matrices, at)
                        h, eligibility = s.written(row, columns[k], run.scalars, h, eligibility, shared)
                        s.store(h, eligibility, run.targets[r], at)
                    if episode.reads:
                        e.accumulate(run.drives[r], s.gain(row, h, shared), pre[k])
                        if episode.reads.recall:
                            e.accumulate(run.recalls[r], h, pre[k])
        reads = [episode.reads for episode in episodes if episode.reads]
        if reads:
            e.store_sums([run.drives for run in runs], [each.drive for each in reads], i, add=True)
        if reads and reads[0].recall:
            e.store_sums([run.recalls for run in runs], [each.recall for each in reads], i, add=False)

    def _begin(self, i: str, count: int, episode: ForwardEpisode, like: Matrices) -> _Run:
        s = self.synapses
        rows = s.rows(episode.m, episode.w, i, count, like)
        targets = [s.addresses(episode.m, i, r) for r in range(count)]
        drives, recalls = ([self.e.sum_slot() for _ in rows] for _ in range(2))
        return _Run(rows, targets, drives, recalls, Scalars(s.keep(episode.w), s.dither(episode.w)))
