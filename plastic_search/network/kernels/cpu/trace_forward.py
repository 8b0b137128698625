"""Forward loops over the trace: write the change of one step, and read the result in the next, in one pass.

What is written is computed by the program of the synapses, node by node. A sweep takes `Emitter.rows` rows at a time,
so that vectors over the inputs are loaded once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.layout import Reads
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import STATIC, Program, Slot, SynapseProgram, slot_of

__all__ = ["TRACE", "Block", "ForwardEpisode", "ForwardSweep", "Matrices", "Synapse", "Synapses"]

TRACE, _ELIGIBILITY = ("trace", Axis.PAIR, 0), ("eligibility", Axis.PAIR, 0)
_D_READ = ("d.read", Axis.PAIR, 0)
Known = dict[Slot, str]  # registers with vectors, by what they were loaded from


class Matrices(NamedTuple):
    """Addresses of what has a number for every synapse; "" for what there is not."""

    trace: str
    eligibility: str
    alpha: str
    weight: str  # where the sweep computes weight @ pre as well
    constants: dict[str, str]  # of an episode, by the buffer that the program of the synapses reads them from


_NOTHING = Matrices("", "", "", "", {})


class Block:
    """One vector's width of one row. What episodes share is loaded once, and added to once.

    Args:
        mask: which of its lanes are no padding; "" where that makes no difference.
    """

    def __init__(self, e: Emitter, at: str, mask: str = "") -> None:
        self.e, self.at, self.mask = e, at, mask
        self.loaded: dict[str, str] = {}
        self.sums: dict[str, str] = {}

    def load(self, address: str) -> str:
        """A vector of a matrix that does not change."""
        if address not in self.loaded:
            self.loaded[address] = self.e.load(self.e.at(address, self.at))
        return self.loaded[address]

    def add(self, address: str, a: str, b: str) -> None:
        """Add a product to a vector, which is stored at the end."""
        if address not in self.sums:
            self.sums[address] = self.e.load(self.e.at(address, self.at))
        self.sums[address] = self.e.fma(a, b, self.sums[address])

    def inside(self, value: str) -> str:
        """`value`, or 0 in padding, where a formula may have any value."""
        return self.e.select(self.mask, value, self.e.constant(0.0)) if self.mask else value

    def store(self) -> None:
        for address, total in self.sums.items():
            self.e.store(total, self.e.at(address, self.at))


class Synapses:
    """What happens at a block of synapses, by their program; and the addresses of its rows.

    Args:
        static: registers with the nodes that are the same at every step, as vectors.
        sizes: registers with the rows of a trace, the numbers in a row, without and with padding, and its vectors.
        sources: a register with the number of columns from other layers; "" where a read does not tell them apart.
    """

    def __init__(
        self, e: Emitter, program: SynapseProgram, static: dict[int, str], sizes: tuple[str, str, str, str],
        sources: str,
    ) -> None:  # fmt: skip
        self.e, self.program, self.static, self.sources = e, program, static, sources
        self.post, self.width, self.padded, self.blocks = sizes
        self._common: dict[tuple[str, str, int], Matrices] = {}
        self.every = SynapseInputs.of(program.forward, program.backward)
        self.forward = SynapseInputs.of(program.forward)

    # -- the write

    def load(self, m: Matrices, at: str) -> Known:
        """A block of the trace, and of the eligibility trace, if there is one."""
        e, known = self.e, {TRACE: self.e.load(self.e.at(m.trace, at))}
        if self.program.retroactive:
            known[_ELIGIBILITY] = e.load(e.at(m.eligibility, at))
        return known

    def store(self, values: Known, to: Matrices, at: str) -> None:
        self.e.store(values[TRACE], self.e.at(to.trace, at))
        if self.program.retroactive:
            self.e.store(values[_ELIGIBILITY], self.e.at(to.eligibility, at))

    def written(self, synapse: Synapse) -> Known:
        """The trace, and the eligibility trace if there is one, after a write."""
        return {
            (o.buffer, o.axis, o.number): synapse.block.inside(synapse(o.node)) for o in self.program.forward.outputs
        }

    def block(self, at: str) -> Block:
        """One vector's width of one row."""
        return Block(self.e, at, self.e.inside(at, self.width) if self.program.formula else "")

    # -- the read

    def read(self, h: str, block: Block) -> str:
        """The trace `h` as it is read."""
        return self._of_read(self.program.read, {TRACE: h}, block) or h

    def read_backward(self, h: str, d: str, block: Block) -> str:
        """The derivative of the trace `h` by `d`, that of what was read of it."""
        return self._of_read(self.program.read_backward, {TRACE: h, _D_READ: d}, block) or d

    def _of_read(self, program: Program, known: Known, block: Block) -> str:
        """The one result of a program; "" where there is none."""
        return next((Synapse(self, _NOTHING, known, block)(o.node) for o in program.outputs), "")

    def from_others(self, at: str) -> str:
        """Which lanes of a block of columns are from other layers; "" where a read does not tell them apart."""
        return self.e.inside(at, self.sources) if self.sources else ""

    def gain(self, m: Matrices, h: str, block: Block) -> str:
        """weight + alpha h, or alpha h"""
        e, alpha = self.e, block.load(m.alpha)
        return e.fma(alpha, h, block.load(m.weight)) if m.weight else e.binary("mul", alpha, h)

    # -- rows and columns

    def rows(self, m: Matrices, i: str, count: int, like: Matrices) -> list[Matrices]:
        """`count` rows from `i` on. Matrices that episodes share have the addresses of those of `like`."""
        rows = []
        for r in range(count):
            key = like.trace, i, r
            if key not in self._common:
                self._common[key] = self.addresses(like, i, r)
            trace, eligibility = self._traces(m, i, r)
            rows.append(self._common[key]._replace(trace=trace, eligibility=eligibility))
        return rows

    def addresses(self, m: Matrices, i: str, r: int) -> Matrices:
        """Where a row of every matrix begins."""
        offset = self.e.mul(self.e.add(i, str(r)), self.padded)
        at = lambda a: self.e.at(a, offset) if a else ""  # noqa: E731
        constants = {name: at(address) for name, address in m.constants.items()}
        return Matrices(at(m.trace), at(m.eligibility), at(m.alpha), at(m.weight), constants)

    def _traces(self, m: Matrices, i: str, r: int) -> tuple[str, str]:
        row = self.addresses(m._replace(alpha="", weight="", constants={}), i, r)
        return row.trace, row.eligibility

    def spread(self, address: str, i: str, r: int) -> str:
        """A row's own number, as a vector."""
        e = self.e
        return e.splat(e.load(e.at(address, e.add(i, str(r))), e.number.name))


