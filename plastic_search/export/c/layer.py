"""What a layer's step needs in C: its captured program, and the numbers that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.c.packing import bits_of, bits_within
from plastic_search.export.parameters import Codes
from plastic_search.network.controls import NOTHING
from plastic_search.network.formats import Formats
from plastic_search.network.kernels.arguments import captured, matrices
from plastic_search.network.kernels.autograd import unsupported
from plastic_search.network.kernels.tracing.evaluation import evaluated
from plastic_search.network.kernels.tracing.ir import Axis, Unsupported
from plastic_search.network.kernels.tracing.program import Slot, StepProgram, rows_of
from plastic_search.network.pytree import leaves
from plastic_search.network.quantization import phases, step_size
from plastic_search.network.spec import Layer
from plastic_search.network.step import Ready
from plastic_search.structures import Shape

__all__ = ["LayerPlan", "Synapses", "Weights", "plan", "together"]


class Synapses(NamedTuple):
    """Connections whose numbers are stored: all, input by input or unit by unit, or some, unit by unit.

    Args:
        post, pre: the unit and the column of each, in the order in which their numbers are stored.
        shape: units and columns.
        sparse: whether they are some.
        by_unit: whether they lie unit by unit.
    """

    post: np.ndarray
    pre: np.ndarray
    shape: tuple[int, int]
    sparse: bool
    by_unit: bool = True

    @classmethod
    def of(cls, used: np.ndarray, size: float, by_unit: bool = False) -> Synapses:
        """Those that are used [post, pre], or all where that is smaller.

        Args:
            size: bytes of the numbers of one.
            by_unit: how all of them lie.
        """
        post, pre = np.nonzero(used)
        some = cls(post, pre, (len(used), used.shape[1]), True)
        if some.bytes(size) < used.size * size:
            return some
        if by_unit:
            post, pre = (each.reshape(-1) for each in np.indices(used.shape))
        else:
            pre, post = (each.reshape(-1) for each in np.indices(used.T.shape))
        return cls(post, pre, (len(used), used.shape[1]), False, by_unit)

    def bytes(self, size: float) -> float:
        """What they take, if the numbers of one take so many."""
        index = (1 if self.shape[1] <= 2**8 else 2) * len(self.post) + 2 * (self.shape[0] + 1)
        return len(self.post) * size + index * self.sparse

    def values(self, matrix: np.ndarray) -> np.ndarray:
        """The numbers of these connections, from those of all [..., post, pre]."""
        return matrix[..., self.post, self.pre]

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """The inverse; 0 where none is stored."""
        full = np.zeros((*values.shape[:-1], *self.shape), values.dtype)
        full[..., self.post, self.pre] = values
        return full

    def starts(self) -> np.ndarray:
        """The first connection of each unit, and the end of the last, if they are some."""
        return np.searchsorted(self.post, np.arange(self.shape[0] + 1))


class Weights(NamedTuple):
    """A block of fixed weights: `drive[to] += values @ pre[first : first + columns]`.

    Args:
        values: [post, columns]; integers where there is a step between levels.
        step: what those are multiplied by; None where the values are numbers.
    """

    name: str
    values: np.ndarray
    step: float | None
    first: int
    to: int


class LayerPlan(NamedTuple):
    """One layer.

    Args:
        rows: rows of parameters, those included that follow from them alone; and single numbers that are constant.
        matrices: what the synapses read and is constant, by its buffer: [post, width].
        alpha: [post, width]; None where nothing is plastic.
        synapses: those whose trace is stored; None where nothing is plastic.
    """

    number: int
    layer: Layer
    shape: Shape
    form: Formats
    program: StepProgram
    weights: tuple[Weights, ...]
    bias: np.ndarray  # [sums, post]
    rows: dict[Slot, np.ndarray]
    matrices: dict[str, np.ndarray]
    alpha: np.ndarray | None
    synapses: Synapses | None

    @property
    def name(self) -> str:
        return f"layer{self.number}"

    @property
    def uses_recall(self) -> bool:
        """Whether the rule reads `H @ pre`."""
        synapses = self.program.synapses
        return self.program.forward.uses("recall") or (synapses is not None and synapses.forward.uses("recall"))


def plan(
    index: int, layer: Layer, shape: Shape, form: Formats, ready: Ready, weight: Tensor | Codes, by_unit: bool
) -> LayerPlan:
    """The plan of a layer.

    Args:
        by_unit: how traces lie, where all connections have one.
        weight: its weights [drives, post, pre], as `parameters` gives them.

    Raises:
        PlasticSearchError: no kernel could compute it, and so neither can C; the message says why.
    """
    x = torch.zeros(1, 1, shape.received)
    why = unsupported(layer, shape, form, x)
    program = captured(layer, shape, form, x.dtype, NOTHING)
    if why is not None or isinstance(program, Unsupported):
        parts = f"{type(layer.cell).__name__}, {type(layer.rule).__name__} and {type(layer.modulation).__name__}"
        reason = why.reason if why else getattr(program, "reason", "")
        raise PlasticSearchError(f"layers.{index}, of {parts}, has no form in C: {reason}; write a bundle instead")
    known, alpha, synapses = {}, None, None
    if ready.alpha is not None and program.synapses is not None:
        alpha = ready.alpha.numpy()
        names = program.synapses.matrices
        known = {n: t.numpy() for n, t in zip(names, matrices(layer, shape, ready, program, x), strict=True)}
        known["phases"] = phases(shape.post, shape.width, x).numpy()
    found = LayerPlan(
        index, layer, shape, form, program, _weights(index, shape, program, weight), ready.bias.numpy(),
        _rows(layer, shape, form, ready, program), known, alpha, synapses,
    )  # fmt: skip
    if alpha is None:
        return found
    unread = alpha == 0 if not found.uses_recall else np.zeros_like(alpha, bool)
    retroactive = program.synapses is not None and program.synapses.retroactive
    size = 8.0 + 4 * retroactive
    if by_unit and form.trace is not None:  # integers: an alpha of as many bits as the trace
        size = 2 * bits_within(form.trace.top * 2**form.trace.remainder) / 8 + 2 * retroactive
    return found._replace(synapses=Synapses.of(~unread, size, by_unit))


def together(weights: Sequence[Weights]) -> list[Synapses]:
    """Which connections of blocks of codes are stored: the same of blocks with the same inputs, if that is smaller."""
    sizes = [bits_of(w.values) / 8 for w in weights]
    found = [Synapses.of(w.values != 0, size, True) for w, size in zip(weights, sizes, strict=True)]
    for inputs in {(w.first, w.values.shape) for w in weights}:
        mine = [k for k, w in enumerate(weights) if (w.first, w.values.shape) == inputs]
        used = np.any([weights[k].values != 0 for k in mine], axis=0)
        shared = Synapses.of(used, sum(sizes[k] for k in mine), True)
        if shared.bytes(sum(sizes[k] for k in mine)) < sum(found[k].bytes(sizes[k]) for k in mine):
            found = [shared if k in mine else each for k, each in enumerate(found)]
    return found


def _weights(index: int, shape: Shape, program: StepProgram, weight: Tensor | Codes) -> tuple[Weights, ...]:
    """The blocks of a layer's weights: of each drive one, or two where it is split."""
    values = (weight.codes if isinstance(weight, Codes) else weight).numpy()
    step = float(weight.step) if isinstance(weight, Codes) else None
    blocks = []
    for d, to in enumerate(program.recurrent):
        cuts = [(0, shape.pre, d)] if to == d else [(0, shape.inputs, d), (shape.inputs, shape.pre, to)]
        for first, stop, row in cuts:
            part = values[d, :, first:stop]
            if part.any():
                name = f"layer{index}_weight{d}" + ("" if to == d else "_own" if first else "_received")
                blocks.append(Weights(name, part, step, first, row))
    return tuple(blocks)


