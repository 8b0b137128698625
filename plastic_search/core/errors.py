"""Errors for users: the value that was given, the values that are known, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["PlasticSearchError", "unknown"]


class PlasticSearchError(ValueError):
    """A mistake of the user; the message is one sentence that can be acted on."""


def unknown(what: str, name: str, known: Iterable[str], hint: str = "") -> PlasticSearchError:
    """`no rule is called 'Ojja'; known: ABCD, BCM, ... Did you mean 'Oja'?`

    Args:
        what: the kind of thing, in a word or two ("rule", "path").
        name: the unknown name.
        known: every accepted name.
        hint: a last sentence; "" for none.
    """
    names = sorted(known)
    lower = {each.lower(): each for each in names}
    near = get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    guess = f" Did you mean {lower[near[0]]!r}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return PlasticSearchError(f"no {what} is called {name!r}; known: {listed}.{guess}{' ' + hint if hint else ''}")
