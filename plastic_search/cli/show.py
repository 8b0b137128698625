"""The command `show`: a run folder, a bundle, a part, a study or a search space as plain data."""

from __future__ import annotations

import importlib
import inspect
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

from plastic_search.cli.console import summary
from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import (
    OPEN_SETS,
    Part,
    SearchParameter,
    discover,
    equation,
    field_types,
    meanings,
    open_set,
    plain,
    source,
)
from plastic_search.core.space import Choice, children, search_parameters
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.records import run

__all__ = ["Shown", "asked", "default_text", "show"]

_VALUES = ("experiments.study", "experiments.sweep", "experiments.bench.benchmark", "report.report")  # users make them
_MOST = 6  # lines of a summary for the members of one tuple
_SCREEN = 20  # lines for what is asked; of more, those for what is inside an option are counted


class Shown(NamedTuple):
    """What is shown, and what of it may be cut to a line each: of a study its settings, of a bundle everything."""

    data: dict[str, Any]
    short: list[tuple[str, str]] | None = None  # (path, text)


def show(what: str) -> Shown:
    """A description of the folder, part, study or search space `what`.

    Raises:
        PlasticSearchError: it does not exist, or a bundle or a run folder is damaged.
    """
    path = Path(what)
    if (path / "manifest.json").is_file():
        from plastic_search.export.manifest import read

        content = read(path)
        return Shown(content, [(key, json.dumps(value)) for key, value in content.items()])
    if path.is_dir():
        return Shown(summary(run.load(path)))
    if path.is_file() and path.suffix != ".py":
        raise PlasticSearchError(f"{path} is a file; name a folder, a part, a study or a space")
    if path.suffix != ".py" and path.parent.name not in ("", "studies", "search_spaces"):
        known = sorted(p.parent.as_posix() for p in path.parent.glob(f"*/{run.STUDY}"))
        beside = f"{path.parent} holds {', '.join(known)}" if known else "`plastic-search run STUDY` makes one"
        raise PlasticSearchError(f"there is no folder {path}; {beside}")
    kinds = _kinds()
    if what in kinds:
        return Shown(_part(kinds[what]))
    stem = path.stem
    for category in ("studies", "search_spaces"):
        if path.suffix == ".py" or (stem in loading.names(category) and path.parent.name in ("", ".", category)):
            value, about = loading.value(category, what), loading.about(loading.find(category, what))
            return Shown({"about": about} | _space(value), list(_in_short(value)))
    raise unknown(
        "part, study, space or folder", what, [*kinds, *loading.names("studies"), *loading.names("search_spaces")]
    )


def _kinds() -> dict[str, type[Part]]:
    """Every part, and every other value that users make, such as `Layer` and `Study`, by name."""
    for name in _VALUES:
        importlib.import_module(f"plastic_search.{name}")
    for axis in OPEN_SETS:
        discover(open_set(axis))
    shown = {name: kind for name, kind in Part.kinds.items() if not issubclass(kind, SearchParameter)}
    return {name: kind for name, kind in shown.items() if not inspect.isabstract(kind)}


def _part(kind: type[Part]) -> dict[str, Any]:
    """Name, equation and file of a part, and under `settings` the type, default and meaning of each field.

    A default is plain JSON data, as in `Part.to_json`; a field that has none has no key `default`.
    """
    types, means = field_types(kind), meanings(kind)
    settings: dict[str, dict[str, Any]] = {}
    for f in fields(kind):
        default = {} if f.default is MISSING else {"default": plain(f.default)}
        settings[f.name] = {"type": _type(types[f.name])} | default | {"meaning": means[f.name]}
    return {"name": kind.__name__, "equation": equation(kind), "file": source(kind), "settings": settings}


def default_text(setting: dict[str, Any]) -> str:
    """A part's setting's default as `--set` takes it; a part by its name alone, "" for none."""
    return _text(setting["default"]) if "default" in setting else ""


def asked(data: dict[str, Any]) -> list[tuple[str, str]]:
    """A line for each of `data`; of many, search parameters inside an option of others are counted in its line."""
    rows = {key: value if isinstance(value, str) else json.dumps(value) for key, value in data.items()}
    around = {key: next((other for other in rows if key.startswith(f"{other}.")), "") for key in rows}
    if len(rows) <= _SCREEN:
        return list(rows.items())
    inside = Counter(around.values())
    more = {key: f" ({inside[key]} inside)" if inside[key] else "" for key in rows}
    return [(key, value + more[key]) for key, value in rows.items() if not around[key]]


def _text(value: Any) -> str:
    match value:
        case {"kind": str(name)}:
            return name
        case str():
            return value
        case [dict(), *_]:
            return f"[{', '.join(map(_text, value))}]"
    return json.dumps(value)


def _type(kind: Any) -> str:
    """A field's type in words: `float`, `int or None`, `tuple of Case`, `one of none, hard, soft`."""
    if get_origin(kind) is tuple:
        return f"tuple of {_type(get_args(kind)[0])}"
    if get_args(kind):
        return " or ".join(map(_type, get_args(kind)))
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    return "None" if kind is NoneType else getattr(kind, "__name__", str(kind))


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
    """A value as `--set` takes it; a part by its name alone."""
    if isinstance(value, Part):
        return type(value).__name__
    if isinstance(value, Enum | str | Path):
        return str(value.value if isinstance(value, Enum) else value)
    if _parts_in(value):
        return f"[{', '.join(map(_formatted, value))}]"
    return json.dumps([v.value if isinstance(v, Enum) else v for v in value] if isinstance(value, tuple) else value)


def _in_short(value: Part, at: str = "") -> Iterator[tuple[str, str]]:
    """A study or a search space in a line for each of its fields, layers, cases and other members, with their paths."""
    for name, each in children(value):
        here = f"{at}.{name}" if at else name
        if isinstance(each, NetworkSpec):
            yield from _in_short(each, "" if name == "space" else here)
        elif _parts_in(each):
            yield from ((f"{here}.{i}", _line(member)) for i, member in enumerate(each[:_MOST]))
            if len(each) > _MOST:
                yield here, f"and {len(each) - _MOST} more"
        elif not isinstance(each, SearchParameter):
            yield here, _line(each)


def _line(value: Any) -> str:
    """A value in a line: a part with the fields that are not at their defaults; `?` for what is searched."""
    if isinstance(value, SearchParameter):
        return "?"
    if _parts_in(value):
        return f"({', '.join(map(_line, value))})"
    if not isinstance(value, Part):
        return _formatted(value)
    given = [(f.name, getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) != f.default]
    inside = ", ".join(_line(each) if name == "name" else f"{name}={_line(each)}" for name, each in given)
    return f"{type(value).__name__}({inside})" if inside else type(value).__name__
