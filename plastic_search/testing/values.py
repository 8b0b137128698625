"""Promises of every part."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace

from plastic_search.core.part import NO_EQUATION, Part, equation
from plastic_search.core.space import search_parameters
from plastic_search.testing.checks import keep, promise, variants

__all__ = ["part_promises"]


def part_promises(kind: type[Part] | Part) -> None:
    """Check that a part is a frozen value with a JSON form and a docstring."""
    for part in variants(kind):
        with promise(part, "it is a frozen value: equal to its copy, hashable, immutable"):
            copy = replace(part)
            keep(part == copy and hash(part) == hash(copy), "its copy is not equal to it, or hashes differently")
            keep(_frozen(part), "a field of it can be set; is it a dataclass(frozen=True) of its own?")
        with promise(part, "it survives a round trip through JSON"):
            keep(_round_trip(part) == part, f"it came back as {_round_trip(part)}")
        with promise(part, "its docstring begins with its equation, or a summary"):
            keep(equation(type(part)) != NO_EQUATION, "it has no docstring of its own")
        with promise(part, "`space()`, where there is one, is of its kind, with search parameters, and survives JSON"):
            space = part.space() if hasattr(part, "space") else None
            if space is not None:
                keep(isinstance(space, type(part)) and any(search_parameters(space)), f"it is {space}")
                keep(_round_trip(space) == space, f"it came back as {_round_trip(space)}")


def _round_trip(part: Part) -> Part:
    return type(part).from_json(json.loads(json.dumps(part.to_json(), allow_nan=False)))


def _frozen(part: Part) -> bool:
    if "__dataclass_params__" not in vars(type(part)):
        return False
    for f in fields(part):
        try:
            setattr(part, f.name, getattr(part, f.name))
        except FrozenInstanceError:
            continue
        return False
    return True
