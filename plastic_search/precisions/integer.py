"""Weight, alpha and trace as symmetric integers, each with its own bit width (straight-through: Hubara et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.core.errors import PlasticSearchError
from plastic_search.precisions import Format, Precision, Role, Rounding


@dataclass(frozen=True)
class Integer(Precision):
    """q(x) = s round(x / s), s = max|x| / (2^(bits-1) - 1); for the trace, s = limit / (2^(bits-1) - 1)

    Args:
        weight, alpha, trace: bits of each, 2 to 16; None leaves it in float.
        rounding: how the trace is rounded; weight and alpha are rounded to nearest.
    """

    weight: int | None = 8
    alpha: int | None = 8
    trace: int | None = 8
    rounding: Rounding = Rounding.STOCHASTIC

    def check(self) -> None:
        for role in Role:
            bits = getattr(self, role.value)
            if bits is not None and not 2 <= bits <= 16:
                raise PlasticSearchError(f"Integer.{role.value} wants 2 to 16 bits, but got {bits}")

    def format(self, role: Role) -> Format | None:
        bits = getattr(self, role.value)
        if bits is None:
            return None
        return Format(bits, self.rounding if role is Role.TRACE else Rounding.NEAREST)
