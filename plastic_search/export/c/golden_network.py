"""The golden model: what a network in integers computes, step by step, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from plastic_search.export.c.fixed import Fixed, Form, whole
from plastic_search.export.c.golden import Integers
from plastic_search.export.c.integer_layer import DITHER, ELIGIBILITY, INPUT, STATE, Factor, IntegerLayer
from plastic_search.export.c.layer import LayerPlan
from plastic_search.export.c.noise import next_noise
from plastic_search.export.c.packing import kind_of, packed
from plastic_search.export.c.state import Member
from plastic_search.export.c.synapses import CODE
from plastic_search.export.parameters import Codes
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import Slot, slot_of
from plastic_search.structures import Source

__all__ = ["Golden", "GoldenLayer"]

_SHAPE = {Axis.ONE: (1, 1), Axis.POST: (-1, 1), Axis.PRE: (1, -1)}
_P = Integers()


def moved(value: Any, form: Form, to: Form, most: int) -> Any:
    """An integer of one form as one of another, clipped."""
    up = to.fraction - form.fraction
    value = _P.clip(value, most >> up) if up > 0 else value
    return _P.clip(_P.shift(value, up), most)


class Golden:
    """A whole network in integers.

    Attributes:
        layers: its layers, in order.
        forms: of its input, and of what each layer sends.
        members: the arrays of each layer's state, in C.

    Example:
        >>> golden = source(net, "network", Arithmetic.INTEGER).golden
        >>> y = golden.step(np.round(x * 2**12))  # integers * 2^-12
    """

    def __init__(
        self, plans: Sequence[LayerPlan], kept: dict[str, Tensor | Codes], members: Sequence[list[Member]]
    ) -> None:
        self.forms, self.layers, self.members = [INPUT], list[GoldenLayer](), list[list[Member]]()
        for plan, own in zip(plans, members, strict=True):
            alpha = kept.get(f"layers.{plan.number}.alpha")
            layer = IntegerLayer(plan, alpha if isinstance(alpha, Codes) else None, self.forms)
            self.forms.append(layer.output)
            self.layers.append(GoldenLayer(layer, _starts(own)))
            self.members.append([_integers(layer, member) for member in own])

    def step(self, x: np.ndarray) -> np.ndarray:
        """One time step: the integers [outputs] of the last layer, from those of an input [inputs]."""
        sent = [np.clip(np.asarray(x, np.int64), -(2**15), 2**15 - 1)] + [each.output for each in self.layers]
        for k, each in enumerate(self.layers):
            layer, shape = each.layer, each.layer.plan.shape
            pre = [self._gathered(source, sent, layer.pre) for source in shape.sources]
            seen = [self._gathered(shape.modulator, sent, layer.seen)] if shape.modulator else []
            sent[k + 1] = each.step(np.concatenate(pre), np.concatenate(seen or [np.zeros(0, np.int64)]))
        return sent[-1]

    def _gathered(self, source: Source, sent: list[np.ndarray], to: Form) -> np.ndarray:
        form = self.forms[source.layer + 1]
        return _P.shift(sent[source.layer + 1][source.index], to.fraction - form.fraction)

    def state(self) -> dict[str, np.ndarray]:
        """The integers of the state, as C holds them, by path."""
        found = {}
        for each, members in zip(self.layers, self.members, strict=True):
            for member in members:
                kind = member.path.split(".")[2]
                if member.synapses is not None:
                    found[member.path] = packed(member.synapses.values(getattr(each, kind)), member.bits or 32)
                elif kind in ("output", "dither"):
                    found[member.path] = np.atleast_1d(getattr(each, kind))
                else:
                    found[member.path] = np.concatenate([each.rows[slot] for slot in _slots(member)])
        return found


def _slots(member: Member) -> list[Slot]:
    assert member.leaf
    return [("state", member.leaf.axis, member.leaf.first + k) for k in range(member.leaf.rows)]


def _starts(members: Sequence[Member]) -> dict[Slot, np.ndarray]:
    """The rows of states at the start of an episode."""
    found: dict[Slot, np.ndarray] = {}
    for member in members:
        if member.leaf is not None and member.path.split(".")[2] != "output":
            found |= dict(zip(_slots(member), member.start.reshape(member.leaf.rows, -1), strict=True))
    return found


def _integers(layer: IntegerLayer, member: Member) -> Member:
    """A member of the state in integers."""
    buffer, start = (
        member.path.split(".")[2],
        np.array([whole(float(v), STATE) for v in member.start], np.int64),
    )  # or 0
    if buffer == "trace":
        bits = layer.bits
        packs = bits if bits < 8 else 0
        about = f"{member.about}{f'; {bits} bits each, the first in the lowest' if packs else ''}"
        return member._replace(kind=kind_of(bits), start=packed(start, bits), bits=packs, about=about)
    return member._replace(kind="int16_t" if buffer in ("output", "eligibility") else "int32_t", start=start)


class GoldenLayer:
    """One layer and its state: `y = layer.step(pre, seen)`, integers all.

    Attributes:
        output, rows, trace, eligibility, dither: the state; rows by slot.
    """

    def __init__(self, layer: IntegerLayer, starts: dict[Slot, np.ndarray]) -> None:
        self.layer, plan = layer, layer.plan
        shape = plan.shape
        self.output = np.zeros(shape.post, np.int64)
        self.rows = {slot: np.array([whole(float(v), STATE) for v in row], np.int64) for slot, row in starts.items()}
        self.trace = np.zeros((shape.post, shape.width), np.int64)
        self.eligibility = np.zeros((shape.post, shape.width), np.int64)
        self.dither = 0

    def step(self, pre: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """One time step.

        Args:
            pre: what the layer receives, its own previous output included.
            seen: what its modulation alone sees.
        """
        layer, plan = self.layer, self.layer.plan
        program, shape = plan.program, plan.shape
        found: dict[Slot, np.ndarray] = {("pre", Axis.PRE, 0): pre[shape.plastic].reshape(1, -1)}
        found["previous", Axis.POST, 0] = self.output.reshape(-1, 1)
        found["dither", Axis.ONE, 0] = np.array([[self.dither]])
        found |= {slot: row.reshape(_SHAPE[slot[1]]) for slot, row in self.rows.items()}
        columns = program.columns or 0
        signals = np.concatenate([pre[:columns], seen])
        found |= {("signals", Axis.ONE, k): np.array([[v]]) for k, v in enumerate(signals)}
        self._drive(pre, found)
        units = self._evaluated([o.node for o in program.forward.outputs], layer.units, found)
        after = dict(zip((o[:3] for o in program.forward.outputs), units, strict=True))
        found |= {slot: value for slot, value in after.items() if slot[0] == "row"}
        if program.synapses and shape.width:
            self._write(found)
        for (slot, value), o in zip(after.items(), program.forward.outputs, strict=True):
            form = layer.units.form(o.node)
            if slot[0] == "y":
                self.output = np.broadcast_to(moved(value, form, layer.output, 2**15 - 1), (shape.post, 1))[:, 0]
            elif slot[0] == "state":
                length = layer.counts[slot[1]]
                self.rows[slot] = np.broadcast_to(moved(value, form, STATE, 2**30).reshape(-1), length)
        if plan.form.trace is not None and shape.width:
            node, numbers = next_noise()
            (value,) = self._evaluated([node], numbers, found)
            self.dither = int(moved(value, numbers.form(node), DITHER, 2**30).item())
        return self.output

    def _drive(self, pre: np.ndarray, found: dict[Slot, np.ndarray]) -> None:
        layer, plan = self.layer, self.layer.plan
        shape, program = plan.shape, plan.program
        drives = [np.array([whole(float(v), f) for v in b]) for b, f in zip(plan.bias, layer.drive, strict=True)]
        for w, factor in zip(plan.weights, layer.factors, strict=True):
            part = w.values.astype(np.int64) @ pre[w.first : w.first + w.values.shape[1]]
            drives[w.to] = drives[w.to] + rescaled(part, factor)
        if program.synapses and shape.width:
            x, read = pre[shape.plastic], self._read(found)
            direct, own, cut = program.plastic, program.recurrent[program.plastic], shape.plastic_sources
            for to, columns in ((direct, slice(0, cut)), (own, slice(cut, None))) if direct != own else (
                (direct, slice(0, None)),
            ):  # fmt: skip
                factor = layer.plastic[to]
                part = _P.nearest(layer.alpha[:, columns] * read[:, columns], factor.drop) @ x[columns]
                drives[to] = drives[to] + rescaled(part, factor)
            found["recall", Axis.POST, 0] = rescaled(read @ x, layer.recalled).reshape(-1, 1)
        found |= {("drive", Axis.POST, k): d.reshape(-1, 1) for k, d in enumerate(drives)}

    def _read(self, found: dict[Slot, np.ndarray]) -> np.ndarray:
        """The levels of the trace as it is read; what is kept is among the inputs from now on."""
        layer = self.layer
        found[CODE] = self.trace
        found["eligibility", Axis.PAIR, 0] = self.eligibility
        if layer.read is None:
            return self.trace
        (value,) = self._evaluated([layer.read], layer.synapses, found)
        return np.broadcast_to(_P.nearest(value, layer.synapses.form(layer.read).fraction), self.trace.shape)

    def _write(self, found: dict[Slot, np.ndarray]) -> None:
        layer = self.layer
        values = self._evaluated(list(layer.writes.values()), layer.synapses, found)
        for (buffer, node), value in zip(layer.writes.items(), values, strict=True):
            form = layer.synapses.form(node)
            if buffer == "eligibility":
                kept = moved(value, form, ELIGIBILITY, 2**15 - 1)
                self.eligibility = np.broadcast_to(kept, self.trace.shape).copy()
            else:
                kept = _P.clip(_P.nearest(value, form.fraction), layer.top)
                self.trace = np.broadcast_to(kept, self.trace.shape).copy()

    def _evaluated(self, roots: list[Node], numbers: Fixed, found: dict[Slot, np.ndarray]) -> list[np.ndarray]:
        values: dict[Node, Any] = {}

        def value(node: Node) -> Any:
            if node not in values:
                values[node] = computed(node)
            return values[node]

        def computed(node: Node) -> Any:
            literal = numbers.literal(node)
            if literal is not None:
                return np.full((1, 1), literal, np.int64)
            if node.op == "input":
                slot = slot_of(node)
                return found[slot] if slot in found else self._constant(slot)
            args = [value(a) for a in node.args]
            if node.op in ("sum", "max"):
                return self._reduced(node, numbers, args[0])
            return numbers.computed(_P, node, args)

        return [value(root) for root in roots]

    def _reduced(self, node: Node, numbers: Fixed, a: Any) -> Any:
        over = [axis for axis in (Axis.POST, Axis.PRE) if node.args[0].axis & axis & ~node.axis]
        dims = tuple({Axis.POST: 0, Axis.PRE: 1}[axis] for axis in over)
        counts = [self.layer.counts[Axis.POST], self.layer.counts[Axis.PRE]]
        a = np.broadcast_to(a, [counts[d] if d in dims else n for d, n in enumerate(a.shape)])
        if node.op == "max":
            return a.max(dims, keepdims=True)
        return _P.shift(a, numbers.form(node).fraction - numbers.form(node.args[0]).fraction).sum(dims, keepdims=True)

    def _constant(self, slot: Slot) -> np.ndarray:
        layer = self.layer
        if slot[1] is Axis.PAIR:
            return layer.constants(slot, layer.plan.matrices[slot[0]])
        return layer.constants(slot, layer.plan.rows[slot]).reshape(_SHAPE[slot[1]])


def rescaled(total: np.ndarray, factor: Factor) -> np.ndarray:
    """A sum of products in the form that a factor leads to."""
    return _P.clip((total * factor.factor + (1 << (factor.bits - 1))) >> factor.bits, 2**30)
