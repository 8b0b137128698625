"""Top-k selection among scores; ties are broken as `torch.topk` breaks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.structures import TrainingContext

__all__ = ["Count", "Top", "best", "highest", "number", "share", "strength", "top"]

Count = Callable[[int], int]  # from how many scores there are to how many are kept

_NUMPY = (torch.bool, torch.float32, torch.float64)


def share(amount: float, capacity: float) -> float:
    """An amount, which is a share up to 1 or a number above 1, as a share of `capacity`."""
    return amount if amount <= 1.0 else min(amount / max(capacity, 1.0), 1.0)


def number(amount: float, capacity: int, *, annealing_factor: float = 0.0, least: int = 0) -> int:
    """An amount, which is a share up to 1 or a number above 1, as a number out of `capacity`.

    Args:
        annealing_factor: share of the excess over the amount that is kept as well.
        least: a lower bound, where there are as many.
    """
    target = share(amount, capacity)
    kept = target + annealing_factor * (1.0 - target)
    return min(max(round(kept * capacity), least), capacity)


class Top(NamedTuple):
    """The highest of some scores."""

    chosen: Tensor  # 1 at the highest scores, else 0; of the scores' shape and type
    edge: Tensor  # one number, the lowest score that is kept; infinite where none is
    candidates: Tensor  # [n], the scores among which they were chosen


def best(scores: Tensor, allowed: Tensor | None, amount: float, least: int = 0) -> Tensor:
    """1 at the highest of the allowed scores, else 0.

    Args:
        allowed: 1 where a score may be chosen, else 0; None allows all.
        amount: a share of the allowed scores up to 1, or a number above 1.
        least: a lower bound on their number, where there are as many.
    """
    return top(scores, allowed, lambda capacity: number(amount, capacity, least=least)).chosen


def highest(scores: Tensor, allowed: Tensor | None, count: int) -> Tensor:
    """1 at the `count` highest of the allowed scores, or at all if there are fewer; else 0."""
    return top(scores, allowed, lambda capacity: min(count, capacity)).chosen


def top(scores: Tensor, allowed: Tensor | None, count: Count) -> Top:
    """The highest of the allowed scores, their number being `count` of how many are allowed."""
    flat, mask = scores.detach(), None if allowed is None else allowed.detach()
    select = _by_numpy if _numpy_reads(flat) and (mask is None or _numpy_reads(mask)) else _by_torch
    return select(flat, mask, count)


def _by_torch(scores: Tensor, mask: Tensor | None, count: Count) -> Top:
    flat = scores.reshape(-1)
    allowed = None if mask is None else mask.reshape(-1) > 0.5
    candidates = flat if allowed is None else flat.index_select(0, allowed.nonzero().view(-1))
    kept, chosen = count(candidates.numel()), torch.zeros_like(flat)
    if not kept:
        return Top(chosen.view_as(scores), scores.new_full((), torch.inf), candidates)
    values, indices = _topk(flat, allowed, kept)
    return Top(chosen.index_fill_(0, indices, 1.0).view_as(scores), values.min(), candidates)


def _topk(flat: Tensor, allowed: Tensor | None, kept: int) -> tuple[Tensor, Tensor]:
    """The `kept` highest values and their indices; among equal values the choice is torch's, on every processor."""
    values, indices = (flat if allowed is None else flat.where(allowed, -torch.inf)).topk(kept, sorted=False)
    return values, indices


def _by_numpy(scores: Tensor, mask: Tensor | None, count: Count) -> Top:
    """`_by_torch` through `np.partition`, which is vectorised and so faster than `torch.topk` on a CPU.

    Where several scores equal the edge, torch chooses: NumPy's choice depends on the processor's vector width.
    """
    flat = scores.numpy().reshape(-1)
    allowed = None if mask is None else mask.numpy().reshape(-1) > 0.5
    candidates = flat if allowed is None else flat[allowed.nonzero()[0]]
    kept = count(candidates.size)
    if not kept:
        return Top(torch.zeros_like(scores), scores.new_full((), torch.inf), torch.from_numpy(candidates))
    edge = np.partition(candidates, candidates.size - kept)[candidates.size - kept]
    chosen = flat >= edge if allowed is None else (flat >= edge) & allowed
    if np.count_nonzero(chosen) != kept:
        _, indices = _topk(scores.reshape(-1), None if allowed is None else torch.from_numpy(allowed), kept)
        chosen = np.zeros(flat.shape, bool)
        chosen[indices.numpy()] = True
    mask = torch.from_numpy(chosen.astype(flat.dtype)).view_as(scores)
    return Top(mask, scores.new_full((), float(edge)), torch.from_numpy(candidates))


def _numpy_reads(tensor: Tensor) -> bool:
    """Whether NumPy can share a tensor's memory here and now."""
    plain = type(tensor) is Tensor and tensor.device.type == "cpu" and tensor.dtype in _NUMPY
    return plain and not transformed() and not torch.compiler.is_compiling()


def transformed() -> bool:
    """Whether a torch.func transform is running."""
    inside: Any = torch._C
    return inside._functorch.peek_interpreter_stack() is not None


def strength(context: TrainingContext) -> Tensor:
    """The magnitude of each connection [post, pre]: the norm of w over drives, plus |alpha| on the plastic pathway.

    |alpha| is the plastic weight at a trace of 1: where the trace dominates, |w| alone underestimates a connection.
    """
    norm = context.weight.norm(dim=0)
    width = context.shape.width
    if width:
        norm = norm.clone()
        norm[:, context.shape.plastic] += context.alpha.abs().expand(context.shape.post, width)
    return norm
