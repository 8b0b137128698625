"""The two functions of a layer in Triton: a whole sequence forward, and backward, one program instance per episode.

The memory is that of the CPU (see `layout`), but that backward stores the trace of every step of the current segment.
Sizes are written into the source; settings of the parts are arguments.
"""

from __future__ import annotations

from functools import lru_cache, partial

from plastic_search.network.kernels.addresses import StepAddresses
from plastic_search.network.kernels.buffers import Sizes
from plastic_search.network.kernels.gpu.function import Function
from plastic_search.network.kernels.gpu.source import HELPERS
from plastic_search.network.kernels.gpu.tiles import ReadMasks, Tiles
from plastic_search.network.kernels.layout import KernelSignature, Reads
from plastic_search.network.kernels.tracing.program import Slot

__all__ = ["NUMBERS", "argument", "source"]

# What a function takes beside tensors: the sizes of the buffers, and the steps of a run (`passes.Steps`), for each of
# which Triton would compile it anew if it looked at the numbers.
NUMBERS = ("TIMES", "BATCH", "FIRST", "END", "WRITTEN", "FINISH")
_JIT = f"@triton.jit(do_not_specialize={list(NUMBERS[2:])})"


@lru_cache(maxsize=512)
def source(signature: KernelSignature, s: Sizes, names: tuple[str, ...], keep: bool, keep_d_pre: bool) -> str:
    """The source of both functions, whose arguments are tensors of these names.

    Args:
        keep: whether forward stores checkpoints.
        keep_d_pre: whether backward stores the derivative of `pre` for every step.
    """
    forward, backward = Function(signature, s, "forward"), Function(signature, s, "backward", keep_d_pre)
    _Forward(forward, keep).emit()
    _Backward(backward).emit()
    texts = [HELPERS]
    for function in (forward, backward):
        head = f"{_JIT}\ndef {function.name}({', '.join([*map(argument, names), *NUMBERS])}):"
        variables = [f"    {name} = {argument(name)}" for name in names]
        texts.append("\n".join([head, *variables, *function.lines.text, ""]))
    return "\n\n".join(texts)


def argument(name: str) -> str:
    """The name of a tensor as an argument: Triton's launcher has variables of its own, `params` among them."""
    return f"at_{name}"


class _Forward:
    """Completes drive, which begins as the part from the sources; writes output, state and tape; updates the trace."""

    def __init__(self, function: Function, keep: bool) -> None:
        self.f, self.lines, self.tiles, self.signature = function, function.lines, function.tiles, function.signature
        self.whole, self.keep = function.tile.whole, keep

    def emit(self) -> None:
        f, lines, tiles, signature = self.f, self.lines, self.tiles, self.signature
        f.begin((*["trace"] * signature.plastic, *["eligibility"] * signature.retroactive))
        if tiles and self.whole:
            tiles.load_trace("trace", "eligibility")
        if signature.program.derived.outputs:
            step = StepAddresses()
            lines.run(signature.program.derived, partial(f.forward_input, step), partial(f.forward_output, step, step))
            lines.barrier()
        lines("at = member * TIMES * BATCH + episode")
        if signature.recurrent_plastic:
            lines("at += FIRST * BATCH")
            output = f"tl.load({f.at('output', 'at')} + i, mask=im, other=0.0)"
            self._store_recurrent(output, "at", "i < tl.where(FIRST < END, POST, 0)")
            lines.barrier()
        with lines.block("for t in range(FIRST, END)"):
            lines("at = (member * TIMES + t) * BATCH + episode")
            if signature.recurrent_plastic and signature.clears:
                self._store_recurrent(f"tl.load({f.step('at').output} + i, mask=im, other=0.0)", "at", "im")
                lines.barrier()
            self._drives()
            self._parts()
            lines.barrier()
        if tiles:
            with tiles.each():
                if not self.whole:
                    tiles.load_trace("trace", "eligibility")
                lines("last = (member * TIMES + END - 1) * BATCH + episode")
                with lines.block("if FINISH != 0"):
                    tiles.write(f.writes("last"))
                tiles.store_trace("trace", "eligibility")

    def _store_recurrent(self, output: str, when: str, mask: str) -> None:
        """Store the layer's output among the plastic inputs of one time."""
        self.lines(f"tl.store({self.f.at('pre', when)} + RECURRENT + i, {output}, mask={mask})")

    def _drives(self) -> None:
        f, lines, tiles, signature = self.f, self.lines, self.tiles, self.signature
        if tiles:
            with tiles.each():
                if not self.whole:
                    tiles.load_trace("trace", "eligibility")
                with lines.block("if t != WRITTEN"):
                    lines("last = at - BATCH")
                    tiles.write(f.writes("last"))
                if self.keep:
                    with lines.block("if t % SEGMENT_STEPS == 0"):
                        segments = "((TIMES + SEGMENT_STEPS - 1) // SEGMENT_STEPS)"
                        lines(f"checkpoint = (member * {segments} + t // SEGMENT_STEPS) * BATCH + episode")
                        tiles.store_trace(*_checkpoint(f))
                drives = f.plastic_sums(f.at("drive", "at"))
                tiles.read(Reads(f.at("pre", "at"), drives, f.taped(f.at("tape", "at"), "recall")))
                if not self.whole:
                    tiles.store_trace("trace", "eligibility")
        for d, to in signature.separate_drives:
            with lines.rows(self.whole):
                f.load_recurrent_weight(d)
                drive = f"{f.drive(f.at('drive', 'at'), to)} + r"
                lines(f"loaded = tl.load({f.step('at').output} + i, mask=im, other=0.0)[None, :]")
                lines(f"drives = tl.load({drive}, mask=rm, other=0.0) + tl.sum(W * loaded, axis=1)")
                lines(f"tl.store({drive}, drives, mask=rm)")
        if tiles or signature.separate_drives:
            lines.barrier()

    def _parts(self) -> None:
        f, signature = self.f, self.signature
        self.lines("later = at + BATCH")
        step = f.step("at")
        after = StepAddresses(output=f.at("output", "later"), state=f.at("state", "later"))
        values = self.lines.run(
            signature.program.forward, partial(f.forward_input, step), partial(f.forward_output, step, after)
        )
        if signature.recurrent_plastic:
            self._store_recurrent(values["y", 0], "(at + BATCH)", "i < tl.where(t + 1 < END, POST, 0)")


