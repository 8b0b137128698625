"""One step of a layer as a function of C: its drives, its programs of units, and its program of synapses."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from plastic_search.export.c.layer import LayerPlan, Synapses
from plastic_search.export.c.loops import INDEX, Loops, Numbers
from plastic_search.export.c.state import Member, slots
from plastic_search.export.c.text import Constants, block, index_type
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import Program, Slot, slot_of, sum_depths
from plastic_search.structures import Source

__all__ = ["LayerFunction"]


class LayerFunction(ABC):
    """Writes the function of one layer, in one kind of numbers.

    Args:
        constants: where the arrays go that it reads.
        members: of its state.
        prefix: of the names of the whole network.
    """

    def __init__(self, plan: LayerPlan, constants: Constants, members: list[Member], prefix: str) -> None:
        self.plan, self.constants, self.prefix = plan, constants, prefix
        self.state = slots(plan, members)
        self.counts = {Axis.ONE: 1, Axis.POST: plan.shape.post, Axis.PRE: plan.shape.width}
        synapses = plan.program.synapses
        self.written = synapses.forward.inputs() if synapses and plan.synapses and len(plan.synapses.post) else []
        self.rows = {slot_of(x) for x in self.written}
        self.later = self._read_later()

    # -- what depends on the kind of numbers

    kind: str  # of what is computed with
    sent: str  # of what units send

    units: Numbers  # the numbers of the units

    @abstractmethod
    def moved(self, value: str, source: Source, modulator: bool) -> str:
        """What a unit of a source sent, as the layer holds what it receives."""

    @abstractmethod
    def drives(self) -> list[str]:
        """The sums that the cell receives, and `recall`, from weights and traces."""

    @abstractmethod
    def row(self, name: str, slot: Slot, known: np.ndarray) -> str:
        """The expression of a row that does not change."""

    @abstractmethod
    def pair(self, slot: Slot) -> str:
        """The expression of a number of the synapse `k` that is read or does not change."""

    @abstractmethod
    def writes(self) -> list[str]:
        """H and E after the step."""

    @abstractmethod
    def noise(self) -> list[str]:
        """The noise of rounding in the next step."""

    # -- what does not

    def text(self) -> list[str]:
        """Its lines."""
        plan, body = self.plan, ["/* drive = W pre + b + (alpha * H) pre */", *self.drives()]
        body.append("/* cell, rule and modulation */")
        body += self._declared()
        program = self._kept(plan.program.forward)
        body += self.computed(program)
        if self.written:
            body += ["/* the traces are written */", *self.writes()]
        if plan.form.trace is not None and plan.synapses is not None:
            body += self.noise()
        for slot in sorted(self.later):
            index = INDEX[slot[1]]
            head = f"for (size_t {index} = 0; {index} < {self.counts[slot[1]]}; {index}++)"
            body += block(head, [f"{self._place(slot)} = {_beside(slot)}[{index}];"])
        body = self._received(body) + body
        if not any("input[" in line for line in body):
            body.insert(0, "(void)input;")
        head = f"static void {plan.name}({self.prefix}_state *state, const {self.sent} *input)"
        return [*block(head, body), ""]

    def computed(self, program: Program) -> list[str]:
        """The loops over units."""
        return Loops(self.units, self.counts, self.source, self._target).emit(program)

    # -- what it receives, and its drives

    def _received(self, body: Sequence[str]) -> list[str]:
        """`pre`, and what the modulation alone sees, where the body reads them."""
        shape, lines = self.plan.shape, []
        if any("pre[" in line for line in body):
            lines.append(f"{self.sent} pre[{shape.pre}];")
            for source in shape.sources:
                lines += self._gathered(source, "pre")
        if shape.modulator is not None and any("seen[" in line for line in body):
            lines.append(f"{self.sent} seen[{len(shape.modulator.units)}];")
            lines += self._gathered(shape.modulator, "seen", shape.inputs)
        return lines

    def _gathered(self, source: Source, to: str, before: int = 0) -> list[str]:
        array = "input" if source.layer < 0 else f"state->layer{source.layer}_output"
        first, count = source.columns.start - before, len(source.units)
        at = "k"
        if not source.complete:
            name = f"{self.plan.name}_from{source.layer + 1}"
            at = f"{self.indices(name, source.index)}[k]"
        place, value = f"{first} + k" if first else "k", self.moved(f"{array}[{at}]", source, to == "seen")
        return block(f"for (size_t k = 0; k < {count}; k++)", [f"{to}[{place}] = {value};"]) if count else []

    def indices(self, name: str, values: np.ndarray) -> str:
        return self.constants.array(name, values, index_type(int(values.max(initial=0))))

    def over(self, stored: Synapses, name: str, body: Sequence[str]) -> list[str]:
        """A loop over stored connections: `k` is the number of one, `i` its unit, and `j` its column."""
        post, columns = stored.shape
        if stored.by_unit:
            return block(f"for (size_t i = 0; i < {post}; i++)", self.along(stored, name, body))
        inner = block(f"for (size_t i = 0; i < {post}; i++)", [f"const size_t k = j * {post} + i;", *body])
        return block(f"for (size_t j = 0; j < {columns}; j++)", inner)

    def along(self, stored: Synapses, name: str, body: Sequence[str], columns: range | None = None) -> list[str]:
        """A loop over the stored connections of the unit `i`, of all columns or of some."""
        columns = range(stored.shape[1]) if columns is None else columns
        if not stored.sparse:
            head = f"for (size_t j = {columns.start}; j < {columns.stop}; j++)"
            uses = any(re.search(r"\bk\b", line) for line in body)
            return block(head, [*[f"const size_t k = i * {stored.shape[1]} + j;"] * uses, *body])
        start = self.indices(f"{name}_first", stored.starts())
        column = self.indices(f"{name}_column", stored.pre)
        uses = any("j]" in line or "j <" in line or "j >=" in line for line in body)
        column_of = [f"const size_t j = {column}[k];"] if uses else []
        return block(f"for (size_t k = {start}[i]; k < {start}[i + 1]; k++)", [*column_of, *body])

    def pre(self) -> str:
        start = self.plan.shape.plastic.start
        return f"pre[{start} + j]" if start else "pre[j]"

    def of_synapse(self, node: Node) -> str | None:
        """The expression of an input of the synapses."""
        if node.op != "input":
            return None
        slot = slot_of(node)
        return self.pair(slot) if slot[1] is Axis.PAIR else self.source(slot)

    # -- rows of units

    def source(self, slot: Slot) -> str:
        """The expression of an input of units, or of a row that synapses read."""
        buffer, axis, row = slot
        known = self.plan.rows.get(slot)
        if known is not None:
            return self.row(f"{self.plan.name}_{buffer}_{axis.name.lower()}{row}", slot, known)
        match buffer:
            case "state":
                return self.state[slot]
            case "drive":
                return f"drive{row}[i]"
            case "recall":
                return "recall[i]"
            case "pre":
                return self.pre()
            case "previous":
                return f"state->{self.plan.name}_output[i]"
            case "dither":
                return f"state->{self.plan.name}_dither[0]"
            case "signals":
                columns = self.plan.program.columns or 0
                return f"pre[{row}]" if row < columns else f"seen[{row - columns}]"
        return f"{buffer}_{axis.name.lower()}{row}[{INDEX[axis]}]"

    def _place(self, slot: Slot) -> str:
        """Where an output of units is kept."""
        if slot[0] == "y":
            return f"state->{self.plan.name}_output[i]"
        return self.state[slot] if slot[0] == "state" else self.source(slot)

    def _target(self, slot: Slot) -> str:
        """Where an output is written: at once, or if what it replaces is still read, beside it."""
        if slot in self.later:
            return f"{_beside(slot)}[{INDEX[slot[1]]}]"
        return self._place(slot)

    def _kept(self, program: Program) -> Program:
        """The program without the rows that only a derivative reads."""
        return Program(tuple(o for o in program.outputs if o.buffer != "row" or o[:3] in self.rows))

    def _declared(self) -> list[str]:
        """The local arrays of rows."""
        rows = [slot for slot in sorted(self.rows) if slot[0] == "row"]
        lines = [f"{self.kind} {s[0]}_{s[1].name.lower()}{s[2]}[{self.counts[s[1]]}];" for s in rows]
        return lines + [
            f"{self.kind if s[0] == 'state' else self.sent} {_beside(s)}[{self.counts[s[1]]}];"
            for s in sorted(self.later)
        ]

    def _late(self, slot: Slot) -> str:
        kind = self.kind if slot[0] == "state" else self.sent
        return f"{kind} {_beside(slot)}[{self.counts[slot[1]]}];"

    def _read_later(self) -> set[Slot]:
        """The outputs that replace a row of the state which is read after they are known."""
        program = self.plan.program
        nodes = program.forward.nodes()
        depth = sum_depths(nodes)
        several = max(depth.values(), default=0) > 0 or len({o.axis for o in program.forward.outputs}) > 1
        within = {slot_of(x) for x in nodes if x.op == "input"} if several else set()
        found = set()
        for o in program.forward.outputs:
            before = ("previous", Axis.POST, 0) if o.buffer == "y" else o[:3]
            if o.buffer in ("y", "state") and before in self.rows | within:
                found.add(o[:3])
        return found


def _beside(slot: Slot) -> str:
    return f"next_{slot[0]}_{slot[1].name.lower()}{slot[2]}"
