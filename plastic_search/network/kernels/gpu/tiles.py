"""Source lines that write and read tiles of the trace, forward and backward.

A tile has rows `r` and columns `j`. One that is the whole trace stays in registers from one step to the next. Others
lie in memory, where each thread reads what it wrote itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from plastic_search.network.kernels.addresses import static_nodes
from plastic_search.network.kernels.gpu.source import TILE, Lines, computed, constant_name
from plastic_search.network.kernels.layout import KernelSignature, Reads, row_name
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import STATIC, Program, Slot, ordered, slot_of

__all__ = ["ReadMasks", "Tiles"]

_TILES = {"trace": "H", "eligibility": "E", "d.trace": "G", "d.eligibility": "GE"}  # variables, by buffer


_FROM_OTHERS = "(j < RECURRENT)[None, :]"  # columns of the plastic pathway


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
        if signature.program.synapses is None:
            raise AssertionError("nothing is plastic")
        self.signature, self.lines, self.whole, self.program = signature, lines, whole, signature.program.synapses

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
        if self.program.retroactive:
            self.load("E", eligibility)

    def store_trace(self, trace: str, eligibility: str) -> None:
        self.store("H", trace)
        if self.program.retroactive:
            self.store("E", eligibility)

    # -- the program of the synapses

    def name(self, node: Node) -> str:
        """The variable of a node."""
        if node.op == "constant":
            return constant_name(node.value)
        return _TILES.get(node.slot[0], f"p{node.index}")

    def compute(self, nodes: list[Node], w: dict[Slot, str]) -> None:
        """The lines of some nodes; rows of the units are read at the addresses `w`."""
        static = {x.index for x in self._static()}
        for node in nodes:
            if node.op == "input":
                self._input(node, w)
            elif node.index not in static:
                self.lines(f"{self.name(node)} = {computed(node, self.name, exact=not self.signature.double)}")

    def static(self) -> None:
        """The lines of nodes that are the same at every step."""
        for node in self._static():
            if node.op == "input":
                self.lines(f"{self.name(node)} = tl.load(limits + {node.slot[1] + 3 * (node.slot[0] == 'lengths')})")
            elif node.op != "constant":
                self.lines(f"{self.name(node)} = {computed(node, self.name)}")

    def _static(self) -> list[Node]:
        return static_nodes(self.program.nodes())

    def _input(self, node: Node, w: dict[Slot, str]) -> None:
        name, (buffer, axis, _) = self.name(node), slot_of(node)
        if buffer in STATIC or buffer in _TILES:
            return
        if axis is Axis.PAIR:
            self.load(name, buffer)
            return
        address = w[slot_of(node)]
        self.lines({
            Axis.POST: f"{name} = tl.load({address} + r, mask=rm, other=0.0)[:, None]",
            Axis.PRE: f"{name} = tl.load({address} + j, mask=jm, other=0.0)[None, :]",
            Axis.ONE: f"{name} = tl.load({address})",
        }[axis])  # fmt: skip

    def _set(self, program: Program) -> None:
        """The tiles that a program computes, all of them before any is changed."""
        outputs = [o for o in program.outputs if o.buffer in _TILES]
        self.lines(*(f"next_{_TILES[o.buffer]} = {self._inside(o.node)}" for o in outputs))
        self.lines(*(f"{_TILES[o.buffer]} = next_{_TILES[o.buffer]}" for o in outputs))

    def _nodes(self, *programs: Program) -> list[Node]:
        return ordered([o.node for program in programs for o in program.outputs])

    def _inside(self, node: Node) -> str:
        """The value of a node, 0 in padding, where a formula may have any value."""
        value = self.name(node)
        return f"tl.where(rm[:, None] & jm[None, :], {value}, 0.0)" if self.program.formula else value

    # -- forward

    def write(self, w: dict[Slot, str]) -> None:
        """The next H and E, by what the synapses read of the units."""
        self.compute(self._nodes(self.program.forward), w)
        self._set(self.program.forward)

    def _of_read(self, result: str, program: Program, names: dict[str, str]) -> None:
        """The variable `result`, by a program of the read whose inputs are variables by their buffers."""

        def name(node: Node) -> str:
            if node.op == "input" and node.slot[0] in names:
                return names[node.slot[0]]
            return f"{result}_{node.index}" if node.axis is Axis.PAIR and node.op != "input" else self.name(node)

        for node in self._nodes(program):
            if node.op not in ("input", "constant") and node.axis is Axis.PAIR:
                self.lines(f"{name(node)} = {computed(node, name, exact=not self.signature.double)}")
        self.lines(*(f"{result} = {name(o.node)}" for o in program.outputs))

    def _seen(self, trace: str) -> str:
        """The variable that is the trace in the variable `trace` as it is read."""
        if not self.program.read.outputs:
            return trace
        self._of_read("seen", self.program.read, {"trace": trace})
        return "seen"

    def read(self, reads: Reads) -> None:
        """drive += (weight + alpha * H) pre, recall = H pre"""
        self.load("alpha_", "alpha")
        h = self._seen("H")
        self.lines(f"inputs = tl.load({reads.pre} + j, mask=jm, other=0.0)[None, :]")
        gain = f"alpha_ * {h}"
        if self.signature.recurrent_plastic:
            self.load("weight_", "weight")
            gain = f"weight_ + alpha_ * {h}"
        self.lines(f"added = ({gain}) * inputs")
        parts = ("added",)
        if self.signature.apart:
            parts = (f"tl.where({_FROM_OTHERS}, added, 0.0)", f"tl.where({_FROM_OTHERS}, 0.0, added)")
        for drive, part in zip(reads.drives, parts, strict=True):
            self.lines(
                f"loaded = tl.load({drive} + r, mask=rm, other=0.0)",
                f"tl.store({drive} + r, loaded + tl.sum({part}, axis=1), mask=rm)",
            )
        if reads.recall:
            self.lines(f"tl.store({reads.recall} + r, tl.sum({h} * inputs, axis=1), mask=rm)")

    # -- backward

    def begin_sums(self, w: dict[Slot, str] | None) -> None:
        """Sums down the columns, and over all synapses, to which tiles add."""
        names = ["pre", *(self._added() if w else ())]
        shape = "[PRE_BLOCK]" if self.whole else "[ROWS, PRE_BLOCK]"
        self.lines(*(f"to_{name} = tl.zeros({shape}, NUMBER)" for name in names))

    def _added(self) -> list[str]:
        """The names of such sums."""
        sums = [o for o in self.program.backward.outputs if o.buffer == "sum" and o.axis is not Axis.POST]
        return [row_name(o.axis, o.number) for o in sums]

    def _down(self, name: str, value: str) -> None:
        """Add to sums down the columns. A sum over threads is slow, so tiles are added up before it."""
        self.lines(f"{name} += tl.sum({value}, axis=0)" if self.whole else f"{name} += {value}")

    def _summed(self, name: str) -> str:
        return name if self.whole else f"tl.sum({name}, axis=0)"

    def backward(
        self, w: dict[Slot, str] | None, sums: dict[tuple[Axis, int], str], reads: Reads, masks: ReadMasks
    ) -> None:
        """From H and E before a write, G, the derivative of the trace after it but for the reads, and GE, that of E.

        Args:
            w: what the synapses read of the units at the write; None: nothing is written.
            sums: where the synapses' derivatives are added up.
            masks: of what was read.
        """
        lines, forward = self.lines, self._nodes(self.program.forward)
        now = "H"
        if w:
            self.compute(forward, w)
            now = next(self._inside(o.node) for o in self.program.forward.outputs if o.buffer == "trace")
        lines(
            f"now = {now}",
            f"inputs = tl.load({reads.pre} + j, mask={masks.columns}, other=0.0)[None, :]",
        )
        self._load_d_drive(reads, masks.rows)
        self._backward_read(reads, masks)
        if w:
            self.compute([x for x in self._nodes(self.program.backward) if x not in forward], w)
            self._backward_write(sums)

    def _backward_read(self, reads: Reads, masks: ReadMasks) -> None:
        lines, h = self.lines, self._seen("now")
        factor = f"alpha_ * {h}"
        self.load("alpha_", "alpha")
        if self.whole:
            lines(f"GA = GA + d_drive_ * inputs * {h}")
        if self.signature.recurrent_plastic:
            self.load("weight_", "weight")
            factor = f"(weight_ + alpha_ * {h})"
        lines("gain = alpha_ * d_drive_")
        if reads.recall:
            lines(f"d_recall = tl.load({reads.recall} + r, mask={masks.rows}, other=0.0)[:, None]")
            lines("gain = gain + d_recall")
            self._down("to_pre", f"d_drive_ * {factor} + d_recall * {h}")
        else:
            self._down("to_pre", f"d_drive_ * {factor}")
        lines("by_read = gain * inputs")
        if self.program.read.outputs:
            self._of_read("by_read", self.program.read_backward, {"trace": "now", "d.read": "by_read"})
        lines("G = G + by_read")

    def gather_alpha(self, reads: Reads) -> None:
        """Add the derivative of alpha by a read of the trace H to GA."""
        h = self._seen("H")
        self.lines(
            f"inputs = tl.load({reads.pre} + j, mask=jm, other=0.0)[None, :]",
        )
        self._load_d_drive(reads, "rm")
        self.lines(f"GA = GA + d_drive_ * inputs * {h}")

    def _load_d_drive(self, reads: Reads, mask: str) -> None:
        """The derivative of the sum that each synapse adds to, as d_drive_."""
        each = [f"tl.load({drive} + r, mask={mask}, other=0.0)[:, None]" for drive in reads.drives]
        self.lines(
            f"d_drive_ = tl.where({_FROM_OTHERS}, {', '.join(each)})" if len(each) > 1 else f"d_drive_ = {each[0]}"
        )

    def _backward_write(self, sums: dict[tuple[Axis, int], str]) -> None:
        """What is done with the results of the synapses' derivative."""
        for o in self.program.backward.outputs:
            value = self._inside(o.node)
            if o.buffer in _TILES:
                continue
            if o.buffer != "sum":
                self.add(f"d_{o.buffer.removeprefix('d.')}", value)
            elif o.axis is Axis.POST:
                self.lines(f"tl.store({sums[o.axis, o.number]} + r, tl.sum({value}, axis=1), mask=rm)")
            else:
                self._down(f"to_{row_name(o.axis, o.number)}", value)
        self._set(self.program.backward)

    def store_sums(
        self, w: dict[Slot, str] | None, sums: dict[tuple[Axis, int], str], d_pre: str, masks: ReadMasks
    ) -> None:
        """Store the sums of `begin_sums`; that of `pre` is added to what is there, if something was read."""
        lines = self.lines
        lines(f"before = tl.load({d_pre} + j, mask={masks.columns}, other=0.0) + {self._summed('to_pre')}")
        lines(f"tl.store({d_pre} + j, before, mask={masks.columns})")
        for (axis, number), address in sums.items() if w else ():
            total = self._summed(f"to_{row_name(axis, number)}")
            if axis is Axis.PRE:
                lines(f"tl.store({address} + j, {total}, mask=j < PRE_PADDED)")
            elif axis is Axis.ONE:
                lines(f"tl.store({address}, tl.sum({total}, axis=0))")
