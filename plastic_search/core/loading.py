"""Loading of Python files: studies, search spaces, reports and benchmarks, ours and users', and users' parts."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, NoReturn

from plastic_search.core.errors import PlasticSearchError, is_stop, one_line, unknown
from plastic_search.core.part import Part, paths_from, source, unfinished
from plastic_search.core.paths import as_path, as_paths

__all__ = [
    "about", "anywhere", "contained", "find", "folder", "load_module", "load_parts", "names", "optional", "sentence",
    "staying", "value",
]  # fmt: skip

VARIABLES = {"search_spaces": "SPACE", "studies": "STUDY", "reports": "REPORT", "benchmarks": "BENCHMARK"}


def folder(name: str) -> Path:
    """The folder `name`: beside the package in a checkout, inside it once installed."""
    if name not in VARIABLES:
        raise unknown("content folder", name, VARIABLES)
    here = Path(__file__).parent.parent
    beside = (here.parent / "pyproject.toml").is_file()
    return here.parent / name if beside else here / "_content" / name


def names(name: str) -> list[str]:
    """The names of the files in a content folder, without extension."""
    return sorted(p.stem for p in folder(name).glob("*.py") if not p.stem.startswith("_"))


def find(name: str, name_or_path: Path | str) -> Path:
    """The file that `name_or_path` names: a path, or the name of one of ours (`digit_recall`).

    Example:
        >>> find("studies", "digit_recall").name
        'digit_recall.py'

    Raises:
        PlasticSearchError: there is no such file.
    """
    path, name_or_path = as_path(name_or_path), str(name_or_path)
    if path.suffix == ".py" and path.is_file():
        return path
    stem = path.stem if path.parent.name in ("", name) else name_or_path
    if stem in names(name):
        return folder(name) / f"{stem}.py"
    if path.suffix == ".py":
        raise PlasticSearchError(
            f"there is no file {path}; name one that is there, or one of: {', '.join(names(name))}{_guess('.', path)}"
        )
    what = name.removesuffix("ies").removesuffix("s") + ("y" if name == "studies" else "")
    if path.name and (file := path.with_name(f"{path.name}.py")).is_file():
        raise PlasticSearchError(
            f"no {what} is called {name_or_path!r}, but there is a file {file}; name it with its .py"
        )
    near = _guess("", path.with_name(f"{path.name}.py")) if path.name else ""
    raise unknown(what, name_or_path, names(name), near.strip())


def _guess(end: str, path: Path) -> str:
    """` Did you mean 'mine.py'?` after the `end` of a sentence, where a file beside `path` is called nearly so."""
    near = get_close_matches(path.name, [each.name for each in path.parent.glob("*.py")], n=1, cutoff=0.7)
    return f"{end} Did you mean {str(path.with_name(near[0]))!r}?" if near else ""


def value(name: str, name_or_path: Path | str) -> Any:
    """The value of a content file: its SPACE, STUDY, REPORT or BENCHMARK."""
    path, variable = find(name, name_or_path), VARIABLES[name]
    module = load_module(path)
    if not hasattr(module, variable):
        raise PlasticSearchError(f"{path} defines no {variable}")
    return getattr(module, variable)


def load_module(path: Path | str) -> ModuleType:
    """Import a user's Python file; files in the same folder can be imported by name meanwhile.

    Raises:
        PlasticSearchError: the file does not exist, or does not run; the message names the line.
    """
    name_or_path = as_path(path)
    path = name_or_path.resolve()
    if not path.is_file():
        raise PlasticSearchError(f"there is no file {name_or_path}{_guess('.', name_or_path)}")
    name = f"_content_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PlasticSearchError(f"{name_or_path} is not a Python file")
    module, before = importlib.util.module_from_spec(spec), set(Part.kinds.values())
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        with contained(), paths_from(path.parent):
            spec.loader.exec_module(module)
    except SyntaxError as error:
        where = name_or_path if error.filename in (None, str(path)) else Path(str(error.filename))
        raise PlasticSearchError(f"{where}, line {error.lineno}: {error.msg}") from None
    except BaseException as error:
        if is_stop(error):
            raise
        if isinstance(error, TypeError):  # Python raises it where a part that lacks a method is constructed
            _refuse_unfinished(before)
        text = str(error) if isinstance(error, PlasticSearchError) else one_line(error)
        raise PlasticSearchError(f"{name_or_path}{_line(error, path)}: {text}") from error
    finally:
        sys.path.remove(str(path.parent))
    _refuse_unfinished(before)
    return module


def _refuse_unfinished(before: set[type[Part]]) -> None:
    """Refuse a new part of a user's that lacks a method: no list would show it."""
    for kind in Part.kinds.values():
        ours = kind.__module__.split(".")[0] == "plastic_search"  # a base, which the user's file was first to import
        if kind not in before and not ours and (lack := unfinished(kind)):
            raise PlasticSearchError(f"{source(kind)}: {lack}")


def _line(error: BaseException, path: Path) -> str:
    """`, line 3`: the last line of `path` in the traceback."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def optional(package: str, need: str, extra: str) -> Any:
    """A package that is installed with one of our extras.

    Args:
        need: who needs it, as the message begins: `NIR needs h5py`.
        extra: which extra installs it.

    Raises:
        PlasticSearchError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise PlasticSearchError(
            f'{need}, which is not installed; python -m pip install "plastic-search[{extra}]"'
        ) from None


def load_parts(files: Iterable[Path | str]) -> None:
    """Register users' parts: those of installed packages, by entry point, and those in `files`."""
    before = set(Part.kinds.values())
    for entry in entry_points(group="plastic_search.parts"):
        try:
            with contained():
                entry.load()
        except Exception as error:
            raise PlasticSearchError(
                f"the parts of the installed package {entry.value} cannot be loaded: {one_line(error)}; "
                "repair the package, or uninstall it"
            ) from error
    _refuse_unfinished(before)
    for file in as_paths(files):
        load_module(file)


@contextmanager
def staying() -> Iterator[None]:
    """Within the block `os._exit` raises SystemExit, so that code of a user's cannot end the program without a word."""
    leave, here = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != here:  # a process that was forked meanwhile ends as it must
            leave(status)
        raise SystemExit(status)

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave


@contextmanager
def contained() -> Iterator[None]:
    """While code of a user's runs: it cannot end the program (`staying`), and prints on standard error."""
    with staying(), redirect_stdout(sys.stderr):
        yield


def anywhere(name: str) -> Path:
    """The content file called `name`, in whichever folder."""
    for folder_name in VARIABLES:
        if name in names(folder_name):
            return folder(folder_name) / f"{name}.py"
    raise unknown(
        "study, space or report", name, [f"{folder_name}/{n}" for folder_name in VARIABLES for n in names(folder_name)]
    )


def sentence(folder_name: str, name: str) -> str:
    """The first line of a content file's docstring."""
    return about(folder(folder_name) / f"{name}.py").split("\n")[0]


def about(path: Path | str) -> str:
    """The docstring of a content file."""
    return ast.get_docstring(ast.parse(as_path(path).read_text())) or ""
