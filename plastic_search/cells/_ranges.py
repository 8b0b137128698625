"""Trained numbers of a unit that stay in their range: stored as a number that may have any value, mapped by `step`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["leak", "scaled", "start_of_leak"]


def leak(stored: Tensor, shortest: float, longest: float) -> Tensor:
    """1 / tau of a time constant from `shortest` to `longest` time steps: a sigmoid (Fang et al. 2021, 2007.05785)."""
    slowest, fastest = 1.0 / longest, 1.0 / shortest
    return slowest + (fastest - slowest) * stored.sigmoid()


def start_of_leak(start: float, shortest: float, longest: float, post: int) -> Tensor:
    """The stored numbers [post] of a time constant `start`, which lies between the two."""
    slowest, fastest = 1.0 / longest, 1.0 / shortest
    share = (1.0 / start - slowest) / (fastest - slowest)
    return torch.full((post,), math.log(share / (1.0 - share)))


def scaled(stored: Tensor, start: float, span: float) -> Tensor:
    """A number from start / span to start * span, start * exp(stored) near 0: start exp(ln(span) tanh(s / ln(span)))"""
    width = math.log(span)
    return start * (width * (stored / width).tanh()).exp()
