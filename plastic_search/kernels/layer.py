"""The two functions of a layer: a whole sequence forward, and backward.

Episodes of a batch never meet, so each is run through all its time steps while its trace is in the processor's cache.
Backward, the trace is not read from a record of every step: forward keeps it every so often, and between two of these
it is written anew, once, into a buffer that fits the cache (after Chen et al. 2016).
"""

from __future__ import annotations

from plastic_search.kernels.function import Function
from plastic_search.kernels.lanes import Axis
from plastic_search.kernels.sweeps import Matrices, Writes
from plastic_search.kernels.sweeps_back import Adjoints
from plastic_search.kernels.table import Area, Kind

__all__ = ["assembly"]


def assembly(kind: Kind) -> str:
    """The text of a layer's two functions, `forward` and `backward`, as LLVM assembly."""
    parts = [_Forward(kind, "forward"), _Backward(kind, "backward")]
    for part in parts:
        part.emit()
    declared = sorted({d for part in parts for d in part.e.declared})
    return "\n".join([*declared, *(part.text() for part in parts)])


class _Forward(Function):
    """Sets drive (which comes as what the sources say), output, state and tape, and moves the trace on."""

    def emit(self) -> None:
        e = self.e
        with e.loop("%last", start="%first") as b:
            m = None
            if self.plastic:
                eligibility = self.step(self["eligibility"], b, self.synapses) if self.retroactive else ""
                m = self.matrices(self.step(self["trace"], b, self.synapses), eligibility)
            with e.loop(self["times"]) as t:
                self._time(t, b, m)
            if m is not None:
                end = e.sub(self["times"], "1")
                self.sweeps.write(m, self.writes(end, b), m)

    def _time(self, t: str, b: str, m: Matrices | None) -> None:
        e, kind = self.e, self.kind
        now = {name: self.at_time(t, b, name) for name in ("drive", "output", "pre", "state", "tape")}
        later = {name: self.at_time(e.add(t, "1"), b, name) for name in ("output", "state")}
        if kind.own_plastic:
            self.copy(now["output"], e.at(now["pre"], self["own"]), self.post_blocks)
        if kind.recurrent:
            for d in range(kind.traced.drives):
                weight = self.step(self["own_weight"], e.mul(self["post"], str(d)), self["post_room"])
                self._times(weight, now["output"], self.drive(now["drive"], d))
        if m is not None:
            self._read(t, b, m, now)

        def source(buffer: str, axis: Axis, number: int) -> str:
            if buffer == "recall":
                return self.taped(now["tape"], "recall")
            if buffer == "params":
                return self.place(kind.params, self["params"], axis, number)
            area = kind.state if buffer == "state" else Area(kind.traced.drives, 1)
            return now["pre"] if buffer == "pre" else self.place(area, now[buffer], axis, number)

        def target(buffer: str, axis: Axis, number: int) -> str:
            if buffer == "y":
                return later["output"]
            if buffer == "state":
                return self.place(kind.state, later["state"], axis, number)
            return self.taped(now["tape"], f"{buffer}{number}" if buffer in "uv" else buffer)

        self.run(kind.forward, source, target)

    def _times(self, weight: str, heard: str, target: str) -> None:
        """target += weight heard"""
        e = self.e

        def body(i: str, count: int) -> None:
            rows = [e.at(weight, e.mul(e.add(i, str(r)), self["post_room"])) for r in range(count)]
            slots = [e.slot(e.vector) for _ in rows]
            for slot in slots:
                e.store(e.constant(0.0), slot)
            with e.loop(self.post_blocks) as block:
                at = e.mul(block, str(e.number.lanes))
                x = e.load(e.at(heard, at))
                for row, slot in zip(rows, slots, strict=True):
                    e.store(e.fma(e.load(e.at(row, at)), x, e.load(slot)), slot)
            total, vector = e.totals([e.load(slot) for slot in slots])
            here = e.at(target, i)
            e.store(e.binary("add", total, e.load(here, vector), vector), here, vector)

        e.groups(self["post"], body)

    def _read(self, t: str, b: str, m: Matrices, now: dict[str, str]) -> None:
        """Apply the write of the step before, and read the trace; keep it, where it is time to."""
        e, kind = self.e, self.kind
        answer = self.drive(now["drive"], kind.traced.plastic)
        recall = self.taped(now["tape"], "recall")
        first = e.let(f"icmp eq i64 {t}, 0")
        with e.when(first):
            self.sweeps.read(m, now["pre"], answer, recall)
        with e.when(e.let(f"xor i1 {first}, true")):
            writes = self.writes(e.sub(t, "1"), b)
            self.sweeps.write_and_read(m, writes, now["pre"], answer, recall)
        left = e.let(f"srem i64 {t}, {self['every']}")
        due = e.let(f"icmp eq i64 {left}, 0")
        keeps = e.let(f"icmp ne i64 {self['keep']}, 0")
        with e.when(e.let(f"and i1 {due}, {keeps}")):
            place = e.add(e.mul(e.let(f"sdiv i64 {t}, {self['every']}"), self["batch"]), b)
            blocks = e.mul(self["post"], self.pre_blocks)
            self.copy(m.trace, self.step(self["traces"], place, self.synapses), blocks)
            if self.retroactive:
                self.copy(m.eligibility, self.step(self["eligibilities"], place, self.synapses), blocks)


