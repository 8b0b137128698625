"""One step of a layer as a function of C: its drives, its programs of units, and its program of synapses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from plastic_search.export.c.floating import Floating
from plastic_search.export.c.layer import LayerPlan, Synapses, Weights
from plastic_search.export.c.loops import INDEX, Body, Loops
from plastic_search.export.c.state import Member, slots
from plastic_search.export.c.text import Constants, block, index_type, number
from plastic_search.network.kernels.torch_internals import capture_graph
from plastic_search.network.kernels.tracing.ir import Axis, GraphBuilder, Node
from plastic_search.network.kernels.tracing.lowering import interpret
from plastic_search.network.kernels.tracing.program import Program, Slot, slot_of, sum_depths
from plastic_search.network.quantization import next_dither
from plastic_search.structures import Source

__all__ = ["LayerFunction"]


class LayerFunction:
    """Writes the function of one layer.

    Args:
        constants: where the arrays go that it reads.
        members: of its state.
        prefix: of the names of the whole network.
    """

    def __init__(self, plan: LayerPlan, constants: Constants, members: list[Member], prefix: str) -> None:
        self.plan, self.constants, self.numbers, self.prefix = plan, constants, Floating(), prefix
        self.state = slots(plan, members)
        self.counts = {Axis.ONE: 1, Axis.POST: plan.shape.post, Axis.PRE: plan.shape.width}
        synapses = plan.program.synapses
        self.writes = synapses.forward.inputs() if synapses and plan.synapses and len(plan.synapses.post) else []
        self.rows = {slot_of(x) for x in self.writes}
        self.later = self._read_later()

    def text(self) -> list[str]:
        """Its lines."""
        plan, body = self.plan, ["/* drive = W pre + b + (alpha * H) pre */", *self._drives()]
        if plan.synapses is not None:
            body += self._recalled()
        if self.writes:
            body += self._read()
        body.append("/* cell, rule and modulation */")
        body += self._declared()
        program = self._kept(plan.program.forward)
        body += Loops(self.numbers, self.counts, self._source, self._target).emit(program)
        if self.writes:
            body += ["/* the traces are written */", *self._write()]
        if plan.form.trace is not None and plan.synapses is not None:
            body += self._dither()
        for slot in sorted(self.later):
            index = INDEX[slot[1]]
            head = f"for (size_t {index} = 0; {index} < {self.counts[slot[1]]}; {index}++)"
            body += block(head, [f"{self._place(slot)} = {_beside(slot)}[{index}];"])
        body = self._received(body) + body
        if not any("input[" in line for line in body):
            body.insert(0, "(void)input;")
        head = f"static void {plan.name}({self.prefix}_state *state, const float *input)"
        return [*block(head, body), ""]

    # -- what it receives, and its drives

    def _received(self, body: Sequence[str]) -> list[str]:
        """`pre`, and what the modulation alone sees, where the body reads them."""
        shape, lines = self.plan.shape, []
        if any("pre[" in line for line in body):
            lines.append(f"float pre[{shape.pre}];")
            for source in shape.sources:
                lines += self._gathered(source, "pre")
        if shape.modulator is not None and any("seen[" in line for line in body):
            lines.append(f"float seen[{len(shape.modulator.units)}];")
            lines += self._gathered(shape.modulator, "seen", shape.inputs)
        return lines

    def _gathered(self, source: Source, to: str, before: int = 0) -> list[str]:
        array = "input" if source.layer < 0 else f"state->layer{source.layer}_output"
        first, count = source.columns.start - before, len(source.units)
        at = "k"
        if not source.complete:
            name = f"{self.plan.name}_from{source.layer + 1}"
            at = f"{self._indices(name, source.index)}[k]"
        place = f"{first} + k" if first else "k"
        return block(f"for (size_t k = 0; k < {count}; k++)", [f"{to}[{place}] = {array}[{at}];"]) if count else []

    def _indices(self, name: str, values: np.ndarray) -> str:
        return self.constants.array(name, values, index_type(int(values.max(initial=0))))

    def _drives(self) -> list[str]:
        """W pre + b, every sum that the cell receives."""
        plan, lines = self.plan, []
        for k, bias in enumerate(plan.bias):
            start = f"{self.constants.array(f'{plan.name}_bias{k}', bias, 'float')}[i]" if bias.any() else "0.0f"
            lines.append(f"float drive{k}[{plan.shape.post}];")
            lines += block(f"for (size_t i = 0; i < {plan.shape.post}; i++)", [f"drive{k}[i] = {start};"])
        for weights in plan.weights:
            lines += self._product(weights)
        return lines

    def _product(self, weights: Weights) -> list[str]:
        """drive += W pre, for one block of weights."""
        size = weights.values.itemsize
        kind = "float" if weights.step is None else f"int{size * 8}_t"
        stored = Synapses.of(weights.values != 0, size)
        name = self.constants.array(weights.name, stored.values(weights.values), kind)
        value = f"{name}[k]" if weights.step is None else f"({number(weights.step)} * (float){name}[k])"
        at = f"{weights.first} + j" if weights.first else "j"
        drive = f"drive{weights.to}[i] += {value} * pre[{at}];"
        return self._over(stored, weights.name, [drive])

    def _over(self, stored: Synapses, name: str, body: Sequence[str]) -> list[str]:
        """A loop over stored connections: `k` is the number of one, `i` its unit, and `j` its column."""
        post, columns = stored.shape
        if not stored.sparse:
            inner = block(f"for (size_t i = 0; i < {post}; i++)", [f"const size_t k = j * {post} + i;", *body])
            return block(f"for (size_t j = 0; j < {columns}; j++)", inner)
        start = self._indices(f"{name}_first", stored.starts())
        column = self._indices(f"{name}_column", stored.pre)
        uses = any("j]" in line or "j <" in line for line in body)
        column_of = [f"const size_t j = {column}[k];"] if uses else []
        inner = block(f"for (size_t k = {start}[i]; k < {start}[i + 1]; k++)", [*column_of, *body])
        return block(f"for (size_t i = 0; i < {post}; i++)", inner)

    # -- the synapses

    def _pair(self, name: str, matrix: np.ndarray) -> str:
        """The expression of a number of each synapse that is constant."""
        stored = self.plan.synapses
        assert stored is not None
        array = f"{self.plan.name}_{name}"
        if (matrix == matrix[:, :1]).all():
            if (matrix == matrix[0, 0]).all():
                return number(matrix[0, 0])
            return f"{self.constants.array(array, matrix[:, 0], 'float')}[i]"
        return f"{self.constants.array(array, stored.values(matrix), 'float')}[k]"

    def _recalled(self) -> list[str]:
        """recall = 0, to which `_read` adds."""
        if not self.plan.uses_recall:
            return []
        units = self.plan.shape.post
        return [f"float recall[{units}];", *block(f"for (size_t i = 0; i < {units}; i++)", ["recall[i] = 0.0f;"])]

    def _read(self) -> list[str]:
        """drive += (alpha * H) pre, and recall += H pre."""
        plan, shape, program = self.plan, self.plan.shape, self.plan.program
        synapses, alpha, stored = program.synapses, plan.alpha, plan.synapses
        assert synapses
        assert stored
        assert alpha is not None
        body = Body(self.numbers, "h", {}, self._of_synapse)
        outputs = synapses.read.outputs
        trace = body.value(outputs[0].node) if outputs else f"state->{plan.name}_trace[k]"
        x = self._pre()
        plastic = f"{self._pair('alpha', alpha)} * {trace} * {x}"
        direct, own = program.plastic, program.recurrent[program.plastic]
        first = shape.plastic_sources
        if direct == own or not shape.recurrent or first == shape.width:
            body.lines.append(f"drive{direct}[i] += {plastic};")
        elif first == 0:
            body.lines.append(f"drive{own}[i] += {plastic};")
        else:
            body.lines.append(f"*(j < {first} ? &drive{direct}[i] : &drive{own}[i]) += {plastic};")
        if plan.uses_recall:
            body.lines.append(f"recall[i] += {trace} * {x};")
        return self._over(stored, f"{plan.name}_trace", body.lines)

    def _pre(self) -> str:
        start = self.plan.shape.plastic.start
        return f"pre[{start} + j]" if start else "pre[j]"

    def _of_synapse(self, node: Node) -> str | None:
        """The expression of an input of the synapses."""
        if node.op != "input":
            return None
        buffer, axis, _ = slot_of(node)
        if axis is not Axis.PAIR:
            return self._source(slot_of(node))
        if buffer in ("trace", "eligibility"):
            return f"state->{self.plan.name}_{buffer}[k]"
        return self._pair(buffer, self.plan.matrices[buffer])

    def _write(self) -> list[str]:
        """H and E after the step."""
        plan = self.plan
        synapses, stored = plan.program.synapses, plan.synapses
        assert synapses
        assert stored
        body = Body(self.numbers, "h", {}, self._of_synapse)
        outputs = synapses.forward.outputs
        values = [body.value(o.node) for o in outputs]
        for output, value in zip(outputs, values, strict=True):
            body.lines.append(f"state->{plan.name}_{output.buffer}[k] = {value};")
        return self._over(stored, f"{plan.name}_trace", body.lines)

    def _dither(self) -> list[str]:
        """The noise state of the next step, captured as the rest is."""
        builder, place = GraphBuilder(), f"state->{self.plan.name}_dither[0]"
        example = torch.zeros(1, 1, 1)
        node = np.array([builder.input("dither", 0, Axis.ONE)], object).reshape(1, 1, 1)
        graph = capture_graph(lambda dither: [next_dither(dither)], [example])
        (after,) = interpret(graph, [node], {}, builder)
        body = Body(self.numbers, "n", {}, lambda x: place if x.op == "input" else None)
        value = body.value(after.item())
        return [*body.lines, f"{place} = {value};"]

    # -- rows of units

    def _source(self, slot: Slot) -> str:
        """The expression of an input of units, or of a row that synapses read."""
        buffer, axis, row = slot
        known = self.plan.rows.get(slot)
        if known is not None:
            if (known == known[0]).all():
                return number(known[0])
            name = self.constants.array(f"{self.plan.name}_{buffer}_{axis.name.lower()}{row}", known, "float")
            return f"{name}[{INDEX[axis]}]"
        match buffer:
            case "state":
                return self.state[slot]
            case "drive":
                return f"drive{row}[i]"
            case "recall":
                return "recall[i]"
            case "pre":
                return self._pre()
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
        return self.state[slot] if slot[0] == "state" else self._source(slot)

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
        lines = [f"float {s[0]}_{s[1].name.lower()}{s[2]}[{self.counts[s[1]]}];" for s in rows]
        return lines + [f"float {_beside(s)}[{self.counts[s[1]]}];" for s in sorted(self.later)]

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
