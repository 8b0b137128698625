"""Verifies a captured program against the parts themselves, at the actual sizes: what they return, and its derivative.

Tracing follows one path through a part's Python code: of a part that looks at sizes (`if post.shape[1] < 64`), or at
whether a derivative is wanted, one branch is captured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.modulations import Modulation
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import BufferLayout, Program, StepProgram, rows_of
from plastic_search.network.kernels.tracing.step_function import StepFunction, equal
from plastic_search.network.numbers import numbers_of
from plastic_search.rules import Rule

__all__ = ["difference", "out_of_range"]

Rows = dict[tuple[str, Axis, int], Tensor]  # buffer, axis and number of a row -> [batch or 1, n]
Parts = tuple[Cell, tuple[Rule, Modulation] | None]
_TORCH = {"not": "logical_not", "and": "logical_and", "or": "logical_or"}


def difference(program: StepProgram, parts: Parts, dtype: torch.dtype, sizes: tuple[int, int, int]) -> str:
    """How a program differs from the parts that it was captured from, on random numbers; "" if it does not.

    Args:
        sizes: units, plastic inputs, and episodes.
    """
    if sizes not in program.verified:
        with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):  # whatever the caller has set
            program.verified[sizes] = _difference(program, parts, dtype, sizes)
    return program.verified[sizes]


def _difference(program: StepProgram, parts: Parts, dtype: torch.dtype, sizes: tuple[int, int, int]) -> str:
    post, pre, batch = max(sizes[0], 2), max(sizes[1], 2), sizes[2]  # a matrix of one row could be a vector
    looks = "its step looks at {} units, {} plastic inputs or {} episodes in a way of its own".format(*sizes)
    try:
        step = StepFunction(*parts, dtype, post, pre, batch)
        rows, inputs = _result_rows(program, step.flat(*step.examples), batch), _inputs(program, step, post, pre)
        captured = _run(program.forward, inputs)
        if not all(_close(captured[at].expand(row.shape), row) for at, row in rows.items()):
            return looks
        if "" in program.verified.values():  # with its derivative, at other sizes
            return ""
        with torch.enable_grad():
            return _difference_of_derivative(program, step, inputs, rows)
    except Exception:  # a part may raise anything; the reference, which then runs it, raises it to the user
        return looks


def _difference_of_derivative(program: StepProgram, step: StepFunction, inputs: Rows, rows: Rows) -> str:
    """The same of what is computed where a derivative is wanted, and of that derivative."""
    batch, args = len(step.examples[0]), [t.clone().requires_grad_() for t in step.examples]
    again = _result_rows(program, step.flat(*args), batch)
    if not all(equal(row, rows[at]) for at, row in again.items()):
        return "its step computes something else where a derivative is wanted"
    rng = torch.Generator().manual_seed(2)
    d_rows = {at: torch.rand(row.shape, dtype=row.dtype, generator=rng) for at, row in rows.items()}
    wanted = [at for at, row in again.items() if row.requires_grad]
    d_args = [torch.zeros_like(t) for t in args]
    if wanted:
        one, other = [again[at] for at in wanted], [d_rows[at] for at in wanted]
        grads = torch.autograd.grad(one, args, other, allow_unused=True)
        d_args = [zero if grad is None else grad for zero, grad in zip(d_args, grads, strict=True)]
    named = {(f"d.{buffer}", axis, number): row for (buffer, axis, number), row in d_rows.items()}
    expected = _argument_rows(program, step, d_args)
    for at, value in _run(program.backward, inputs | named).items():
        total = value.expand(batch, -1).sum(0, keepdim=True) if at[0] == "params" else value
        if not _close(total.expand(expected[at].shape), expected[at]):
            return "the derivative of its step is not that of what was captured"
    return ""


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two rows are equal but for rounding errors, of sums too."""
    size = float(other[other.isfinite()].abs().max()) if other.isfinite().any() else 0.0
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5 + 1e-4 * size, equal_nan=True)


# -- numbers


def out_of_range(program: StepProgram, parts: Sequence[Any], dtype: torch.dtype) -> str:
    """Why the numbers of a step are none for a kernel; "" if they are.

    A kernel flushes denormal numbers to 0, and multiplies in another order than the reference: products of larger
    numbers than the fourth root of the largest could overflow in one of them alone.
    """
    kind, most = torch.finfo(dtype), torch.finfo(dtype).max ** 0.25
    for part in parts:
        for path, value in numbers_of(part, type(part).__name__):
            if abs(value) > most:
                return f"products with {path}={max(-kind.max, min(value, kind.max)):g} could overflow in {dtype}"
    for node in (*program.forward.nodes(), *program.backward.nodes()):
        value = abs(node.value)
        if node.op == "constant" and not (value == 0.0 or value == math.inf or kind.tiny <= value <= most):
            return f"its step uses the number {node.value:g}, with which a kernel of {dtype} is not exact"
    return ""


# -- rows


def _inputs(program: StepProgram, step: StepFunction, post: int, pre: int) -> Rows:
    """Every row that a program reads of a step's arguments and sizes."""
    one = step.examples[0].new_ones(1, 1)
    lengths: Rows = {("lengths", Axis.ONE, k): one * n for k, n in enumerate((post, pre))}
    return lengths | _argument_rows(program, step, step.examples)


def _result_rows(program: StepProgram, results: Sequence[Tensor], batch: int) -> Rows:
    """The rows [batch, n] of a step's results, as programs name them."""
    rows: list[Tensor] = []
    for value, leaf in zip(results, program.results.leaves, strict=True):
        if leaf is None:
            raise ValueError("a value for every pair of units")
        rows += rows_of(value, leaf, 1).expand(batch, -1, -1).unbind(1)
    outputs = [(o.buffer, o.axis, o.number) for o in program.forward.outputs]
    return dict(zip(outputs, rows, strict=True))


def _argument_rows(program: StepProgram, step: StepFunction, args: Sequence[Tensor]) -> Rows:
    """The rows of a step's arguments, or of their derivatives, as programs name them."""
    rows: Rows = {("drive", Axis.POST, k): row for k, row in enumerate(args[0].unbind(1))}
    rows |= {("pre", Axis.PRE, 0): args[1], ("recall", Axis.POST, 0): args[2]}
    rows |= _layout_rows("state", args[3 : step.first_param], program.state, 1)
    return rows | _layout_rows("params", args[step.first_param :], program.params, 0)


def _layout_rows(buffer: str, tensors: Sequence[Tensor], layout: BufferLayout, batched: int) -> Rows:
    found = {}
    for tensor, leaf in zip(tensors, layout.leaves, strict=True):
        if leaf is not None and leaf.rows:
            rows = rows_of(tensor, leaf, batched) if batched else rows_of(tensor, leaf, 0).unsqueeze(0)
            found |= {(buffer, leaf.axis, leaf.first + i): row for i, row in enumerate(rows.unbind(1))}
    return found


def _run(program: Program, inputs: Rows) -> Rows:
    """The rows that a program writes."""
    like = next(iter(inputs.values()))
    values: dict[int, Tensor] = {}
    for node in program.nodes():
        args = [values[a.index] for a in node.args]
        values[node.index] = _computed(node, args, inputs, like)
    return {(o.buffer, o.axis, o.number): values[o.node.index] for o in program.outputs}


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
