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
from plastic_search.network.kernels.tracing.evaluation import Rows, argument_rows, evaluated, result_rows
from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import StepProgram, SynapseProgram
from plastic_search.network.kernels.tracing.step_function import Plastic, StepFunction, narrowed
from plastic_search.network.kernels.tracing.writes import equal
from plastic_search.network.numbers import numbers_of

__all__ = ["difference", "out_of_range"]

Parts = tuple[Cell, Plastic | None]
_SOME, _ALL = slice(-2, None), slice(None)
_SYNAPSES = 100_000  # of all episodes, for which a derivative is verified


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
        step = _step(program, parts, dtype, post, pre, batch)
        if not _same_results(program, step):
            return looks
        if "" in program.verified.values():  # with its derivative, at other sizes
            return ""
        few = max(1, min(batch, _SYNAPSES // (post * pre))) if program.synapses else batch
        return _difference_of_derivative(program, _step(program, parts, dtype, post, pre, few))
    except Exception:  # a part may raise anything; the reference, which then runs it, raises it to the user
        return looks


def _step(program: StepProgram, parts: Parts, dtype: torch.dtype, post: int, pre: int, batch: int) -> StepFunction:
    names = [n for n in program.synapses.matrices if not n.startswith("param")] if program.synapses else []
    return StepFunction(*parts, dtype, post, pre, batch, tuple(names), program.controls, program.activity)


def _same_results(program: StepProgram, step: StepFunction) -> bool:
    inputs = _inputs(program, step)
    found = evaluated(program.forward, inputs)
    results = step.results(*step.examples, rows=_SOME, columns=_SOME)
    if not _same(found, result_rows(program, [r for r in results if r[0] not in ("trace", "eligibility")])):
        return False
    return not program.synapses or _same_traces(program, program.synapses, step, inputs | _tape(found))


def _inputs(program: StepProgram, step: StepFunction) -> Rows:
    """What the programs read of a step's arguments."""
    rows = argument_rows(program, step, step.examples)
    return rows | {("params", *slot[1:]): row for slot, row in evaluated(program.derived, rows).items()}


def _same_traces(program: StepProgram, synapses: SynapseProgram, step: StepFunction, inputs: Rows) -> bool:
    """Whether the traces after the step are the same, for some columns of every row, and some rows of every column."""
    for rows, columns in ((_ALL, _SOME), (_SOME, _ALL)):
        found = evaluated(synapses.forward, {slot: narrowed(t, rows, columns) for slot, t in inputs.items()})
        results = step.results(*step.examples, rows=rows, columns=columns)
        if not _same(found, result_rows(program, [r for r in results if r[0] in ("trace", "eligibility")])):
            return False
    return True


def _tape(found: Rows) -> Rows:
    """What the synapses read of the results of the units."""
    return {slot: row for slot, row in found.items() if slot[0] == "row"}


def _difference_of_derivative(program: StepProgram, step: StepFunction) -> str:
    """The same of what is computed where a derivative is wanted, and of that derivative."""
    plain = step.results(*step.examples)
    args = [t.clone().requires_grad_() for t in step.examples]
    with torch.enable_grad():
        again = step.results(*args)
    if not all(equal(t, before) for (_, t), (_, before) in zip(again, plain, strict=True)):
        return "its step computes something else where a derivative is wanted"
    rng = torch.Generator().manual_seed(2)
    d_results = [(name, torch.rand(t.shape, dtype=t.dtype, generator=rng)) for name, t in plain]
    wanted = [(t, d) for (_, t), (_, d) in zip(again, d_results, strict=True) if t.requires_grad]
    d_args = [torch.zeros_like(t) for t in args]
    if wanted:
        one, other = ([pair[k] for pair in wanted] for k in (0, 1))
        grads = torch.autograd.grad(one, args, other, allow_unused=True)
        d_args = [zero if grad is None else grad for zero, grad in zip(d_args, grads, strict=True)]
    d_rows = result_rows(program, d_results)
    cotangents = {(f"d.{buffer}", axis, number): row for (buffer, axis, number), row in d_rows.items()}
    expected = argument_rows(program, step, d_args)
    for (buffer, axis, number), value in _derivatives(program, step, cotangents).items():
        wanted_row = expected[buffer.removeprefix("d."), axis, number]
        value = value.expand(len(args[0]), -1, -1)
        value = value if len(wanted_row) == len(value) and buffer != "params" else value.sum(0, keepdim=True)
        if not _close(value.expand(wanted_row.shape), wanted_row):
            return "the derivative of its step is not that of what was captured"
    return ""


def _derivatives(program: StepProgram, step: StepFunction, cotangents: Rows) -> Rows:
    """The derivatives of a step's arguments, by the programs."""
    inputs = _inputs(program, step) | cotangents
    found: Rows = {}
    if program.synapses:
        rows = inputs | _tape(evaluated(program.forward, inputs))
        for slot, value in evaluated(program.synapses.backward, rows).items():
            if slot[0] == "sum":
                over = [dim for axis, dim in ((Axis.POST, -2), (Axis.PRE, -1)) if not slot[1] & axis]
                full = value.expand(-1, *step.of_synapses(step.examples)["trace"].shape[1:])
                inputs[slot] = full.sum(over, keepdim=True)
            else:
                found[slot] = value
    return found | evaluated(program.backward, inputs)


def _same(found: Rows, expected: Rows) -> bool:
    return all(_close(found[slot].expand(row.shape), row) for slot, row in expected.items())


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two rows are equal but for rounding errors, of sums too."""
    size = float(other[other.isfinite()].abs().max()) if other.isfinite().any() else 0.0
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5 + 1e-4 * size, equal_nan=True)


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
    programs = [program.forward, program.backward, program.derived]
    programs += [program.synapses.forward, program.synapses.backward] if program.synapses else []
    for node in (node for each in programs for node in each.nodes()):
        value = abs(node.value)
        if node.op == "constant" and not (value == 0.0 or value == math.inf or kind.tiny <= value <= most):
            return f"its step uses the number {node.value:g}, with which a kernel of {dtype} is not exact"
    return ""
