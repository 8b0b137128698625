"""The two functions of a layer in LLVM assembly: a whole sequence forward, and backward.

Episodes of a batch are independent, so each runs through all its time steps while its trace is in the processor's
cache. Backward goes segment by segment, as `layout` explains.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from plastic_search.network.kernels.addresses import StepAddresses
from plastic_search.network.kernels.cpu.function import Episode, Function, Moment
from plastic_search.network.kernels.cpu.trace_backward import Adjoints, BackwardEpisode, BackwardSweep
from plastic_search.network.kernels.cpu.trace_forward import Block, ForwardEpisode, ForwardSweep, Matrices
from plastic_search.network.kernels.cpu.trace_recompute import Recompute, Segment
from plastic_search.network.kernels.layout import KernelSignature, Reads
from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import Slot

__all__ = ["assembly"]


def assembly(signature: KernelSignature, name: str) -> str:
    """The text of one of a layer's two functions, `forward` or `backward`, as LLVM assembly."""
    function = Function(signature, name)
    if name == "forward":
        step = StepAddresses()
        function.run(
            signature.program.derived,
            partial(function.forward_input, step),
            partial(function.forward_output, step, step),
        )
    function.episodes({"forward": _Forward, "backward": _Backward}[name](function).episodes)
    return "\n".join([*sorted(function.e.declared), function.text()])


class _Forward:
    """Completes drive, which begins as the part from the sources; writes output, state and tape; updates the trace."""

    def __init__(self, function: Function) -> None:
        self.f, self.e, self.signature = function, function.e, function.signature
        self.sweep = ForwardSweep(function.synapses) if function.synapses else None

    def episodes(self, episodes: list[Episode]) -> None:
        """All time steps of some episodes."""
        e, f = self.e, self.f
        for episode in episodes if self.signature.clears else ():
            f.clear(f.adjoint(episode.scratch.adjoints, "zero"), f.post_blocks)
        traces = [self._trace(episode) for episode in episodes] if self.sweep else []
        with e.loop(f["times"], start=f["first"]) as t:
            self._step(t, episodes, traces)
        if self.sweep:
            with e.when(e.let(f"icmp ne i64 {f['finish']}, 0")):
                end = e.sub(f["times"], "1")
                writes = [f.writes(Moment(end, episode)) for episode in episodes]
                self.sweep.emit([ForwardEpisode(m, w, None) for m, w in zip(traces, writes, strict=True)])

    def _trace(self, episode: Episode) -> Matrices:
        f = self.f
        eligibility = f.trace_at(f["eligibility"], episode.number) if self.signature.retroactive else ""
        return f.matrices(f.trace_at(f["trace"], episode.number), eligibility)

    def _step(self, t: str, episodes: list[Episode], traces: list[Matrices]) -> None:
        e, f, signature = self.e, self.f, self.signature
        steps = [f.step(Moment(t, episode)) for episode in episodes]
        if signature.recurrent_plastic:
            for step in steps:
                f.copy(step.output, e.at(step.pre, f["plastic_sources"]), f.post_blocks)
        for d, to in signature.separate_drives:
            weight = f.item(f["recurrent_weight"], e.mul(f["post"], str(d)), f["post_padded"])
            self._product(weight, [step.output for step in steps], [f.drive(step.drive, to) for step in steps])
        if self.sweep:
            self._plastic(self.sweep, t, episodes, traces, steps)
        for episode, step in zip(episodes, steps, strict=True):
            later = [f.at(name, Moment(e.add(t, "1"), episode)) for name in ("output", "state")]
            after = StepAddresses(output=later[0], state=later[1])
            f.run(signature.program.forward, partial(f.forward_input, step), partial(f.forward_output, step, after))

    def _product(self, weight: str, vectors: list[str], targets: list[str]) -> None:
        """target += weight vector, for each episode"""
        e, f = self.e, self.f

        def body(i: str, count: int) -> None:
            rows = [e.at(weight, e.mul(e.add(i, str(r)), f["post_padded"])) for r in range(count)]
            slots = [[e.sum_slot() for _ in rows] for _ in vectors]
            with e.loop(f.post_blocks) as block:
                at = e.mul(block, str(e.number.lanes))
                xs = [e.load(e.at(x, at)) for x in vectors]
                for r, row in enumerate(rows):
                    value = e.load(e.at(row, at))
                    for k, x in enumerate(xs):
                        e.accumulate(slots[k][r], value, x)
            e.store_sums(slots, targets, i, add=True)

        e.groups(f["post"], body, len(vectors))

    def _plastic(
        self, sweep: ForwardSweep, t: str, episodes: list[Episode], traces: list[Matrices], steps: list[StepAddresses]
    ) -> None:
        """Apply the write of the step before, and read the trace; store a checkpoint where a segment begins."""
        e, f = self.e, self.f
        reads = [Reads(step.pre, f.plastic_sums(step.drive), f.taped(step.tape, "recall")) for step in steps]
        written = e.let(f"icmp eq i64 {t}, {f['written']}")
        with e.when(written):
            sweep.emit([ForwardEpisode(m, None, read) for m, read in zip(traces, reads, strict=True)])
        with e.when(e.let(f"xor i1 {written}, true")):
            writes = [f.writes(Moment(e.sub(t, "1"), episode)) for episode in episodes]
            sweep.emit([ForwardEpisode(*each) for each in zip(traces, writes, reads, strict=True)])
        within = e.let(f"srem i64 {t}, {f['segment_steps']}")
        begins = e.let(f"icmp eq i64 {within}, 0")
        keeps = e.let(f"icmp ne i64 {f['keep']}, 0")
        with e.when(e.let(f"and i1 {begins}, {keeps}")):
            segment = e.mul(e.let(f"sdiv i64 {t}, {f['segment_steps']}"), f["batch"])
            for episode, m in zip(episodes, traces, strict=True):
                self._store_checkpoint(e.add(segment, episode.number), m)

    def _store_checkpoint(self, index: str, m: Matrices) -> None:
        f = self.f
        blocks = self.e.mul(f["post"], f.pre_blocks)
        f.copy(m.trace, f.trace_at(f["checkpoints"], index), blocks)
        if self.signature.retroactive:
            f.copy(m.eligibility, f.trace_at(f["eligibility_checkpoints"], index), blocks)


