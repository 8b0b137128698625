"""The text of a layer's two functions in Triton: a whole sequence forward, and backward, an episode an instance.

They do what `layer.py` does on the CPU, with the same memory: forward keeps the trace every so often, and backward
writes it anew in between. Sizes are written into the text; settings of parts come with the call.
"""

from __future__ import annotations

from functools import lru_cache

from plastic_search.network.kernels.buffers import Sizes
from plastic_search.network.kernels.gpu.function import Function, tile
from plastic_search.network.kernels.gpu.source import HELPERS
from plastic_search.network.kernels.gpu.tiles import Live, Tiles
from plastic_search.network.kernels.layout import Kind, Reading, Writes
from plastic_search.network.kernels.tracing.ir import Lane
from plastic_search.network.kernels.tracing.program import Output

__all__ = ["argument", "text", "warps"]


@lru_cache(maxsize=512)
def text(kind: Kind, s: Sizes, names: tuple[str, ...], keep: bool, keep_pre: bool) -> str:
    """Both functions, for tensors of these names.

    Args:
        keep: whether forward leaves behind what backward needs.
        keep_pre: whether backward tells the derivative of what was heard.
    """
    made = [HELPERS]
    for part in (_Forward(kind, s, keep), _Backward(kind, s, keep_pre)):
        part.emit()
        head = f"@triton.jit\ndef {part.name}({', '.join(map(argument, names))}, TIMES, BATCH):"
        named = [f"    {name} = {argument(name)}" for name in names]
        made.append("\n".join([head, *named, *part.lines.made, ""]))
    return "\n\n".join(made)


def argument(name: str) -> str:
    """What a tensor is called as an argument: Triton's launcher has variables of its own, `params` among them."""
    return f"at_{name}"


def warps(kind: Kind, s: Sizes, function: str) -> int:
    """By how many groups of 32 threads a function is run."""
    part = next(part for part in (_Forward, _Backward) if part.name == function)
    return tile(kind, s, part.most, part.passing, part.warps).warps


class _Forward(Function):
    """Sets drive (which comes as what the sources say), output, state and tape, and moves the trace on."""

    name = "forward"
    most = 16384
    warps = 16

    def __init__(self, kind: Kind, s: Sizes, keep: bool) -> None:
        super().__init__(kind, s)
        self.keep = keep

    def emit(self) -> None:
        lines, tiles = self.lines, self.tiles
        self.begin((*["trace"] * self.plastic, *["eligibility"] * self.retroactive))
        if tiles and self.held:
            tiles.fetch("trace", "eligibility")
        lines("at = member * TIMES * BATCH + episode", "st = member * (TIMES + 1) * BATCH + episode")
        if self.kind.own_plastic:
            self._hear_itself(f"tl.load({self.at('output', 'st')} + i, mask=im, other=0.0)", "at", "im")
            lines.barrier()
        with lines.block("for t in range(TIMES)"):
            lines("at = (member * TIMES + t) * BATCH + episode", "st = (member * (TIMES + 1) + t) * BATCH + episode")
            self._sweeps()
            self._parts()
            lines.barrier()
        if tiles:
            with tiles.each():
                if not self.held:
                    tiles.fetch("trace", "eligibility")
                lines("last = (member * TIMES + TIMES - 1) * BATCH + episode")
                tiles.written(self.writes("last"))
                tiles.keep("trace", "eligibility")

    def _hear_itself(self, said: str, when: str, mask: str) -> None:
        self.lines(f"tl.store({self.at('pre', when)} + OWN + i, {said}, mask={mask})")

    def _sweeps(self) -> None:
        lines, tiles, kind = self.lines, self.tiles, self.kind
        if tiles:
            with tiles.each():
                if not self.held:
                    tiles.fetch("trace", "eligibility")
                with lines.block("if t > 0"):
                    lines("last = at - BATCH")
                    tiles.written(self.writes("last"))
                if self.keep:
                    with lines.block("if t % EVERY == 0"):
                        lines("kept = (member * ((TIMES + EVERY - 1) // EVERY) + t // EVERY) * BATCH + episode")
                        tiles.keep(self.at("traces", "kept"), self.at("eligibilities", "kept"))
                answer = self.drive("drive", "at", kind.traced.plastic)
                tiles.read(Reading(self.at("pre", "at"), answer, self.taped("recall", "at")))
                if not self.held:
                    tiles.keep("trace", "eligibility")
        for d in kind.apart:
            with self.lines.rows(self.held):
                self.own_weight(d)
                drive = f"{self.drive('drive', 'at', d)} + r"
                lines(f"said = tl.load({self.at('output', 'st')} + i, mask=im, other=0.0)[None, :]")
                lines(f"drives = tl.load({drive}, mask=rm, other=0.0) + tl.sum(W * said, axis=1)")
                lines(f"tl.store({drive}, drives, mask=rm)")
        if tiles or kind.apart:
            lines.barrier()

    def _parts(self) -> None:
        kind = self.kind
        self.lines("after = st + BATCH")

        def target(output: Output) -> str:
            name = output.buffer
            if name == "y":
                return self.at("output", "after")
            if name == "state":
                return self.row(kind.state, self.at("state", "after"), output.axis, output.number)
            return self.taped(f"{name}{output.number}" if name in "uv" else name, "at")

        names = self.lines.run(kind.forward, self.heard, target)
        if kind.own_plastic:
            self._hear_itself(names["y", 0], "(at + BATCH)", "i < tl.where(t + 1 < TIMES, POST, 0)")


