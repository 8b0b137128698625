"""The two functions of a layer: a whole sequence forward, and backward.

Episodes of a batch never meet, so each is run through all its time steps while its trace is in the processor's cache.
Backward, the trace is not read from a record of every step: forward keeps it every so often, and between two of these
it is written anew, once, into a buffer that fits the cache (after Chen et al. 2016).
"""

from __future__ import annotations

from plastic_search.network.kernels.cpu import trace_forward
from plastic_search.network.kernels.cpu.function import Episode, Function
from plastic_search.network.kernels.cpu.trace_backward import Adjoints, Return
from plastic_search.network.kernels.cpu.trace_forward import Block, Matrices
from plastic_search.network.kernels.cpu.trace_recompute import Walk
from plastic_search.network.kernels.layout import Kind, Reading, Writes
from plastic_search.network.kernels.tracing.ir import Axis

__all__ = ["assembly"]


def assembly(kind: Kind, name: str) -> str:
    """The text of one of a layer's two functions, `forward` or `backward`, as LLVM assembly."""
    function = {"forward": _Forward, "backward": _Backward}[name](kind, name)
    function.emit()
    return "\n".join([*sorted(function.e.declared), function.text()])


class _Forward(Function):
    """Sets drive (which comes as what the sources say), output, state and tape, and moves the trace on."""

    def emit(self) -> None:
        self.episodes(self._run)

    def _run(self, episodes: list[Episode]) -> None:
        e = self.e
        traces = [self._trace(episode) for episode in episodes] if self.plastic else []
        with e.loop(self["times"]) as t:
            self._time(t, episodes, traces)
        if self.plastic:
            end = e.sub(self["times"], "1")
            self._sweep(traces, [self.writes(end, episode) for episode in episodes], None)

    def _trace(self, episode: Episode) -> Matrices:
        eligibility = self.step(self["eligibility"], episode.place, self.synapses) if self.retroactive else ""
        return self.matrices(self.step(self["trace"], episode.place, self.synapses), eligibility)

    def _time(self, t: str, episodes: list[Episode], traces: list[Matrices]) -> None:
        e, kind = self.e, self.kind
        names = ("drive", "output", "pre", "state", "tape")
        now = [{name: self.at_time(t, episode, name) for name in names} for episode in episodes]
        if kind.own_plastic:
            for each in now:
                self.copy(each["output"], e.at(each["pre"], self["own"]), self.post_blocks)
        for d in kind.apart:
            weight = self.step(self["own_weight"], e.mul(self["post"], str(d)), self["post_room"])
            self._times(weight, [each["output"] for each in now], [self.drive(each["drive"], d) for each in now])
        if self.plastic:
            self._read(t, episodes, traces, now)
        for episode, each in zip(episodes, now, strict=True):
            self._parts(t, episode, each)

    def _parts(self, t: str, episode: Episode, now: dict[str, str]) -> None:
        """What the layer's parts do."""
        kind = self.kind
        later = {name: self.at_time(self.e.add(t, "1"), episode, name) for name in ("output", "state")}

        def target(buffer: str, axis: Axis, number: int) -> str:
            if buffer == "y":
                return later["output"]
            if buffer == "state":
                return self.place(kind.state, later["state"], axis, number)
            return self.taped(now["tape"], f"{buffer}{number}" if buffer in "uv" else buffer)

        self.run(kind.forward, lambda *row: self.heard(now, *row), target)

    def _times(self, weight: str, heard: list[str], targets: list[str]) -> None:
        """target += weight heard, for each episode"""
        e = self.e

        def body(i: str, count: int) -> None:
            rows = [e.at(weight, e.mul(e.add(i, str(r)), self["post_room"])) for r in range(count)]
            slots = [[e.slot(e.vector) for _ in rows] for _ in heard]
            for slot in (slot for row in slots for slot in row):
                e.store(e.constant(0.0), slot)
            with e.loop(self.post_blocks) as block:
                at = e.mul(block, str(e.number.lanes))
                xs = [e.load(e.at(x, at)) for x in heard]
                for r, row in enumerate(rows):
                    value = e.load(e.at(row, at))
                    for k, x in enumerate(xs):
                        e.store(e.fma(value, x, e.load(slots[k][r])), slots[k][r])
            size = count * len(targets)
            totals, vector = e.totals([e.load(slot) for mine in slots for slot in mine])
            for k, target in enumerate(targets):
                total, kind = (totals, vector) if len(targets) == 1 else e.part(totals, size, k * count, count)
                here = e.at(target, i)
                e.store(e.binary("add", total, e.load(here, kind), kind), here, kind)

        e.groups(self["post"], body, len(heard))

    def _read(self, t: str, episodes: list[Episode], traces: list[Matrices], now: list[dict[str, str]]) -> None:
        """Apply the write of the step before, and read the trace; keep it, where it is time to."""
        e, kind = self.e, self.kind
        readings = [
            Reading(each["pre"], self.drive(each["drive"], kind.traced.plastic), self.taped(each["tape"], "recall"))
            for each in now
        ]
        first = e.let(f"icmp eq i64 {t}, 0")
        with e.when(first):
            self._sweep(traces, [None] * len(traces), readings)
        with e.when(e.let(f"xor i1 {first}, true")):
            self._sweep(traces, [self.writes(e.sub(t, "1"), episode) for episode in episodes], readings)
        left = e.let(f"srem i64 {t}, {self['every']}")
        due = e.let(f"icmp eq i64 {left}, 0")
        keeps = e.let(f"icmp ne i64 {self['keep']}, 0")
        with e.when(e.let(f"and i1 {due}, {keeps}")):
            part = e.mul(e.let(f"sdiv i64 {t}, {self['every']}"), self["batch"])
            for episode, m in zip(episodes, traces, strict=True):
                self._keep(e.add(part, episode.place), m)

    def _keep(self, place: str, m: Matrices) -> None:
        blocks = self.e.mul(self["post"], self.pre_blocks)
        self.copy(m.trace, self.step(self["traces"], place, self.synapses), blocks)
        if self.retroactive:
            self.copy(m.eligibility, self.step(self["eligibilities"], place, self.synapses), blocks)

    def _sweep(self, traces: list[Matrices], writes: list[Writes] | list[None], readings: list[Reading] | None) -> None:
        many = readings or [None] * len(traces)
        self.sweeps.forward(
            [trace_forward.Episode(m, w, m, reading) for m, w, reading in zip(traces, writes, many, strict=True)]
        )


