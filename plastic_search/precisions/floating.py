"""Floating point: no rounding beyond that of the tensors' own type."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.precisions import Format, Precision, Role


@dataclass(frozen=True)
class Floating(Precision):
    """q(x) = x"""

    def format(self, role: Role) -> Format | None:
        return None
