"""A warning where a network is built with a rule whose equation is not valid in its layer."""

from __future__ import annotations

import warnings

from plastic_search.network.spec import Bound, NetworkSpec, Pathway
from plastic_search.rules import Circumstances
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward

__all__ = ["DoubtfulRule", "warn_of_doubts"]

_COMPLETE = (Dense, FeedForward)  # structures in which every synapse exists
_warned: set[str] = set()


class DoubtfulRule(UserWarning):
    """A rule's equation is not valid where it is used."""


def warn_of_doubts(spec: NetworkSpec) -> None:
    """Warn, once, of each way in which a rule does not fit its layer.

    Warns:
        DoubtfulRule: the message names layer, rule, reason and remedy.
    """
    for i, layer in enumerate(spec.layers):
        if layer.plastic is Pathway.NONE:
            continue
        where = Circumstances(
            signed=layer.cell.signed,
            signed_rate=layer.modulation.signed,
            bounded=layer.bound in (Bound.HARD, Bound.SOFT),
            complete=isinstance(layer.structure, _COMPLETE),
        )
        for doubt in layer.rule.doubts(where):
            message = f"layers.{i}.rule={type(layer.rule).__name__} is used where it is not valid: {doubt}"
            if message not in _warned:
                _warned.add(message)
                warnings.warn(message, DoubtfulRule, stacklevel=3)  # at the caller of `Network`, or of `run`
