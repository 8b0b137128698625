"""Parts: frozen values that describe a network or a study, their JSON, and the registry that finds them by name."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import sys
from abc import ABC
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from enum import Enum
from functools import cache
from pathlib import Path
from textwrap import dedent
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from plastic_search.core.errors import PlasticSearchError, no_part, shown, unknown

__all__ = [
    "NO_EQUATION", "OPEN_SETS", "Part", "SearchParameter", "coerce", "discover", "equation", "field_types", "meanings",
    "open_set", "paths_from", "plain", "positive", "source", "unfinished",
]  # fmt: skip

OPEN_SETS = (
    "cells", "surrogates", "rules", "modulations", "structures", "precisions", "encoders", "tasks", "environments",
    "trainers",
)  # fmt: skip
NO_EQUATION = "no equation is given"  # of a part whose docstring states none
_SECTION = re.compile(r"^(?:Args|Attributes):\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^(\w+(?:, \w+)*)(?: \([^)\n]*\))?: *(.*(?:\n[ \t]+.*)*)", re.MULTILINE)  # name (type): meaning
_folder: ContextVar[Path | None] = ContextVar("folder", default=None)  # that of the file which is being loaded


@dataclass(frozen=True)
class Part(ABC):  # noqa: B024, so that a base whose step is abstract cannot be made
    """A value that answers one question about a network, a study or a page.

    Concrete parts are frozen dataclasses, one per file. Their fields are numbers, strings, enums, paths, other parts,
    tuples of these, or search parameters; so a part is hashable, comparable, and becomes JSON in one line. A
    relative path is taken from the folder of the file that constructs the part, in a shell from the working folder.

    Raises:
        PlasticSearchError: a field holds a value of the wrong type, or one that `check` refuses.
    """

    kinds: ClassVar[dict[str, type[Part]]] = {}
    renamed: ClassVar[dict[str, str]] = {}  # a field's name in earlier versions -> its name now

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        for old, new in cls.renamed.items():
            if old in kwargs:
                raise PlasticSearchError(f"{cls.__name__}.{old} is now called {cls.__name__}.{new}")
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        old = Part.kinds.get(cls.__name__)
        if old is not None and (old.__module__, old.__qualname__) != (cls.__module__, cls.__qualname__):
            raise PlasticSearchError(
                f"two parts are called {cls.__name__!r}: one in {old.__module__}, one in {cls.__module__}; rename one"
            )
        Part.kinds[cls.__name__] = cls

    def __post_init__(self) -> None:
        for name, kind in field_types(type(self)).items():
            object.__setattr__(self, name, coerce(getattr(self, name), kind, f"{type(self).__name__}.{name}"))
        if not any(_open(getattr(self, f.name)) for f in fields(self)):
            self.check()

    def check(self) -> None:  # noqa: B027, refusing nothing is a fine default
        """Refuse invalid values; called once no field is a search parameter."""

    def to_json(self) -> dict[str, Any]:
        """This part as plain JSON data: its kind, then its fields."""
        return {"kind": type(self).__name__} | {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, data: Any, where: str = "") -> Self:
        """The part that `to_json` wrote.

        Args:
            where: the data stands, as errors say it: `study.json: study`; "" is the name of this class.

        Raises:
            PlasticSearchError: an unknown kind, an unknown or missing field, or a value of the wrong type; the message
                names its path.
        """
        part = _decode(data, cls, where := where or cls.__name__)
        if not isinstance(part, cls):
            raise PlasticSearchError(f"{where}: expected a {cls.__name__}, but got {data!r}")
        return part


@dataclass(frozen=True)
class SearchParameter(Part):
    """Stands for a value that a search chooses."""

    def standing_for(self, kind: Any, where: str) -> SearchParameter:
        """This search parameter, checked against the field's type `kind`."""
        return self


@contextmanager
def paths_from(folder: Path | str) -> Iterator[None]:
    """Within the block, a relative path in a field of a part is taken from `folder`, not from the working folder."""
    token = _folder.set(Path(folder))
    try:
        yield
    finally:
        _folder.reset(token)


def open_set(name: str) -> type[Part]:
    """The base class of an open set: `open_set("rules")` is `plastic_search.rules.Rule`.

    Raises:
        PlasticSearchError: no open set has this name.
    """
    if name not in OPEN_SETS:
        raise unknown("open set", name, OPEN_SETS)
    package = importlib.import_module(f"plastic_search.{name}")
    return next(k for k in Part.kinds.values() if k.__module__ == package.__name__ and Part in k.__bases__)


