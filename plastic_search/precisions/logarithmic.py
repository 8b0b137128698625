"""Weights and alphas that are powers of two, so that a product is a shift (LogQuant of Hubara et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.core.errors import PlasticSearchError
from plastic_search.precisions import Format, Precision, Role, Spacing


@dataclass(frozen=True)
class Logarithmic(Precision):
    """q(x) = sign(x) 2^e, e = clip(round(log2 |x|), E - 2^(bits-1) + 2, E), E = round(log2 max|x|)

    Below half the smallest of these powers, q(x) = 0. The gradient is straight-through. Trace and activity stay floats.

    Args:
        weight, alpha: bits of each, the sign included, 2 to 5; None leaves it in float. In 2 bits there are -2^E, 0 and
            2^E; in 5 bits powers from 2^(E-14). Exports hold them as multiples of the smallest power, of 8 or 16 bits.
    """

    weight: int | None = 4
    alpha: int | None = 4

    def check(self) -> None:
        for role in (Role.WEIGHT, Role.ALPHA):
            bits = getattr(self, role.value)
            if bits is not None and not 2 <= bits <= 5:
                raise PlasticSearchError(f"Logarithmic.{role.value} wants 2 to 5 bits, but got {bits}")

    def format(self, role: Role) -> Format | None:
        bits = getattr(self, role.value, None)
        return None if bits is None else Format(bits, spacing=Spacing.POWERS)
