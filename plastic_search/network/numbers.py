"""Whether the settings of a network are numbers that its tensors can hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway

__all__ = ["check_numbers", "numbers_of"]


def check_numbers(spec: NetworkSpec, dtype: torch.dtype) -> None:
    """Refuse settings of cells, rules and modulations, and limits of traces, that are beyond a type of tensors.

    Raises:
        PlasticSearchError: one is; the message names its path.
    """
    kind = torch.finfo(dtype)
    for path, value in _numbers(spec):
        if isinstance(value, int) and value.bit_length() > 63:
            raise PlasticSearchError(f"{path} is a whole number of {value.bit_length()} bits, but tensors hold 64")
        if abs(value) > kind.max:
            raise PlasticSearchError(f"{path}={value:g} is beyond {dtype}, whose largest number is {kind.max:.2g}")
    for i, layer in enumerate(spec.layers):
        if _plastic(layer) and layer.bound is not Bound.NONE and not kind.tiny <= layer.limit <= kind.max:
            raise PlasticSearchError(
                f"layers.{i}.limit={layer.limit:g} is no limit for a trace of {dtype}, whose numbers lie between "
                f"{kind.tiny:.2g} and {kind.max:.2g}"
            )


def _numbers(spec: NetworkSpec) -> Iterator[tuple[str, float]]:
    """Every number among the settings of parts that compute, and of what parameters start from, with its path."""
    yield from numbers_of(spec.initial, "initial")
    for i, layer in enumerate(spec.layers):
        for name in ("cell", "rule", "modulation") if _plastic(layer) else ("cell",):
            part = getattr(layer, name)
            yield from numbers_of(part, f"layers.{i}.{name}.{type(part).__name__}")


def numbers_of(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """Every number among the settings of a part, with its path."""
    match value:
        case bool():
            return
        case int() | float():
            yield path, value
        case tuple():
            for i, each in enumerate(value):
                yield from numbers_of(each, f"{path}.{i}")
        case Part():
            for each in fields(value):
                yield from numbers_of(getattr(value, each.name), f"{path}.{each.name}")


def _plastic(layer: Layer) -> bool:
    return layer.plastic is not Pathway.NONE
