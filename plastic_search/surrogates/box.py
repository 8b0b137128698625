"""A box around the threshold, in which a gradient passes: STBP (Wu et al. 2018, arXiv 1706.02609)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.surrogates import Surrogate


@dataclass(frozen=True)
class Box(Surrogate):
    """s'(x) = height where |slope x| < 1, else 0

    The paper's rectangular function of width a has slope = 2 / a and height = 1 / a. Units further from their threshold
    than 1 / slope get no gradient through their spikes.

    Args:
        slope: one over the half width, per unit of the membrane potential.
        height: the derivative where there is one.
    """

    slope: float = 2.0

    def profile(self, z: Tensor) -> Tensor:
        return (z.abs() < 1.0).to(z)