def _rows(layer: Layer, shape: Shape, form: Formats, ready: Ready, program: StepProgram) -> dict[Slot, np.ndarray]:
    """The rows that do not change, each as [n] or, of a single number, [1]."""
    top = form.trace.top if form.trace else 0
    level = step_size(form.trace, layer.limit) if form.trace else layer.limit
    ones = {"limits": (layer.limit, level, top), "lengths": (shape.post, shape.width)}
    rows = {
        (name, Axis.ONE, k): torch.full((1,), float(v), dtype=torch.float32)
        for name, vs in ones.items()
        for k, v in enumerate(vs)
    }
    params = leaves((ready.cell, ready.rule, ready.modulation) if program.synapses else ready.cell)
    for tensor, leaf in zip(params, program.params.leaves, strict=True):
        if leaf is not None:
            for k, row in enumerate(rows_of(tensor, leaf, 0)):
                rows["params", leaf.axis, leaf.first + k] = row
    shaped = {slot: row.view(1, *((1, -1) if slot[1] is Axis.PRE else (-1, 1))) for slot, row in rows.items()}
    for (_, axis, number), value in evaluated(program.derived, shaped).items():
        length = {Axis.ONE: 1, Axis.POST: shape.post, Axis.PRE: shape.width}[axis]
        rows["params", axis, number] = value.reshape(-1).expand(length)
    return {slot: row.numpy() for slot, row in rows.items()}
