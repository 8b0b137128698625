"""The derivative of an arc tangent: parametric LIF units (Fang et al. 2021, arXiv 2007.05785)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from plastic_search.surrogates import Surrogate


@dataclass(frozen=True)
class Arctan(Surrogate):
    """s'(x) = height / (1 + (pi slope x)^2)

    The derivative of arctan(pi x) / pi + 1/2, which the paper takes, where slope and height are 1.

    Args:
        slope: how narrow it is, per unit of the membrane potential.
        height: the derivative at the threshold.
    """

    slope: float = 1.0

    def profile(self, z: Tensor) -> Tensor:
        angle = math.pi * z
        return 1.0 / (1.0 + angle * angle)