class _Backward:
    """From the derivatives of outputs and last state to those of drive, plastic inputs, parameters and first state."""

    def __init__(self, function: Function) -> None:
        self.f, self.e, self.signature = function, function.e, function.signature
        self.recompute = self.sweep = None
        if function.synapses:
            self.recompute = Recompute(function.synapses)
            self.sweep = BackwardSweep(function.synapses, self.recompute)

    def episodes(self, episodes: list[Episode]) -> None:
        """All segments of some episodes, from last to first."""
        e, f = self.e, self.f
        steps, times = f["segment_steps"], f["times"]
        for episode in episodes:
            for row in ("zero", *["unused"] * self.signature.clears):
                f.clear(self._adjoint(episode, row), f.post_blocks)
            if self.sweep:
                f.clear(self._adjoint(episode, "recall"), f.post_blocks)
                for row in ("zero_pre", "pre"):
                    f.clear(self._adjoint(episode, row), f.pre_blocks)
        segments = e.let(f"sdiv i64 {e.sub(e.add(times, steps), '1')}, {steps}")
        with e.loop(segments) as back:
            segment = e.sub(e.sub(segments, "1"), back)
            start = e.mul(segment, steps)
            end = e.add(start, steps)
            inside = e.let(f"icmp slt i64 {end}, {times}")
            self._segment(episodes, segment, start, e.let(f"select i1 {inside}, i64 {end}, i64 {times}"))
        self._first_read(episodes)

    def _segment(self, episodes: list[Episode], segment: str, start: str, end: str) -> None:
        """Backward over one checkpoint segment.

        Recompute forward, storing every k-th trace as an inner checkpoint, then walk the sub-segments in reverse.
        """
        e, steps = self.e, self.f["inner_steps"]
        count = e.let(f"sdiv i64 {e.sub(e.add(e.sub(end, start), steps), '1')}, {steps}")
        checkpoints = [self._checkpoint(x, segment) for x in episodes] if self.sweep else []
        if self.recompute:
            segments = [
                Segment(
                    start=m,
                    writes=self._writes_from(start, x),
                    inner=lambda k, x=x: self._inner(x, e.sub(k, "1")),
                )
                for x, m in zip(episodes, checkpoints, strict=True)
            ]
            self.recompute.emit(segments, steps, count)
        with e.loop(count) as done:
            sub = e.sub(e.sub(count, "1"), done)
            first = e.add(start, e.mul(sub, steps))
            left = e.sub(end, first)
            less = e.let(f"icmp slt i64 {left}, {steps}")
            length = e.let(f"select i1 {less}, i64 {left}, i64 {steps}")
            begins = [self._sub_segment(m, x, sub) for m, x in zip(checkpoints, episodes, strict=False)]
            with e.loop(length) as back:
                self._step(episodes, first, e.sub(e.sub(length, "1"), back), begins)

    def _checkpoint(self, episode: Episode, segment: str) -> Matrices:
        """The trace at the first step of a segment."""
        f = self.f
        index = self.e.add(self.e.mul(segment, f["batch"]), episode.number)
        trace = f.trace_at(f["checkpoints"], index)
        return f.matrices(trace, f.trace_at(f["eligibility_checkpoints"], index) if self.signature.retroactive else "")

    def _inner(self, episode: Episode, index: str) -> Matrices:
        """An inner checkpoint of the current segment."""
        f, scratch = self.f, episode.scratch
        trace = f.trace_at(scratch.trace, index)
        return f.matrices(trace, f.trace_at(scratch.eligibility, index) if scratch.eligibility else "")

    def _sub_segment(self, checkpoint: Matrices, episode: Episode, number: str) -> Matrices:
        """The trace at the first step of a sub-segment: the checkpoint for the first, then the inner checkpoints."""
        f = self.f
        first = self.e.let(f"icmp eq i64 {number}, 0")
        inner = self._inner(episode, self.e.sub(number, "1"))
        eligibility = f.choose(first, checkpoint.eligibility, inner.eligibility) if inner.eligibility else ""
        return inner._replace(trace=f.choose(first, checkpoint.trace, inner.trace), eligibility=eligibility)

    def _step(self, episodes: list[Episode], first: str, steps: str, begins: list[Matrices]) -> None:
        """One step backward; it lies `steps` after the step `first`, whose traces are `begins`."""
        e, f = self.e, self.f
        t = e.add(first, steps)
        later = e.add(t, "1")
        last = e.let(f"icmp eq i64 {later}, {f['times']}")
        if self.sweep:
            self.sweep.emit([self._sweep(x, first, t, last, m) for x, m in zip(episodes, begins, strict=True)], steps)
        with e.when(e.let(f"xor i1 {last}, true")):
            self._recurrent(later, episodes)
        for episode in episodes:
            self._parts(Moment(t, episode))

    def _parts(self, when: Moment) -> None:
        """The derivatives of the layer's parts."""
        f, signature, scratch = self.f, self.signature, when.episode.scratch
        step = f.step(when)._replace(
            d_drive=f.at("d_drive", when),
            d_output=f.at("d_output", Moment(self.e.add(when.time, str(int(signature.sends_on))), when.episode)),
            d_state=f.item(f["d_state"], when.episode.number, f.size(signature.state)),
            next_d_state=scratch.state,
            adjoints=scratch.adjoints,
            d_previous=f.d_previous(when),
            d_signals=f.at("d_signals", when) if signature.program.signals else "",
        )
        f.run(signature.backward, partial(f.backward_input, step), partial(f.backward_output, step, when))
        blocks = self.e.let(f"sdiv i64 {f.size(signature.state)}, {self.e.number.lanes}")
        f.copy(scratch.state, step.d_state, blocks)

    def _sweep(self, episode: Episode, first: str, t: str, last: str, m: Matrices) -> BackwardEpisode:
        """Through the read at the step after `t`, and the write at `t`, from the trace `m` at the step `first`."""
        e, f, signature = self.e, self.f, self.signature
        later = Moment(e.add(t, "1"), episode)
        zero = self._adjoint(episode, "zero")
        d_drives = tuple(f.choose(last, zero, each) for each in f.plastic_sums(f.at("d_drive", later)))
        pre = f.choose(last, self._adjoint(episode, "zero_pre"), f.at("pre", later))
        recall = f.choose(last, zero, self._adjoint(episode, "recall")) if signature.uses_recall else ""
        d_pre = f.choose(last, self._adjoint(episode, "pre"), f.d_pre(later))
        writes, adjoints = f.writes(Moment(t, episode)), self._adjoints(episode, d_pre)
        for (axis, _), row in adjoints.sums.items():
            if axis is Axis.PRE:
                f.clear(row, f.pre_blocks)
            elif axis is Axis.ONE:
                e.store(e.constant(0.0, e.number.name), row, e.number.name)
        before = self._writes_from(first, episode)
        return BackwardEpisode(m, writes, Reads(pre, d_drives, recall), adjoints, before)

    def _writes_from(self, first: str, episode: Episode) -> Callable[[str], dict[Slot, str]]:
        """What the synapses read at a step, counted from `first`."""
        return lambda k: self.f.writes(Moment(self.e.add(first, k), episode))

    def _adjoint(self, episode: Episode, name: str) -> str:
        return self.f.adjoint(episode.scratch.adjoints, name)

    def _adjoints(self, episode: Episode, d_pre: str) -> Adjoints:
        f = self.f
        eligibility = f.trace_at(f["d_eligibility"], episode.number) if self.signature.retroactive else ""
        m = f.d_matrices(f.trace_at(f["d_trace"], episode.number), eligibility)
        return Adjoints(m, f.sums(episode.scratch.adjoints), d_pre)

    def _recurrent(self, t: str, episodes: list[Episode]) -> None:
        """Add the derivative through the recurrent connections at `t` to that of the output before."""
        e, f, signature = self.e, self.f, self.signature
        outputs = [f.d_previous(Moment(t, episode)) for episode in episodes]
        if signature.recurrent_plastic:
            for episode, d_output in zip(episodes, outputs, strict=True):
                recurrent = e.at(f.d_pre(Moment(t, episode)), f["plastic_sources"])
                f.copy(recurrent, d_output, f.post_blocks, add=True)
        for d, to in signature.separate_drives:
            weight = f.item(f["recurrent_weight"], e.mul(f["post"], str(d)), f["post_padded"])
            d_drives = [f.drive(f.at("d_drive", Moment(t, episode)), to) for episode in episodes]
            self._transposed_product(weight, d_drives, outputs)

    def _transposed_product(self, weight: str, vectors: list[str], targets: list[str]) -> None:
        """target += vector weight, for each episode"""
        e, f = self.e, self.f

        def body(i: str, count: int) -> None:
            rows = [e.add(i, str(r)) for r in range(count)]
            factors = [[e.splat(e.load(e.at(x, row), e.number.name)) for row in rows] for x in vectors]
            weights = [e.at(weight, e.mul(row, f["post_padded"])) for row in rows]
            with e.loop(f.post_blocks) as block:
                at = e.mul(block, str(e.number.lanes))
                shared = Block(e, at)
                for target, own_factors in zip(targets, factors, strict=True):
                    here = e.at(target, at)
                    total = e.load(here)
                    for factor, row in zip(own_factors, weights, strict=True):
                        total = e.fma(factor, shared.load(row), total)
                    e.store(total, here)

        e.groups(f["post"], body, len(vectors))

    def _first_read(self, episodes: list[Episode]) -> None:
        """Through the read at the first step, to the state that the episodes started from."""
        f, signature = self.f, self.signature
        if self.sweep:
            sweeps = []
            for episode in episodes:
                start = Moment("0", episode)
                d_drives = f.plastic_sums(f.at("d_drive", start))
                recall = self._adjoint(episode, "recall") if signature.uses_recall else ""
                m, reads = self._checkpoint(episode, "0"), Reads(f.at("pre", start), d_drives, recall)
                d = self._adjoints(episode, f.d_pre(start))
                before = lambda k, x=episode: f.writes(Moment(k, x))  # noqa: E731
                sweeps.append(BackwardEpisode(m, None, reads, d, before))
            self.sweep.emit(sweeps, "0")
        self._recurrent("0", episodes)
