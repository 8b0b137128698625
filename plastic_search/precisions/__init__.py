"""Precisions: the number format of each role, weight, alpha, trace or activity."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from plastic_search.core.part import Part

__all__ = ["Format", "Precision", "Role", "Rounding", "Spacing"]


class Role(Enum):
    """The role of a number in a network."""

    WEIGHT = "weight"
    ALPHA = "alpha"
    TRACE = "trace"
    ACTIVITY = "activity"  # what units send, and the postsynaptic activity in the plasticity rule


class Rounding(Enum):
    """How a value between two levels is rounded."""

    NEAREST = "nearest"  # to the closer level: a change of the trace below half a step is lost
    STOCHASTIC = "stochastic"  # up with a probability equal to the fraction: unbiased
    FEEDBACK = "feedback"  # to the closer level, and what that leaves over is added to the next change: nothing is lost


class Spacing(Enum):
    """Where the levels of a weight or an alpha lie."""

    EVEN = "even"  # at equal distances
    POWERS = "powers"  # at powers of two, and 0


class Format(NamedTuple):
    """Symmetric numbers of `bits` bits: 2^(bits-1) - 1 levels on either side of zero; of one bit, -1 and 1.

    Args:
        bits: of a number, its sign included.
        rounding: how a value between two levels is rounded.
        remainder: bits in which error feedback keeps what rounding leaves over, from -1/2 to 1/2 of a level.
        spacing: where the levels of a weight or an alpha lie; those of a trace and of activity are even.
    """

    bits: int
    rounding: Rounding = Rounding.NEAREST
    remainder: int = 0
    spacing: Spacing = Spacing.EVEN

    @property
    def top(self) -> int:
        """The largest code, as a multiple of the smallest."""
        if self.spacing is Spacing.POWERS:
            return 2 ** max(2 ** (self.bits - 1) - 2, 0)
        return max(2 ** (self.bits - 1) - 1, 1)

    @property
    def integer_bits(self) -> int:
        """Bits of the integers that are the codes: more than `bits` where levels are powers of two."""
        return self.bits if self.spacing is Spacing.EVEN else self.top.bit_length() + 1

    @property
    def levels(self) -> int:
        """How many values there are."""
        return 2 if self.bits == 1 else 2**self.bits - 1


@dataclass(frozen=True)
class Precision(Part):
    """The number format of each role."""

    @abstractmethod
    def format(self, role: Role) -> Format | None:
        """The format of a role; None where it stays a float."""
