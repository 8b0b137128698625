"""The function of a layer in single precision."""

from __future__ import annotations

import numpy as np

from plastic_search.export.c.floating import Floating
from plastic_search.export.c.function import LayerFunction
from plastic_search.export.c.layer import Synapses, Weights
from plastic_search.export.c.loops import INDEX, Body, Numbers
from plastic_search.export.c.noise import next_noise
from plastic_search.export.c.text import block, number
from plastic_search.network.kernels.tracing.program import Slot
from plastic_search.structures import Source

__all__ = ["FloatFunction"]


class FloatFunction(LayerFunction):
    """Writes the function of one layer in single precision."""

    kind = sent = "float"
    units: Numbers = Floating()

    def moved(self, value: str, source: Source, modulator: bool) -> str:
        return value

    def drives(self) -> list[str]:
        lines = self._fixed()
        if self.plan.synapses is not None:
            lines += self._recalled()
        return lines + (self._read() if self.written else [])

    def row(self, name: str, slot: Slot, known: np.ndarray) -> str:
        if (known == known[0]).all():
            return number(known[0])
        return f"{self.constants.array(name, known, 'float')}[{INDEX[slot[1]]}]"

    def pair(self, slot: Slot) -> str:
        if slot[0] in ("trace", "eligibility"):
            return f"state->{self.plan.name}_{slot[0]}[k]"
        return self._constant(slot[0], self.plan.matrices[slot[0]])

    def writes(self) -> list[str]:
        plan = self.plan
        synapses, stored = plan.program.synapses, plan.synapses
        assert synapses
        assert stored
        body = Body(self.units, "h", {}, self.of_synapse)
        outputs = synapses.forward.outputs
        values = [body.value(o.node) for o in outputs]
        for output, value in zip(outputs, values, strict=True):
            body.lines.append(f"state->{plan.name}_{output.buffer}[k] = {value};")
        return self.over(stored, f"{plan.name}_trace", body.lines)

    def noise(self) -> list[str]:
        place = f"state->{self.plan.name}_dither[0]"
        body = Body(self.units, "n", {}, lambda x: place if x.op == "input" else None)
        value = body.value(next_noise()[0])
        return [*body.lines, f"{place} = {value};"]

    def _fixed(self) -> list[str]:
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
        return self.over(stored, weights.name, [drive])

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
        body = Body(self.units, "h", {}, self.of_synapse)
        outputs = synapses.read.outputs
        trace = body.value(outputs[0].node) if outputs else f"state->{plan.name}_trace[k]"
        x = self.pre()
        plastic = f"{self._constant('alpha', alpha)} * {trace} * {x}"
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
        return self.over(stored, f"{plan.name}_trace", body.lines)

    def _constant(self, name: str, matrix: np.ndarray) -> str:
        """The expression of a number of each synapse that is constant."""
        stored = self.plan.synapses
        assert stored is not None
        array = f"{self.plan.name}_{name}"
        if (matrix == matrix[:, :1]).all():
            if (matrix == matrix[0, 0]).all():
                return number(matrix[0, 0])
            return f"{self.constants.array(array, matrix[:, 0], 'float')}[i]"
        return f"{self.constants.array(array, stored.values(matrix), 'float')}[k]"
