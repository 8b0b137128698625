"""Numbers as text, formatted alike on every page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from plastic_search.core.statistics import Estimate

__all__ = [
    "MARGIN", "bits", "change", "count", "digits", "duration", "estimate", "interval", "listed", "measure", "percent",
    "score", "size",
]  # fmt: skip

MARGIN = 0.02  # a loss of score up to this much is called small
_MINUS = "\N{MINUS SIGN}"
_NONE = "\N{EM DASH}"
_TIED = "\N{NO-BREAK SPACE}"  # a space at which no line ends


def score(value: float | None) -> str:
    """0.934"""
    return _NONE if value is None else f"{_rounded(value):.3f}".replace("-", _MINUS)


def change(value: float | None) -> str:
    """+0.012"""
    if value is None or not _rounded(value):
        return score(value)
    return f"{value:+.3f}".replace("-", _MINUS)


def estimate(result: Estimate | None, signed: bool = False) -> str:
    """0.934 [0.921, 0.947], or 0.934 (one seed: no interval)"""
    if result is None:
        return _NONE
    form = change if signed else score
    return f"{form(result.value)} {interval(result, form)}"


def interval(result: Estimate, form: Callable[[float | None], str] = score) -> str:
    """[0.921, 0.947], or (one seed: no interval)"""
    return f"[{form(result.low)},{_TIED}{form(result.high)}]" if result.known else f"({result.note})"


def measure(result: Estimate | None, digits: int, signed: bool = False) -> str:
    """10.2 [9.8, 13.1] with as many decimals as the metric needs; without an interval, the reason"""
    if result is None:
        return _NONE
    while result.sign and digits < 6 and 0.0 in (round(result.low or 0.0, digits), round(result.high or 0.0, digits)):
        digits += 1  # an interval that excludes zero is not shown to reach it
    form = f"{{:{'+' if signed else ''},.{digits}f}}"
    value, low, high = (
        "" if v is None else form.format(round(v, digits) + 0.0).replace("-", _MINUS)
        for v in (result.value, result.low, result.high)
    )
    return f"{value} [{low},{_TIED}{high}]" if result.known else f"{value} ({result.note})"


def digits(results: Sequence[Estimate]) -> int:
    """Decimals that give the typical interval two significant digits."""
    spans = [e.high - e.low for e in results if e.low is not None and e.high is not None and e.high > e.low]
    scales = sorted(spans or [abs(e.value) / 10 for e in results if e.value])
    return min(max(1 - math.floor(math.log10(scales[len(scales) // 2])), 0), 4) if scales else 0


def percent(share: float | None) -> str:
    """48 %"""
    return _NONE if share is None else f"{100 * share:.0f}{_TIED}%"


def count(value: float | None) -> str:
    """1,300"""
    return _NONE if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """4.2 s, 3 min 20 s, 2 h 05 min"""
    if seconds is None:
        return _NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def probability(value: float | None) -> str:
    """0.016, or < 0.001"""
    if value is None:
        return _NONE
    return f"<{_TIED}0.001" if value < 0.001 else f"{value:.3f}"


def size(number: float | None) -> str:
    """47 KiB"""
    if number is None:
        return _NONE
    for unit, scale in (("MiB", 2**20), ("KiB", 2**10)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number:.0f} bytes"


def bits(widths: dict[str, int | None]) -> str:
    """4/4/8, a role that stays in float as a dash"""
    return "/".join("-" if width is None else str(width) for width in widths.values())


def _rounded(value: float) -> float:
    """Three decimals, and no minus before a zero."""
    return round(value, 3) + 0.0


def listed(names: list[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
