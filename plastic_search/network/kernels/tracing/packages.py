"""Which packages nobody changes while a program runs, and which give other results at each call."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["PURE", "is_fixed", "is_impure", "package_of"]

PURE = {  # of the standard library: what gives equal results at each call, or is read through attributes alone
    "math", "cmath", "builtins", "operator", "_operator", "functools", "_functools", "itertools", "typing", "enum",
    "abc", "_abc", "argparse", "collections", "_collections", "_collections_abc", "dataclasses", "types", "numbers",
    "warnings", "logging", "copy", "statistics", "fractions",
}  # fmt: skip
_INSTALLED = {"site-packages", "dist-packages"}  # in whichever of them: of an environment, the system or the user


def package_of(value: Any) -> str:
    """The first name of the module of a function or class, or of a module."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return (name or "").split(".")[0]


@cache
def is_fixed(package: str) -> bool:
    """Whether it is installed, as torch is, or pure."""
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return package in PURE or package.startswith("namedtuple_") or not _INSTALLED.isdisjoint(Path(file).parts)


def is_impure(package: str) -> bool:
    """Whether it is a part of the standard library that may give other results at each call, such as a clock."""
    return package in sys.stdlib_module_names and package not in PURE and package != "__main__"
