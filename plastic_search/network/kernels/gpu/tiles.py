"""Source lines that write and read tiles of the trace, forward and backward.

A tile has rows `r` and columns `j`. One that is the whole trace stays in registers from one step to the next. Others
lie in memory, where each thread reads what it wrote itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from plastic_search.network.kernels.gpu.source import TILE, Lines
from plastic_search.network.kernels.layout import KernelSignature, Reads, Writes
from plastic_search.network.spec import Bound
from plastic_search.precisions import Rounding

__all__ = ["ReadMasks", "Tiles"]


class ReadMasks(NamedTuple):
    """Masks of the rows and columns that were read at a time; after the last step nothing was."""

    rows: str = "rm"
    columns: str = "jm"


class Tiles:
    """Emits sweeps over the trace of one episode.

    Args:
        whole: whether the whole trace is one tile, which stays in registers.
    """

    def __init__(self, signature: KernelSignature, lines: Lines, whole: bool) -> None:
        if signature.program.change is None:
            raise AssertionError("nothing is plastic")
        self.signature, self.lines, self.whole, self.change = signature, lines, whole, signature.program.change

    @contextmanager
    def each(self) -> Iterator[None]:
        """The lines below are repeated for every tile."""
        with self.lines.rows(self.whole):
            if not self.whole:
                self.lines(*TILE)
            yield

    def load(self, name: str, address: str) -> None:
        """A tile from memory."""
        self.lines(f"{name} = tl.load({address} + tile, mask=inside, other=0.0)")

    def store(self, name: str, address: str) -> None:
        self.lines(f"tl.store({address} + tile, {name}, mask=inside)")

    def add(self, address: str, value: str) -> None:
        """Add to a tile in memory."""
        self.load("old", address)
        self.store(f"old + {value}", address)

    def load_trace(self, trace: str, eligibility: str) -> None:
        """The trace, as H, and the eligibility trace, as E."""
        self.load("H", trace)
        if self.change.retroactive:
            self.load("E", eligibility)

    def store_trace(self, trace: str, eligibility: str) -> None:
        self.store("H", trace)
        if self.change.retroactive:
            self.store("E", eligibility)

    # -- forward

    def write(self, w: Writes) -> None:
        """H = bound(H + change), and the next E."""
        self._moved(w)
        if self.change.retroactive:
            self.lines("E = (1.0 - eta) * E + C")
        self.lines(f"H = {self._clipped('A')}")
        self._rounded("H", w)

    def read(self, reads: Reads) -> None:
        """drive += (weight + alpha * H) pre, recall = H pre"""
        self.load("alpha_", "alpha")
        self.lines(f"inputs = tl.load({reads.pre} + j, mask=jm, other=0.0)[None, :]")
        gain = "alpha_ * H"
        if self.signature.recurrent_plastic:
            self.load("weight_", "weight")
            gain = "weight_ + alpha_ * H"
        self.lines(
            f"loaded = tl.load({reads.drive} + r, mask=rm, other=0.0)",
            f"tl.store({reads.drive} + r, loaded + tl.sum(({gain}) * inputs, axis=1), mask=rm)",
        )
        if reads.recall:
            self.lines(f"tl.store({reads.recall} + r, tl.sum(H * inputs, axis=1), mask=rm)")

    def _moved(self, w: Writes) -> None:
        """C, the change by rule and decay; CH, what is added to the trace; and A, the trace before it is clipped."""
        lines, total = self.lines, []
        for k, (u, v) in enumerate(zip(w.u, w.v, strict=True)):
            lines(f"u{k} = tl.load({u} + r, mask=rm, other=0.0)[:, None]")
            lines(f"v{k} = tl.load({v} + j, mask=jm, other=0.0)[None, :]")
            total.append(f"u{k} * v{k}")
            if self.change.matrices[k]:
                self.load(f"coef{k}_", f"coef{k}")
                total[-1] = f"coef{k}_ * {total[-1]}"
        if w.row:
            lines(f"row = tl.load({w.row} + r, mask=rm, other=0.0)[:, None]", "fade = row")
            if w.column:
                lines(f"column = tl.load({w.column} + j, mask=jm, other=0.0)[None, :]", "fade = row * column")
            if self.change.matrix:
                self.load("decay_", "decay")
                lines("fade = fade * decay_")
            total.append("-fade * H")
        lines(f"C = {' + '.join(total) or '0.0 * H'}", "CH = C")
        if self.change.retroactive:
            lines(f"write = tl.load({w.write} + r, mask=rm, other=0.0)[:, None]", f"eta = tl.load({w.eta})")
            lines("CH = write * E")
        if self.signature.bound is Bound.SOFT:
            lines("headroom = tl.where(CH > 0.0, limit - H, limit + H) / limit", "A = H + headroom * CH")
        else:
            lines("A = H + CH")

    def _clipped(self, value: str) -> str:
        if self.signature.bound is Bound.NONE:
            return value
        return f"tl.where({value} > limit, limit, tl.where({value} < -limit, -limit, {value}))"

    def _rounded(self, name: str, w: Writes) -> None:
        """A trace on the levels of its format, as `quantization.round_trace` rounds it."""
        if self.signature.rounding is None:
            return
        shift = "0.5"
        if self.signature.rounding is Rounding.STOCHASTIC:
            self.load("noise", "phases")
            self.lines(f"noise = noise + tl.load({w.dither})", "noise = noise - tl.floor(noise)")
            shift = "noise"
        quotient = f"{name} / level" if self.signature.double else f"tl.div_rn({name}, level)"
        self.lines(
            f"steps = tl.floor({quotient} + {shift})",
            f"{name} = tl.where(steps > top, top, tl.where(steps < -top, -top, steps)) * level",
        )

    # -- backward

    def begin_sums(self, w: Writes | None) -> None:
        """Sums down the columns, and over all synapses, to which tiles add."""
        names = ["to_pre"]
        if w is not None:
            names += [f"to_v{k}" for k in range(len(w.v))] + ["to_column"] * bool(w.column)
        if w is not None and self.change.retroactive:
            names.append("to_eta")
        shape = "[PRE_BLOCK]" if self.whole else "[ROWS, PRE_BLOCK]"
        self.lines(*(f"{name} = tl.zeros({shape}, NUMBER)" for name in names))

    def _down(self, name: str, value: str) -> None:
        """Add to sums down the columns. A sum over threads is slow, so tiles are added up before it."""
        self.lines(f"{name} += tl.sum({value}, axis=0)" if self.whole else f"{name} += {value}")

    def _summed(self, name: str) -> str:
        return name if self.whole else f"tl.sum({name}, axis=0)"

    def backward(self, w: Writes | None, d: Writes, reads: Reads, masks: ReadMasks) -> None:
        """From H and E before a write, G, the derivative of the trace after it but for the reads, and GE, that of E.

        Args:
            masks: of what was read.
        """
        lines = self.lines
        if w is not None:
            self._moved(w)
            lines(f"now = {self._clipped('A')}")
            self._rounded("now", w)
        else:
            lines("now = H")
        lines(
            f"inputs = tl.load({reads.pre} + j, mask={masks.columns}, other=0.0)[None, :]",
            f"d_drive_ = tl.load({reads.drive} + r, mask={masks.rows}, other=0.0)[:, None]",
        )
        self._backward_read(reads, masks)
        if w is not None:
            self._backward_write(w, d)

    def _backward_read(self, reads: Reads, masks: ReadMasks) -> None:
        lines, factor = self.lines, "alpha_ * now"
        self.load("alpha_", "alpha")
        if self.whole:
            lines("GA = GA + d_drive_ * inputs * now")
        if self.signature.recurrent_plastic:
            self.load("weight_", "weight")
            factor = "(weight_ + alpha_ * now)"
        lines("gain = alpha_ * d_drive_")
        if reads.recall:
            lines(f"d_recall = tl.load({reads.recall} + r, mask={masks.rows}, other=0.0)[:, None]")
            lines("gain = gain + d_recall")
            self._down("to_pre", f"d_drive_ * {factor} + d_recall * now")
        else:
            self._down("to_pre", f"d_drive_ * {factor}")
        lines("G = G + gain * inputs")

    def gather_alpha(self, reads: Reads) -> None:
        """Add the derivative of alpha by a read of the trace H to GA."""
        self.lines(
            f"inputs = tl.load({reads.pre} + j, mask=jm, other=0.0)[None, :]",
            f"d_drive_ = tl.load({reads.drive} + r, mask=rm, other=0.0)[:, None]",
            "GA = GA + d_drive_ * inputs * H",
        )

    def _backward_write(self, w: Writes, d: Writes) -> None:
        lines = self.lines
        if self.signature.bound is not Bound.NONE:
            lines(f"G = tl.where({self._clipped('A')} == A, G, 0.0)")
        lines("Q = G")
        if self.signature.bound is Bound.SOFT:
            lines(
                "slope = CH / limit",
                "slope = tl.where(CH > 0.0, -slope, slope)",
                "Q = G * headroom",
                "G = G + G * slope",
            )
        if self.change.retroactive:
            lines(f"tl.store({d.write} + r, tl.sum(Q * E, axis=1), mask=rm)")
            self._down("to_eta", "-GE * E")
            lines("older = GE", "GE = (1.0 - eta) * GE + Q * write", "Q = older")
        for k, u in enumerate(d.u):
            lines("scaled = Q")
            if self.change.matrices[k]:
                self.add(f"d_coef{k}", f"Q * u{k} * v{k}")
                lines(f"scaled = Q * coef{k}_")
            lines(f"tl.store({u} + r, tl.sum(scaled * v{k}, axis=1), mask=rm)")
            self._down(f"to_v{k}", f"scaled * u{k}")
        if w.row:
            lines("minus = -Q * H", "others = minus")
            if w.column:
                lines("others = minus * column")
                self._down("to_column", "minus * row")
            if self.change.matrix:
                lines("others = minus * decay_")
                self.add("d_decay", "minus * row")
            lines(f"tl.store({d.row} + r, tl.sum(others, axis=1), mask=rm)", "G = G - fade * Q")

    def store_sums(self, w: Writes | None, d: Writes, d_pre: str, masks: ReadMasks) -> None:
        """Store the sums of `begin_sums`; that of `pre` is added to what is there, if something was read."""
        lines = self.lines
        lines(f"before = tl.load({d_pre} + j, mask={masks.columns}, other=0.0) + {self._summed('to_pre')}")
        lines(f"tl.store({d_pre} + j, before, mask={masks.columns})")
        if w is None:
            return
        for k, v in enumerate(d.v):
            lines(f"tl.store({v} + j, {self._summed(f'to_v{k}')}, mask=j < PRE_PADDED)")
        if w.column:
            lines(f"tl.store({d.column} + j, {self._summed('to_column')}, mask=j < PRE_PADDED)")
        if self.change.retroactive:
            lines(f"tl.store({d.eta}, tl.sum({self._summed('to_eta')}, axis=0))")
