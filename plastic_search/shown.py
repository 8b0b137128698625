"""What a thing is, as plain data: a run folder, a bundle, a part, a study or a space."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from plastic_search import content, runs
from plastic_search.console import summary
from plastic_search.errors import unknown
from plastic_search.part import Part, discover, equation, field_types
from plastic_search.space import holes

__all__ = ["show"]

_AXES = ("cells", "rules", "modulations", "structures", "precisions", "tasks", "trainers")


def show(what: str) -> dict[str, Any]:
    """Everything worth knowing of the thing called `what`.

    Raises:
        PlasticSearchError: nothing is called so, or a bundle or a run folder is damaged.
    """
    path = Path(what)
    if (path / "manifest.json").is_file():
        from plastic_search.exports.manifest import read

        return read(path)
    if path.is_dir():
        return summary(runs.load(path))
    parts = {name: kind for axis in _AXES for name, kind in discover(f"plastic_search.{axis}").items()}
    if what in parts:
        return _part(parts[what])
    stem = path.stem
    for shelf in ("studies", "search_spaces"):
        if path.suffix == ".py" or (stem in content.names(shelf) and path.parent.name in ("", ".", shelf)):
            return _space(content.value(shelf, what))
    raise unknown(
        "part, study, space or folder", what, [*parts, *content.names("studies"), *content.names("search_spaces")]
    )


def _part(kind: type[Part]) -> dict[str, Any]:
    types = field_types(kind)
    settings = {f.name: f"{getattr(types[f.name], '__name__', types[f.name])} = {f.default}" for f in fields(kind)}
    return {"name": kind.__name__, "equation": equation(kind), "file": kind.__module__} | settings


def _space(value: Part) -> dict[str, Any]:
    """Every open address with what may stand there."""
    question = getattr(value, "question", "")
    open_addresses = {address: str(hole) for address, hole in holes(getattr(value, "space", value))}
    return ({"question": question} if question else {}) | open_addresses
