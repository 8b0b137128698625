"""A layer in integers: the form of everything that it computes, for C and for the golden model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.c.fixed import LARGEST, Fixed, Form, fitted, whole
from plastic_search.export.c.layer import LayerPlan
from plastic_search.export.c.packing import bits_within
from plastic_search.export.c.synapses import Levels, Products
from plastic_search.export.parameters import Codes
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import Slot
from plastic_search.network.quantization import phases, step_size

__all__ = ["INPUT", "STATE", "Factor", "IntegerLayer"]

INPUT = Form(12, 8.0)  # of the network's input, in 16 bits
STATE = Form(26, 16.0)  # of the states of cell, rule and modulation; what is larger is clipped
ELIGIBILITY = Form(12, 4.0)  # in 16 bits
DITHER = Form(30, 1.0)
_COARSEST = 2.0**9  # of a level times an alpha, rounded so that sums fit in 32 bits


class Factor(NamedTuple):
    """A sum of products of integers, as a number in another form: `(sum * factor + half) >> bits`.

    Args:
        drop: how many bits are rounded off a product of two integers before it is multiplied by a third.
    """

    factor: int
    bits: int
    wide: bool  # whether the sum needs 64 bits
    drop: int = 0

    @classmethod
    def of(cls, value: float, bound: float) -> Factor:
        """The factor of most bits that cannot overflow 64.

        Args:
            value: what the sum is multiplied by.
            bound: the largest size of the sum.
        """
        room = min(30, 61 - math.ceil(math.log2(max(bound, 1.0))))
        bits = min(max(room - 1 - math.floor(math.log2(value)), 1), 60)
        return cls(round(value * 2.0**bits), bits, bound >= 2.0**31)


class IntegerLayer:
    """The forms of one layer.

    Args:
        alpha: its plasticity coefficients, as `parameters` gives them; None where nothing is plastic.
        outputs: the forms of the network's input, and of the output of each layer before this one.

    Raises:
        PlasticSearchError: weights, alpha or trace are not rounded, or a part does what integers cannot; the message
            names it.
    """

    def __init__(self, plan: LayerPlan, alpha: Codes | None, outputs: Sequence[Form]) -> None:
        shape = plan.shape
        self.plan = plan = plan._replace(rows=plan.rows | _phases(shape.post, shape.width))
        self.counts = {Axis.ONE: 1, Axis.POST: shape.post, Axis.PRE: shape.width}
        self.units, self.synapses = Fixed(self._input, self.counts), Products(self._input, self.counts)
        self._refuse_floats(alpha)
        self.alpha = alpha.codes.numpy().astype(np.int64) if alpha else np.zeros((shape.post, 0), np.int64)
        self.alpha = np.broadcast_to(self.alpha, (shape.post, shape.width))
        self.alpha_step = float(alpha.step) if alpha else 1.0
        form = plan.form.trace
        self.level = step_size(form, plan.layer.limit) if form else 1.0  # what is read
        self.fine = self.level / 2**form.remainder if form else 1.0  # ... and kept
        self.top = form.top * 2**form.remainder if form else 0
        self.bits = bits_within(self.top)  # of what is kept of a trace
        self.pre = INPUT
        try:
            self._set_forms(outputs)
        except PlasticSearchError as error:
            parts = (plan.layer.cell, plan.layer.rule, plan.layer.modulation)
            names = ", ".join(type(part).__name__ for part in (parts if shape.width else parts[:1]))
            raise PlasticSearchError(
                f"layers.{plan.number}, of {names}, has no form in integers: {error}; write it in floats"
            ) from None

    def _refuse_floats(self, alpha: Codes | None) -> None:
        floats = ["weight"] * any(w.step is None for w in self.plan.weights)
        if self.plan.shape.width:
            floats += ["alpha"] * (not isinstance(alpha, Codes)) + ["trace"] * (self.plan.form.trace is None)
        if floats:
            raise PlasticSearchError(
                f"layers.{self.plan.number} has no form in integers: its {' and '.join(floats)} would be floats; "
                "quantize the network first, or write it in floats"
            )

    def _set_forms(self, outputs: Sequence[Form]) -> None:
        plan, shape = self.plan, self.plan.shape
        every = plan.program.forward.outputs
        node = next(o.node for o in every if o.buffer == "y")
        if shape.recurrent:
            self.drive = [fitted(LARGEST)] * plan.program.sums
            largest = Fixed(self._input, self.counts).form(node).largest
            self.output = fitted(min(largest, STATE.largest), 16)
        sources = [self.output if s.layer == plan.number else outputs[s.layer + 1] for s in shape.sources]
        self.pre = Form(min(s.fraction for s in sources), max(s.largest for s in sources))
        self.seen = outputs[shape.modulator.layer + 1] if shape.modulator else self.pre
        self._set_drives()
        if not shape.recurrent:
            self.output = fitted(self.units.form(node).largest, 16)
        for o in every:
            self.units.form(o.node)
        self.read, self.writes = self._counted_in_levels()
        for node in (*self.writes.values(), *([self.read] if self.read else [])):
            self.synapses.form(node)

    def _counted_in_levels(self) -> tuple[Node | None, dict[str, Node]]:
        """What is read of a trace, in levels, or None where that is the integer itself; what is written, by buffer."""
        synapses = self.plan.program.synapses
        if synapses is None or not self.top:
            return None, {}
        levels = Levels(Fixed(self._input, self.counts), self.synapses, self.fine)
        read = [levels.times(o.node, 1.0 / self.level) for o in synapses.read.outputs]
        factor = {"trace": 1.0 / self.fine, "eligibility": 1.0}
        return next(iter(read), None), {
            o.buffer: levels.times(o.node, factor[o.buffer]) for o in synapses.forward.outputs
        }

    def _set_drives(self) -> None:
        """The forms of the sums that the cell receives, and the factors of what is added to them."""
        plan, shape, pre = self.plan, self.plan.shape, self.pre
        size = np.abs(plan.bias).max(1).astype(float)
        most = 2.0 ** (pre.fraction) * pre.largest
        sums = [np.abs(w.values.astype(np.int64)).sum(1).max() for w in plan.weights]
        for w, total in zip(plan.weights, sums, strict=True):
            size[w.to] += total * float(w.step or 1.0) * pre.largest
        plastic = float(np.abs(self.alpha).sum(1).max(initial=0))
        top = self.top * self.fine / self.level
        for k in {plan.program.plastic, plan.program.recurrent[plan.program.plastic]}:
            size[k] += plastic * self.alpha_step * top * self.level * pre.largest
        if size.max() > LARGEST:
            raise PlasticSearchError(f"a drive could reach {size.max():.0f}, and {LARGEST:.0f} is the most")
        self.drive = [fitted(float(each)) for each in size]
        self.factors = [
            Factor.of(float(w.step or 1.0) * 2.0 ** (self.drive[w.to].fraction - pre.fraction), float(total) * most)
            for w, total in zip(plan.weights, sums, strict=True)
        ]
        step, drop = self.alpha_step * self.level, 0
        largest, bound = float(np.abs(self.alpha).max(initial=0)) * top, plastic * top * most
        while bound >= 2.0**31 and largest / 2.0**drop >= _COARSEST:
            drop += 1
            bound = (plastic * top / 2.0**drop + 0.5 * shape.width) * most
        if bound >= 2.0**31:
            drop, bound = 0, plastic * top * most
        self.plastic = {
            k: Factor.of(step * 2.0 ** (self.drive[k].fraction - pre.fraction + drop), bound)._replace(drop=drop)
            for k in {plan.program.plastic, plan.program.recurrent[plan.program.plastic]}
        }
        self.recall = fitted(plan.layer.limit * max(shape.width, 1) * pre.largest)
        bound = top * shape.width * most
        self.recalled = Factor.of(self.level * 2.0 ** (self.recall.fraction - pre.fraction), bound)

    def _input(self, slot: Slot) -> Form | float:
        """The form of what programs read, or the number that it always is."""
        buffer, axis, row = slot
        known = self.plan.rows.get(slot)
        if known is None and axis is Axis.PAIR and buffer in self.plan.matrices:
            known = self.plan.matrices[buffer].reshape(-1)
        if known is not None:
            if (known == known[0]).all():
                return float(known[0])
            return fitted(float(np.abs(known).max()), 16 if axis is Axis.PAIR else 32)
        fixed = {"pre": self.pre, "state": STATE, "dither": DITHER, "eligibility": ELIGIBILITY}
        fixed |= {"code": Form(0, float(self.top)), "trace": fitted(self.plan.layer.limit)}
        if buffer in fixed:
            return fixed[buffer]
        match buffer:
            case "drive":
                return self.drive[row]
            case "recall":
                return self.recall
            case "previous":
                return self.output
            case "signals":
                return self.pre if row < (self.plan.program.columns or 0) else self.seen
        assert buffer == "row"
        found = next(o.node for o in self.plan.program.forward.outputs if o[:3] == slot)
        return self.units.form(found)

    def constants(self, slot: Slot, values: np.ndarray) -> np.ndarray:
        """The integers of numbers that do not change."""
        form = self._input(slot)
        assert isinstance(form, Form)
        return np.array([whole(float(v), form) for v in values.reshape(-1)], np.int64).reshape(values.shape)


def _phases(post: int, width: int) -> dict[Slot, np.ndarray]:
    """The phases of the noise of rounding of each unit and each column; a synapse's is the fraction of their sum."""
    like = torch.zeros((), dtype=torch.float32)
    return {
        ("phase", Axis.POST, 0): phases(post, 1, like).numpy()[:, 0],
        ("phase", Axis.PRE, 0): phases(1, width, like).numpy()[0],
    }
