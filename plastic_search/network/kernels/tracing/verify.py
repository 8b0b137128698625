"""A trace held against the parts that it was made of, at the sizes at which it is to be used.

A part is Python, and may look at sizes: `if post.shape[1] < 64`. Tracing sees one way through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.modulations import Modulation
from plastic_search.network.kernels.tracing.ir import Axis, Lane
from plastic_search.network.kernels.tracing.program import Leaves, Traced, ordered, rows_of
from plastic_search.network.kernels.tracing.step_function import Step
from plastic_search.rules import Rule

__all__ = ["agrees"]

Inputs = dict[tuple[str, Axis, int], Tensor]
_TORCH = {"not": "logical_not", "and": "logical_and", "or": "logical_or"}


@lru_cache(maxsize=4096)
def agrees(
    traced: Traced, cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype, sizes: tuple[int, int, int]
) -> bool:
    """Whether a trace and its parts make the same of some numbers.

    Args:
        sizes: units, plastic inputs, and episodes.
    """
    with torch.no_grad(), torch.device("cpu"):  # undisturbed, whatever the caller is about
        return _agrees(traced, cell, plastic, dtype, sizes)


def _agrees(
    traced: Traced, cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype, sizes: tuple[int, int, int]
) -> bool:
    post, pre, batch = max(sizes[0], 2), max(sizes[1], 2), sizes[2]  # a matrix of one row could be a vector
    try:
        step = Step(cell, plastic, dtype, post, pre, batch)
        wanted = step.flat(*step.given)
        made = _run(traced, _inputs(traced, step, post, pre))
        for value, leaf in zip(wanted, traced.results.of, strict=True):
            if leaf is None:
                return False
            for row in rows_of(value, leaf, 1).expand(batch, -1, -1).unbind(1):
                if not torch.allclose(next(made).expand(row.shape), row, rtol=1e-3, atol=1e-5, equal_nan=True):
                    return False
    except Exception:  # a part may do anything; the reference, which runs it then, tells what
        return False
    return next(made, None) is None


def _inputs(traced: Traced, step: Step, post: int, pre: int) -> Inputs:
    """Every row that a trace reads [batch, n], or [1, n]."""
    drive, heard, recall = step.given[:3]
    found: Inputs = {("drive", Axis.POST, k): row for k, row in enumerate(drive.unbind(1))}
    found |= {("pre", Axis.PRE, 0): heard, ("recall", Axis.POST, 0): recall}
    found |= {("lengths", Axis.ONE, k): heard.new_full((1, 1), n) for k, n in enumerate((post, pre))}
    found |= _rows("state", step.given[3 : step.first_param], traced.state, 1)
    return found | _rows("params", step.params, traced.params, 0)


def _rows(buffer: str, tensors: list[Tensor], leaves: Leaves, batched: int) -> Inputs:
    made = {}
    for tensor, leaf in zip(tensors, leaves.of, strict=True):
        if leaf is not None and leaf.rows:
            rows = rows_of(tensor, leaf, batched) if batched else rows_of(tensor, leaf, 0).unsqueeze(0)
            made |= {(buffer, leaf.axis, leaf.first + i): row for i, row in enumerate(rows.unbind(1))}
    return made


def _run(traced: Traced, inputs: Inputs) -> Iterator[Tensor]:
    """What the trace of a step writes, row by row [batch or 1, n or 1]."""
    like = next(iter(inputs.values()))
    known: dict[int, Tensor] = {}
    for lane in ordered([o.lane for o in traced.forward.outputs]):
        args = [known[a.index] for a in lane.args]
        known[lane.index] = _computed(lane, args, inputs, like)
    return iter([known[o.lane.index] for o in traced.forward.outputs])


def _computed(lane: Lane, args: list[Tensor], inputs: Inputs, like: Tensor) -> Tensor:
    match lane.op:
        case "input":
            return inputs[lane.slot[0], lane.axis, lane.slot[1]]
        case "constant":
            return like.new_full((1, 1), lane.value)
        case "sum":
            return args[0].sum(-1, keepdim=True)
        case "select":
            return torch.where(args[0], args[1], args[2])
    return getattr(torch, _TORCH.get(lane.op, lane.op))(*args)
