"""Weight, alpha, trace and activity as integers, each with its own bit width (straight-through: Hubara et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.core.errors import PlasticSearchError
from plastic_search.precisions import Format, Precision, Role, Rounding


@dataclass(frozen=True)
class Integer(Precision):
    """q(x) = s round(x / s), s = max|x| / (2^(bits-1) - 1); for trace and activity, max|x| is the limit, and 1

    A weight or an alpha of 1 bit is s sign(x), s the mean magnitude, and its gradient is 0 where |x| > 1, so that
    training keeps it within [-1, 1] (Hubara et al. 2016); what is exactly 0, as a structure leaves it, stays 0.

    Activity is clipped to [-1, 1] first. In 2 bits it is ternary, -1, 0 or 1; in 1 bit binary, -1 below 0, else 1, so
    that a unit that receives nothing sends 1. What units send is rounded in all layers but the last, whose output is
    the network's answer; the network's input is not, and spikes, 0 or 1, stay as they are in any number of bits.

    Error feedback (`rounding="feedback"`) keeps what rounding leaves over, and adds it to the next change (Seide et al.
    2014, for gradients): H is read in `trace` bits, and H and what is left over are kept in `trace + remainder` bits,
    which `LayerState.trace` holds together. So changes below half a level add up, where rounding to nearest loses them.

    Args:
        weight, alpha, trace: bits of each, to 16, from 1, of the trace from 2; None leaves it in float.
        rounding: how the trace is rounded; all else is rounded to nearest.
        activity: bits of what units send, and of the postsynaptic activity in the rule, 1 to 16; None for float.
        remainder: bits of what error feedback keeps of each synapse, 1 to 8; with the trace at most 16. Other ways of
            rounding keep nothing.
    """

    weight: int | None = 8
    alpha: int | None = 8
    trace: int | None = 8
    rounding: Rounding = Rounding.STOCHASTIC
    activity: int | None = None
    remainder: int = 4

    def check(self) -> None:
        for role in Role:
            bits, least = getattr(self, role.value), 2 if role is Role.TRACE else 1
            if bits is not None and not least <= bits <= 16:
                raise PlasticSearchError(f"Integer.{role.value} wants {least} to 16 bits, but got {bits}")
        if not 1 <= self.remainder <= 8:
            raise PlasticSearchError(f"Integer.remainder wants 1 to 8 bits, but got {self.remainder}")
        if self.rounding is Rounding.FEEDBACK and (self.trace or 0) + self.remainder > 16:
            raise PlasticSearchError(
                f"error feedback keeps trace and remainder in at most 16 bits together, but got {self.trace} and "
                f"{self.remainder}"
            )

    def format(self, role: Role) -> Format | None:
        bits = getattr(self, role.value)
        if bits is None:
            return None
        if role is not Role.TRACE:
            return Format(bits)
        return Format(bits, self.rounding, self.remainder if self.rounding is Rounding.FEEDBACK else 0)
