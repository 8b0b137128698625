"""Finds what the methods of parts read besides their arguments: globals, closures, attributes, settings, functions.

A captured program holds all of these as constants, so it is valid for as long as they are what they were. They are
found in the code of the methods, and of the functions, classes and objects that this code can reach. What could change
without being seen is refused: generators of random numbers, clocks, files, iterators, objects of foreign libraries.

What is reached by a name that is put together while a step runs, as in `getattr(module, "gain" + name)`, is not seen.
"""

from __future__ import annotations

import importlib
import sys
from abc import ABC
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cached_property, lru_cache, partial
from logging import Logger
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, Generic, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from plastic_search.network.kernels.tracing.bytecode import accesses
from plastic_search.network.kernels.tracing.ir import UnsupportedError
from plastic_search.network.kernels.tracing.packages import PURE, is_fixed, is_impure, package_of
from plastic_search.network.kernels.tracing.reads import CONTAINERS, Line, Reads, contents, numbers

__all__ = ["survey"]

# bases that hide nothing
_PLAIN = (object, tuple, list, dict, set, frozenset, int, float, str, bytes, deque, ABC, Generic, Protocol)
_UNSEEN = {  # builtins by which a step reads or changes what this module cannot find
    "globals", "locals", "vars", "eval", "exec", "compile", "open", "input", "__import__", "setattr", "delattr", "dir",
    "breakpoint", "id",
}  # fmt: skip
_BY_NAME = {"getattr", "hasattr"}
_DESCRIBING = {"__repr__", "__str__", "__getnewargs__", "__hash__", "__setattr__", "__delattr__", "__class_getitem__"}
_MAKING = {"__init__", "__new__", "__post_init__", "__init_subclass__", "__eq__"}  # not called of a part by its step
_METHODS = {"step", "state", "params", "drives", "plastic", "split"}  # what the kernels ask of a part
_MOST, _LARGEST = 1000, 4096  # comparisons, or items of a container; and bytes of an array


def survey(roots: Iterable[Any]) -> Reads:
    """Everything that parts, and classes of their parameters and states, read.

    Raises:
        UnsupportedError: something could change without being seen.
    """
    roots = list(roots)
    own = {package_of(root if isinstance(root, type) else type(root)) for root in roots}
    found = _Survey(own - PURE)
    for root in roots:
        found.visit(root, type(root).__name__)
    found.finish()
    return Reads(list(found.lines.values()), found.objects)


