"""The loops over the trace, which are the same for every rule: write and read.

A sweep takes `Emitter.rows` rows at a time, so that vectors over the inputs are loaded once for all of them, and goes
through the trace once. The write of one step is applied while the trace is read in the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.layout import Reading, Writes
from plastic_search.network.kernels.tracing.program import Shares
from plastic_search.network.spec import Bound
from plastic_search.precisions import Rounding

__all__ = ["Block", "Episode", "Matrices", "Row", "Sweeps"]


class Matrices(NamedTuple):
    """Addresses of what has a number for every synapse."""

    trace: str
    eligibility: str  # "" where there is none
    alpha: str
    coefs: tuple[str, ...]  # "" where an outer product has none
    decay: str
    phases: str  # of the noise that rounds, where a trace is rounded by chance
    weight: str  # fixed weights of the same connections, where the sweep adds what they say; "" elsewhere


class Episode(NamedTuple):
    """What a sweep does for one episode. Episodes that are swept together share all matrices but traces."""

    m: Matrices
    w: Writes | None  # None: nothing is written
    to: Matrices  # where the trace goes that is written
    reading: Reading | None


class Row(NamedTuple):
    """One row of a sweep: addresses of its matrices, and its vectors of one number each."""

    matrices: Matrices
    u: tuple[str, ...]
    row: str
    write: str


class Block:
    """One vector's width of one row. What episodes share is loaded once, and added to once."""

    def __init__(self, e: Emitter, at: str) -> None:
        self.e, self.at = e, at
        self.known: dict[str, str] = {}
        self.sums: dict[str, str] = {}

    def load(self, address: str) -> str:
        """A vector of a matrix that does not change."""
        if address not in self.known:
            self.known[address] = self.e.load(self.e.at(address, self.at))
        return self.known[address]

    def add(self, address: str, a: str, b: str) -> None:
        """Add a product to a vector, which is stored at the end."""
        if address not in self.sums:
            self.sums[address] = self.e.load(self.e.at(address, self.at))
        self.sums[address] = self.e.fma(a, b, self.sums[address])

    def store(self) -> None:
        for address, total in self.sums.items():
            self.e.store(total, self.e.at(address, self.at))


class _Run(NamedTuple):
    """One episode's part of a forward sweep over some rows."""

    rows: list[Row]
    targets: list[Matrices]
    answers: list[str]
    recalls: list[str]
    kept: str
    dither: str


