"""Where the content folders are, from a checkout or from a wheel, and how the value in one of their files is read."""

from __future__ import annotations

import ast
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part, source, unfinished

__all__ = ["anywhere", "find", "folder", "load_module", "load_parts", "names", "sentence", "value"]

VARIABLES = {"search_spaces": "SPACE", "studies": "STUDY", "reports": "REPORT", "benchmarks": "BENCHMARK"}


def folder(name: str) -> Path:
    """The folder `name`: beside the package in a checkout, inside it once installed."""
    if name not in VARIABLES:
        raise unknown("content folder", name, VARIABLES)
    here = Path(__file__).parent.parent
    beside = (here.parent / "pyproject.toml").is_file()
    return here.parent / name if beside else here / "_content" / name


def names(name: str) -> list[str]:
    """The files of a content folder, without their ending."""
    return sorted(p.stem for p in folder(name).glob("*.py") if not p.stem.startswith("_"))


def find(name: str, asked: str) -> Path:
    """The file that `asked` means: a path of the user's own, or the name of one of ours (`digit_recall`)."""
    path = Path(asked)
    if path.suffix == ".py" and path.is_file():
        return path
    stem = path.stem if path.parent.name in ("", name) else asked
    if stem in names(name):
        return folder(name) / f"{stem}.py"
    if path.suffix == ".py":
        raise PlasticSearchError(
            f"there is no file {path}; name one that is there, or one of: {', '.join(names(name))}"
        )
    raise unknown(name.removesuffix("ies").removesuffix("s") + ("y" if name == "studies" else ""), asked, names(name))


def value(name: str, asked: str) -> Any:
    """The one value (SPACE, STUDY, REPORT or BENCHMARK) in a content file."""
    path, variable = find(name, asked), VARIABLES[name]
    module = load_module(path)
    if not hasattr(module, variable):
        raise PlasticSearchError(f"{path} defines no {variable}")
    return getattr(module, variable)


def load_module(path: Path) -> ModuleType:
    """Run a Python file of the user's as a module; its neighbours can be imported by name while it runs.

    Raises:
        PlasticSearchError: the file does not exist, or does not run; the message names the line.
    """
    asked, path = path, path.resolve()
    if not path.is_file():
        raise PlasticSearchError(f"there is no file {asked}")
    name = f"_content_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PlasticSearchError(f"{asked} is not a Python file")
    module, before = importlib.util.module_from_spec(spec), set(Part.kinds.values())
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = asked if error.filename in (None, str(path)) else Path(str(error.filename))
        raise PlasticSearchError(f"{where}, line {error.lineno}: {error.msg}") from None
    except Exception as error:
        if isinstance(error, TypeError):  # as one who makes a part that lacks a method is told by Python
            _whole(before)
        kind = "" if isinstance(error, PlasticSearchError) else f"{type(error).__name__}: "
        raise PlasticSearchError(f"{asked}{_line(error, path)}: {kind}{error}") from error
    finally:
        sys.path.remove(str(path.parent))
    _whole(before)
    return module


def _whole(before: set[type[Part]]) -> None:
    """Refuse a user's part that was not there before and lacks a method: no list would show it."""
    for kind in Part.kinds.values():
        ours = kind.__module__.split(".")[0] == "plastic_search"  # a base, which the user's file was first to import
        if kind not in before and not ours and (lack := unfinished(kind)):
            raise PlasticSearchError(f"{source(kind)}: {lack}")


def _line(error: Exception, path: Path) -> str:
    """`, line 3`, where the last of the lines of `path` that led to the error is its third."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def load_parts(files: list[Path]) -> None:
    """Make the user's own parts known: those of installed packages, by entry point, and those in `files`."""
    before = set(Part.kinds.values())
    for entry in entry_points(group="plastic_search.parts"):
        entry.load()
    _whole(before)
    for file in files:
        load_module(file)


def anywhere(name: str) -> Path:
    """The content file called `name`, whichever folder it is in."""
    for shelf in VARIABLES:
        if name in names(shelf):
            return folder(shelf) / f"{name}.py"
    raise unknown("study, space or report", name, [f"{shelf}/{n}" for shelf in VARIABLES for n in names(shelf)])


def sentence(shelf: str, name: str) -> str:
    """The first line of a content file's docstring."""
    tree = ast.parse((folder(shelf) / f"{name}.py").read_text())
    return (ast.get_docstring(tree) or "").split("\n")[0]
