"""Differences that are 0 but for their derivative, x - x.detach(), as straight-through gradients are written.

A value is rounded, or is a spike, forward; its derivative is that of something else, x, or g x with a constant g:

    rounded + (x - x.detach())            spike + g * (x - x.detach())

Forward, a program computes the first term alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

__all__ = ["is_straight_through"]

aten = torch.ops.aten


def is_straight_through(value: Any) -> bool:
    """Whether it is the node of such a difference."""
    if not isinstance(value, fx.Node) or getattr(value.target, "overloadpacket", None) is not aten.sub:
        return False
    return _detached(value.args[1]) is value.args[0]


def _detached(value: Any) -> Any:
    """The node that another one detaches; any other value unchanged."""
    while isinstance(value, fx.Node) and getattr(value.target, "overloadpacket", None) in (aten.detach, aten.alias):
        value = value.args[0]
    return value
