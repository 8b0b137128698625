"""Attributes exceptions to the user-defined part that raised them, and faults of what a part returns to its method."""

from __future__ import annotations

import inspect
import os
import re
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError, one_line
from plastic_search.core.part import Part, source

__all__ = ["at_work", "attributed", "crashed_at", "described", "fault", "is_users"]

_REMEDY = "mend it and give the same command again"
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)
_PACKAGE = Path(__file__).parents[1]
_INSTALLED = (_PACKAGE, Path(torch.__file__).parent, Path(os.__file__).parent)  # whose lines tell a user little


def attributed(error: BaseException, work: str) -> PlasticSearchError:
    """The message for a user whose `work` ended with `error`: which part raised it, in which file and line.

    That is the user-defined part whose method is innermost in the traceback. If a function of `plastic_search.network`
    lies further in, no part is named: those before it only called the network. The message then has the innermost line
    that is the user's, or the last line.
    """
    if isinstance(error, PlasticSearchError):
        return PlasticSearchError(f"{work}: {' '.join(str(error).split())}")
    while isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
        error = error.__cause__  # which Python replaces on its way through a generator
    frames = list(traceback.walk_tb(error.__traceback__))
    named = _blamed(frames)
    if isinstance(error, MemoryError) or "can't allocate memory" in one_line(error):
        who = f"{named}, in {work}," if named else work
        return PlasticSearchError(f"{who} needs more memory than there is; try --workers 1, or smaller networks")
    if named:
        return PlasticSearchError(f"{named} raised {one_line(error)} in {work}; {_REMEDY}")
    lines = [_location(frame.f_code.co_filename, line) for frame, line in frames if _is_users_code(frame)]
    lines = lines or [_location(frame.f_code.co_filename, line) for frame, line in frames] or ["?"]
    return PlasticSearchError(f"{work} raised {one_line(error)} ({lines[-1]}); {_REMEDY}")


def at_work(frame: FrameType | None) -> str:
    """The user-defined part whose method runs innermost, `rule Mine (mine.py:8)`; "" where none does."""
    frames: list[tuple[FrameType, int]] = []
    while frame is not None:
        frames.insert(0, (frame, frame.f_lineno))
        frame = frame.f_back
    return _blamed(frames)


def crashed_at(traceback: str) -> str:
    """The user's line, `mine.py:8`, in what `faulthandler` wrote when a process crashed; "" where none is to blame.

    As for an exception, a function of `plastic_search.network` that lies further in clears those that called it.
    """
    for file, line in _FRAME.findall(traceback):  # the innermost first
        if _lies_in(file, _PACKAGE / "network"):
            return ""
        if not any(_lies_in(file, folder) for folder in _INSTALLED):
            return _location(file, int(line))
    return ""


def is_users(error: BaseException) -> bool:
    """Whether an exception passed through a method of a user-defined part."""
    return any(_part(frame) for frame, _ in traceback.walk_tb(error.__traceback__))


def fault(part: Part, method: str, what: str) -> PlasticSearchError:
    """The error for a part whose `method` breaks its contract: `task Recall (mine.py:9): scores must be ...`."""
    kind = type(part)
    member: Any = inspect.getattr_static(kind, method, None)
    function = inspect.unwrap(getattr(member, "fget", member) or kind)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    at = f" ({_location(code.co_filename, code.co_firstlineno)})" if code else ""
    return PlasticSearchError(f"{_kind_and_name(kind)}{at}: {what}; {_REMEDY}")


def described(value: Any) -> str:
    """A returned value in a few words: `one of shape [3, 2]`, `3`, `a list`."""
    if isinstance(value, Tensor):
        return f"one of shape {list(value.shape)}"
    if value is None or type(value) in (bool, int, float, str):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    return f"a {type(value).__module__}.{type(value).__name__}".replace("a builtins.", "a ")


def _blamed(frames: list[tuple[FrameType, int]]) -> str:
    """The part to blame, with the line; "" where there is none."""
    inherited = ""  # a user's part in a method that it has from a base of ours
    for frame, line in reversed(frames):
        part = _part(frame)
        if part is not None and not _lies_in(frame.f_code.co_filename, _PACKAGE):
            return f"{_kind_and_name(type(part))} ({_location(frame.f_code.co_filename, line)})"
        if f"{frame.f_globals.get('__name__')}.".startswith(f"{__package__}."):
            return ""
        if part is not None and not inherited:
            inherited = f"{_kind_and_name(type(part))} ({source(type(part))})"
    return inherited


def _part(frame: FrameType) -> Part | None:
    """The user-defined part whose method a frame runs."""
    part = frame.f_locals.get("self")
    return part if isinstance(part, Part) and type(part).__module__.split(".")[0] != "plastic_search" else None


def _is_users_code(frame: FrameType) -> bool:
    return not any(_lies_in(frame.f_code.co_filename, folder) for folder in _INSTALLED)


def _lies_in(file: str, folder: Path) -> bool:
    return Path(file).is_relative_to(folder) or file.startswith("<")


def _kind_and_name(kind: type[Part]) -> str:
    """`rule Oja`."""
    base = next((k for k in kind.__mro__ if Part in k.__bases__), kind)
    return f"{base.__name__.lower()} {kind.__name__}"


def _location(file: str, line: int) -> str:
    """`mine/rules.py:8`, relative to the working directory if the file lies in it."""
    near = os.path.relpath(file)
    return f"{file if near.startswith('..') else near}:{line}"
