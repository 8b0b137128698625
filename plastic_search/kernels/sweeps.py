"""The loops over the trace, which are the same for every rule: write and read.

A sweep takes `Emitter.rows` rows at a time, so that vectors over the inputs are loaded once for all of them, and goes
through the trace once. The write of one step is applied while the trace is read in the next.
"""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.kernels.emit import Emitter
from plastic_search.kernels.program import Shares
from plastic_search.precisions import Rounding
from plastic_search.spec import Bound

__all__ = ["Matrices", "Row", "Sweeps", "Writes"]


class Matrices(NamedTuple):
    """Addresses of what has a number for every synapse."""

    trace: str
    eligibility: str  # "" where there is none
    alpha: str
    coefs: tuple[str, ...]  # "" where an outer product has none
    decay: str
    phases: str  # of the noise that rounds, where a trace is rounded by chance


class Writes(NamedTuple):
    """Addresses of one step's vectors, which say what is written."""

    u: tuple[str, ...]
    v: tuple[str, ...]
    row: str
    column: str
    write: str
    eta: str
    dither: str  # one number: the noise that rounds what is written


class Row(NamedTuple):
    """One row of a sweep: addresses of its matrices, and its vectors of one number each."""

    matrices: Matrices
    u: tuple[str, ...]
    row: str
    write: str


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
        if bound is not Bound.NONE:
            self.less = e.unary("neg", self.limit)
        if bound is Bound.SOFT:
            self.per_limit = e.binary("div", e.constant(1.0), self.limit)

    def read(self, m: Matrices, pre: str, answer: str, recall: str) -> None:
        """answer += (alpha * H) pre, recall = H pre"""
        self.e.groups(self.post, lambda i, count: self._forward(i, count, m, None, m, (pre, answer, recall)))

    def write_and_read(self, m: Matrices, w: Writes, pre: str, answer: str, recall: str) -> None:
        """H = bound(H + change), then `read`"""
        self.e.groups(self.post, lambda i, count: self._forward(i, count, m, w, m, (pre, answer, recall)))

    def write(self, m: Matrices, w: Writes, to: Matrices) -> None:
        """to = bound(H + change)"""
        self.e.groups(self.post, lambda i, count: self._forward(i, count, m, w, to, None))

    def _forward(
        self, i: str, count: int, m: Matrices, w: Writes | None, to: Matrices, reading: tuple[str, str, str] | None
    ) -> None:
        e = self.e
        rows = [self._row(m, w, i, r) for r in range(count)]
        targets = [self._addresses(to, i, r) for r in range(count)]
        answers, recalls = ([e.slot(e.vector) for _ in rows] for _ in range(2))
        if reading:
            for slot in answers + (recalls if reading[2] else []):
                e.store(e.constant(0.0), slot)
        eta, dither = self._eta(w), self._dither(w)
        with e.loop(self.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            vs, column = self._columns(w, at)
            heard = e.load(e.at(reading[0], at)) if reading else ""
            for r, row in enumerate(rows):
                h = e.load(e.at(row.matrices.trace, at))
                if w is not None:
                    h = self._written(row, targets[r], (vs, column), (eta[1], dither), h, at)
                if reading:
                    gain = e.binary("mul", e.load(e.at(row.matrices.alpha, at)), h)
                    e.store(e.fma(gain, heard, e.load(answers[r])), answers[r])
                    if reading[2]:
                        e.store(e.fma(h, heard, e.load(recalls[r])), recalls[r])
        if reading:
            self._sums(answers, reading[1], i, add=True)
            if reading[2]:
                self._sums(recalls, reading[2], i, add=False)

    def _written(
        self, row: Row, to: Matrices, columns: tuple[tuple[str, ...], str], numbers: tuple[str, str], h: str, at: str
    ) -> str:
        """Store and return the new trace; the eligibility trace is stored too."""
        e, (kept, dither) = self.e, numbers
        change = self._change(row, *columns, h, at)
        if self.shares.retroactive:
            eligible = e.load(e.at(row.matrices.eligibility, at))
            e.store(e.fma(kept, eligible, change), e.at(to.eligibility, at))
            change = e.binary("mul", row.write, eligible)
        new = self._rounded(self._clipped(self._moved(h, change)[0]), row, dither, at)
        e.store(new, e.at(to.trace, at))
        return new

    def _change(self, row: Row, vs: tuple[str, ...], column: str, h: str, at: str) -> str:
        """sum_k C_k u_k v_k - decay h"""
        e, total = self.e, ""
        for u, v, coef in zip(row.u, vs, row.matrices.coefs, strict=True):
            factor = e.binary("mul", u, e.load(e.at(coef, at))) if coef else u
            total = e.fma(factor, v, total) if total else e.binary("mul", factor, v)
        decay = self._decay(row, column, at)
        if decay:
            total = e.fma(e.unary("neg", decay), h, total or e.constant(0.0))
        return total or e.constant(0.0)

    def _decay(self, row: Row, column: str, at: str) -> str:
        e, decay = self.e, row.row
        if column:
            decay = e.binary("mul", decay, column)
        if self.shares.matrix:
            decay = e.binary("mul", decay, e.load(e.at(row.matrices.decay, at)))
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

    def _rounded(self, value: str, row: Row, dither: str, at: str) -> str:
        """A trace on the levels of its format, as `quantize.round_trace` writes it."""
        if self.rounding is None:
            return value
        e = self.e
        shift = e.constant(0.5)
        if self.rounding is Rounding.STOCHASTIC:
            noise = e.binary("add", e.load(e.at(row.matrices.phases, at)), dither)
            shift = e.binary("sub", noise, e.unary("floor", noise))
        steps = e.let(f"fdiv {e.vector} {value}, {self.level}")
        level = e.unary("floor", e.let(f"fadd {e.vector} {steps}, {shift}"))
        return e.binary("mul", e.clamp(level, e.unary("neg", self.top), self.top), self.level)

    # -- rows and columns

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
        return Matrices(go(m.trace), go(m.eligibility), go(m.alpha), tuple(map(go, m.coefs)), go(m.decay), go(m.phases))

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

    def _sums(self, slots: list[str], address: str, i: str, add: bool) -> None:
        """Store the sums of the lanes of each row."""
        e = self.e
        total, kind = e.totals([e.load(slot) for slot in slots])
        place = e.at(address, i)
        if add:
            total = e.binary("add", total, e.load(place, kind), kind)
        e.store(total, place, kind)
