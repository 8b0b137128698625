"""The derivative of a logistic sigmoid (Zenke and Vogels 2021, Neural Computation 33:899)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.surrogates import Surrogate


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """s'(x) = height 4 f(slope x) (1 - f(slope x)), f(z) = 1 / (1 + exp(-z))

    The derivative of f(slope x) itself where height = slope / 4.

    Args:
        slope: how narrow it is, per unit of the membrane potential.
        height: the derivative at the threshold.
    """

    slope: float = 4.0

    def profile(self, z: Tensor) -> Tensor:
        f = z.sigmoid()
        return 4.0 * f * (1.0 - f)
