"""What a network in C carries from step to step: members of a struct, and how they lie beside a state in torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.export.c.layer import LayerPlan, Synapses
from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import Leaf, Slot, rows_of
from plastic_search.network.pytree import flatten
from plastic_search.network.step import LayerState

__all__ = ["Member", "members", "slots"]

_OUTPUT = Leaf(Axis.POST, 0, (), 0)


class Member(NamedTuple):
    """An array of the state.

    Args:
        path: of its tensor: `layers.0.cell.memory`.
        start: its numbers at the start of an episode.
        shape: of the tensor, without the batch.
        leaf: how the tensor lies in rows; None for numbers of synapses, and for single ones.
        synapses: which of them are stored; None for what has no number of each.
        about: what it holds, for the header.
        kind: the type of its numbers in C.
        bits: of each number, if several are packed in one byte; 0 if not.
    """

    path: str
    start: np.ndarray
    shape: tuple[int, ...]
    leaf: Leaf | None
    synapses: Synapses | None
    about: str
    kind: str = "float"
    bits: int = 0

    @property
    def name(self) -> str:
        return self.path.replace("layers.", "layer").replace(".", "_")

    def values(self, tensor: Tensor) -> np.ndarray:
        """The array, from a state's tensor [batch, ...]: [batch, numbers]."""
        if self.synapses is not None:
            return self.synapses.values(tensor.numpy())
        value = tensor if self.leaf is None else rows_of(tensor, self.leaf, 1)
        return value.reshape(len(tensor), -1).numpy()

    def tensor(self, values: np.ndarray) -> Tensor:
        """The inverse, from [batch, numbers]; 0 for the synapses that are not stored."""
        if self.synapses is not None:
            return torch.from_numpy(self.synapses.matrix(values))
        batch, value = len(values), torch.from_numpy(values.copy())
        if self.leaf is None or self.leaf.dim < 0:
            return value.reshape(batch, *self.shape)
        return value.reshape(batch, *self.leaf.other_dims, -1).movedim(-1, 1 + self.leaf.dim)


def members(plan: LayerPlan, first: LayerState) -> list[Member]:
    """The arrays of one layer.

    Args:
        first: its state at the start of one episode.
    """
    tensors = flatten(first, f"layers.{plan.number}")
    leaves = iter(plan.program.state.leaves)
    found = []
    for path, value in tensors.items():
        kind = path.split(".")[2]
        leaf, synapses, about = None, None, ""
        if kind == "output":
            leaf, about = _OUTPUT, "what the units sent"
        elif kind in ("trace", "eligibility"):
            synapses, about = plan.synapses, _order(plan)
        elif kind == "dither":
            about = "noise of rounding"
        else:
            leaf = next(leaves)
            about = f"{kind}: {tuple(value.shape[1:])}"
        member = Member(path, np.zeros(0), tuple(value.shape[1:]), leaf, synapses, about)
        found.append(member._replace(start=member.values(value)[0]))
    return found


def _order(plan: LayerPlan) -> str:
    assert plan.synapses is not None
    if plan.synapses.sparse:
        return "of the connections that are plastic, unit by unit"
    if plan.synapses.by_unit:
        return f"[{plan.shape.post}][{plan.shape.width}]: unit by unit, the inputs of each"
    return f"[{plan.shape.width}][{plan.shape.post}]: input by input, the units of each"


def slots(plan: LayerPlan, found: list[Member]) -> dict[Slot, str]:
    """The expression of each row of a layer's state, at the index of its axis."""
    rows: dict[Slot, str] = {}
    for member in found:
        if member.leaf is None or member.leaf is _OUTPUT:
            continue
        axis, length = member.leaf.axis, {Axis.POST: plan.shape.post, Axis.PRE: plan.shape.width, Axis.ONE: 1}
        for k in range(member.leaf.rows):
            offset = k * length[axis]
            index = {Axis.ONE: "0", Axis.POST: "i", Axis.PRE: "j"}[axis]
            at = str(offset) if axis is Axis.ONE else f"{offset} + {index}" if offset else index
            rows["state", axis, member.leaf.first + k] = f"state->{member.name}[{at}]"
    return rows
