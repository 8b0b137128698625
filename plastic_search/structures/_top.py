"""The best of many scores, chosen as torch chooses among ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.structures import TrainingContext

_NUMPY = (torch.bool, torch.float32, torch.float64)


def share(asked: float, room: float) -> float:
    """A budget, which is a share or a number of connections, as a share of `room`."""
    return asked if asked <= 1.0 else min(asked / max(room, 1.0), 1.0)


class Top(NamedTuple):
    """The best of some scores."""

    chosen: Tensor  # 1 at the best, else 0, formed as the scores are
    edge: Tensor  # one number, the least score that is kept; infinite where none is
    known: Tensor  # [n], the scores among which it was chosen


def best(scores: Tensor, allowed: Tensor | None, asked: float, least: int = 0) -> Tensor:
    """1 at the best scores of those allowed, else 0.

    Args:
        asked: which share of them, or how many.
        least: but at least so many, where there are as many.
    """
    return top(scores, allowed, asked, least).chosen


def top(scores: Tensor, allowed: Tensor | None, asked: float, least: int = 0) -> Top:
    """What `best` gives, and what it was chosen by."""
    flat, mask = scores.detach(), None if allowed is None else allowed.detach()
    among = _among_here if _here(flat) and (mask is None or _here(mask)) else _among
    return among(flat, mask, lambda room: min(max(round(share(asked, room) * room), least), room))


def _among(flat: Tensor, mask: Tensor | None, wanted: Callable[[int], int]) -> Top:
    numbers = flat.reshape(-1)
    there = None if mask is None else mask.reshape(-1) > 0.5
    known = numbers if there is None else numbers.index_select(0, there.nonzero().view(-1))
    kept, made = wanted(known.numel()), torch.zeros_like(numbers)
    if not kept:
        return Top(made.view_as(flat), flat.new_full((), torch.inf), known)
    values, places = _highest(numbers, there, kept)
    return Top(made.index_fill_(0, places, 1.0).view_as(flat), values.min(), known)


def _highest(numbers: Tensor, there: Tensor | None, kept: int) -> tuple[Tensor, Tensor]:
    """So many of the highest numbers, and their places; which of equal ones is torch's choice, everywhere the same."""
    left = numbers if there is None else numbers.where(there, -torch.inf)
    values, places = left.topk(kept, sorted=False)
    return values, places


def _among_here(flat: Tensor, mask: Tensor | None, wanted: Callable[[int], int]) -> Top:
    """The same by NumPy, which parts numbers by whole vectors.

    Torch's `topk` takes a branch for each, which no processor foresees. Where several numbers are the edge it chooses
    all the same, since which of them NumPy takes is another on other processors.
    """
    numbers = flat.numpy().reshape(-1)
    there = None if mask is None else mask.numpy().reshape(-1) > 0.5
    known = numbers if there is None else numbers[there.nonzero()[0]]
    kept = wanted(known.size)
    if not kept:
        return Top(torch.zeros_like(flat), flat.new_full((), torch.inf), torch.from_numpy(known))
    edge = np.partition(known, known.size - kept)[known.size - kept]
    chosen = numbers >= edge if there is None else (numbers >= edge) & there
    if np.count_nonzero(chosen) != kept:
        _, places = _highest(flat.reshape(-1), None if there is None else torch.from_numpy(there), kept)
        chosen = np.zeros(numbers.shape, bool)
        chosen[places.numpy()] = True
    made = torch.from_numpy(chosen.astype(numbers.dtype)).view_as(flat)
    return Top(made, flat.new_full((), float(edge)), torch.from_numpy(known))


def _here(tensor: Tensor) -> bool:
    """Whether NumPy can read a tensor where it lies."""
    plain = type(tensor) is Tensor and tensor.device.type == "cpu" and tensor.dtype in _NUMPY
    return plain and not transformed() and not torch.compiler.is_compiling()


def transformed() -> bool:
    """Whether torch.func is at work, which cannot look into a derivative of our own."""
    inside: Any = torch._C
    return inside._functorch.peek_interpreter_stack() is not None


def strength(context: TrainingContext) -> Tensor:
    """How much each connection can carry [post, pre]: |w|, over all drives, and |alpha|, for a trace that is full.

    Where the trace does the work, |w| alone says little of what a connection is worth.
    """
    made = context.weight.norm(dim=0)
    width = context.shape.width
    if width:
        made = made.clone()
        made[:, context.shape.plastic] += context.alpha.abs().expand(context.shape.post, width)
    return made