def discover(base: type[Part]) -> dict[str, type[Part]]:
    """Every concrete part of the open set of `base`, by name: ours, and those that users registered.

    Example:
        >>> from plastic_search.rules import Rule
        >>> sorted(discover(Rule))[:2]
        ['ABCD', 'BCM']

    Raises:
        PlasticSearchError: `base` is not the base class of a package of parts.
    """
    package = sys.modules.get(getattr(base, "__module__", ""))
    if not inspect.isclass(base) or Part not in base.__bases__ or not hasattr(package, "__path__"):
        raise PlasticSearchError(
            f"{base!r} is not the base class of an open set; known: {', '.join(OPEN_SETS)}, such as rules.Rule"
        )
    for info in pkgutil.iter_modules(package.__path__):  # type: ignore[union-attr]
        importlib.import_module(f"{base.__module__}.{info.name}")
    members = {name: kind for name, kind in sorted(Part.kinds.items()) if issubclass(kind, base) and kind is not base}
    return {name: kind for name, kind in members.items() if not inspect.isabstract(kind)}


def unfinished(kind: type[Part]) -> str:
    """The abstract methods that a part lacks, as a message; "" for a concrete part, and for a base of other parts.

    A base of others has members, or abstract methods of its own, or names ABC among its bases.
    """
    base = _base(kind)
    methods = {name: value for name, value in vars(kind).items() if callable(value)}
    abstract = [name for name, value in methods.items() if getattr(value, "__isabstractmethod__", False)]
    if kind is base or abstract or ABC in kind.__bases__ or kind.__subclasses__() or not inspect.isabstract(kind):
        return ""
    lacking = sorted(kind.__abstractmethods__)
    near = get_close_matches(lacking[0], methods, n=1)
    hint = f"rename its `{near[0]}`" if near else "write it"
    return f"{kind.__name__} is a {base.__name__} without {' and '.join(f'`{n}`' for n in lacking)}; {hint}"


def equation(kind: type[Part]) -> str:
    """The first line of a part's docstring, which states its equation; of one without any, that it has none."""
    text = (inspect.getdoc(kind) or "").strip().split("\n")[0]
    lent = kind is not _base(kind) and text == equation(_base(kind))  # a subclass without a docstring has its base's
    return NO_EQUATION if not text or lent or text.startswith(f"{kind.__name__}(") else text  # or dataclass's own


def meanings(kind: type[Part]) -> dict[str, str]:
    """What each field of a part means, in the words of `Args:` in its docstring or a base's; "" where none explains it.

    Example:
        >>> from plastic_search.rules.bcm import BCM
        >>> meanings(BCM)
        {'rate': 'share of the way that the threshold moves towards post^2 in a step, above 0 and at most 1'}
    """
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        for section in _SECTION.findall(inspect.cleandoc(each.__doc__ or "") + "\n"):
            for names, text in _ENTRY.findall(dedent(section)):
                found |= dict.fromkeys(names.split(", "), " ".join(text.split()).rstrip("."))
    return {f.name: found.get(f.name, "") for f in fields(kind)}


def positive(part: Part, *names: str) -> None:
    """Refuse a part of which one of the fields `names` is not above 0."""
    for name in names:
        if getattr(part, name) <= 0:
            raise PlasticSearchError(f"{type(part).__name__}.{name} must be above 0, but is {getattr(part, name)}")


def source(kind: type[Part]) -> str:
    """Where a part is defined: the module of ours, the file of a user's, relative to the working directory."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None or kind.__module__.split(".")[0] == "plastic_search":
        return kind.__module__
    return file if (near := os.path.relpath(file)).startswith("..") else near


@cache
def field_types(kind: type[Part]) -> dict[str, Any]:
    """The declared type of each field of `kind`."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def coerce(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind` wants it (lists become tuples, names enum members), or an error that names `where`."""
    if isinstance(value, SearchParameter):
        return value.standing_for(kind, where)
    if kind is Any:
        return tuple(value) if isinstance(value, list) else value
    _refuse_name(value, kind, where)
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not NoneType]
        if value is None and len(options) < len(get_args(kind)):
            return None
        fitting = [option for option in options if inspect.isclass(option) and isinstance(value, option)] or options
        return coerce(value, fitting[0], where)
    if origin is tuple and isinstance(value, list | tuple):
        inner, *others = get_args(kind)
        if others != [...] and len(value) != 1 + len(others):
            raise PlasticSearchError(f"{where} wants {1 + len(others)} values, but got {len(value)}: {shown(value)}")
        return tuple(coerce(v, inner, f"{where}.{i}") for i, v in enumerate(value))
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return _member(value, kind, where)
    if kind is Path and (path := _absolute(value)) is not None:
        return path
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    wanted = origin or kind
    if isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool) and wanted is not float:
        return value
    raise PlasticSearchError(f"{where} wants {_called(wanted)}, but got {shown(value)} ({type(value).__name__})")