@dataclass
class _Survey:
    """A walk over everything that can be reached.

    Args:
        own: the packages of the parts, whose code is looked into wherever it is installed.
    """

    own: set[str]
    lines: dict[str, Line] = field(default_factory=dict)  # by expression
    objects: dict[str, Any] = field(default_factory=dict)  # in the lines, by name
    attributes: set[str] = field(default_factory=lambda: set(_METHODS))  # every name that follows a dot
    strings: set[str] = field(default_factory=set)  # which may be the names of attributes
    by_name: bool = False  # whether `getattr` is used,
    by_super: bool = False  # ... and `super`
    seen: dict[int, Any] = field(default_factory=dict)
    owners: list[tuple[Any, str]] = field(default_factory=list)  # classes and modules, of which `attributes` are read
    looked_up: set[tuple[int, str]] = field(default_factory=set)

    def finish(self) -> None:
        """Look up attributes until no new ones are named."""
        size = ()
        while size != (size := (len(self.attributes), len(self.owners), self.by_super)):
            if self.by_name:
                self.attributes |= self.strings
            if self.by_super:
                self.looked_up.clear()
            for owner, label in list(self.owners):
                self._members(owner, label)

    def _fixed(self, value: Any, label: str = "") -> bool:
        """Whether a function or class is of a package that nobody changes.

        Raises:
            UnsupportedError: it is of a part of the standard library that gives other results at each call.
        """
        package = package_of(value)
        if is_impure(package):
            raise UnsupportedError(f"its step uses {label or value}, whose results could change without being seen")
        return package not in self.own and is_fixed(package)

    # -- comparisons

    def _name(self, value: Any) -> str:
        """The name of an object in the lines."""
        key = f"x{id(value):x}"
        self.objects[key] = value
        return key

    def _expect(self, expression: str, value: Any, label: str) -> None:
        """`expression` must give `value`, which is then looked into."""
        expected = f"e{len(self.lines)}"  # each its own, since an equal number may take the place of one
        if expression not in self.lines:
            self.objects[expected] = value
            self._require(expression, label, expected)
        self.visit(value, label)

    def _require(self, expression: str, label: str, expected: str = "") -> None:
        self.lines.setdefault(expression, Line(expression, expected, label))
        if len(self.lines) > _MOST:
            raise UnsupportedError(f"its step reads more than {_MOST:,} things that could change")

    def _entry(self, mapping: Any, name: str, label: str) -> None:
        """What a dict, or that of a class, holds under a name."""
        self._expect(f"{self._name(mapping)}[{name!r}]", mapping[name], label)

    # -- values

    def visit(self, value: Any, label: str) -> None:
        """Look into whatever a step can reach."""
        if isinstance(value, str):
            self.strings |= {value} if value.isidentifier() else set()
        if id(value) in self.seen or type(value) in _ATOMS or isinstance(value, np.generic | np.dtype):
            return
        self.seen[id(value)] = value
        match value:
            case FunctionType():
                self._function(value, label)
            case MethodType():
                self.visit(value.__func__, label)
                self.visit(value.__self__, label)
            case property():
                self.visit(value.fget, label)
            case classmethod() | staticmethod():
                self.visit(value.__func__, label)
            case cached_property():
                self.visit(value.func, label)
            case _ if isinstance(value, _CACHED):
                self.visit(value.__wrapped__, label)  # of which the reference takes what is cached, too
            case partial():
                self._each((value.func, value.args, value.keywords), label)
            case ModuleType():
                if not is_fixed(package_of(value)) or package_of(value) in self.own:
                    self.owners.append((value, label))
            case type():
                self._class(value, label)
            case Tensor():
                raise UnsupportedError(f"its step reads {label}, a tensor; make it a parameter or a state, or a number")
            case np.ndarray():
                self._array(value, label)
            case BuiltinFunctionType():
                self._builtin(value, label)
            case _:
                self._object(value, label)

    def _each(self, values: Iterable[Any], label: str) -> None:
        for value in values:
            self.visit(value, label)

    def _array(self, value: np.ndarray, label: str) -> None:
        if value.dtype.hasobject or value.nbytes > _LARGEST:
            raise UnsupportedError(f"its step reads {label}, {value.nbytes:,} bytes that could change unseen")
        self._require(f"numbers({self._name(value)}) == {self._name(numbers(value))}", label)

    def _builtin(self, value: Any, label: str) -> None:
        owner = value.__self__
        if owner is None or isinstance(owner, ModuleType):
            self._fixed(value if owner is None else owner, label)
        else:
            self.visit(owner, label)

    def _object(self, value: Any, label: str) -> None:
        """A container, or an instance: what it holds, and its class."""
        kind, name = type(value), self._name(value)
        if isinstance(value, Enum | Logger):  # of a logger the results do not depend
            return self.visit(kind, label)
        simple = isinstance(value, CONTAINERS) or callable(value) or hasattr(kind, "__get__")  # a descriptor
        if any(self._hides(base, label) for base in kind.__mro__) and not simple:
            raise UnsupportedError(f"its step reads {label}, a {kind.__name__} that could change without being seen")
        comparisons, items = contents(value)
        if comparisons and len(items) > _MOST:
            raise UnsupportedError(f"its step reads {label}, {len(items):,} items that could change; make it a tuple")
        for template, expected in comparisons:
            self._require(template.format(name, self._name(expected)), label)
        self._each(items, label)
        if held := getattr(value, "__dict__", None):
            self._require(f"len({name}.__dict__) == {len(held)}", label)
            for key in list(held):
                self._entry(held, key, f"{label}.{key}")
        self.visit(kind, label)
        for base in kind.__mro__:
            for key, slot in () if self._fixed(base) else vars(base).items():
                if isinstance(slot, MemberDescriptorType) and hasattr(value, key):
                    self._expect(f"{name}.{key}", getattr(value, key), f"{label}.{key}")
        return None

    def _hides(self, base: type, label: str) -> bool:
        """Whether what instances of a class hold may lie elsewhere than in attributes: it is not written in Python."""
        inside = vars(base)
        written = {"__dict__", "__slots__"} & inside.keys() or FunctionType in map(type, inside.values())
        return self._fixed(base, label) and not (written or base in _PLAIN or base is SimpleNamespace)

    # -- classes and modules

    def _class(self, value: type, label: str) -> None:
        """Methods that are called without their names, here; others once they are named (`_members`)."""
        if self._fixed(value, label):
            return
        self.owners.append((value, value.__name__))
        own = [base for base in value.__mro__ if not self._fixed(base, label)]
        named = {key for base in own for key, method in vars(base).items() if self._is_code(method)}
        special = {key for key in named if key.startswith("__")} - _DESCRIBING
        foreign = any(self._fixed(base) and base not in _PLAIN for base in value.__mro__)  # which calls its methods
        asked = named if foreign and not issubclass(value, Enum) else special
        for key in asked - (_MAKING if hasattr(value, "kinds") else set()):  # of a part
            self._member(value, key)

    def _is_code(self, value: Any) -> bool:
        """Whether an entry of a class is a method that somebody wrote."""
        return isinstance(value, _CODE) and not self._fixed(getattr(value, "__func__", value))

    def _members(self, owner: Any, label: str) -> None:
        """What is read of a class or module by all names that follow a dot somewhere."""
        for name in list(self.attributes):
            if isinstance(owner, type):
                self._member(owner, name)
            elif name in vars(owner) and (id(owner), name) not in self.looked_up:
                self.looked_up.add((id(owner), name))
                self._entry(vars(owner), name, f"{label}.{name}")

    def _member(self, owner: type, name: str) -> None:
        """An attribute of a class: that of the first base which has it; where `super` is used, of every base."""
        bases = [base for base in owner.__mro__ if name in vars(base)]
        if (id(owner), name) in self.looked_up or not bases:
            return
        self.looked_up.add((id(owner), name))
        value, label = vars(bases[0])[name], f"{owner.__name__}.{name}"
        own_field = is_dataclass(owner) and name in {each.name for each in fields(owner)}  # which instances have
        if self._fixed(bases[0]) or (own_field and not callable(value)):
            return
        if (issubclass(owner, Enum) and not isinstance(value, _CODE)) or type(value) is _FIELD:
            return
        if name.isidentifier() and getattr(owner, name, None) is value:
            self._expect(f"{self._name(owner)}.{name}", value, label)
        else:
            self._entry(vars(bases[0]), name, label)
            for base in owner.__mro__[: owner.__mro__.index(bases[0])]:
                self._require(f"{name!r} not in {self._name(vars(base))}", label)
        if self.by_super:
            for base in owner.__mro__[1:]:
                if not self._fixed(base):
                    self.visit(base, base.__name__)

    # -- code

    def _function(self, value: FunctionType, label: str) -> None:
        if self._fixed(value, label):
            return
        name = self._name(value)
        self._expect(f"{name}.__code__", value.__code__, label)
        if value.__defaults__:
            self._expect(f"{name}.__defaults__", value.__defaults__, label)
        if value.__kwdefaults__:
            self._expect(f"{name}.__kwdefaults__", value.__kwdefaults__, label)
        if value.__dict__:
            self.visit(value.__dict__, label)
        for variable, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                self._expect(f"{self._name(cell)}.cell_contents", cell.cell_contents, f"the variable {variable}")
            except ValueError:
                raise UnsupportedError(f"its step reads the variable {variable}, which has no value yet") from None
        self._code(value.__code__, value.__globals__)

    def _code(self, code: CodeType, names: dict[str, Any]) -> None:
        """What a function's code reads, where `names` are its globals."""
        found = accesses(code)
        self.attributes |= found.attributes
        for module in found.modules:
            importlib.import_module(module)
            self._entry(sys.modules, module, module)
        for name, dots in found.variables:
            label = f"{names.get('__name__', '')}.{name}"
            if name in names:
                self._entry(names, name, label)
                self._dots(names[name], dots, label)
            else:
                self._builtin_named(name, names, label)
        self._each(found.constants, "")

    def _builtin_named(self, name: str, names: dict[str, Any], label: str) -> None:
        self._require(f"{name!r} not in {self._name(names)}", label)
        if name in _UNSEEN:
            raise UnsupportedError(f"its step calls `{name}`")
        self.by_name |= name in _BY_NAME
        self.by_super |= name == "super"
        builtins = names.get("__builtins__", {})
        builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        if name in builtins:
            self._entry(builtins, name, name)

    def _dots(self, value: Any, names: Iterable[str], label: str) -> None:
        """What is read of a module by the dots that follow its name: `torch.nn.functional.relu`."""
        for name in names:
            if not isinstance(value, ModuleType):
                return
            label = f"{label}.{name}"
            if name in vars(value):
                self._entry(vars(value), name, label)
            value = getattr(value, name, None)


_CODE = (FunctionType, property, classmethod, staticmethod)
_FIELD = type(NamedTuple("_Example", [("field", int)]).field)  # type: ignore[attr-defined]  # what finds a named field
_CACHED = type(lru_cache(lambda: None))
_ATOMS = {
    type(None), bool, int, float, complex, str, bytes, range, slice, type(...), type(NotImplemented), CodeType,
    torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size,
}  # fmt: skip
