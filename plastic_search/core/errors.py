"""Errors for users: the value that was given, the values that are known, and what to do."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum

__all__ = ["PlasticSearchError", "Stopped", "is_stop", "no_part", "one_line", "shown", "unknown"]

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
    near = _nearest(name, names)
    guess = f" Did you mean {near!r}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return PlasticSearchError(f"no {what} is called {name!r}; known: {listed}.{guess}{' ' + hint if hint else ''}")


def no_part(where: str, wanted: str, name: str, calls: dict[str, str]) -> PlasticSearchError:
    """`LIF.surrogate wants a Surrogate, such as Box(), but got 'Bx'; known: Arctan, Box, ... Did you mean Box()?`

    Args:
        where: the field that was given a name in place of a part.
        wanted: the base class of the part, with its article.
        name: what was given.
        calls: each known name, with a call that makes the part.
    """
    near, names = _nearest(name, calls), sorted(calls)
    guess = f" Did you mean {calls[near]}?" if near else ""
    example = f", such as {calls[near or names[0]]}," if names else ""
    known = ", ".join(names) or "none"
    return PlasticSearchError(f"{where} wants {wanted}{example} but got {name!r}; known: {known}.{guess}")


def _nearest(name: str, known: Iterable[str]) -> str | None:
    lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    return lower[near[0]] if near else None
