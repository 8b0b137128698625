"""Errors for users: the value that was given, the values that are known, and what to do."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum

__all__ = ["PlasticSearchError", "Stopped", "is_stop", "one_line", "shown", "unknown"]

_LONGEST = 400  # characters of another's message within one of ours


class PlasticSearchError(ValueError):
    """A mistake of the user; the message is one sentence that can be acted on."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C or a signal, as the command line raises it."""


def is_stop(error: BaseException) -> bool:
    """Whether the user stops the program; under the command line, another KeyboardInterrupt is raised by some code."""
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, Stopped) or (isinstance(error, KeyboardInterrupt) and default)


def one_line(error: BaseException) -> str:
    """`ValueError: two lines`: the kind and the message of any exception, of which the message alone may fail."""
    try:
        text = " ".join(str(error).split())
    except Exception as failure:
        text = f"its message cannot be shown, __str__ raised {type(failure).__name__}"
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return f"{type(error).__name__}{': ' if cut else ''}{cut}"


def shown(value: object) -> str:
    """A value as Python writes it: `3`, `'text'`, `Pathway.NONE`."""
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def unknown(what: str, name: str, known: Iterable[str], hint: str = "") -> PlasticSearchError:
    """`no rule is called 'Ojja'; known: ABCD, BCM, ... Did you mean 'Oja'?`

    Args:
        what: the kind of thing, in a word or two ("rule", "path").
        name: the unknown name.
        known: every accepted name.
        hint: a last sentence; "" for none.
    """
    name, names = str(name), sorted(map(str, known))  # not the repr of an enum's member
    lower = {each.lower(): each for each in names}
    near = get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    guess = f" Did you mean {lower[near[0]]!r}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return PlasticSearchError(f"no {what} is called {name!r}; known: {listed}.{guess}{' ' + hint if hint else ''}")
