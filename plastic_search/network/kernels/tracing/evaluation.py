"""Evaluates programs by torch, row by row, as no backend does: for `verify`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import LIMITS, Leaf, Program, Slot, StepProgram, rows_of, slot_of
from plastic_search.network.kernels.tracing.step_function import StepFunction

__all__ = ["Rows", "argument_rows", "evaluated", "result_rows"]

Rows = dict[Slot, Tensor]  # the values of a row, or of every synapse, [batch or 1, post or 1, pre or 1]
_TORCH = {"not": "logical_not", "and": "logical_and", "or": "logical_or"}
_DIM = {Axis.POST: -2, Axis.PRE: -1}


def argument_rows(program: StepProgram, step: StepFunction, args: Sequence[Tensor]) -> Rows:
    """The rows of a step's arguments, or of their derivatives, and its sizes, as programs name them."""
    drive, pre, recall = args[:3]
    rows: Rows = {("drive", Axis.POST, k): row.unsqueeze(-1) for k, row in enumerate(drive.unbind(1))}
    rows |= {("pre", Axis.PRE, 0): pre.unsqueeze(1), ("recall", Axis.POST, 0): recall.unsqueeze(-1)}
    lengths = (drive.shape[-1], pre.shape[-1])
    rows |= {("lengths", Axis.ONE, k): drive.new_full((1, 1, 1), n) for k, n in enumerate(lengths)}
    for name, tensor in zip(step.names[3 : step.first_state], args[3 : step.first_state], strict=True):
        columns = tensor.unbind(1) if name == "signals" else ()
        rows |= {(name, Axis.ONE, k): each.view(-1, 1, 1) for k, each in enumerate(columns)}
        rows |= {(name, Axis.POST, 0): tensor.unsqueeze(-1)} if name == "previous" else {}
    for tensor, leaf in zip(args[step.first_state : step.first_param], program.state.leaves, strict=True):
        rows |= _rows("state", tensor, leaf, 1)
    params = args[step.first_param : step.first_of_synapses]
    for number, (tensor, leaf) in enumerate(zip(params, program.params.leaves, strict=True)):
        rows |= _rows("params", tensor, leaf, 0) if leaf else {(f"param{number}", Axis.PAIR, 0): tensor[None]}
    for name, value in step.of_synapses(args).items():
        if name in LIMITS:
            rows["limits", Axis.ONE, LIMITS.index(name)] = value.reshape(1, 1, 1)
        else:
            rows[name, Axis.ONE if name in ("dither", *program.controls) else Axis.PAIR, 0] = (
                value if value.dim() == 3 else value[None]
            )
    return rows


def result_rows(program: StepProgram, results: Sequence[tuple[str, Tensor]]) -> Rows:
    """The rows of some of a step's results, as programs name them."""
    leaves, rows = iter(program.state.leaves), {}
    for name, value in results:
        if name in ("trace", "eligibility"):
            rows[name, Axis.PAIR, 0] = value
        else:
            rows |= _rows(name, value, next(leaves) if name == "state" else None, 1)
    return rows


def _rows(buffer: str, tensor: Tensor, leaf: Leaf | None, batched: int) -> Rows:
    """The rows of a tensor; `leaf` is where they lie, None for one number of each unit."""
    axis, first = (leaf.axis, leaf.first) if leaf else (Axis.POST, 0)
    rows = rows_of(tensor, leaf, batched) if leaf else tensor.unsqueeze(1)
    rows = rows if batched else rows.unsqueeze(0)
    dim = 1 if axis is Axis.PRE else -1
    return {(buffer, axis, first + k): row.unsqueeze(dim) for k, row in enumerate(rows.unbind(1))}


def evaluated(program: Program, inputs: Rows) -> Rows:
    """What a program writes."""
    like = next(iter(inputs.values()))
    values: dict[int, Tensor] = {}
    for node in program.nodes():
        values[node.index] = _computed(node, [values[a.index] for a in node.args], inputs, like)
    return {(o.buffer, o.axis, o.number): values[o.node.index] for o in program.outputs}


def _computed(node: Node, args: list[Tensor], inputs: Rows, like: Tensor) -> Tensor:
    match node.op:
        case "input":
            return inputs[slot_of(node)]
        case "constant":
            return like.new_full((1, 1, 1), node.value)
        case "sum" | "max":
            over = [dim for axis, dim in _DIM.items() if axis & node.args[0].axis & ~node.axis]
            return args[0].sum(over, keepdim=True) if node.op == "sum" else args[0].amax(over, keepdim=True)
        case "select":
            return torch.where(args[0], args[1], args[2])
    return getattr(torch, _TORCH.get(node.op, node.op))(*args)
