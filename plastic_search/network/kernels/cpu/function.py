"""What a layer's two functions have in common: sizes, addresses, constants, and running a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.cpu.compiler import flushes, wide
from plastic_search.network.kernels.cpu.loops import Place, Vectors
from plastic_search.network.kernels.cpu.trace_backward import BackSweeps
from plastic_search.network.kernels.cpu.trace_forward import Matrices
from plastic_search.network.kernels.layout import LITERALS, SIZES, TOGETHER, Area, Kind, Writes
from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import Program, Shares

__all__ = ["Episode", "Function"]


_FLUSH = (  # denormal numbers, which a silent layer is full of, take a processor a hundred times as long
    (
        "  %control = alloca [2 x i32]",
        "  %control.now = getelementptr i32, ptr %control, i64 1",
        "  call void @llvm.x86.sse.stmxcsr(ptr %control)",
        "  %control.old = load i32, ptr %control",
        "  %control.new = or i32 %control.old, 32832",
        "  store i32 %control.new, ptr %control.now",
        "  call void @llvm.x86.sse.ldmxcsr(ptr %control.now)",
    ),
    ("  call void @llvm.x86.sse.ldmxcsr(ptr %control)",),
)


class Room(NamedTuple):
    """One episode's part of the scratch memory: derivatives, a state, and traces.

    Of a stretch of time there are stations, some steps apart. Each kind of trace has a place for them.
    """

    adjoints: str
    state: str
    stations: dict[str, str]


class Episode(NamedTuple):
    """One of the episodes that are run together."""

    place: str  # in the batch
    room: Room


class Function:
    """The beginning of a compiled function `name(table, scratch, first, last)`, for episodes first to last - 1."""

    def __init__(self, kind: Kind, name: str) -> None:
        self.kind, self.name = kind, name
        self.e = e = Emitter(kind.number, 4 if wide() else 2)
        self.loaded: dict[str, str] = {}
        for i, entry in enumerate(kind.table):
            value = e.load(e.let(f"getelementptr i64, ptr %table, i64 {i}"), "i64")
            self.loaded[entry] = value if entry in SIZES else e.let(f"inttoptr i64 {value} to ptr")
        self.post_blocks = e.let(f"sdiv i64 {self['post_room']}, {e.number.lanes}")
        self.pre_blocks = e.let(f"sdiv i64 {self['pre_room']}, {e.number.lanes}")
        self.constants = self._constants()
        self.synapses = e.mul(self["post"], self["pre_room"])  # numbers in one trace
        if kind.traced.shares is not None:
            limit, level, top = (e.splat(e.load(e.at(self["limits"], str(i)), e.number.name)) for i in range(3))
            sizes = (self["post"], self["pre_room"], self.pre_blocks)
            self.sweeps = BackSweeps(e, self.shares, kind.bound, kind.rounding, sizes, (limit, level, top))
        self._rooms()

    def __getitem__(self, name: str) -> str:
        return self.loaded[name]

    @property
    def shares(self) -> Shares:
        if self.kind.traced.shares is None:
            raise AssertionError("nothing is plastic")
        return self.kind.traced.shares

    @property
    def plastic(self) -> bool:
        return self.kind.traced.shares is not None

    @property
    def retroactive(self) -> bool:
        return self.plastic and self.shares.retroactive

    def text(self) -> str:
        head = (
            f'define void @{self.name}(ptr %table, ptr %scratch, i64 %first, i64 %last) "prefer-vector-width"="512" {{'
        )
        before, after = _FLUSH if flushes() else ((), ())
        self.e.declared |= {f"declare void @llvm.x86.sse.{name}mxcsr(ptr)" for name in ("st", "ld") if before}
        return "\n".join([head, "entry:", *self.e.entry, *before, *self.e.lines, *after, "  ret void", "}", ""])

    def _constants(self) -> dict[float, tuple[str, str]]:
        e, made = self.e, {}
        for i, value in enumerate(self.kind.constants):
            number = e.load(e.at(self["constants"], str(i)), e.number.name)
            made[value] = (number, e.splat(number))
        for value in LITERALS:
            made[value] = (e.constant(value, e.number.name), e.constant(value))
        return made

    def _rooms(self) -> None:
        """Divide the scratch memory as `Kind.scratch` counts it."""
        e, kind = self.e, self.kind
        self.temporary_room = "%scratch"
        short = self["short"]
        self.stations = e.let(f"sdiv i64 {e.sub(self['every'], '1')}, {short}")
        start, self.rooms = e.at("%scratch", self.size(kind.temporary)), []
        for _ in range(TOGETHER):
            state = e.at(start, self.size(kind.adjoints.area))
            room = Room(start, state, {})
            start = e.at(state, self.size(kind.state))
            for name in ["traces"] * self.plastic + ["eligibilities"] * self.retroactive:
                room.stations[name] = start
                start = e.at(start, e.mul(self.synapses, self.stations))
            self.rooms.append(room)

    def episodes(self, body: Callable[[list[Episode]], None]) -> None:
        """Emit a body for the episodes from first to last: two at a time, and then for the one that may be left."""
        e = self.e
        pairs = e.let(f"sdiv i64 {e.sub('%last', '%first')}, {TOGETHER}")
        whole = e.add("%first", e.mul(pairs, str(TOGETHER)))
        with e.loop(whole, start="%first", step=str(TOGETHER)) as b:
            body([Episode(e.add(b, str(k)), room) for k, room in enumerate(self.rooms)])
        with e.loop("%last", start=whole) as b:
            body([Episode(b, self.rooms[0])])

    # -- addresses

    def size(self, area: Area) -> str:
        """How many numbers an area holds."""
        e = self.e
        size = e.add(e.mul(self["post_room"], str(area.post)), e.mul(self["pre_room"], str(area.pre)))
        return e.add(size, str(area.ones * e.number.lanes))

    def place(self, area: Area, base: str, axis: Axis, number: int) -> str:
        """Where a row of an area begins."""
        return place(self.e, area, base, axis, number, self["post_room"], self["pre_room"])

    def heard(self, now: dict[str, str], buffer: str, axis: Axis, number: int) -> str:
        """Where a row lies that the layer's parts read at a time; `now` are the addresses of that time."""
        match buffer:
            case "recall":
                return self.taped(now["tape"], "recall")
            case "params":
                return self.place(self.kind.params, self["params"], axis, number)
            case "lengths":  # after the limits
                return self.e.at(self["limits"], str(3 + number))
            case "drive":
                return self.drive(now["drive"], number)
            case "state":
                return self.place(self.kind.state, now["state"], axis, number)
        return now["pre"]

    def adjoint(self, episode: Episode, name: str) -> str:
        """Where the derivative of one of a step's vectors lies."""
        rows = self.kind.adjoints
        return self.place(rows.area, episode.room.adjoints, *rows.find(name))

    def taped(self, tape: str, name: str) -> str:
        """Where one of a step's vectors lies on its tape; "" where there is none."""
        rows = self.kind.tape
        if name not in rows.post + rows.pre + rows.ones:
            return ""
        return self.place(rows.area, tape, *rows.find(name))

    def step(self, base: str, index: str, size: str) -> str:
        """The address of the `index`-th thing of `size` numbers."""
        return self.e.at(base, self.e.mul(index, size))

    def at_time(self, t: str, episode: Episode, name: str) -> str:
        """Where what belongs to one time and one episode lies. `output` and `state` are those before that time."""
        e, kind = self.e, self.kind
        index = e.add(e.mul(t, self["batch"]), episode.place)
        sizes = {
            "drive": lambda: e.mul(self["post_room"], str(kind.traced.drives)),
            "output": lambda: self["post_room"],
            "pre": lambda: self["pre_room"],
            "state": lambda: self.size(kind.state),
            "tape": lambda: self.size(kind.tape.area),
            "dither": lambda: "1",
        }
        return self.step(self[name], index, sizes[name.removeprefix("d_")]())

    def drive(self, base: str, number: int) -> str:
        """One of a cell's drives."""
        return self.e.at(base, self.e.mul(self["post_room"], str(number)))

    def matrices(self, trace: str, eligibility: str) -> Matrices:
        """A trace with what does not change within an episode."""
        coefs = tuple(self.loaded.get(f"coef{k}", "") for k in range(len(self.shares.matrices)))
        phases = self["phases"] if self.kind.rounding else ""
        weight = self["weight"] if self.kind.own_plastic else ""
        return Matrices(trace, eligibility, self["alpha"], coefs, self.loaded.get("decay", ""), phases, weight)

    def writes(self, t: str, episode: Episode) -> Writes:
        """The vectors that say what is written at one time."""
        tape, pre, aliases = self.at_time(t, episode, "tape"), self.at_time(t, episode, "pre"), self.kind.aliases
        u = tuple(self.taped(tape, f"u{k}") for k in range(len(aliases)))
        v = tuple(pre if alias else self.taped(tape, f"v{k}") for k, alias in enumerate(aliases))
        row, column, write, eta = (self.taped(tape, name) for name in ("row", "column", "write", "eta"))
        return Writes(u, v, row, column, write, eta, self.at_time(t, episode, "dither"))

    # -- what is done

    def run(self, program: Program, source: Place, target: Place) -> None:
        """Emit a program."""

        def to(buffer: str, axis: Axis, number: int) -> str:
            if buffer == "temporary":
                return self.place(self.kind.temporary, self.temporary_room, axis, number)
            return target(buffer, axis, number)

        blocks = {Axis.POST: self.post_blocks, Axis.PRE: self.pre_blocks}
        counts = {Axis.POST: self["post"], Axis.PRE: self["width"]}
        Vectors(self.e, blocks, counts, source, to, self.constants).emit(program)

    def copy(self, source: str, target: str, blocks: str, add: bool = False) -> None:
        """target = source, or target += source"""
        e = self.e
        with e.loop(blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            value = e.load(e.at(source, at))
            if add:
                value = e.binary("add", value, e.load(e.at(target, at)))
            e.store(value, e.at(target, at))

    def clear(self, target: str, blocks: str) -> None:
        """target = 0"""
        e = self.e
        with e.loop(blocks) as block:
            e.store(e.constant(0.0), e.at(target, e.mul(block, str(e.number.lanes))))

    def choose(self, condition: str, one: str, other: str) -> str:
        """One of two addresses."""
        return self.e.let(f"select i1 {condition}, ptr {one}, ptr {other}")


def place(e: Emitter, area: Area, base: str, axis: Axis, number: int, post: str, pre: str) -> str:
    """The address of a row of an area; `post` and `pre` are registers with the lengths of rows, padding included."""
    if axis is Axis.POST:
        return e.at(base, e.mul(post, str(number)))
    offset = e.mul(post, str(area.post))
    if axis is Axis.PRE:
        return e.at(base, e.add(offset, e.mul(pre, str(number))))
    offset = e.add(offset, e.mul(pre, str(area.pre)))
    return e.at(base, e.add(offset, str(number * e.number.lanes)))