class _Backward(Function):
    """From the derivatives of outputs and last state to those of drive, what was heard, parameters and first state."""

    def emit(self) -> None:
        e = self.e
        one = self["every"]
        parts = e.let(f"sdiv i64 {e.sub(e.add(self['times'], one), '1')}, {one}")
        with e.loop("%last", start="%first") as b:
            with e.loop(parts) as back:
                part = e.sub(e.sub(parts, "1"), back)
                start = e.mul(part, one)
                end, times = e.add(start, one), self["times"]
                short = e.let(f"icmp slt i64 {end}, {times}")
                self._part(b, part, start, e.let(f"select i1 {short}, i64 {end}, i64 {times}"))
            self._start(b)

    def _part(self, b: str, part: str, start: str, end: str) -> None:
        """One stretch of time, whose traces are first written anew."""
        e = self.e
        count = e.sub(end, start)
        kept = e.add(e.mul(part, self["batch"]), b)
        if self.plastic:
            with e.loop(count, start="1") as k:
                t = e.sub(e.add(start, k), "1")
                self.sweeps.write(self._trace(kept, e.sub(k, "1")), self.writes(t, b), self._trace(kept, k))
        with e.loop(count) as j:
            k = e.sub(e.sub(count, "1"), j)
            self._time(b, e.add(start, k), kept, k)

    def _trace(self, kept: str, k: str) -> Matrices:
        """The trace at the k-th time of a stretch, the first of which forward has kept."""
        e = self.e
        first, place = e.let(f"icmp eq i64 {k}, 0"), e.sub(k, "1")
        made = []
        for name, segment in (("traces", self.segment), ("eligibilities", self.eligible_segment)):
            own = self.step(segment, place, self.synapses)
            made.append(self.choose(first, self.step(self[name], kept, self.synapses), own))
        return self.matrices(made[0], made[1] if self.retroactive else "")

    def _time(self, b: str, t: str, kept: str, k: str) -> None:
        e, kind = self.e, self.kind
        later, last = e.add(t, "1"), e.let(f"icmp eq i64 {e.add(t, '1')}, {self['times']}")
        d_output = self.at_time(later, b, "d_output")
        if self.plastic:
            self._sweep(b, t, later, last, self._trace(kept, k))
        with e.when(e.let(f"xor i1 {last}, true")):
            self._heard_itself(later, b, d_output)
        now = {name: self.at_time(t, b, name) for name in ("drive", "pre", "state", "tape", "d_drive")}
        d_state = self.step(self["d_state"], b, self.size(kind.state))

        def source(buffer: str, axis: Axis, number: int) -> str:
            match buffer:
                case "recall":
                    return self.taped(now["tape"], "recall")
                case "params":
                    return self.place(kind.params, self["params"], axis, number)
                case "d.y":
                    return d_output
                case "d.state":
                    return self.place(kind.state, d_state, axis, number)
                case "drive":
                    return self.drive(now["drive"], number)
                case "pre":
                    return now["pre"]
                case "state":
                    return self.place(kind.state, now["state"], axis, number)
            name = buffer.removeprefix("d.")
            return self.adjoint(f"{name}{number}" if name in "uv" else name)

        def target(buffer: str, axis: Axis, number: int) -> str:
            match buffer:
                case "drive":
                    return self.drive(now["d_drive"], number)
                case "pre":
                    return self._d_pre(t, b)
                case "recall":
                    return self.adjoint("recall")
                case "state":
                    return self.place(kind.state, self.state_room, axis, number)
            return self.place(kind.params, self["d_params"], axis, number)

        self.run(kind.backward, source, target)
        blocks = e.let(f"sdiv i64 {self.size(kind.state)}, {e.number.lanes}")
        self.copy(self.state_room, d_state, blocks)

    def _d_pre(self, t: str, b: str) -> str:
        """Where the derivative of what was heard goes: kept for every time, or not."""
        keeps = self.e.let(f"icmp ne i64 {self['keep_pre']}, 0")
        return self.choose(keeps, self.at_time(t, b, "d_pre"), self.adjoint("pre"))

    def _sweep(self, b: str, t: str, later: str, last: str, m: Matrices) -> None:
        """Through the read at the time after `t`, and the write at `t`."""
        e, kind = self.e, self.kind
        answer = self.drive(self.at_time(later, b, "d_drive"), kind.traced.plastic)
        answer = self.choose(last, self.adjoint("zero"), answer)
        pre = self.choose(last, self.adjoint("nothing"), self.at_time(later, b, "pre"))
        recall = self.choose(last, self.adjoint("zero"), self.adjoint("recall")) if kind.recalls else ""
        d_pre = self.choose(last, self.adjoint("pre"), self._d_pre(later, b))
        writes = self.writes(t, b)
        adjoints = self._adjoints(b, d_pre)
        for row in (*adjoints.writes.v, *([adjoints.writes.column] if writes.column else [])):
            self.clear(row, self.pre_blocks)
        e.store(e.constant(0.0, e.number.name), adjoints.writes.eta, e.number.name)
        self.sweeps.back(m, writes, adjoints, pre, answer, recall)

    def _adjoints(self, b: str, d_pre: str) -> Adjoints:
        terms = range(len(self.shares.matrices))
        rows = {name: self.adjoint(name) for name in ("row", "column", "write", "eta")} | {"dither": ""}
        writes = Writes(
            tuple(self.adjoint(f"u{k}") for k in terms), tuple(self.adjoint(f"v{k}") for k in terms), **rows
        )
        eligibility = self.step(self["d_eligibility"], b, self.synapses) if self.retroactive else ""
        coefs = tuple(self.loaded.get(f"d_coef{k}", "") for k in terms)
        trace = self.step(self["d_trace"], b, self.synapses)
        return Adjoints(trace, eligibility, self["d_alpha"], coefs, self.loaded.get("d_decay", ""), writes, d_pre)

    def _heard_itself(self, t: str, b: str, d_output: str) -> None:
        """Add what the layer's hearing itself at `t` says of its output before."""
        e, kind = self.e, self.kind
        if kind.own_plastic:
            self.copy(e.at(self._d_pre(t, b), self["own"]), d_output, self.post_blocks, add=True)
        if kind.recurrent:
            for d in range(kind.traced.drives):
                weight = self.step(self["own_weight"], e.mul(self["post"], str(d)), self["post_room"])
                self._times_back(weight, self.drive(self.at_time(t, b, "d_drive"), d), d_output)

    def _times_back(self, weight: str, said: str, target: str) -> None:
        """target += said weight"""
        e = self.e

        def body(i: str, count: int) -> None:
            rows = [e.add(i, str(r)) for r in range(count)]
            factors = [e.splat(e.load(e.at(said, row), e.number.name)) for row in rows]
            places = [e.at(weight, e.mul(row, self["post_room"])) for row in rows]
            with e.loop(self.post_blocks) as block:
                at = e.mul(block, str(e.number.lanes))
                here = e.at(target, at)
                total = e.load(here)
                for factor, place in zip(factors, places, strict=True):
                    total = e.fma(factor, e.load(e.at(place, at)), total)
                e.store(total, here)

        e.groups(self["post"], body)

    def _start(self, b: str) -> None:
        """Through the read at the first time, to the state that the episode started from."""
        if self.plastic:
            m = self._trace(b, "0")
            recall = self.adjoint("recall") if self.kind.recalls else ""
            answer = self.drive(self.at_time("0", b, "d_drive"), self.kind.traced.plastic)
            self.sweeps.back_start(
                m, self._adjoints(b, self._d_pre("0", b)), self.at_time("0", b, "pre"), answer, recall
            )
        self._heard_itself("0", b, self.at_time("0", b, "d_output"))
