"""The command `show`: a run folder, a bundle, a part, a study or a search space as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Any

from plastic_search.cli.console import summary
from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import OPEN_SETS, Part, SearchParameter, discover, equation, field_types, open_set, source
from plastic_search.core.space import Choice, children, search_parameters
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.records import run

__all__ = ["show"]


def show(what: str) -> dict[str, Any]:
    """A description of the folder, part, study or search space `what`.

    Raises:
        PlasticSearchError: it does not exist, or a bundle or a run folder is damaged.
    """
    path = Path(what)
    if (path / "manifest.json").is_file():
        from plastic_search.export.manifest import read

        return read(path)
    if path.is_dir():
        return summary(run.load(path))
    if path.is_file() and path.suffix != ".py":
        raise PlasticSearchError(f"{path} is a file; name a folder, a part, a study or a space")
    if path.suffix != ".py" and path.parent.name not in ("", "studies", "search_spaces"):
        known = sorted(p.parent.as_posix() for p in path.parent.glob(f"*/{run.STUDY}"))
        beside = f"{path.parent} holds {', '.join(known)}" if known else "`plastic-search run STUDY` makes one"
        raise PlasticSearchError(f"there is no folder {path}; {beside}")
    parts = {name: kind for axis in OPEN_SETS for name, kind in discover(open_set(axis)).items()}
    if what in parts:
        return _part(parts[what])
    stem = path.stem
    for category in ("studies", "search_spaces"):
        if path.suffix == ".py" or (stem in loading.names(category) and path.parent.name in ("", ".", category)):
            return _space(loading.value(category, what))
    raise unknown(
        "part, study, space or folder", what, [*parts, *loading.names("studies"), *loading.names("search_spaces")]
    )


def _part(kind: type[Part]) -> dict[str, Any]:
    types = field_types(kind)
    settings = {
        f.name: getattr(types[f.name], "__name__", str(types[f.name]))
        + ("" if f.default is MISSING else f" = {f.default}")
        for f in fields(kind)
    }
    return {"name": kind.__name__, "equation": equation(kind), "file": source(kind)} | settings


def _space(value: Part) -> dict[str, Any]:
    """Every searched path with its range, and under `settings` every other path with its value.

    Paths of a study's space leave out `space.`, as they may on the command line.
    """
    space = getattr(value, "space", value)
    question = {"question": str(getattr(value, "question", ""))} if hasattr(value, "question") else {}
    searched = {path: str(parameter) for path, parameter in search_parameters(space)}
    around = dict(_settings(value)) if space is not value else {}
    settings = {at: value for at, value in around.items() if at.split(".")[0] not in ("space", "question")}
    return question | searched | {"settings": settings | dict(_settings(space))}


def _settings(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every path below `at` that is not searched, with its value as `--set` takes it."""
    for name, each in children(value):
        here = f"{at}.{name}" if at else name
        nest = isinstance(each, SearchParameter | Layer | NetworkSpec) or _parts_in(each)
        if not nest and not isinstance(value, Choice):  # an option is set at its choice's path
            yield here, _formatted(each)
        if nest or isinstance(each, Part):
            yield from _settings(each, here)


def _parts_in(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(v, Part) for v in value)


def _formatted(value: Any) -> str:
    if isinstance(value, Part):
        return type(value).__name__
    if isinstance(value, Enum | str | Path):
        return str(value.value if isinstance(value, Enum) else value)
    return json.dumps([v.value if isinstance(v, Enum) else v for v in value] if isinstance(value, tuple) else value)
