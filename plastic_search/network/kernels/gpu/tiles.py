"""What is done with tiles of the trace, in lines of Triton: write and read, forward and backward.

A tile has rows `r` and columns `j`. A held tile stays in registers from one step to the next, and the others lie in
memory, where the same thread reads what it wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from plastic_search.network.kernels.gpu.source import TILE, Lines
from plastic_search.network.kernels.layout import Kind, Reading, Writes
from plastic_search.network.spec import Bound
from plastic_search.precisions import Rounding

__all__ = ["Live", "Tiles"]


class Live(NamedTuple):
    """Masks of what was read at a time, which may be nothing."""

    rows: str = "rm"
    columns: str = "jm"


class Tiles:
    """Writes the lines of sweeps over the trace of one episode.

    Args:
        held: whether the whole trace is one tile, which stays in registers.
    """

    def __init__(self, kind: Kind, lines: Lines, held: bool) -> None:
        if kind.traced.shares is None:
            raise AssertionError("nothing is plastic")
        self.kind, self.lines, self.held, self.shares = kind, lines, held, kind.traced.shares

    @contextmanager
    def each(self) -> Iterator[None]:
        """The lines below are for every tile."""
        with self.lines.rows(self.held):
            if not self.held:
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

    def fetch(self, trace: str, eligibility: str) -> None:
        """The trace, as H, and the eligibility trace, as E, from memory."""
        self.load("H", trace)
        if self.shares.retroactive:
            self.load("E", eligibility)

    def keep(self, trace: str, eligibility: str) -> None:
        self.store("H", trace)
        if self.shares.retroactive:
            self.store("E", eligibility)

    # -- forward

    def written(self, w: Writes) -> None:
        """H = bound(H + change), and the next E."""
        self._moved(w)
        if self.shares.retroactive:
            self.lines("E = (1.0 - eta) * E + C")
        self.lines(f"H = {self._clipped('A')}")
        self._rounded("H", w)

    def read(self, at: Reading) -> None:
        """answer += (weight + alpha * H) pre, recall = H pre"""
        self.load("alpha_", "alpha")
        self.lines(f"heard = tl.load({at.pre} + j, mask=jm, other=0.0)[None, :]")
        gain = "alpha_ * H"
        if self.kind.own_plastic:
            self.load("weight_", "weight")
            gain = "weight_ + alpha_ * H"
        self.lines(
            f"said = tl.load({at.answer} + r, mask=rm, other=0.0)",
            f"tl.store({at.answer} + r, said + tl.sum(({gain}) * heard, axis=1), mask=rm)",
        )
        if at.recall:
            self.lines(f"tl.store({at.recall} + r, tl.sum(H * heard, axis=1), mask=rm)")

    def _moved(self, w: Writes) -> None:
        """C, what the rule and the decay say; CH, what is added to the trace; and A, the trace before it is clipped."""
        lines, total = self.lines, []
        for k, (u, v) in enumerate(zip(w.u, w.v, strict=True)):
            lines(f"u{k} = tl.load({u} + r, mask=rm, other=0.0)[:, None]")
            lines(f"v{k} = tl.load({v} + j, mask=jm, other=0.0)[None, :]")
            total.append(f"u{k} * v{k}")
            if self.shares.matrices[k]:
                self.load(f"coef{k}_", f"coef{k}")
                total[-1] = f"coef{k}_ * {total[-1]}"
        if w.row:
            lines(f"row = tl.load({w.row} + r, mask=rm, other=0.0)[:, None]", "fade = row")
            if w.column:
                lines(f"column = tl.load({w.column} + j, mask=jm, other=0.0)[None, :]", "fade = row * column")
            if self.shares.matrix:
                self.load("decay_", "decay")
                lines("fade = fade * decay_")
            total.append("-fade * H")
        lines(f"C = {' + '.join(total) or '0.0 * H'}", "CH = C")
        if self.shares.retroactive:
            lines(f"write = tl.load({w.write} + r, mask=rm, other=0.0)[:, None]", f"eta = tl.load({w.eta})")
            lines("CH = write * E")
        if self.kind.bound is Bound.SOFT:
            lines("room = tl.where(CH > 0.0, limit - H, limit + H) / limit", "A = H + room * CH")
        else:
            lines("A = H + CH")

    def _clipped(self, value: str) -> str:
        if self.kind.bound is Bound.NONE:
            return value
        return f"tl.where({value} > limit, limit, tl.where({value} < -limit, -limit, {value}))"

    def _rounded(self, name: str, w: Writes) -> None:
        """A trace on the levels of its format, as `quantize.round_trace` writes it."""
        if self.kind.rounding is None:
            return
        shift = "0.5"
        if self.kind.rounding is Rounding.STOCHASTIC:
            self.load("noise", "phases")
            self.lines(f"noise = noise + tl.load({w.dither})", "noise = noise - tl.floor(noise)")
            shift = "noise"
        quotient = f"{name} / level" if self.kind.double else f"tl.div_rn({name}, level)"
        self.lines(
            f"steps = tl.floor({quotient} + {shift})",
            f"{name} = tl.where(steps > top, top, tl.where(steps < -top, -top, steps)) * level",
        )

    # -- backward

    def begin(self, w: Writes | None) -> None:
        """Sums down the columns, and over all, which tiles add to."""
        names = ["to_pre"]
        if w is not None:
            names += [f"to_v{k}" for k in range(len(w.v))] + ["to_column"] * bool(w.column)
        if w is not None and self.shares.retroactive:
            names.append("to_eta")
        shape = "[PRE_BLOCK]" if self.held else "[ROWS, PRE_BLOCK]"
        self.lines(*(f"{name} = tl.zeros({shape}, NUMBER)" for name in names))

    def _down(self, name: str, value: str) -> None:
        """Add to sums down the columns. Threads wait for each other to add; so tiles add up first."""
        self.lines(f"{name} += tl.sum({value}, axis=0)" if self.held else f"{name} += {value}")

    def _summed(self, name: str) -> str:
        return name if self.held else f"tl.sum({name}, axis=0)"

    def back(self, w: Writes | None, d: Writes, at: Reading, live: Live) -> None:
        """From H and E before a write, G, the derivative of the trace after it but for the reads, and GE, that of E.

        Args:
            live: what was read, if anything.
        """
        lines = self.lines
        if w is not None:
            self._moved(w)
            lines(f"now = {self._clipped('A')}")
            self._rounded("now", w)
        else:
            lines("now = H")
        lines(
            f"heard = tl.load({at.pre} + j, mask={live.columns}, other=0.0)[None, :]",
            f"answer = tl.load({at.answer} + r, mask={live.rows}, other=0.0)[:, None]",
        )
        self._read_back(at, live)
        if w is not None:
            self._write_back(w, d)

    def _read_back(self, at: Reading, live: Live) -> None:
        lines, own = self.lines, "alpha_ * now"
        self.load("alpha_", "alpha")
        if self.held:
            lines("GA = GA + answer * heard * now")
        if self.kind.own_plastic:
            self.load("weight_", "weight")
            own = "(weight_ + alpha_ * now)"
        lines("gain = alpha_ * answer")
        if at.recall:
            lines(f"asked = tl.load({at.recall} + r, mask={live.rows}, other=0.0)[:, None]")
            lines("gain = gain + asked")
            self._down("to_pre", f"answer * {own} + asked * now")
        else:
            self._down("to_pre", f"answer * {own}")
        lines("G = G + gain * heard")

    def gather(self, at: Reading) -> None:
        """What a read says of alpha, added to GA; H is the trace that was read."""
        self.lines(
            f"heard = tl.load({at.pre} + j, mask=jm, other=0.0)[None, :]",
            f"answer = tl.load({at.answer} + r, mask=rm, other=0.0)[:, None]",
            "GA = GA + answer * heard * H",
        )

    def _write_back(self, w: Writes, d: Writes) -> None:
        lines = self.lines
        if self.kind.bound is not Bound.NONE:
            lines(f"G = tl.where({self._clipped('A')} == A, G, 0.0)")
        lines("Q = G")
        if self.kind.bound is Bound.SOFT:
            lines(
                "slope = CH / limit", "slope = tl.where(CH > 0.0, -slope, slope)", "Q = G * room", "G = G + G * slope"
            )
        if self.shares.retroactive:
            lines(f"tl.store({d.write} + r, tl.sum(Q * E, axis=1), mask=rm)")
            self._down("to_eta", "-GE * E")
            lines("older = GE", "GE = (1.0 - eta) * GE + Q * write", "Q = older")
        for k, u in enumerate(d.u):
            lines("scaled = Q")
            if self.shares.matrices[k]:
                self.add(f"d_coef{k}", f"Q * u{k} * v{k}")
                lines(f"scaled = Q * coef{k}_")
            lines(f"tl.store({u} + r, tl.sum(scaled * v{k}, axis=1), mask=rm)")
            self._down(f"to_v{k}", f"scaled * u{k}")
        if w.row:
            lines("minus = -Q * H", "others = minus")
            if w.column:
                lines("others = minus * column")
                self._down("to_column", "minus * row")
            if self.shares.matrix:
                lines("others = minus * decay_")
                self.add("d_decay", "minus * row")
            lines(f"tl.store({d.row} + r, tl.sum(others, axis=1), mask=rm)", "G = G - fade * Q")

    def finish(self, w: Writes | None, d: Writes, d_pre: str, live: Live) -> None:
        """Store the sums that `begin` began; that of `pre` is added to what is there, if something was read."""
        lines = self.lines
        lines(f"before = tl.load({d_pre} + j, mask={live.columns}, other=0.0) + {self._summed('to_pre')}")
        lines(f"tl.store({d_pre} + j, before, mask={live.columns})")
        if w is None:
            return
        for k, v in enumerate(d.v):
            lines(f"tl.store({v} + j, {self._summed(f'to_v{k}')}, mask=j < PRE_ROOM)")
        if w.column:
            lines(f"tl.store({d.column} + j, {self._summed('to_column')}, mask=j < PRE_ROOM)")
        if self.shares.retroactive:
            lines(f"tl.store({d.eta}, tl.sum({self._summed('to_eta')}, axis=0))")
