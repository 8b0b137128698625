"""The function of a layer in integers."""

from __future__ import annotations

import re

import numpy as np

from plastic_search.export.c.fixed import Form, whole
from plastic_search.export.c.function import LayerFunction
from plastic_search.export.c.integer_layer import DITHER, ELIGIBILITY, STATE, Factor, IntegerLayer
from plastic_search.export.c.integer_numbers import IntegerNumbers, Text, moved
from plastic_search.export.c.layer import Synapses, together
from plastic_search.export.c.loops import INDEX, Body
from plastic_search.export.c.noise import next_noise
from plastic_search.export.c.packing import bits_of, by_rows, kind_of, packed, unpacked
from plastic_search.export.c.state import Member
from plastic_search.export.c.synapses import CODE
from plastic_search.export.c.text import Constants, block, indented
from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import Program, Slot
from plastic_search.structures import Source

__all__ = ["IntegerFunction"]

_P = Text()


class IntegerFunction(LayerFunction):
    """Writes the function of one layer in integers, which computes what `GoldenLayer` does.

    Args:
        outputs: the forms of the network's input, and of what each layer sends.
    """

    kind, sent = "int32_t", "int16_t"

    def __init__(
        self, layer: IntegerLayer, constants: Constants, members: list[Member], prefix: str, outputs: list[Form]
    ) -> None:
        self.layer, self.outputs = layer, outputs
        self.units = IntegerNumbers(layer.units, self._held)
        self.of_synapses = IntegerNumbers(layer.synapses, self._held)
        super().__init__(layer.plan, constants, members, prefix)

    def _held(self, slot: Slot) -> tuple[Form, int] | None:
        if slot[0] == "y":
            return self.layer.output, 2**15 - 1
        if slot[0] == "eligibility":
            return ELIGIBILITY, 2**15 - 1
        return (STATE, 2**30) if slot[0] == "state" else None

    def moved(self, value: str, source: Source, modulator: bool) -> str:
        form, to = self.outputs[source.layer + 1], self.layer.seen if modulator else self.layer.pre
        shifted = _P.shift(value, to.fraction - form.fraction)
        return value if shifted == value else f"(int16_t){shifted}"

    def row(self, name: str, slot: Slot, known: np.ndarray) -> str:
        return f"{self.constants.array(name, self.layer.constants(slot, known), 'int32_t')}[{INDEX[slot[1]]}]"

    def pair(self, slot: Slot) -> str:
        name = f"{self.plan.name}_{slot[0]}"
        if slot == CODE:
            return "levels[j]" if self._rows else unpacked(f"state->{self.plan.name}_trace", self.layer.bits)
        if slot[0] == "eligibility":
            return f"state->{name}[k]"
        assert self.plan.synapses
        values = self.layer.constants(slot, self.plan.matrices[slot[0]])
        return f"{self.constants.array(name, self.plan.synapses.values(values), 'int16_t')}[k]"

    # -- drives

    def drives(self) -> list[str]:
        return []  # they are summed where they are used

    def computed(self, program: Program) -> list[str]:
        """The loops over units. Where only one reads the drives, they are summed there; else in a loop before."""
        loops = super().computed(program)
        names = [f"drive{k}" for k in range(len(self.plan.bias))] + ["recall"] * self._recalls
        heads = [at for at, line in enumerate(loops) if line.startswith("for (size_t i")]
        bodies = [range(at + 1, loops.index("}", at)) for at in heads]
        read = re.compile(rf"\b({'|'.join(names)})\[i\]")
        at = [body for body in bodies if any(read.search(loops[n]) for n in body)]
        if len(at) != 1 or any(slot[0] in ("drive", "recall") for slot in self.rows):
            arrays = [f"int32_t {name}[{self.plan.shape.post}];" for name in names]
            sums = [read.sub(r"\1[i]", line) for line in self._sums("[i]")]
            return [*arrays, *block(f"for (size_t i = 0; i < {self.plan.shape.post}; i++)", sums), *loops]
        for n in at[0]:
            loops[n] = read.sub(r"\1", loops[n])
        return [*loops[: at[0].start], *indented(self._sums("")), *loops[at[0].start :]]

    @property
    def _recalls(self) -> bool:
        return self.plan.uses_recall and bool(self.written)

    def _sums(self, at: str) -> list[str]:
        """The sums that the cell receives of the unit `i`, and `recall`; `at` follows their names."""
        plan, layer, kind = self.plan, self.layer, "" if at else "int32_t "
        lines = []
        for k, (bias, form) in enumerate(zip(plan.bias, layer.drive, strict=True)):
            values = np.array([whole(float(v), form) for v in bias], np.int64)
            start = f"{self.constants.array(f'{plan.name}_bias{k}', values, 'int32_t')}[i]" if values.any() else "0"
            lines.append(f"{kind}drive{k}{at} = {start};")
        for w, factor, stored in zip(plan.weights, layer.factors, together(plan.weights), strict=True):
            before, code = self._codes(w.name, w.values, stored)
            column = f"{w.first} + j" if w.first else "j"
            body = [f"sum += {'(int64_t)' * factor.wide}{code} * pre[{column}];"]
            loop = [*before, *self.along(stored, w.name, body)]
            lines += self._summed({"sum": (f"drive{w.to}{at}", factor)}, loop)
        if self._recalls:
            lines.append(f"{kind}recall{at} = 0;")
        return lines + (self._read(at) if self.written else [])

    def _summed(self, sums: dict[str, tuple[str, Factor]], loop: list[str]) -> list[str]:
        """Some sums over the connections of a unit, which a loop adds up, and their addition to drives."""
        lines = [f"{'int64_t' if factor.wide else 'int32_t'} {name} = 0;" for name, (_, factor) in sums.items()]
        lines += loop
        for name, (to, factor) in sums.items():
            lines.append(f"{to} += rescaled({name}, {factor.factor}, {factor.bits});")
        return block("", lines)

    def _read(self, at: str) -> list[str]:
        """drive += (alpha * H) pre, and recall = H pre."""
        plan, layer, program = self.plan, self.layer, self.plan.program
        stored, (before, alpha) = plan.synapses, self._alpha()
        assert stored
        body = Body(self.of_synapses, "h", {}, self.of_synapse)
        read = self.pair(CODE)
        if layer.read is not None:
            read = _P.nearest(body.value(layer.read), layer.synapses.form(layer.read).fraction)
        body.lines.append(f"const int32_t level = {read}, x = {self.pre()};")
        direct, own, cut = program.plastic, program.recurrent[program.plastic], plan.shape.plastic_sources
        parts = {direct: range(cut), own: range(cut, plan.shape.width)} if direct != own else {direct: None}
        parts = {k: columns for k, columns in parts.items() if columns is None or columns}
        sums: dict[str, tuple[str, Factor]] = {}
        if self._recalls:
            sums["recalled"] = (f"recall{at}", layer.recalled)
            body.lines.append(f"recalled += {'(int64_t)' * layer.recalled.wide}level * x;")
        loops, every = [], list(body.lines)
        for k, columns in parts.items():
            factor = layer.plastic[k]
            product = _P.nearest(f"({alpha} * level)", factor.drop)
            line = f"plastic{k} += {'(int64_t)' * factor.wide}{product} * x;"
            sums[f"plastic{k}"] = (f"drive{k}{at}", factor)
            every.append(f"if (j {'<' if k == direct else '>='} {cut}) {line}" if len(parts) > 1 else line)
            loops += self.along(stored, f"{plan.name}_trace", [*body.lines, line], columns)
        if stored.sparse:
            loops = self.along(stored, f"{plan.name}_trace", every)
        return self._summed(sums, [*self._trace_row(), *before, *loops])

    @property
    def _rows(self) -> bool:
        """Whether the trace of a unit is unpacked as a whole."""
        stored = self.plan.synapses
        return stored is not None and by_rows(stored.shape[1], self.layer.bits, stored.sparse)

    def _trace_row(self) -> list[str]:
        """The trace of the unit `i`, as `levels`, if it is unpacked as a whole."""
        return self._row(f"state->{self.plan.name}_trace", "levels", self.layer.bits) if self._rows else []

    def _row(self, array: str, name: str, bits: int, columns: int = 0) -> list[str]:
        columns = columns or self.counts[Axis.PRE]
        size = columns * bits // 8
        return [f"int8_t {name}[{columns}];", f"row{bits}({array} + i * {size}, {size}, {name});"]

    def _alpha(self) -> tuple[list[str], str]:
        """What comes before the loop, and the expression of the code of alpha of the connection `k`."""
        alpha, stored = self.layer.alpha, self.plan.synapses
        assert stored
        if (alpha == alpha[0, 0]).all():
            return [], _P.literal(int(alpha[0, 0]))
        return self._codes(f"{self.plan.name}_alpha", alpha, stored)

    def _codes(self, name: str, matrix: np.ndarray, stored: Synapses) -> tuple[list[str], str]:
        """Of integers that do not change, packed where they are small: what comes before a loop, and that of `k`."""
        values = stored.values(matrix)
        bits = bits_of(values)
        array = self.constants.array(name, packed(values, bits), kind_of(bits))
        if by_rows(stored.shape[1], bits, stored.sparse):
            return self._row(
                array, f"{name.split('_', 1)[1]}_row", bits, stored.shape[1]
            ), f"{name.split('_', 1)[1]}_row[j]"
        return [], unpacked(array, bits)

    # -- synapses

    def writes(self) -> list[str]:
        plan, layer = self.plan, self.layer
        stored = plan.synapses
        assert stored
        unit = Body(self.of_synapses, "r", {}, self.of_synapse)  # what is the same for all connections of a unit
        body = Body(self.of_synapses, "h", {}, lambda x: self.of_synapse(x) if x.axis & Axis.PRE else unit.value(x))
        values = {buffer: body.value(node) for buffer, node in layer.writes.items()}
        for buffer, value in values.items():
            node = layer.writes[buffer]
            form, low, high = layer.synapses.form(node), *layer.synapses.bounds(node)
            array = f"state->{plan.name}_{buffer}"
            if buffer == "eligibility":
                body.lines.append(f"{array}[k] = {self.of_synapses.written(node, (buffer, Axis.PAIR, 0), value)};")
                continue
            text = _P.nearest(value, form.fraction)
            text = text if max(-low, high) <= layer.top else _P.clip(text, layer.top)
            if self._rows:
                body.lines.append(f"levels[j] = (int8_t){text};")
            elif layer.bits < 8:
                body.lines.append(f"pack{layer.bits}({array}, k, {text});")
            else:
                body.lines.append(f"{array}[k] = ({kind_of(layer.bits)}){text};")
        loop = [*unit.lines, *self._trace_row(), *self.along(stored, f"{plan.name}_trace", body.lines)]
        if self._rows:
            size = stored.shape[1] * layer.bits // 8
            loop.append(f"keep{layer.bits}(state->{plan.name}_trace + i * {size}, {size}, levels);")
        return block(f"for (size_t i = 0; i < {plan.shape.post}; i++)", loop)

    def noise(self) -> list[str]:
        place, (node, fixed) = f"state->{self.plan.name}_dither[0]", next_noise()
        body = Body(IntegerNumbers(fixed, self._held), "n", {}, lambda x: place if x.op == "input" else None)
        value = body.value(node)
        return [*body.lines, f"{place} = {moved(value, fixed.form(node), DITHER, 2**30)};"]