class _Backward(Function):
    """From the derivatives of outputs and last state to those of drive, what was heard, parameters and first state."""

    def emit(self) -> None:
        self.episodes(self._run)

    def _run(self, episodes: list[Episode]) -> None:
        e, one, times = self.e, self["every"], self["times"]
        for episode in episodes:
            self.clear(self.adjoint(episode, "zero"), self.post_blocks)
            if self.plastic:
                self.clear(self.adjoint(episode, "recall"), self.post_blocks)
                for row in ("nothing", "pre"):
                    self.clear(self.adjoint(episode, row), self.pre_blocks)
        parts = e.let(f"sdiv i64 {e.sub(e.add(times, one), '1')}, {one}")
        with e.loop(parts) as back:
            part = e.sub(e.sub(parts, "1"), back)
            start = e.mul(part, one)
            end = e.add(start, one)
            short = e.let(f"icmp slt i64 {end}, {times}")
            self._part(episodes, part, start, e.let(f"select i1 {short}, i64 {end}, i64 {times}"))
        self._start(episodes)

    def _part(self, episodes: list[Episode], part: str, start: str, end: str) -> None:
        """One stretch of time, from a kept trace: to its stations first, then back from each to the one before."""
        e, short = self.e, self["short"]
        legs = e.let(f"sdiv i64 {e.sub(e.add(e.sub(end, start), short), '1')}, {short}")
        kept = [self._kept(x, part) for x in episodes] if self.plastic else []
        if self.plastic:
            walks = [
                Walk(
                    m,
                    lambda k, x=x: self.writes(e.add(start, k), x),
                    lambda place, x=x: self._in_room(x.room.stations, e.sub(place, "1")),
                )
                for x, m in zip(episodes, kept, strict=True)
            ]
            self.sweeps.again(walks, short, legs)
        with e.loop(legs) as done:
            leg = e.sub(e.sub(legs, "1"), done)
            first = e.add(start, e.mul(leg, short))
            left = e.sub(end, first)
            less = e.let(f"icmp slt i64 {left}, {short}")
            count = e.let(f"select i1 {less}, i64 {left}, i64 {short}")
            begins = [self._place(m, x.room.stations, leg) for m, x in zip(kept, episodes, strict=False)]
            with e.loop(count) as back:
                self._time(episodes, first, e.sub(e.sub(count, "1"), back), begins)

    def _kept(self, episode: Episode, part: str) -> Matrices:
        """The trace that forward has kept at the beginning of a stretch."""
        place = self.e.add(self.e.mul(part, self["batch"]), episode.place)
        names = ["traces"] + ["eligibilities"] * self.retroactive
        return self._in_room({name: self[name] for name in names}, place)

    def _in_room(self, room: dict[str, str], place: str) -> Matrices:
        """The trace at a place of a room."""
        made = [self.step(address, place, self.synapses) for address in room.values()]
        return self.matrices(made[0], made[1] if self.retroactive else "")

    def _place(self, begin: Matrices, room: dict[str, str], k: str) -> Matrices:
        """The k-th trace of those that begin with one, and go on in a room."""
        first = self.e.let(f"icmp eq i64 {k}, 0")
        own = self._in_room(room, self.e.sub(k, "1"))
        eligibility = self.choose(first, begin.eligibility, own.eligibility) if self.retroactive else ""
        return own._replace(trace=self.choose(first, begin.trace, own.trace), eligibility=eligibility)

    def _time(self, episodes: list[Episode], first: str, steps: str, begins: list[Matrices]) -> None:
        """One step backwards, some steps after a time whose trace is there."""
        e = self.e
        t = e.add(first, steps)
        later = e.add(t, "1")
        last = e.let(f"icmp eq i64 {later}, {self['times']}")
        if self.plastic:
            through = [self._return(x, first, t, last, m) for x, m in zip(episodes, begins, strict=True)]
            self.sweeps.back(through, steps)
        with e.when(e.let(f"xor i1 {last}, true")):
            self._heard_itself(later, episodes)
        for episode in episodes:
            self._parts(t, episode)

    def _parts(self, t: str, episode: Episode) -> None:
        """What the derivatives of the layer's parts do."""
        kind = self.kind
        now = {name: self.at_time(t, episode, name) for name in ("drive", "pre", "state", "tape", "d_drive")}
        d_output = self.at_time(self.e.add(t, "1"), episode, "d_output")
        d_state = self.step(self["d_state"], episode.place, self.size(kind.state))

        def source(buffer: str, axis: Axis, number: int) -> str:
            if buffer == "d.y":
                return d_output
            if buffer == "d.state":
                return self.place(kind.state, d_state, axis, number)
            if not buffer.startswith("d."):
                return self.heard(now, buffer, axis, number)
            name = buffer.removeprefix("d.")
            return self.adjoint(episode, f"{name}{number}" if name in "uv" else name)

        def target(buffer: str, axis: Axis, number: int) -> str:
            match buffer:
                case "drive":
                    return self.drive(now["d_drive"], number)
                case "pre":
                    return self._d_pre(t, episode)
                case "recall":
                    return self.adjoint(episode, "recall")
                case "state":
                    return self.place(kind.state, episode.room.state, axis, number)
            return self.place(kind.params, self["d_params"], axis, number)

        self.run(kind.backward, source, target)
        blocks = self.e.let(f"sdiv i64 {self.size(kind.state)}, {self.e.number.lanes}")
        self.copy(episode.room.state, d_state, blocks)

    def _d_pre(self, t: str, episode: Episode) -> str:
        """Where the derivative of what was heard goes: kept for every time, or not."""
        keeps = self.e.let(f"icmp ne i64 {self['keep_pre']}, 0")
        return self.choose(keeps, self.at_time(t, episode, "d_pre"), self.adjoint(episode, "pre"))

    def _return(self, episode: Episode, first: str, t: str, last: str, m: Matrices) -> Return:
        """Through the read at the time after `t`, and the write at `t`, from the trace at the time `first`."""
        e, kind, later = self.e, self.kind, self.e.add(t, "1")
        zero = self.adjoint(episode, "zero")
        answer = self.choose(last, zero, self.drive(self.at_time(later, episode, "d_drive"), kind.traced.plastic))
        pre = self.choose(last, self.adjoint(episode, "nothing"), self.at_time(later, episode, "pre"))
        recall = self.choose(last, zero, self.adjoint(episode, "recall")) if kind.recalls else ""
        d_pre = self.choose(last, self.adjoint(episode, "pre"), self._d_pre(later, episode))
        writes, adjoints = self.writes(t, episode), self._adjoints(episode, d_pre)
        for row in (*adjoints.writes.v, *([adjoints.writes.column] if writes.column else [])):
            self.clear(row, self.pre_blocks)
        e.store(e.constant(0.0, e.number.name), adjoints.writes.eta, e.number.name)
        of = trace_forward.Episode(m, writes, m, Reading(pre, answer, recall))
        return Return(of, adjoints, lambda k: self.writes(e.add(first, k), episode))

    def _adjoints(self, episode: Episode, d_pre: str) -> Adjoints:
        terms = range(len(self.shares.matrices))
        at = lambda name: self.adjoint(episode, name)  # noqa: E731
        rows = {name: at(name) for name in ("row", "column", "write", "eta")} | {"dither": ""}
        writes = Writes(tuple(at(f"u{k}") for k in terms), tuple(at(f"v{k}") for k in terms), **rows)
        eligibility = self.step(self["d_eligibility"], episode.place, self.synapses) if self.retroactive else ""
        coefs = tuple(self.loaded.get(f"d_coef{k}", "") for k in terms)
        trace = self.step(self["d_trace"], episode.place, self.synapses)
        return Adjoints(trace, eligibility, self["d_alpha"], coefs, self.loaded.get("d_decay", ""), writes, d_pre)

    def _heard_itself(self, t: str, episodes: list[Episode]) -> None:
        """Add what the layer's hearing itself at `t` says of its output before."""
        e, kind = self.e, self.kind
        outputs = [self.at_time(t, episode, "d_output") for episode in episodes]
        if kind.own_plastic:
            for episode, d_output in zip(episodes, outputs, strict=True):
                self.copy(e.at(self._d_pre(t, episode), self["own"]), d_output, self.post_blocks, add=True)
        for d in kind.apart:
            weight = self.step(self["own_weight"], e.mul(self["post"], str(d)), self["post_room"])
            said = [self.drive(self.at_time(t, episode, "d_drive"), d) for episode in episodes]
            self._times_back(weight, said, outputs)

    def _times_back(self, weight: str, said: list[str], targets: list[str]) -> None:
        """target += said weight, for each episode"""
        e = self.e

        def body(i: str, count: int) -> None:
            rows = [e.add(i, str(r)) for r in range(count)]
            factors = [[e.splat(e.load(e.at(x, row), e.number.name)) for row in rows] for x in said]
            places = [e.at(weight, e.mul(row, self["post_room"])) for row in rows]
            with e.loop(self.post_blocks) as block:
                at = e.mul(block, str(e.number.lanes))
                shared = Block(e, at)
                for target, mine in zip(targets, factors, strict=True):
                    here = e.at(target, at)
                    total = e.load(here)
                    for factor, place in zip(mine, places, strict=True):
                        total = e.fma(factor, shared.load(place), total)
                    e.store(total, here)

        e.groups(self["post"], body, len(said))

    def _start(self, episodes: list[Episode]) -> None:
        """Through the read at the first time, to the state that the episodes started from."""
        if self.plastic:
            made = []
            for episode in episodes:
                answer = self.drive(self.at_time("0", episode, "d_drive"), self.kind.traced.plastic)
                recall = self.adjoint(episode, "recall") if self.kind.recalls else ""
                m, reading = self._kept(episode, "0"), Reading(self.at_time("0", episode, "pre"), answer, recall)
                of, d = trace_forward.Episode(m, None, m, reading), self._adjoints(episode, self._d_pre("0", episode))
                made.append(Return(of, d, lambda k, x=episode: self.writes(k, x)))
            self.sweeps.back(made, "0")
        self._heard_itself("0", episodes)
