"""The function of a layer in integers."""

from __future__ import annotations

import numpy as np

from plastic_search.export.c.fixed import Form, whole
from plastic_search.export.c.function import LayerFunction
from plastic_search.export.c.integer_layer import DITHER, ELIGIBILITY, STATE, Factor, IntegerLayer
from plastic_search.export.c.integer_numbers import IntegerNumbers, Text, moved
from plastic_search.export.c.layer import Synapses
from plastic_search.export.c.loops import INDEX, Body
from plastic_search.export.c.noise import next_noise
from plastic_search.export.c.state import Member
from plastic_search.export.c.text import Constants, block
from plastic_search.network.kernels.tracing.program import Slot
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
        if slot[0] == "trace":
            factor, bits = self.layer.loaded()
            return f"scaled(state->{name}[k], {factor}, {bits})"
        if slot[0] == "eligibility":
            return f"state->{name}[k]"
        assert self.plan.synapses
        values = self.layer.constants(slot, self.plan.matrices[slot[0]])
        return f"{self.constants.array(name, self.plan.synapses.values(values), 'int16_t')}[k]"

    # -- drives

    def drives(self) -> list[str]:
        plan, layer, units = self.plan, self.layer, self.plan.shape.post
        lines = []
        for k, (bias, form) in enumerate(zip(plan.bias, layer.drive, strict=True)):
            values = np.array([whole(float(v), form) for v in bias], np.int64)
            start = f"{self.constants.array(f'{plan.name}_bias{k}', values, 'int32_t')}[i]" if values.any() else "0"
            lines.append(f"int32_t drive{k}[{units}];")
            lines += self._each(f"drive{k}[i] = {start};")
        for w, factor in zip(plan.weights, layer.factors, strict=True):
            stored = Synapses.of(w.values != 0, w.values.itemsize)
            name = self.constants.array(w.name, stored.values(w.values), f"int{8 * w.values.itemsize}_t")
            at = f"{w.first} + j" if w.first else "j"
            body = [f"sum[i] += {'(int64_t)' * factor.wide}{name}[k] * pre[{at}];"]
            lines += self._summed({"sum": (f"drive{w.to}", factor)}, self.over(stored, w.name, body))
        return lines + (self._read() if self.written else [])

    def _each(self, line: str) -> list[str]:
        return block(f"for (size_t i = 0; i < {self.plan.shape.post}; i++)", [line])

    def _summed(self, sums: dict[str, tuple[str, Factor]], loop: list[str]) -> list[str]:
        """Some sums over connections, which a loop adds up, and their addition to drives."""
        lines = []
        for name, (_, factor) in sums.items():
            lines.append(f"{'int64_t' if factor.wide else 'int32_t'} {name}[{self.plan.shape.post}];")
            lines += self._each(f"{name}[i] = 0;")
        lines += loop
        for name, (to, factor) in sums.items():
            lines += self._each(f"{to}[i] += rescaled({name}[i], {factor.factor}, {factor.bits});")
        return block("", lines)

    def _read(self) -> list[str]:
        """drive += (alpha * H) pre, and recall = H pre."""
        plan, layer, program = self.plan, self.layer, self.plan.program
        stored, synapses = plan.synapses, program.synapses
        assert stored
        assert synapses
        body = Body(self.of_synapses, "h", {}, self.of_synapse)
        read = f"state->{plan.name}_trace[k]"
        if synapses.read.outputs:
            node = synapses.read.outputs[0].node
            factor, bits = layer.kept(layer.synapses.form(node).fraction, layer.level)
            read = f"scaled({body.value(node)}, {factor}, {bits})"
        alpha = layer.alpha
        one = _P.literal(int(alpha[0, 0])) if (alpha == alpha[0, 0]).all() else ""
        kind = "int8_t" if np.abs(alpha).max() < 2**7 else "int16_t"
        one = one or f"{self.constants.array(f'{plan.name}_alpha', stored.values(alpha), kind)}[k]"
        direct, own, cut = program.plastic, program.recurrent[program.plastic], plan.shape.plastic_sources
        body.lines.append(f"const int32_t level = {read}, x = {self.pre()};")
        sums: dict[str, tuple[str, Factor]] = {}
        for k, where in ((direct, f"j < {cut}"), (own, f"j >= {cut}")) if direct != own else ((direct, ""),):
            factor = layer.plastic[k]
            sums[f"plastic{k}"] = (f"drive{k}", factor)
            line = f"plastic{k}[i] += {'(int64_t)' * factor.wide}({one} * level) * x;"
            body.lines.append(f"if ({where}) {line}" if where else line)
        lines = []
        if plan.uses_recall:
            lines = [f"int32_t recall[{plan.shape.post}];", *self._each("recall[i] = 0;")]
            sums["recalled"] = ("recall", layer.recalled)
            body.lines.append(f"recalled[i] += {'(int64_t)' * layer.recalled.wide}level * x;")
        return lines + self._summed(sums, self.over(stored, f"{plan.name}_trace", body.lines))

    # -- synapses

    def writes(self) -> list[str]:
        plan, layer = self.plan, self.layer
        synapses, stored = plan.program.synapses, plan.synapses
        assert synapses
        assert stored
        body = Body(self.of_synapses, "h", {}, self.of_synapse)
        outputs = synapses.forward.outputs
        values = [body.value(o.node) for o in outputs]
        for output, value in zip(outputs, values, strict=True):
            if output.buffer == "eligibility":
                text = self.of_synapses.written(output.node, output[:3], value)
            else:
                factor, bits = layer.kept(layer.synapses.form(output.node).fraction, layer.fine)
                kind = "int8_t" if layer.top < 2**7 else "int16_t"
                text = f"({kind})clipped(scaled({value}, {factor}, {bits}), {layer.top})"
            body.lines.append(f"state->{plan.name}_{output.buffer}[k] = {text};")
        return self.over(stored, f"{plan.name}_trace", body.lines)

    def noise(self) -> list[str]:
        place, (node, fixed) = f"state->{self.plan.name}_dither[0]", next_noise()
        body = Body(IntegerNumbers(fixed, self._held), "n", {}, lambda x: place if x.op == "input" else None)
        value = body.value(node)
        return [*body.lines, f"{place} = {moved(value, fixed.form(node), DITHER, 2**30)};"]
