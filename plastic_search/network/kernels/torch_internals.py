"""Private interfaces of torch. No other file of the kernels uses any, so a new version of torch is adapted to here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

__all__ = [
    "capture_graph", "current_transform", "has_forward_derivative", "is_batched", "tree_flatten", "tree_map",
    "tree_unflatten",
]  # fmt: skip

_C: Any = torch._C
tree_flatten, tree_map, tree_unflatten = pytree.tree_flatten, pytree.tree_map, pytree.tree_unflatten


def current_transform() -> str:
    """What intercepts torch operations at the moment, so that they may not run at once on plain tensors; "" if nothing.

    Covers torch.func transforms, torch.jit tracing, and dispatch modes such as FakeTensorMode or make_fx.
    """
    if _C._functorch.peek_interpreter_stack() is not None:
        return "torch.func transforms it"
    if _C._get_tracing_state() or _C._len_torch_dispatch_stack():
        return "torch records it, or runs it on tensors of its own"
    return ""


def has_forward_derivative() -> bool:
    """Whether a level of forward-mode differentiation (torch.autograd.forward_ad) is open."""
    return torch.autograd.forward_ad._current_level >= 0


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor carries the hidden batch dimension of torch.func.vmap, or of a vectorized Jacobian."""
    return _C._functorch.is_batchedtensor(tensor) or _C._functorch.is_legacy_batchedtensor(tensor)


def capture_graph(function: Callable[..., list[Tensor]], args: Sequence[Tensor]) -> fx.GraphModule:
    """The ATen operations of a function, without mutation, decomposed to the core set.

    Scatter and stack are left whole, since `lowering` handles them without loss of structure.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = make_fx(torch.func.functionalize(function), _decompositions(), tracing_mode="fake")(*args)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


@cache
def _decompositions() -> Any:
    """How operations become those of the core set; to collect this takes as long as to capture a graph."""
    from torch._decomp import core_aten_decompositions, get_decompositions

    kept, aten = ("_scatter", "::stack"), torch.ops.aten
    table = {**core_aten_decompositions(), **get_decompositions([aten._softmax, aten._log_softmax])}
    return {op: how for op, how in table.items() if not any(k in op.name() for k in kept)}
