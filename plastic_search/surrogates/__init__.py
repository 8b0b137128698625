"""Surrogate gradients: what stands for the derivative of a spike, which is 0 wherever it exists."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from plastic_search.core.part import Part, positive
from plastic_search.core.space import real

__all__ = ["Surrogate"]


@dataclass(frozen=True)
class Surrogate(Part):
    """The derivative of a spike s(x) = 1 where x > 0, else 0, in the backward pass: s'(x) = height g(slope x).

    x is the distance of a membrane potential from its threshold. A member states g alone, in `profile`. All have
    g(0) = 1, so that `height` is the derivative at the threshold whatever the member; where a paper scales its
    function otherwise, the member says by what `height` it is the paper's. Review: Neftci, Mostafa and Zenke 2019
    (arXiv 1901.09948).

    Args:
        slope: how narrow the derivative is, per unit of the membrane potential.
        height: the derivative at the threshold; 0.3 is the damping of Bellec et al. 2018 (arXiv 1803.09574).
    """

    slope: float = 1.0
    height: float = 1.0

    @classmethod
    def space(cls) -> Self:
        return cls(slope=real(0.5, 25.0, log=True))

    def check(self) -> None:
        positive(self, "slope", "height")

    @abstractmethod
    def profile(self, z: Tensor) -> Tensor:
        """g at the distances z = slope x, of any shape; no derivative is taken of it."""

    def spike(self, distance: Tensor) -> Tensor:
        """Exactly 1 where a distance from the threshold is above 0, else exactly 0; of its derivative, `profile`.

        The second term is exactly 0, and its derivative is the surrogate. Programs are captured from this line: of it,
        they compute the first term alone forward, and the surrogate alone backward. The derivative of the surrogate
        itself, as in a second derivative, is 0.

        Args:
            distance: of any shape; finite.
        """
        slope = self.height * self.profile(self.slope * distance.detach())
        return (distance > 0).to(distance) + slope * (distance - distance.detach())
