"""Where two questions differ, in words."""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

__all__ = ["change"]

_WIDTH = 60  # characters of a value in a message
_ABSENT = object()  # stands for a value that one of the two questions lacks


def change(old: Any, new: Any, at: str = "") -> str:
    """The first path at which two questions in JSON differ, other than in their number of trials, and how.

    Example:
        >>> change({"trainer": {"steps": 4}}, {"trainer": {"steps": 5}})
        'trainer.steps was 4, is 5'
    """
    if old is _ABSENT or new is _ABSENT:
        return f"{at} is new: {_short(new)}" if old is _ABSENT else f"{at} is gone; it was {_short(old)}"
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("kind") == new.get("kind") == "Choice":
            return _options(old["options"], new["options"], at)
        keys = [key for key in old | new if (at, key) != ("", "trials")]
        pairs = [(f"{at}.{key}" if at else key, old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list):
        pairs = [(f"{at}.{i}", a, b) for i, (a, b) in enumerate(zip_longest(old, new, fillvalue=_ABSENT))]
    else:
        return "" if old == new else "{} was {}, is {}".format(at, *_difference(json.dumps(old), json.dumps(new)))
    return next((found for where, a, b in pairs if (found := change(a, b, where))), "")


def _options(old: list[Any], new: list[Any], at: str) -> str:
    """What a choice gained or lost, or where one of its options differs."""
    olds, news = [_option(o) for o in old], [_option(o) for o in new]
    for verb, some, others in (("gained", news, olds), ("lost", olds, news)):
        found = [name for name in dict.fromkeys(some) if name not in others]
        if found:
            return f"{at} {verb} the option{'s' if len(found) > 1 else ''} {', '.join(found)}"
    if olds != news:
        return f"{at} has its options in another order, or another number of times: {_short(olds)}, now {_short(news)}"
    return next((c for n, a, b in zip(olds, old, new, strict=True) if (c := change(a, b, f"{at}.{n}"))), "")


def _option(option: Any) -> str:
    return str(option["kind"]) if isinstance(option, dict) else str(option)


def _difference(old: str, new: str) -> tuple[str, str]:
    """Two texts, cut so that their first difference is visible."""
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, same - 20) if max(len(old), len(new)) > _WIDTH else 0
    return _cut(old, start), _cut(new, start)


def _cut(text: str, start: int = 0) -> str:
    left = text[start:]
    return ("..." if start else "") + (left if len(left) <= _WIDTH else left[: _WIDTH - 3] + "...")


def _short(value: Any) -> str:
    return _cut(json.dumps(value))
