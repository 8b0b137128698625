"""The shapes of the JSON files of a run folder, and the one check that data has the shape its annotations state."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, NamedTuple, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.printable import printable

__all__ = ["COMPARISON", "SWEEP", "CaseChoices", "Graph", "Spec", "SweepChoices", "conform", "study_shape"]

COMPARISON, SWEEP = "plastic_search/comparison/1", "plastic_search/sweep/2"  # schemas of study.json
_LARGEST = 2**63  # whole numbers are smaller
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}
_NAMES |= {list: "a list", type(None): "null"}


class _TaskShape(TypedDict, total=False):
    kind: str
    about: str
    score_name: str
    chance: float | None
    source: str


class _PartShape(TypedDict):
    axis: str
    equation: str
    source: str


class _Parameter(TypedDict, total=False):
    kind: str
    options: list[str]
    low: float
    high: float
    log: bool


class _Command(TypedDict, total=False):
    study: str
    sets: list[str]
    parts: list[str]
    out: str


class _Needed(TypedDict):
    name: str
    question: str
    study: dict[str, Any]
    trials: int


class _Common(_Needed, total=False):
    schema: str
    seeds: list[int]
    versions: dict[str, str]
    machine: dict[str, Any]
    code: str
    created: str
    command: _Command
    own: dict[str, str]
    data: dict[str, str]
    same: dict[str, str]


class _StudyFile(_Common, total=False):
    """study.json of a study; versions may add keys."""

    task: _TaskShape
    trainer: dict[str, Any]
    trial_seeds: list[int]
    objectives: list[str]
    parts: dict[str, _PartShape]
    search_parameters: dict[str, _Parameter]


class _CaseNeeded(TypedDict):
    name: str
    label: str
    about: str
    group: str
    at: float | None


class _CaseShape(_CaseNeeded, total=False):
    task: dict[str, Any] | None


class _MetricShape(TypedDict):
    name: str
    label: str
    better: str
    unit: str
    limit: float | None
    published: dict[str, str]


class _Compared(TypedDict):
    cases: list[_CaseShape]
    metrics: list[_MetricShape]
    reference: str
    axis: str
    floor: dict[str, float]
    notes: list[str]


class _ComparisonFile(_Common, _Compared):
    """study.json of a comparison, whose cases may have tasks of their own."""

    task: _TaskShape


class _WholeTask(TypedDict):
    kind: str
    about: str
    score_name: str
    chance: float | None


class _SweepFile(_Common, _Compared):
    """study.json of a sweep."""

    task: _WholeTask
    ours: str
    budget: str


class CaseChoices(TypedDict, total=False):
    """The choices of a run of a comparison."""

    group: str
    at: float | None


class SweepChoices(TypedDict):
    """The choices of a run of a sweep."""

    group: str
    at: float


class _LayerShape(TypedDict, total=False):
    kind: str
    units: int
    cell: dict[str, Any]
    rule: dict[str, Any]
    modulation: dict[str, Any]
    structure: dict[str, Any]
    plastic: str
    bound: str
    limit: float
    alpha: str
    skip: list[int]


class Spec(TypedDict, total=False):
    """The network of a run; none of an infeasible one. What is in its parts is read where they are made."""

    kind: str
    layers: list[_LayerShape]
    precision: dict[str, Any]


class _Named(TypedDict):
    id: str | int


class _Node(_Named, total=False):
    layer: int
    index: int


class _Ends(TypedDict):
    source: str | int
    target: str | int


class _Edge(_Ends, total=False):
    weight: float
    alpha: float
    plastic: bool


class Graph(TypedDict):
    """A learned graph: node-link JSON, of which nodes and edges may have further keys."""

    nodes: list[_Node]
    edges: list[_Edge]


def study_shape(schema: Any) -> type:
    """What study.json must look like under its `schema`; a comparison has cases, a study has not."""
    return {COMPARISON: _ComparisonFile, SWEEP: _SweepFile}.get(str(schema), _StudyFile)


def conform(data: Any, kind: Any, where: str, remedy: str, path: str = "") -> None:
    """Check JSON data against annotations: of a dataclass, a TypedDict, a NamedTuple (a list in JSON), or plain types.

    Args:
        kind: what it must be.
        where: the file, and the line where there are several.
        remedy: what to do where the data is something else.
        path: of the data in the file, such as `metrics.score`.

    Raises:
        PlasticSearchError: it is something else; the message names the file, the line and the key.
    """

    def refuse(fault: str) -> PlasticSearchError:
        return PlasticSearchError(f"{where}: {printable(path, keep='') or 'it'} {fault}; {remedy}")

    if kind is Any:
        return
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    fitting = next((each for each in options if _is(data, each)), None)
    if fitting is None:
        wanted = " or ".join(_NAMES[_json_type(each)] for each in options)
        raise refuse(f"must be {wanted}, but is {_shown(data)}")
    if isinstance(data, float) and not math.isfinite(data):
        raise refuse(f"must be finite, but is {data}")
    if type(data) is int and not -_LARGEST <= data < _LARGEST:
        raise refuse("must be a number of at most 63 bits, but is larger")
    for name, value, inner in _inside(data, fitting, refuse):
        conform(value, inner, where, remedy, f"{path}.{name}" if path else name)


class _Record(NamedTuple):
    """The fields of a dataclass, TypedDict or NamedTuple."""

    types: dict[str, Any]
    needed: frozenset[str]
    closed: bool  # whether there may be no others


@cache
def _record(kind: Any) -> _Record | None:
    if is_typeddict(kind):
        return _Record(get_type_hints(kind), frozenset(kind.__required_keys__), False)
    if is_dataclass(kind):
        needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
        return _Record(get_type_hints(kind), frozenset(needed), True)
    if hasattr(kind, "_fields"):
        return _Record(get_type_hints(kind), frozenset(kind._fields) - kind._field_defaults.keys(), True)
    return None


def _inside(data: Any, kind: Any, refuse: Callable[[str], PlasticSearchError]) -> list[tuple[str, Any, Any]]:
    """What is inside of JSON data: name, value, and what that must be."""
    record = _record(kind)
    if record is None:
        *_, inner = get_args(kind) or (Any,)
        named = enumerate(data) if isinstance(data, list) else data.items() if isinstance(data, dict) else ()
        return [(str(name), value, inner) for name, value in named]
    if isinstance(data, list):
        if not len(record.needed) <= len(data) <= len(record.types):
            raise refuse(f"must have {len(record.needed)} to {len(record.types)} values, but has {len(data)}")
        return [
            (str(i), value, inner) for i, (value, inner) in enumerate(zip(data, record.types.values(), strict=False))
        ]
    lacking = sorted(record.needed - data.keys())
    if lacking:
        raise refuse(f"lacks {lacking[0]!r}")
    odd = sorted(data.keys() - record.types.keys())
    if odd and record.closed:
        raise refuse(f"has a key {odd[0]!r}, which this version does not know")
    return [(name, data[name], inner) for name, inner in record.types.items() if name in data]


def _is(data: Any, kind: Any) -> bool:
    wanted = _json_type(kind)
    if wanted is float:
        return type(data) in (int, float)
    return type(data) is wanted


def _json_type(kind: Any) -> type:
    """The type that JSON data of an annotation has in Python."""
    kind = get_origin(kind) or kind
    if kind is None:
        return type(None)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return str
    if hasattr(kind, "_fields"):
        return list
    return dict if is_typeddict(kind) or is_dataclass(kind) else kind


def _shown(data: Any) -> str:
    """A value in a few words."""
    if isinstance(data, dict | list):
        return _NAMES[type(data)]
    text = printable(repr(data), keep="")
    return text if len(text) <= 40 else f"{text[:37]}..."