class _Backward(Function):
    """From the derivatives of outputs and last state to those of drive, what was heard, parameters and first state."""

    name = "backward"
    most = 16384

    def __init__(self, kind: Kind, s: Sizes, keep_pre: bool) -> None:
        super().__init__(kind, s)
        self.keep_pre = keep_pre

    def emit(self) -> None:
        lines, retro = self.lines, self.retroactive
        synapses = ("d_alpha", "d_trace", *(f"d_{name}" for name in self.kind.matrices)) if self.plastic else ()
        self.begin((*synapses, *["d_eligibility"] * retro))
        lines(f"d_state += pid * {self.size(self.kind.state)}", f"d_params += pid * {self.size(self.kind.params)}")
        lines(f"adjoints += pid * {self.size(self.kind.adjoints.area)}")
        if self.tiles:
            lines("segment += pid * (EVERY * SYNAPSES)")
            if retro:
                lines("segment_e += pid * (EVERY * SYNAPSES)")
            if self.held:
                self._open()
                lines("GA = tl.zeros([POST_BLOCK, PRE_BLOCK], NUMBER)")
        lines("PARTS = (TIMES + EVERY - 1) // EVERY")
        with lines.block("for back in range(PARTS)"):
            lines("part = PARTS - 1 - back", "start = part * EVERY", "count = tl.minimum(EVERY, TIMES - start)")
            if self.tiles:
                self._again()
            with lines.block("for s in range(count)"):
                self._time()
            if self.tiles and not self.held:
                self._gather(self.tiles)
        self._start()

    def _open(self) -> None:
        """G and GE, the derivatives of a tile of the trace and the eligibility trace."""
        if self.tiles:
            self.tiles.load("G", "d_trace")
            if self.retroactive:
                self.tiles.load("GE", "d_eligibility")

    def _close(self) -> None:
        if self.tiles:
            self.tiles.store("G", "d_trace")
            if self.retroactive:
                self.tiles.store("GE", "d_eligibility")

    def _again(self) -> None:
        """The traces of a stretch of time, written anew."""
        lines, tiles = self.lines, self.tiles
        if not tiles:
            return
        with tiles.each():
            lines("kept = (member * PARTS + part) * BATCH + episode")
            tiles.fetch(self.at("traces", "kept"), self.at("eligibilities", "kept"))
            tiles.keep("segment", "segment_e")
            with lines.block("for k in range(1, count)"):
                lines("at = (member * TIMES + start + k - 1) * BATCH + episode")
                tiles.written(self.writes("at"))
                tiles.keep("segment + k * SYNAPSES", "segment_e + k * SYNAPSES")
        lines.barrier()

    def _gather(self, tiles: Tiles) -> None:
        """The derivative of alpha over a stretch, its traces written once more: a sum in memory would cost more."""
        lines = self.lines

        def gather() -> None:
            tiles.gather(Reading(self.at("pre", "at"), self.drive("d_drive", "at", self.kind.traced.plastic), ""))

        with tiles.each():
            lines("kept = (member * PARTS + part) * BATCH + episode", "at = (member * TIMES + start) * BATCH + episode")
            tiles.fetch(self.at("traces", "kept"), self.at("eligibilities", "kept"))
            tiles.load("GA", "d_alpha")
            gather()
            with lines.block("for k in range(1, count)"):
                tiles.written(self.writes("at"))
                lines("at += BATCH")
                gather()
            tiles.store("GA", "d_alpha")

    def _time(self) -> None:
        lines = self.lines
        lines("place = count - 1 - s", "t = start + place", "at = (member * TIMES + t) * BATCH + episode")
        lines("st = (member * (TIMES + 1) + t) * BATCH + episode", "after = st + BATCH", "later = at + BATCH")
        lines("live = t + 1 < TIMES", "rows = tl.where(live, POST, 0)", "columns = tl.where(live, WIDTH, 0)")
        if self.tiles:
            self._through(self.writes("at"), "place", "later", Live("r < rows", "j < columns"))
            lines.barrier()
        if self.kind.recurrent:
            with lines.block("if live"):
                self._heard_itself("later", "after")
            lines.barrier()
        self._parts()
        lines.barrier()

    def _through(self, w: Writes | None, place: str, when: str, live: Live) -> None:
        """Through the read at one time, and the write before it, if there is one."""
        tiles = self.tiles
        if not tiles:
            return
        d = self._adjoints()
        recall = self.adjoint("recall") if self.kind.recalls else ""
        at = Reading(self.at("pre", when), self.drive("d_drive", when, self.kind.traced.plastic), recall)
        tiles.begin(w)
        with tiles.each():
            tiles.fetch(f"segment + {place} * SYNAPSES", f"segment_e + {place} * SYNAPSES")
            if not self.held:
                self._open()
            tiles.back(w, d, at, live)
            if not self.held:
                self._close()
        tiles.finish(w, d, self._d_pre(when), live)

    def _adjoints(self) -> Writes:
        terms, at = range(len(self.kind.aliases)), self.adjoint
        u, v = (tuple(at(f"{name}{k}") for k in terms) for name in "uv")
        return Writes(u, v, at("row"), at("column"), at("write"), at("eta"), "")

    def adjoint(self, name: str) -> str:
        rows = self.kind.adjoints
        return self.row(rows.area, "adjoints", *rows.find(name))

    def _d_pre(self, when: str) -> str:
        """Where the derivative of what was heard goes: kept for every time, or not."""
        return self.at("d_pre", when) if self.keep_pre else self.adjoint("pre")

    def _heard_itself(self, when: str, state: str) -> None:
        """Add what the layer's hearing itself says of its output before."""
        lines, kind = self.lines, self.kind
        place = f"{self.at('d_output', state)} + i"
        lines(f"total = tl.load({place}, mask=im, other=0.0)")
        if kind.own_plastic:
            lines(f"total += tl.load({self._d_pre(when)} + OWN + i, mask=im, other=0.0)")
        for d in kind.apart:
            with self.lines.rows(self.held):
                self.own_weight(d)
                lines(f"said = tl.load({self.drive('d_drive', when, d)} + r, mask=rm, other=0.0)[:, None]")
                lines("total += tl.sum(W * said, axis=0)")
        lines(f"tl.store({place}, total, mask=im)")

    def _parts(self) -> None:
        """What the derivatives of the layer's parts do."""
        kind = self.kind

        def source(lane: Lane) -> str:
            buffer, number = lane.slot
            if buffer == "d.y":
                return self.at("d_output", "after")
            if buffer == "d.state":
                return self.row(kind.state, "d_state", lane.axis, number)
            if not buffer.startswith("d."):
                return self.heard(lane)
            name = buffer.removeprefix("d.")
            return self.adjoint(f"{name}{number}" if name in "uv" else name)

        def target(output: Output) -> str:
            match output.buffer:
                case "drive":
                    return self.drive("d_drive", "at", output.number)
                case "pre":
                    return self._d_pre("at")
                case "recall":
                    return self.adjoint("recall")
                case "state":
                    return self.row(kind.state, "d_state", output.axis, output.number)
            return self.row(kind.params, "d_params", output.axis, output.number)

        self.lines.run(kind.backward, source, target)

    def _start(self) -> None:
        """Through the read at the first time, to the state that the episodes started from."""
        lines, tiles = self.lines, self.tiles
        lines("at = member * TIMES * BATCH + episode", "st = member * (TIMES + 1) * BATCH + episode")
        if tiles:
            self._through(None, "0", "at", Live())
            if self.held:
                self._close()
                tiles.store("GA", "d_alpha")
            lines.barrier()
        if self.kind.recurrent:
            self._heard_itself("at", "st")
