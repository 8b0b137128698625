"""A triangle around the threshold (Esser et al. 2016, arXiv 1603.08270; Bellec et al. 2018, arXiv 1803.09574)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.surrogates import Surrogate


@dataclass(frozen=True)
class Triangle(Surrogate):
    """s'(x) = height max(0, 1 - |slope x|)

    Bellec et al. take the distance relative to the threshold, slope = 1 / threshold, and height = 0.3. Units further
    from their threshold than 1 / slope get no gradient through their spikes.

    Args:
        slope: one over the half width, per unit of the membrane potential.
        height: the derivative at the threshold.
    """

    slope: float = 1.0

    def profile(self, z: Tensor) -> Tensor:
        return (1.0 - z.abs()).relu()
