"""Finds the argument that a part's step writes into, which no kernel would see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plastic_search.network.kernels.tracing.step_function import StepFunction
from plastic_search.network.pytree import leaves
from plastic_search.rules import Activity

__all__ = ["equal", "written"]


def equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the last bits."""
    close = 16 * torch.finfo(other.dtype).eps
    return torch.allclose(one.detach(), other.detach(), rtol=close, atol=close, equal_nan=True)


def written(step: StepFunction) -> str:
    """The argument into which a part writes, of those that somebody else holds too; "" where none does."""
    args = [t.clone() for t in step.examples]
    (cell_state, rule_state, modulation_state), (cell_params, params, modulation_params) = step.nested(args)
    drive, pre, recall = (t.clone() for t in step.examples[:3])
    own: dict[str, Any] = {"its state": cell_state, "its parameters": cell_params}
    name, (cell, response) = _writes(own, lambda: step.cell.step(cell_params, cell_state, drive))
    if name or step.plastic is None:
        return name
    rule, modulation, *_ = step.plastic
    seen = Activity(pre, response.post, recall, step.of_synapses(step.examples)["trace"].clone())
    own = {"seen.pre": pre, "seen.post": seen.post, "seen.trace": seen.trace}
    own |= {"its state": rule_state, "its parameters": params}
    name, _ = _writes(own | {"the output": response.output}, lambda: rule.step(params, rule_state, seen))
    if name:
        return name
    around = step.seen(args, cell, response.output)
    own = {"the output": response.output, "its state": modulation_state, "its parameters": modulation_params}
    own |= {f"seen.{name}": value for name, value in zip(step.names[3:], args[3 : step.first_state], strict=False)}
    own |= {"seen.cell": cell}
    return _writes(own, lambda: modulation.step(modulation_params, modulation_state, around))[0]


def _writes(args: dict[str, Any], call: Callable[[], Any]) -> tuple[str, Any]:
    """The name of the first argument that a call changes, or ""; and the result of the call."""
    before = {name: [(t, t._version, t.clone()) for t in leaves(tree)] for name, tree in args.items()}
    result = call()
    for name, tensors in before.items():
        if any(t._version != version or not equal(t, value) for t, version, value in tensors):
            return name, result
    return "", result
