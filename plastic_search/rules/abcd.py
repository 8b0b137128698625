"""Every local term, each with its own coefficient per synapse (Najarro and Risi 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.rules import Activity, Change, Outer, Rule


class ABCDParams(NamedTuple):
    both: Tensor  # [post, pre], A
    pre: Tensor  # [post, pre], B
    post: Tensor  # [post, pre], C
    bias: Tensor  # [post, pre], D


@dataclass(frozen=True)
class ABCD(Rule):
    """dH = A post (x) pre + B pre + C post + D

    Args:
        scale: standard deviation of B, C, D and of A - 1 at the start of training.
    """

    scale: float = 0.1

    def params(self, post: int, pre: int, rng: Generator) -> ABCDParams:
        both, *others = (self.scale * torch.randn(post, pre, generator=rng) for _ in ABCDParams._fields)
        return ABCDParams(1.0 + both, *others)

    def step(self, params: ABCDParams, state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
        one_pre, one_post = torch.ones_like(seen.pre), torch.ones_like(seen.post)
        terms = (
            Outer(seen.post, seen.pre, params.both),
            Outer(one_post, seen.pre, params.pre),
            Outer(seen.post, one_pre, params.post),
            Outer(one_post, one_pre, params.bias),
        )
        return Change(terms), state
