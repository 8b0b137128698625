"""Text that can neither steer a terminal nor change the order in which a line is read."""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

_JOINERS = "\u200c\u200d"  # which Persian words and many emoji need
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories: control, format (bidirectional marks), surrogate, separators


def printable(text: str, keep: str = "\n\t") -> str:
    r"""`text` with control characters, bidirectional marks and lone surrogates as Python writes them: `\x1b`, `\u202e`.

    Args:
        keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(each) if each not in keep else each for each in text)


def _escaped(character: str) -> str:
    hidden = unicodedata.category(character) in _HIDDEN and character not in _JOINERS
    return character.encode("unicode_escape").decode() if hidden else character