class SynapseInputs(NamedTuple):
    """What programs of synapses read, beside traces and constants."""

    rows: tuple[Slot, ...]
    columns: tuple[Slot, ...]
    ones: tuple[Slot, ...]
    constants: tuple[str, ...]

    @classmethod
    def of(cls, *programs: Program) -> SynapseInputs:
        slots = dict.fromkeys(slot_of(x) for program in programs for x in program.inputs() if x.slot[0] not in STATIC)
        rows, columns, ones, pairs = (
            tuple(s for s in slots if s[1] is axis) for axis in (Axis.POST, Axis.PRE, Axis.ONE, Axis.PAIR)
        )
        traces = ("trace", "eligibility", "d.trace", "d.eligibility")
        return cls(rows, columns, ones, tuple(s[0] for s in pairs if s[0] not in traces))

    def row(self, s: Synapses, addresses: Known, i: str, r: int) -> Known:
        """The numbers of one row, spread to vectors."""
        return {slot: s.spread(addresses[slot], i, r) for slot in self.rows}

    def column(self, s: Synapses, addresses: Known, at: str) -> Known:
        """One block of the vectors over the inputs."""
        return {slot: s.e.load(s.e.at(addresses[slot], at)) for slot in self.columns}

    def one(self, s: Synapses, addresses: Known) -> Known:
        """What is equal for all synapses, spread to vectors."""
        return {slot: s.e.splat(s.e.load(addresses[slot], s.e.number.name)) for slot in self.ones}


