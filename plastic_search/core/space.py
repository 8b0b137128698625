"""Search spaces: a spec in which some values are search parameters.

`fill` replaces each search parameter by a trial's suggestion. Its path (`layers.1.rule.Hebb.decay`) is its name in
Optuna, its column in tables and reports, and its name in `--set`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from enum import Enum
from typing import Any, Protocol, get_args, get_origin

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part, SearchParameter, coerce, discover, field_types

__all__ = [
    "children", "choice", "each", "fill", "fillings", "integer", "override", "possible", "real", "search_parameters",
]  # fmt: skip

_DRAWS = 300  # fillings that are tried before a space is called impossible


class Trial(Protocol):
    """What `fill` asks of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


@dataclass(frozen=True)
class Choice(SearchParameter):
    """One of `options`, which may hold search parameters of their own.

    Args:
        options: values, enum members or parts, all different.
    """

    options: tuple[Any, ...]

    def check(self) -> None:
        if not self.options or len(set(self.labels)) < len(self.options):
            raise PlasticSearchError(f"a choice needs distinct options, but got {self.labels}")

    def standing_for(self, kind: Any, where: str) -> Choice:
        """The same choice, each option as the field wants it: a name becomes the enum's member."""
        return Choice(tuple(coerce(o, kind, f"{where}, option {i}") for i, o in enumerate(self.options)))

    @property
    def labels(self) -> tuple[str, ...]:
        """Each option's class name, or its repr where two options share a class."""
        names = [_label(o) for o in self.options]
        return tuple(n if names.count(n) == 1 else repr(o) for n, o in zip(names, self.options, strict=True))

    def __str__(self) -> str:
        return f"one of {', '.join(self.labels)}"

    def option(self, label: str, at: str) -> Any:
        if label not in self.labels:
            raise unknown(f"option of {at}", label, self.labels)
        return self.options[self.labels.index(label)]


@dataclass(frozen=True)
class _Range(SearchParameter):
    """A number from `low` to `high`, both included, drawn evenly or on a logarithmic scale.

    Args:
        low, high: the ends of the range, both included.
        log: whether values are drawn evenly on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False

    def check(self) -> None:
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise PlasticSearchError(
                f"a range needs low <= high, and low > 0 where log is on; got {self.low} to {self.high}"
            )

    def __str__(self) -> str:
        return f"{self.low} to {self.high}{', log scale' if self.log else ''}"

    def standing_for(self, kind: Any, where: str) -> SearchParameter:
        coerce(self.low, kind, where)
        return self


@dataclass(frozen=True)
class IntegerRange(_Range):
    """A whole number from `low` to `high`."""

    low: int
    high: int


@dataclass(frozen=True)
class RealRange(_Range):
    """A real number from `low` to `high`."""


# Search parameters stand where values will stand, so to a type checker they are values.
def choice(*options: Any) -> Any:
    """One of `options`: values, enum members, or parts, which may hold search parameters of their own.

    Example:
        >>> space = NetworkSpec((Layer(rule=choice(Oja(), Hebb(decay=real(0.0, 1.0)))),))
    """
    return Choice(options)


def integer(low: int, high: int, *, log: bool = False) -> Any:
    """A whole number from `low` to `high`, both included."""
    return IntegerRange(low, high, log)


def real(low: float, high: float, *, log: bool = False) -> Any:
    """A real number from `low` to `high`."""
    return RealRange(low, high, log)


def each(base: type[Part]) -> Any:
    """Any member of an open set: `each(Rule)` searches all rules, those of users among them.

    A member's class method `space()` returns it with the search parameters of its own fields; without one, the member
    with its defaults is the option.
    """
    kinds = discover(base).values()
    return Choice(tuple(kind.space() if hasattr(kind, "space") else kind() for kind in kinds))  # type: ignore[attr-defined]


def fill(space: Any, trial: Trial, at: str = "") -> Any:
    """`space` with every search parameter replaced by the trial's suggestion."""
    match space:
        case Choice(options):
            label = trial.suggest_categorical(at, space.labels)
            return fill(options[space.labels.index(label)], trial, f"{at}.{label}")
        case IntegerRange(low, high, log):
            return trial.suggest_int(at, low, high, log=log)
        case RealRange(low, high, log):
            return trial.suggest_float(at, low, high, log=log)
        case Part():
            return replace(space, **{n: fill(v, trial, _join(at, n)) for n, v in _fields(space)})
        case tuple():
            return tuple(fill(v, trial, _join(at, str(i))) for i, v in enumerate(space))
    return space


def search_parameters(space: Any, at: str = "") -> Iterator[tuple[str, SearchParameter]]:
    """Every search parameter with its path, depth first."""
    if isinstance(space, SearchParameter):
        yield at, space
    for name, value in children(space):
        yield from search_parameters(value, _join(at, name))