def _refuse_name(name: Any, kind: Any, where: str) -> None:
    """Refuse a name where `kind` wants a member of an open set."""
    bases = [each for each in get_args(kind) or (kind,) if isinstance(name, str) and each is not NoneType]
    modules = [sys.modules[_base(k).__module__] for k in bases if inspect.isclass(k) and issubclass(k, Part)]
    if not bases or len(modules) < len(bases) or not all(hasattr(module, "__path__") for module in modules):
        return
    found = {n: k for base in bases for n, k in discover(_base(base)).items() if issubclass(k, base)}
    calls = {n: f"{n}({'...' if any(f.default is MISSING for f in fields(k)) else ''})" for n, k in found.items()}
    raise no_part(where, " or ".join(map(_called, bases)), name, calls)


def _absolute(value: Any) -> Path | None:
    """A path, taken from the folder of the file that is being loaded; None for another kind of value, and for ""."""
    known = isinstance(value, str | Path) and str(value)
    return (_folder.get() or Path.cwd()) / Path(value).expanduser() if known else None


def _member(value: Any, kind: type[Enum], where: str) -> Enum:
    try:
        return kind(value)
    except ValueError:
        raise unknown(f"{kind.__name__} for {where}", str(value), [str(m.value) for m in kind]) from None


def _decode(data: Any, kind: Any, where: str) -> Any:
    if isinstance(data, list):
        inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
        return tuple(_decode(v, inner, f"{where}.{i}") for i, v in enumerate(data))
    if not isinstance(data, dict):
        return data
    values = dict(data)
    with _named(where):
        chosen = _kind(values.pop("kind", None), kind)
        values = {chosen.renamed.get(str(name), str(name)): value for name, value in values.items()}
        types = field_types(chosen)
        for name in values:
            if name not in types:
                raise unknown(f"field of {chosen.__name__}", name, types)
        lacking = [f.name for f in fields(chosen) if f.name not in values and f.default is MISSING]
        if lacking:
            raise PlasticSearchError(f"{chosen.__name__} lacks {', '.join(lacking)}")
    inside = (lambda name: kind) if issubclass(chosen, SearchParameter) else types.__getitem__
    decoded = {name: _decode(v, inside(name), f"{where}.{name}") for name, v in values.items()}
    with _named(where):
        return chosen(**decoded)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Errors of the block begin with `where`."""
    try:
        yield
    except PlasticSearchError as error:
        raise PlasticSearchError(f"{where}: {error}") from None


def _kind(name: Any, wanted: Any) -> type[Part]:
    """The class called `name`, which must be a `wanted` or a search parameter."""
    if not isinstance(name, str):
        raise PlasticSearchError('a part in JSON needs a "kind", and its value must be a name')
    bases = tuple(a for a in (get_args(wanted) or (wanted,)) if inspect.isclass(a) and issubclass(a, Part)) or (Part,)
    sets = map(open_set, OPEN_SETS) if bases == (Part,) and name not in Part.kinds else bases  # Part: of any of them
    for base in (each for each in sets if hasattr(importlib.import_module(each.__module__), "__path__")):
        discover(_base(base))
    concrete = {n: k for n, k in Part.kinds.items() if k is not SearchParameter and not inspect.isabstract(k)}
    known = {n: k for n, k in concrete.items() if issubclass(k, (*bases, SearchParameter))}
    if name not in known and bases != (Part,) and not any(map(inspect.isabstract, bases)):
        raise PlasticSearchError(f"{_called(bases[0])} is wanted here, not a part of the kind {name!r}")
    if name not in known:
        if name in Part.kinds and issubclass(Part.kinds[name], bases) and (lack := unfinished(Part.kinds[name])):
            raise PlasticSearchError(lack)
        own = "If it is your own, `import` its module first, or name its file with --parts FILE on the command line."
        offered = [n for n, k in known.items() if k not in bases and not issubclass(k, SearchParameter)]
        hint = own if bases != (Part,) else ""
        raise unknown(" or ".join(base.__name__.lower() for base in bases), name, offered, hint)
    return known[name]


def plain(value: Any) -> Any:
    """A field's value as plain JSON data."""
    match value:
        case Part():
            return value.to_json()
        case Enum():
            return value.value
        case Path():
            return str(value)
        case tuple():
            return [plain(v) for v in value]
    return value


def _open(value: Any) -> bool:
    """Whether `value` is, or is a tuple with, a search parameter; those inside parts do not count."""
    return isinstance(value, SearchParameter) or (isinstance(value, tuple) and any(_open(v) for v in value))


def _called(kind: Any) -> str:
    name = getattr(kind, "__name__", str(kind))
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _base(kind: type[Part]) -> type[Part]:
    """What a part is one of: Rule, of Oja."""
    return next((k for k in kind.__mro__ if Part in k.__bases__), kind)
