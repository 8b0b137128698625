"""Verifies a captured program against eager execution at the actual sizes, because tracing specialises Python
control flow: of a part that looks at sizes (`if post.shape[1] < 64`), one branch is captured.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.modulations import Modulation
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import BufferLayout, StepProgram, rows_of
from plastic_search.network.kernels.tracing.step_function import StepFunction
from plastic_search.rules import Rule

__all__ = ["matches_eager"]

Rows = dict[tuple[str, Axis, int], Tensor]  # buffer, axis and number of a row -> [batch or 1, n]
_TORCH = {"not": "logical_not", "and": "logical_and", "or": "logical_or"}


@lru_cache(maxsize=4096)
def matches_eager(
    program: StepProgram, cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype,
    sizes: tuple[int, int, int],
) -> bool:  # fmt: skip
    """Whether a program gives the results of the parts that it was captured from, on random numbers.

    Args:
        sizes: units, plastic inputs, and episodes.
    """
    with torch.no_grad(), torch.device("cpu"):  # whatever mode and device the caller has set
        return _matches(program, cell, plastic, dtype, sizes)


def _matches(
    program: StepProgram, cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype,
    sizes: tuple[int, int, int],
) -> bool:  # fmt: skip
    post, pre, batch = max(sizes[0], 2), max(sizes[1], 2), sizes[2]  # a matrix of one row could be a vector
    try:
        step = StepFunction(cell, plastic, dtype, post, pre, batch)
        eager = step.flat(*step.examples)
        captured = _run(program, _inputs(program, step, post, pre))
        for value, leaf in zip(eager, program.results.leaves, strict=True):
            if leaf is None:
                return False
            for row in rows_of(value, leaf, 1).expand(batch, -1, -1).unbind(1):
                if not torch.allclose(next(captured).expand(row.shape), row, rtol=1e-3, atol=1e-5, equal_nan=True):
                    return False
    except Exception:  # a part may raise anything; the reference, which then runs it, raises it to the user
        return False
    return next(captured, None) is None


def _inputs(program: StepProgram, step: StepFunction, post: int, pre: int) -> Rows:
    """Every row that a program reads."""
    drive, plastic_inputs, recall = step.examples[:3]
    rows: Rows = {("drive", Axis.POST, k): row for k, row in enumerate(drive.unbind(1))}
    rows |= {("pre", Axis.PRE, 0): plastic_inputs, ("recall", Axis.POST, 0): recall}
    rows |= {("lengths", Axis.ONE, k): plastic_inputs.new_full((1, 1), n) for k, n in enumerate((post, pre))}
    rows |= _rows("state", step.examples[3 : step.first_param], program.state, 1)
    return rows | _rows("params", step.params, program.params, 0)


def _rows(buffer: str, tensors: list[Tensor], layout: BufferLayout, batched: int) -> Rows:
    found = {}
    for tensor, leaf in zip(tensors, layout.leaves, strict=True):
        if leaf is not None and leaf.rows:
            rows = rows_of(tensor, leaf, batched) if batched else rows_of(tensor, leaf, 0).unsqueeze(0)
            found |= {(buffer, leaf.axis, leaf.first + i): row for i, row in enumerate(rows.unbind(1))}
    return found


def _run(program: StepProgram, inputs: Rows) -> Iterator[Tensor]:
    """The rows that a step's program writes, in order [batch or 1, n or 1]."""
    like = next(iter(inputs.values()))
    values: dict[int, Tensor] = {}
    for node in program.forward.nodes():
        args = [values[a.index] for a in node.args]
        values[node.index] = _computed(node, args, inputs, like)
    return iter([values[o.node.index] for o in program.forward.outputs])


def _computed(node: Node, args: list[Tensor], inputs: Rows, like: Tensor) -> Tensor:
    match node.op:
        case "input":
            return inputs[node.slot[0], node.axis, node.slot[1]]
        case "constant":
            return like.new_full((1, 1), node.value)
        case "sum":
            return args[0].sum(-1, keepdim=True)
        case "select":
            return torch.where(args[0], args[1], args[2])
    return getattr(torch, _TORCH.get(node.op, node.op))(*args)
