"""The derivative of a fast sigmoid, x / (1 + |x|): SuperSpike (Zenke and Ganguli 2018, arXiv 1705.11146)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.surrogates import Surrogate


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """s'(x) = height / (1 + |slope x|)^2

    The paper's partial derivative (1 + |h|)^-2, with h = beta (U - threshold), where beta is `slope` and `height` 1.

    Args:
        slope: beta, per unit of the membrane potential; the derivative is a quarter of `height` at 1 / slope.
        height: the derivative at the threshold.
    """

    slope: float = 10.0

    def profile(self, z: Tensor) -> Tensor:
        root = 1.0 / (1.0 + z.abs())
        return root * root
