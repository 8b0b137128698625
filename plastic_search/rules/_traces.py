"""Spike traces, low-pass filters of what the units at a synapse send, and what rules learn of them.

A spike trace decays by the factor d = exp(-1 / tau) in a step, tau being its time constant in time steps. What is
trained is s, which may be any number: d = sigmoid(s), so that tau = 1 / log(1 + exp(-s)) is above 0. An amplitude is
the exponential of what is trained.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plastic_search.rules import AmplitudeShape

__all__ = ["SIGNED", "amplitudes", "decays", "low_passed", "share_logit"]

SIGNED = (
    "it is for spikes, and other activity that is not negative; take a cell whose `signed` is False, or another rule, "
    "such as Oja"
)


def decays(count: int, tau: float) -> Tensor:
    """s of so many spike traces whose time constant is `tau`, [count]."""
    z = 1.0 / tau
    return torch.full((count,), -(z + math.log(-math.expm1(-z))))  # -log(exp(z) - 1)


def amplitudes(shape: AmplitudeShape, post: int, pre: int, value: float) -> Tensor:
    """The logarithms of amplitudes that start with one value: [1, 1], [post, 1] or [post, pre]."""
    rows = 1 if shape is AmplitudeShape.NETWORK else post
    return torch.full((rows, pre if shape is AmplitudeShape.SYNAPSE else 1), math.log(value))


def share_logit(share: float) -> Tensor:
    """What is trained for a share between 0 and 1, [1]: the share is its sigmoid."""
    return torch.full((1,), math.log(share / (1.0 - share)))


def low_passed(trace: Tensor, seen: Tensor, s: Tensor) -> Tensor:
    """d trace + (1 - d) seen: the mean of what was seen so far, in which later steps weigh more."""
    return seen + s.sigmoid() * (trace - seen)
