"""What the two functions of a layer have in common in LLVM assembly: sizes, addresses, constants, and programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from plastic_search.network.kernels.addresses import AddressBook, StepAddresses, static_nodes
from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.cpu.compiler import flushes, wide
from plastic_search.network.kernels.cpu.loops import AddressOf, Loops
from plastic_search.network.kernels.cpu.trace_forward import Matrices, Synapses
from plastic_search.network.kernels.layout import LITERALS, SIZES, TOGETHER, Area, KernelSignature
from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import Program, SynapseProgram, slot_of

__all__ = ["Episode", "Function", "Moment"]


_FLUSH = (  # denormal numbers, which abound in a silent layer, take a processor a hundred times as long
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


class Scratch(NamedTuple):
    """One episode's part of the scratch memory."""

    adjoints: str
    state: str  # the derivative of a state
    trace: str  # inner checkpoints of the current segment, of the trace; "" for none
    eligibility: str  # ... and of the eligibility trace


class Episode(NamedTuple):
    """One of the episodes that are run together."""

    number: str  # in the batch
    scratch: Scratch


class Moment(NamedTuple):
    """One time of one episode."""

    time: str
    episode: Episode


class Function(AddressBook[Moment]):
    """The compiled function `name(table, scratch, first, last)`, which runs episodes first to last - 1."""

    def __init__(self, signature: KernelSignature, name: str) -> None:
        super().__init__(signature)
        self.name = name
        self.e = e = Emitter(signature.number, 4 if wide() else 2)
        self.loaded: dict[str, str] = {}
        for i, entry in enumerate(signature.table):
            value = e.load(e.let(f"getelementptr i64, ptr %table, i64 {i}"), "i64")
            self.loaded[entry] = value if entry in SIZES else e.let(f"inttoptr i64 {value} to ptr")
        self.post_blocks = e.let(f"sdiv i64 {self['post_padded']}, {e.number.lanes}")
        self.pre_blocks = e.let(f"sdiv i64 {self['pre_padded']}, {e.number.lanes}")
        self.constants = self._constants()
        self.trace_size = e.mul(self["post"], self["pre_padded"])  # numbers in one trace
        self.synapses = self._synapses()
        self.scratches = self._scratches()

    def __getitem__(self, name: str) -> str:
        return self.loaded[name]

    def text(self) -> str:
        head = (
            f'define void @{self.name}(ptr %table, ptr %scratch, i64 %first, i64 %last) "prefer-vector-width"="512" {{'
        )
        before, after = _FLUSH if flushes() else ((), ())
        self.e.declared |= {f"declare void @llvm.x86.sse.{name}mxcsr(ptr)" for name in ("st", "ld") if before}
        return "\n".join([head, "entry:", *self.e.entry, *before, *self.e.lines, *after, "  ret void", "}", ""])

    def _constants(self) -> dict[float, tuple[str, str]]:
        """Each constant as a number and as a vector."""
        e, constants = self.e, {}
        for i, value in enumerate(self.signature.constants):
            number = e.load(e.at(self["constants"], str(i)), e.number.name)
            constants[value] = (number, e.splat(number))
        for value in LITERALS:
            constants[value] = (e.constant(value, e.number.name), e.constant(value))
        return constants

    def _synapses(self) -> Synapses | None:
        program = self.signature.program.synapses
        if program is None:
            return None
        sizes = (self["post"], self["width"], self["pre_padded"], self.pre_blocks)
        sources = self["plastic_sources"] if self.signature.apart else ""
        return Synapses(self.e, program, self._static(program), sizes, sources)

    def _static(self, program: SynapseProgram) -> dict[int, str]:
        """Nodes that are the same for all synapses at every step, as vectors."""
        e, static = self.e, {}
        for node in static_nodes(program.nodes()):
            if node.op == "constant":
                static[node.index] = self.constants[node.value][1]
            elif node.op == "input":
                address = self.forward_input(StepAddresses(), *slot_of(node))
                static[node.index] = e.splat(e.load(address, e.number.name))
            else:
                static[node.index] = e.apply(node.op, [static[a.index] for a in node.args])
        return static

    def _scratches(self) -> list[Scratch]:
        """Divide the scratch memory as `KernelSignature.scratch` counts it.

        What is first is temporary, and what is last, the inner checkpoints, is there in the backward pass alone.
        """
        e, signature = self.e, self.signature
        inner_checkpoints = e.let(f"sdiv i64 {e.sub(self['segment_steps'], '1')}, {self['inner_steps']}")
        start, scratches = e.at("%scratch", self.size(signature.temporary)), []
        for _ in range(TOGETHER):
            adjoints, state = start, e.at(start, self.size(signature.adjoints.area))
            start = e.at(state, self.size(signature.state))
            scratches.append(Scratch(adjoints, state, "", ""))
        for number, scratch in enumerate(scratches):
            traces = ["", ""]
            for k in range(signature.plastic + signature.retroactive):
                traces[k] = start
                start = e.at(start, e.mul(self.trace_size, inner_checkpoints))
            scratches[number] = scratch._replace(trace=traces[0], eligibility=traces[1])
        return scratches

    def episodes(self, body: Callable[[list[Episode]], None]) -> None:
        """Emit a body for all episodes: two at a time, and then for the one that may be left."""
        e = self.e
        pairs = e.let(f"sdiv i64 {e.sub('%last', '%first')}, {TOGETHER}")
        whole = e.add("%first", e.mul(pairs, str(TOGETHER)))
        with e.loop(whole, start="%first", step=str(TOGETHER)) as b:
            body([Episode(e.add(b, str(k)), scratch) for k, scratch in enumerate(self.scratches)])
        with e.loop("%last", start=whole) as b:
            body([Episode(b, self.scratches[0])])

    # -- addresses

    def number(self, base: str, index: int) -> str:
        return self.e.at(base, str(index))

    def row(self, area: Area, base: str, axis: Axis, number: int) -> str:
        e, post, pre = self.e, self["post_padded"], self["pre_padded"]
        if axis is Axis.POST:
            return e.at(base, e.mul(post, str(number)))
        offset = e.mul(post, str(area.post))
        if axis is Axis.PRE:
            return e.at(base, e.add(offset, e.mul(pre, str(number))))
        offset = e.add(offset, e.mul(pre, str(area.pre)))
        return e.at(base, e.add(offset, str(number * e.number.lanes)))

    def drive(self, base: str, number: int) -> str:
        return self.e.at(base, self.e.mul(self["post_padded"], str(number)))

    def at(self, name: str, when: Moment) -> str:
        e, signature = self.e, self.signature
        index = e.add(e.mul(when.time, self["batch"]), when.episode.number)
        sizes = {
            "drive": lambda: e.mul(self["post_padded"], str(signature.program.sums)),
            "output": lambda: self["post_padded"],
            "pre": lambda: self["pre_padded"],
            "state": lambda: self.size(signature.state),
            "tape": lambda: self.size(signature.tape.area),
            "dither": lambda: "1",
            "signals": lambda: str(signature.program.signals),
            "controls": lambda: str(len(signature.program.controls)),
        }
        return self.item(self[name], index, sizes[name.removeprefix("d_")]())

    def d_pre(self, when: Moment) -> str:
        keeps = self.e.let(f"icmp ne i64 {self['keep_d_pre']}, 0")
        return self.choose(keeps, self.at("d_pre", when), self.adjoint(when.episode.scratch.adjoints, "pre"))

    def or_else(self, when: Moment, row: str, address: str) -> str:
        one = self.e.number.name
        cleared = self.e.compare("gt", self.e.load(self.cleared(when), one), self.e.constant(0.5, one), one)
        return self.choose(cleared, self.adjoint(when.episode.scratch.adjoints, row), address)

    def size(self, area: Area) -> str:
        """How many numbers an area holds."""
        e = self.e
        size = e.add(e.mul(self["post_padded"], str(area.post)), e.mul(self["pre_padded"], str(area.pre)))
        return e.add(size, str(area.ones * e.number.lanes))

    def item(self, base: str, index: str, size: str) -> str:
        """The address of the `index`-th item of `size` numbers."""
        return self.e.at(base, self.e.mul(index, size))

    def trace_at(self, base: str, index: str) -> str:
        """The address of the `index`-th trace."""
        return self.item(base, index, self.trace_size)

    def matrices(self, trace: str, eligibility: str) -> Matrices:
        """A trace, with the matrices that are constant within an episode."""
        names = (*self.signature.matrices, "phases")
        weight = self["weight"] if self.signature.recurrent_plastic else ""
        return Matrices(trace, eligibility, self["alpha"], weight, {name: self[name] for name in names})

    def d_matrices(self, trace: str, eligibility: str) -> Matrices:
        """The derivatives of a trace, and of these matrices."""
        return Matrices(trace, eligibility, self["d_alpha"], "", {n: self[f"d_{n}"] for n in self.signature.matrices})

    # -- loops

    def run(self, program: Program, source: AddressOf, target: AddressOf) -> None:
        """Emit a program."""

        def to(buffer: str, axis: Axis, number: int) -> str:
            if buffer == "temporary":
                return self.row(self.signature.temporary, "%scratch", axis, number)
            return target(buffer, axis, number)

        blocks = {Axis.POST: self.post_blocks, Axis.PRE: self.pre_blocks}
        counts = {Axis.POST: self["post"], Axis.PRE: self["width"]}
        Loops(self.e, blocks, counts, source, to, self.constants).emit(program)

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