class Sweeps:
    """Emits sweeps over the trace of one layer.

    Args:
        bound, rounding: how the trace stays finite, and how it is written; None leaves it as it is.
        sizes: registers with the rows of a trace, the numbers in a row, padding included, and the vectors in a row.
        limits: registers with the bound, the distance of two levels and the highest level, as vectors.
    """

    def __init__(
        self, e: Emitter, shares: Shares, bound: Bound, rounding: Rounding | None, sizes: tuple[str, str, str],
        limits: tuple[str, str, str],
    ) -> None:  # fmt: skip
        self.e, self.shares, self.bound, self.rounding = e, shares, bound, rounding
        self.limit, self.level, self.top = limits
        self.post, self.width, self.blocks = sizes
        self.shared: dict[tuple[Matrices, str, int], Matrices] = {}
        if bound is not Bound.NONE:
            self.less = e.unary("neg", self.limit)
        if bound is Bound.SOFT:
            self.per_limit = e.binary("div", e.constant(1.0), self.limit)

    def forward(self, episodes: Sequence[Episode]) -> None:
        """H = bound(H + change), where there is a write; then answer += (weight + alpha * H) pre, recall = H pre"""
        self.e.groups(self.post, lambda i, count: self._forward(i, count, episodes), len(episodes))

    def _forward(self, i: str, count: int, episodes: Sequence[Episode]) -> None:
        e = self.e
        runs = [self._begun(i, count, episode, episodes[0].m) for episode in episodes]
        with e.loop(self.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            columns = [self._columns(episode.w, at) for episode in episodes]
            heard = [e.load(e.at(x.reading.pre, at)) if x.reading else "" for x in episodes]
            for r in range(count):
                shared = Block(e, at)
                for k, (episode, run) in enumerate(zip(episodes, runs, strict=True)):
                    row = run.rows[r]
                    if episode.w is None:
                        h = e.load(e.at(row.matrices.trace, at))
                    else:
                        now = self._load(row.matrices, at)
                        h, eligible = self._written(row, columns[k], (run.kept, run.dither), *now, shared)
                        self._store(h, eligible, run.targets[r], at)
                    if episode.reading:
                        self._add(run.answers[r], self._gain(row, h, shared), heard[k])
                        if episode.reading.recall:
                            self._add(run.recalls[r], h, heard[k])
        readings = [episode.reading for episode in episodes if episode.reading]
        if readings:
            self._sums([run.answers for run in runs], [reading.answer for reading in readings], i, add=True)
        if readings and readings[0].recall:
            self._sums([run.recalls for run in runs], [reading.recall for reading in readings], i, add=False)

    def _begun(self, i: str, count: int, episode: Episode, like: Matrices) -> _Run:
        rows = self._shared_rows(episode.m, episode.w, i, count, like)
        targets = [self._addresses(episode.to, i, r) for r in range(count)]
        answers, recalls = ([self._zero() for _ in rows] for _ in range(2))
        return _Run(rows, targets, answers, recalls, self._eta(episode.w)[1], self._dither(episode.w))

    def _zero(self) -> str:
        """Room for a sum."""
        slot = self.e.slot(self.e.vector)
        self.e.store(self.e.constant(0.0), slot)
        return slot

    def _add(self, slot: str, a: str, b: str) -> None:
        self.e.store(self.e.fma(a, b, self.e.load(slot)), slot)

    def _gain(self, row: Row, h: str, block: Block) -> str:
        """weight + alpha h"""
        e, alpha = self.e, block.load(row.matrices.alpha)
        if not row.matrices.weight:
            return e.binary("mul", alpha, h)
        return e.fma(alpha, h, block.load(row.matrices.weight))

    def _written(
        self, row: Row, columns: tuple[tuple[str, ...], str], numbers: tuple[str, str], h: str, eligible: str,
        block: Block,
    ) -> tuple[str, str]:  # fmt: skip
        """The trace and the eligibility trace, if there is one, after a write."""
        e, (kept, dither) = self.e, numbers
        change = self._change(row, *columns, h, block)
        if self.shares.retroactive:
            change, eligible = e.binary("mul", row.write, eligible), e.fma(kept, eligible, change)
        return self._rounded(self._clipped(self._moved(h, change)[0]), row, dither, block), eligible

    def _load(self, m: Matrices, at: str) -> tuple[str, str]:
        """A block of a trace, and of its eligibility trace, or ""."""
        e = self.e
        return e.load(e.at(m.trace, at)), e.load(e.at(m.eligibility, at)) if self.shares.retroactive else ""

    def _store(self, h: str, eligible: str, to: Matrices, at: str) -> None:
        e = self.e
        e.store(h, e.at(to.trace, at))
        if self.shares.retroactive:
            e.store(eligible, e.at(to.eligibility, at))

    def _change(self, row: Row, vs: tuple[str, ...], column: str, h: str, block: Block) -> str:
        """sum_k C_k u_k v_k - decay h"""
        e, total = self.e, ""
        for u, v, coef in zip(row.u, vs, row.matrices.coefs, strict=True):
            factor = e.binary("mul", u, block.load(coef)) if coef else u
            total = e.fma(factor, v, total) if total else e.binary("mul", factor, v)
        decay = self._decay(row, column, block)
        if decay:
            total = e.fma(e.unary("neg", decay), h, total or e.constant(0.0))
        return total or e.constant(0.0)

    def _decay(self, row: Row, column: str, block: Block) -> str:
        e, decay = self.e, row.row
        if column:
            decay = e.binary("mul", decay, column)
        if self.shares.matrix:
            decay = e.binary("mul", decay, block.load(row.matrices.decay))
        return decay

    def _moved(self, h: str, change: str) -> tuple[str, str, str]:
        """The trace before it is clipped; and, where the bound is soft, the room that was left and whether it rose."""
        e = self.e
        if self.bound is not Bound.SOFT:
            return e.binary("add", h, change), "", ""
        rises = e.compare("gt", change, e.constant(0.0))
        left = e.select(rises, e.binary("sub", self.limit, h), e.binary("add", self.limit, h))
        room = e.binary("div", left, self.limit)
        return e.fma(room, change, h), room, rises

    def _clipped(self, value: str) -> str:
        return value if self.bound is Bound.NONE else self.e.clamp(value, self.less, self.limit)

    def _rounded(self, value: str, row: Row, dither: str, block: Block) -> str:
        """A trace on the levels of its format, as `quantize.round_trace` writes it."""
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

    # -- rows and columns

    def _shared_rows(self, m: Matrices, w: Writes | None, i: str, count: int, like: Matrices) -> list[Row]:
        """Rows whose shared matrices have the very addresses that those of `like` have."""
        made = []
        for r in range(count):
            if (like, i, r) not in self.shared:
                self.shared[like, i, r] = self._addresses(like, i, r)
            row = self._row(m, w, i, r)
            own = {"trace": row.matrices.trace, "eligibility": row.matrices.eligibility}
            made.append(row._replace(matrices=self.shared[like, i, r]._replace(**own)))
        return made

    def _row(self, m: Matrices, w: Writes | None, i: str, r: int) -> Row:
        one = (lambda a: self._one(a, i, r) if a else "") if w is not None else (lambda a: "")
        w = w or Writes((), (), "", "", "", "", "")
        return Row(self._addresses(m, i, r), tuple(map(one, w.u)), one(w.row), one(w.write))

    def _one(self, address: str, i: str, r: int) -> str:
        """A row's own number, as a vector."""
        e = self.e
        return e.splat(e.load(e.at(address, e.add(i, str(r))), e.number.name))

    def _addresses(self, m: Matrices, i: str, r: int) -> Matrices:
        offset = self.e.mul(self.e.add(i, str(r)), self.width)
        go = lambda a: self.e.at(a, offset) if a else ""  # noqa: E731
        return Matrices(
            go(m.trace),
            go(m.eligibility),
            go(m.alpha),
            tuple(map(go, m.coefs)),
            go(m.decay),
            go(m.phases),
            go(m.weight),
        )

    def _columns(self, w: Writes | None, at: str) -> tuple[tuple[str, ...], str]:
        if w is None:
            return (), ""
        e = self.e
        return tuple(e.load(e.at(v, at)) for v in w.v), e.load(e.at(w.column, at)) if w.column else ""

    def _eta(self, w: Writes | None) -> tuple[str, str]:
        """eta and 1 - eta, as vectors."""
        if w is None or not self.shares.retroactive:
            return "", ""
        e = self.e
        eta = e.splat(e.load(w.eta, e.number.name))
        return eta, e.binary("sub", e.constant(1.0), eta)

    def _dither(self, w: Writes | None) -> str:
        if w is None or self.rounding is not Rounding.STOCHASTIC:
            return ""
        return self.e.splat(self.e.load(w.dither, self.e.number.name))

    def _sums(self, slots: list[list[str]], addresses: list[str], i: str, add: bool) -> None:
        """Store the sums of the lanes of each row, or add them to what is there, for each episode."""
        e, size = self.e, sum(map(len, slots))
        total, kind = e.totals([e.load(slot) for rows in slots for slot in rows])
        for k, (rows, address) in enumerate(zip(slots, addresses, strict=True)):
            own = (total, kind) if len(slots) == 1 else e.part(total, size, k * len(rows), len(rows))
            place = e.at(address, i)
            value = e.binary("add", own[0], e.load(place, own[1]), own[1]) if add else own[0]
            e.store(value, place, own[1])
