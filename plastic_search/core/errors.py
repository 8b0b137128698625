"""What we tell a user who asked for something that cannot be: what was asked, what is known, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["PlasticSearchError", "unknown"]


class PlasticSearchError(ValueError):
    """A mistake in what was asked for; its message is one sentence that a user can act on."""


def unknown(what: str, asked: str, known: Iterable[str], hint: str = "") -> PlasticSearchError:
    """`no rule is called 'Ojja'; known: ABCD, BCM, ... Did you mean 'Oja'?`

    Args:
        what: the kind of thing, in one word or two ("rule", "address").
        asked: the name that was given.
        known: every name that would have been accepted.
        hint: a last sentence, where there is more to say.
    """
    names = sorted(known)
    lower = {name.lower(): name for name in names}
    near = get_close_matches(asked.lower(), list(lower), n=1, cutoff=0.5)
    guess = f" Did you mean {lower[near[0]]!r}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return PlasticSearchError(f"no {what} is called {asked!r}; known: {listed}.{guess}{' ' + hint if hint else ''}")