class _Backward:
    """From the derivatives of outputs and last state to those of drive, plastic inputs, parameters and first state."""

    def __init__(self, function: Function) -> None:
        self.f, self.lines, self.tiles, self.signature = function, function.lines, function.tiles, function.signature
        self.whole = function.tile.whole

    def emit(self) -> None:
        f, lines, signature, retroactive = self.f, self.lines, self.signature, self.signature.retroactive
        synapses = ("d_alpha", "d_trace", *(f"d_{name}" for name in signature.matrices)) if self.tiles else ()
        f.begin((*synapses, *["d_eligibility"] * retroactive))
        lines(f"d_state += pid * {f.size(signature.state)}", f"d_params += pid * {f.size(signature.params)}")
        lines(f"adjoints += pid * {f.size(signature.adjoints.area)}")
        if self.tiles:
            lines("segment += pid * (SEGMENT_STEPS * SYNAPSES)")
            if retroactive:
                lines("segment_e += pid * (SEGMENT_STEPS * SYNAPSES)")
            if self.whole:
                self._load_gradient(self.tiles)
                lines("GA = tl.zeros([POST_BLOCK, PRE_BLOCK], NUMBER)")
        lines("SEGMENTS = (TIMES + SEGMENT_STEPS - 1) // SEGMENT_STEPS")
        with lines.block("for back in range(SEGMENTS)"):
            lines("segment_number = SEGMENTS - 1 - back", "start = segment_number * SEGMENT_STEPS")
            lines("count = tl.minimum(SEGMENT_STEPS, TIMES - start)")
            if self.tiles:
                self._recompute(self.tiles)
            with lines.block("for s in range(count)"):
                self._time()
            if self.tiles and not self.whole:
                self._gather_alpha(self.tiles)
        self._first_read()

    def _load_gradient(self, tiles: Tiles) -> None:
        """G and GE, the derivatives of a tile of the trace and the eligibility trace."""
        tiles.load("G", "d_trace")
        if self.signature.retroactive:
            tiles.load("GE", "d_eligibility")

    def _store_gradient(self, tiles: Tiles) -> None:
        tiles.store("G", "d_trace")
        if self.signature.retroactive:
            tiles.store("GE", "d_eligibility")

    def _recompute(self, tiles: Tiles) -> None:
        """Recompute the traces of a segment from its checkpoint, and store them."""
        f, lines = self.f, self.lines
        with tiles.each():
            lines("checkpoint = (member * SEGMENTS + segment_number) * BATCH + episode")
            tiles.load_trace(*_checkpoint(f))
            tiles.store_trace("segment", "segment_e")
            with lines.block("for k in range(1, count)"):
                lines("at = (member * TIMES + start + k - 1) * BATCH + episode")
                tiles.write(f.writes("at"))
                tiles.store_trace("segment + k * SYNAPSES", "segment_e + k * SYNAPSES")
        lines.barrier()

    def _gather_alpha(self, tiles: Tiles) -> None:
        """The derivative of alpha over a segment. Recomputing its traces once more costs less than a sum in memory."""
        f, lines = self.f, self.lines

        def gather() -> None:
            tiles.gather_alpha(Reads(f.at("pre", "at"), f.plastic_sums(f.at("d_drive", "at")), ""))

        with tiles.each():
            lines("checkpoint = (member * SEGMENTS + segment_number) * BATCH + episode")
            lines("at = (member * TIMES + start) * BATCH + episode")
            tiles.load_trace(*_checkpoint(f))
            tiles.load("GA", "d_alpha")
            gather()
            with lines.block("for k in range(1, count)"):
                tiles.write(f.writes("at"))
                lines("at += BATCH")
                gather()
            tiles.store("GA", "d_alpha")

    def _time(self) -> None:
        lines = self.lines
        lines("step = count - 1 - s", "t = start + step", "at = (member * TIMES + t) * BATCH + episode")
        lines("later = at + BATCH")
        lines(
            "has_read = t + 1 < TIMES", "rows = tl.where(has_read, POST, 0)", "columns = tl.where(has_read, WIDTH, 0)"
        )
        if self.tiles:
            self._through(self.tiles, self.f.writes("at"), "step", "later", ReadMasks("r < rows", "j < columns"))
            lines.barrier()
        if self.signature.recurrent:
            with lines.block("if has_read"):
                self._recurrent("later")
            lines.barrier()
        self._parts()
        lines.barrier()

    def _through(self, tiles: Tiles, w: dict[Slot, str] | None, step: str, when: str, masks: ReadMasks) -> None:
        """Through the read at one time, and the write before it, if there is one."""
        f, signature = self.f, self.signature
        sums = f.sums("adjoints")
        recall = f.adjoint("adjoints", "recall") if signature.uses_recall else ""
        reads = Reads(f.at("pre", when), f.plastic_sums(f.at("d_drive", when)), recall)
        tiles.begin_sums(w)
        with tiles.each():
            tiles.load_trace(f"segment + {step} * SYNAPSES", f"segment_e + {step} * SYNAPSES")
            if not self.whole:
                self._load_gradient(tiles)
            tiles.backward(w, sums, reads, masks)
            if not self.whole:
                self._store_gradient(tiles)
        tiles.store_sums(w, sums, f.d_pre(when), masks)

    def _recurrent(self, when: str) -> None:
        """Add the derivative through the recurrent connections to that of the output before."""
        f, lines, signature = self.f, self.lines, self.signature
        output = f"{f.d_previous(when)} + i"
        lines(f"total = tl.load({output}, mask=im, other=0.0)")
        if signature.recurrent_plastic:
            lines(f"total += tl.load({f.d_pre(when)} + RECURRENT + i, mask=im, other=0.0)")
        for d, to in signature.separate_drives:
            with lines.rows(self.whole):
                f.load_recurrent_weight(d)
                drive = f.drive(f.at("d_drive", when), to)
                lines(f"loaded = tl.load({drive} + r, mask=rm, other=0.0)[:, None]")
                lines("total += tl.sum(W * loaded, axis=0)")
        lines(f"tl.store({output}, total, mask=im)")

    def _parts(self) -> None:
        """The derivatives of the layer's parts."""
        f = self.f
        step = f.step("at")._replace(
            d_drive=f.at("d_drive", "at"),
            d_output=f.at("d_output", "later" if self.signature.sends_on else "at"),
            d_state="d_state",
            next_d_state="d_state",
            adjoints="adjoints",
            d_previous=f.d_previous("at"),
            d_signals=f.at("d_signals", "at") if self.signature.program.signals else "",
        )
        self.lines.run(self.signature.backward, partial(f.backward_input, step), partial(f.backward_output, step, "at"))

    def _first_read(self) -> None:
        """Through the read at the first step, to the state that the episodes started from."""
        lines, tiles = self.lines, self.tiles
        lines("at = member * TIMES * BATCH + episode")
        if tiles:
            self._through(tiles, None, "0", "at", ReadMasks())
            if self.whole:
                self._store_gradient(tiles)
                tiles.store("GA", "d_alpha")
            lines.barrier()
        if self.signature.recurrent:
            self._recurrent("at")


def _checkpoint(f: Function) -> tuple[str, str]:
    """Where the checkpoint of a segment lies, and that of its eligibility trace."""
    return f.at("checkpoints", "checkpoint"), f.at("eligibility_checkpoints", "checkpoint")