class Synapse:
    """One block of one row in one episode; every node is computed once."""

    def __init__(self, s: Synapses, matrices: Matrices, known: Known, block: Block) -> None:
        self.s, self.matrices, self.known, self.block = s, matrices, known, block
        self.values = dict(s.static)

    def __call__(self, node: Node) -> str:
        if node.index not in self.values:
            self.values[node.index] = self._computed(node)
        return self.values[node.index]

    def _computed(self, node: Node) -> str:
        if node.op != "input":
            return self.s.e.apply(node.op, [self(a) for a in node.args])
        address = self.matrices.constants.get(node.slot[0])
        return self.known[slot_of(node)] if address is None else self.block.load(address)


class ForwardEpisode(NamedTuple):
    """What a sweep does for one episode. Episodes that are swept together share all matrices but traces."""

    m: Matrices
    w: dict[Slot, str] | None  # addresses of what the synapses read of the units; None: nothing is written
    reads: Reads | None  # None: nothing is read


class _Run(NamedTuple):
    """One episode's part of a sweep over some rows."""

    rows: list[Matrices]
    known: list[Known]  # of each row
    drives: list[list[str]]  # slots for sums, of each row; for each of the sums that a read adds to
    recalls: list[str]


class ForwardSweep:
    """Emits sweeps forward."""

    def __init__(self, synapses: Synapses) -> None:
        self.synapses, self.e = synapses, synapses.e

    def emit(self, episodes: Sequence[ForwardEpisode]) -> None:
        """H after a write, where there is one; then drive += (weight + alpha * H) pre, recall = H pre"""
        self.e.groups(self.synapses.post, lambda i, count: self._rows(i, count, episodes), len(episodes))

    def _rows(self, i: str, count: int, episodes: Sequence[ForwardEpisode]) -> None:
        e, s = self.e, self.synapses
        runs = [self._begin(i, count, episode, episodes[0].m) for episode in episodes]
        with e.loop(s.blocks) as block:
            at = e.mul(block, str(e.number.lanes))
            columns = [s.forward.column(s, x.w, at) if x.w else {} for x in episodes]
            pre = [e.load(e.at(x.reads.pre, at)) if x.reads else "" for x in episodes]
            parts = [self._parts(each, at) for each in pre]
            for r in range(count):
                shared = s.block(at)
                for k, (episode, run) in enumerate(zip(episodes, runs, strict=True)):
                    m, values = run.rows[r], s.load(run.rows[r], at)
                    if episode.w:
                        values = s.written(Synapse(s, m, values | run.known[r] | columns[k], shared))
                        s.store(values, m, at)
                    if episode.reads:
                        h = s.read(values[TRACE], shared)
                        gain = s.gain(m, h, shared)
                        for drives, part in zip(run.drives, parts[k], strict=True):
                            e.accumulate(drives[r], gain, part)
                        if episode.reads.recall:
                            e.accumulate(run.recalls[r], h, pre[k])
        reads = [episode.reads for episode in episodes if episode.reads]
        for k, _ in enumerate(reads[0].drives if reads else ()):
            e.store_sums([run.drives[k] for run in runs], [each.drives[k] for each in reads], i, add=True)
        if reads and reads[0].recall:
            e.store_sums([run.recalls for run in runs], [each.recall for each in reads], i, add=False)

    def _begin(self, i: str, count: int, episode: ForwardEpisode, like: Matrices) -> _Run:
        s, rows = self.synapses, self.synapses.rows(episode.m, i, count, like)
        known: list[Known] = [{} for _ in rows]
        if episode.w:
            ones = s.forward.one(s, episode.w)
            known = [ones | s.forward.row(s, episode.w, i, r) for r in range(count)]
        *drives, recalls = ([self.e.sum_slot() for _ in rows] for _ in range(2 + bool(s.sources)))
        return _Run(rows, known, drives, recalls)

    def _parts(self, pre: str, at: str) -> list[str]:
        """A block of `pre`, once for each of the sums that a read adds to: the columns that add to this one."""
        e, mask = self.e, self.synapses.from_others(at)
        if not mask or not pre:
            return [pre]
        return [e.select(mask, pre, e.constant(0.0)), e.select(mask, e.constant(0.0), pre)]