def possible(space: Any, fits: Callable[[Any], object] = lambda filled: None, at: str = "") -> None:
    """Refuse a space of which nothing can be built, or a part inside it, whatever its search parameters are.

    Args:
        fits: raises where a filling of the whole space cannot be used.

    Raises:
        PlasticSearchError: with the message of the part that refuses, and its path.
    """
    for name, value in children(space):
        if any(search_parameters(value)):
            possible(value, at=_join(at, name))
    if isinstance(space, SearchParameter) or not isinstance(space, Part):
        return
    refusals: set[str] = set()
    for seed in range(_DRAWS):
        try:
            fits(fill(space, _Drawn(seed)))
            return
        except PlasticSearchError as error:
            refusals.add(str(error))
    where, first = f"{at}: " if at else "", min(refusals)
    if len(refusals) == 1:
        raise PlasticSearchError(f"{where}{first}")
    raise PlasticSearchError(
        f"{where}nothing can be built here, with {_DRAWS} fillings tried; one was refused: {first}"
    )


def fillings(space: Any, count: int) -> Iterator[Any]:
    """Those of `count` random fillings of a space that can be built."""
    for seed in range(count):
        with suppress(PlasticSearchError):
            yield fill(space, _Drawn(seed))


class _Drawn:
    """A trial whose every suggestion is drawn at random."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self._rng.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return self._rng.randint(low, high)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self._rng.uniform(low, high)


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """The values inside a part, a choice or a tuple, each by the next word of its path."""
    if isinstance(value, Choice):
        yield from zip(value.labels, value.options, strict=True)
    elif isinstance(value, Part) and not isinstance(value, SearchParameter):
        yield from _fields(value)
    elif isinstance(value, tuple):
        yield from ((str(i), v) for i, v in enumerate(value))


def override(value: Any, path: str, text: Any, within: str = "") -> Any:
    """Return `value` with the value at `path` replaced by another one, or by `text`, read as JSON or as a name.

    A part is named by its class (`Oja`), or written as JSON; an option of a choice by its label.

    Args:
        within: a beginning of paths, such as `space.`, that the user may leave out, as a suggestion then does.

    Raises:
        PlasticSearchError: nothing has this path, and the message names the nearest one; or the value is not of its
            type.
    """
    try:
        return _override(value, Any, path.split("."), text, path)
    except _NoSuchPathError as error:
        known = {known.removeprefix(within) for known in _paths(value)}
        near = get_close_matches(path.removeprefix(within), sorted(known), n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise PlasticSearchError(f"{error}.{guess} The path was {path.removeprefix(within)!r}.") from None


class _NoSuchPathError(PlasticSearchError):
    """Nothing has a path."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no {what} is called {name!r}; known: {', '.join(sorted(known))}")


def _paths(value: Any, at: str = "") -> Iterator[str]:
    """The path of everything inside a value."""
    for name, inner in children(value):
        here = _join(at, name)
        yield here
        yield from _paths(inner, here)


def _override(value: Any, kind: Any, steps: list[str], text: Any, path: str) -> Any:
    if not steps:
        return _parse(value, kind, text, path) if isinstance(text, str) else coerce(text, kind, path)
    head, *rest = steps
    if isinstance(value, Choice):
        at = next((n for n in range(len(steps), 0, -1) if ".".join(steps[:n]) in value.labels), 1)
        label, rest = ".".join(steps[:at]), steps[at:]
        chosen = value.option(label, path)
        new = _override(chosen, kind, rest, text, path)
        return Choice(tuple(new if o is chosen else o for o in value.options))
    if isinstance(value, tuple):
        if not head.isdigit() or int(head) >= len(value):
            raise _NoSuchPathError("index", head, [str(i) for i in range(len(value))])
        i, inner = int(head), get_args(kind)[0] if get_origin(kind) is tuple else type(value[int(head)])
        return (*value[:i], _override(value[i], inner, rest, text, path), *value[i + 1 :])
    if isinstance(value, Part):
        types = field_types(type(value))
        if head in value.renamed:
            raise PlasticSearchError(
                f"{path}: {type(value).__name__}.{head} is now called {type(value).__name__}.{value.renamed[head]}"
            )
        if head not in types:
            raise _NoSuchPathError(f"field of {type(value).__name__}", head, types)
        return replace(value, **{head: _override(getattr(value, head), types[head], rest, text, path)})
    raise PlasticSearchError(f"path {path!r} goes on after a plain value: nothing is called {head!r} there")


def _parse(value: Any, kind: Any, text: str, path: str) -> Any:
    if isinstance(value, Choice) and text in value.labels:
        return value.option(text, path)
    try:
        data = json.loads(text)
    except ValueError as error:
        if text.lstrip()[:1] in ("{", "[", '"'):
            raise PlasticSearchError(f"{path} was given broken JSON, {text!r}: {error}") from None
        data = _listed(text) if get_origin(kind) is tuple else text
    if isinstance(data, str) and isinstance(kind, type) and issubclass(kind, Part):
        data = {"kind": data}
    if isinstance(data, dict) and isinstance(kind, type) and issubclass(kind, Part):
        return kind.from_json(data)
    return coerce(data, kind if kind is not Any else type(value), path)


def _label(option: Any) -> str:
    if isinstance(option, Part):
        return type(option).__name__
    return str(option.value) if isinstance(option, Enum) else str(option)


def _fields(part: Part) -> Iterator[tuple[str, Any]]:
    return ((f.name, getattr(part, f.name)) for f in fields(part))


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _listed(text: str) -> Any:
    """A tuple as Python writes it, `(0, 1)` or `0, 1`, as a list; any other text as it is."""
    try:
        return json.loads(f"[{text.strip().removeprefix('(').removesuffix(')').rstrip(', ')}]")
    except ValueError:
        return text
