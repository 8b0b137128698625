"""Ways of rounding a network: the grid that `quantize` tries, and one combination that is written out."""

from __future__ import annotations

from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.precisions import Role, Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.records.run import WIDTHS

__all__ = ["Variant", "combination", "tuned_and_not", "variants", "written"]

_FLOAT = 32  # how a float role is written in a name
_FEW = 4  # bits of a trace, in which rounding to nearest loses many changes


class Variant(NamedTuple):
    """One way of rounding a network."""

    precision: Integer | Floating
    tuned: bool  # trained on with its rounding in place

    @property
    def name(self) -> str:
        """`w4a4t8-stochastic-tuned`: bits of weight, alpha and trace, the trace's rounding, whether fine-tuned.

        `w4a4t8y4-stochastic` has activity in 4 bits too; `feedback6` keeps 6 bits beside the trace's, in place of 4.
        """
        p = self.precision
        if isinstance(p, Floating):  # trained on as long as the others, to compare them with
            return f"w{_FLOAT}a{_FLOAT}t{_FLOAT}" + "-tuned" * self.tuned
        bits = f"w{p.weight or _FLOAT}a{p.alpha or _FLOAT}t{p.trace or _FLOAT}"
        bits += "" if p.activity is None else f"y{p.activity}"
        kept = str(p.remainder) * _keeps_other(p)
        return "-".join([bits, p.rounding.value + kept] + ["tuned"] * self.tuned)


def variants(
    bits: tuple[int, ...] = WIDTHS, plastic: bool = True, activity_bits: tuple[int, ...] = ()
) -> list[Variant]:
    """All roles at each width, each role alone, and 4-bit weight and alpha with an 8-bit trace; float, trained on.

    The trace is rounded to nearest and stochastically; alone, and in 4 bits or fewer, with error feedback too.

    Args:
        plastic: whether there are alphas and a trace; without them the weight alone is rounded.
        activity_bits: widths of activity, each alone, and beside 4-bit weight and alpha with an 8-bit trace.
    """
    found = [Variant(Floating(), tuned=True)]
    for tuned in (False, True):
        for rounding in (Rounding.NEAREST, Rounding.STOCHASTIC) if plastic else ():
            widths = [(b, b, b) for b in bits] + [(4, 4, 8)] + [(None, None, b) for b in bits]
            found += [Variant(Integer(*each, rounding), tuned) for each in widths]
            found += [Variant(Integer(4, 4, 8, rounding, b), tuned) for b in activity_bits]
        few = [b for b in bits if b <= _FEW and plastic]
        found += [Variant(Integer(None, None, b, Rounding.FEEDBACK), tuned) for b in few]
        alone = [(b, None, None) for b in bits] + [(None, b, None) for b in bits if plastic]
        found += [Variant(Integer(*each, Rounding.NEAREST), tuned) for each in alone]
        with_weight = () if plastic else (4,)
        active = [(w, b) for w in (None, *with_weight) for b in activity_bits]
        found += [Variant(Integer(w, None, None, Rounding.NEAREST, b), tuned) for w, b in active]
    return list({v.name: v for v in found}.values())


def tuned_and_not(precision: Integer) -> list[Variant]:
    """One way of rounding, before and after fine-tuning, and the float network trained on as long beside it."""
    return [Variant(Floating(), tuned=True), Variant(precision, tuned=False), Variant(precision, tuned=True)]


def combination(text: str) -> Integer:
    """The precision that is written out, `weight=4,alpha=4,trace=3,rounding=feedback`; a role without bits is float.

    Args:
        text: `ROLE=BITS` with commas, each a number or `float`, of weight, alpha, trace and activity; `rounding` of the
            trace, stochastic where it is not given; and `remainder`, the bits that error feedback keeps besides.

    Raises:
        PlasticSearchError: a word is unknown, given twice, or cannot be; nothing is rounded.
    """
    given: dict[str, str] = {}
    roles = [role.value for role in Role]
    for each in text.split(","):
        key, equals, value = (word.strip() for word in each.partition("="))
        if not equals:
            raise PlasticSearchError(
                f"--bits takes widths, such as 8,4, or one combination, such as weight=4,alpha=4,trace=4, but got "
                f"{text!r}"
            )
        if key not in (*roles, "rounding", "remainder"):
            raise unknown("role", key, roles, "Besides them, rounding=... and remainder=... are known.")
        if given.setdefault(key, value) != value:
            raise PlasticSearchError(f"--bits gives {key} twice: {given[key]} and {value}; keep one of them")
    widths = {role: _bits(role, given.get(role, "float")) for role in roles}
    if not any(widths.values()):
        raise PlasticSearchError(f"--bits {text} leaves every role a float; give one of {', '.join(roles)} bits")
    return Integer(**widths, **_of_the_trace(given, rounded=widths["trace"] is not None))


def _bits(role: str, text: str) -> int | None:
    if text.lower() == "float":
        return None
    if not text.isascii() or not text.isdigit() or not int(text):
        least = 2 if role == Role.TRACE.value else 1
        raise PlasticSearchError(f"--bits {role}={text}: give {least} to 16 bits, or float")
    return int(text)


def _of_the_trace(given: dict[str, str], rounded: bool) -> dict[str, Any]:
    """`rounding` and `remainder` of an `Integer`."""
    known = {each.value: each for each in Rounding}
    way = given.get("rounding", Rounding.STOCHASTIC.value if rounded else Rounding.NEAREST.value)
    if way not in known:
        raise unknown("rounding", way, known)
    if not rounded and (idle := [key for key in ("rounding", "remainder") if key in given]):
        raise PlasticSearchError(f"--bits gives {idle[0]}, which is that of the trace, but no bits of it; add trace=4")
    if "remainder" not in given:
        return {"rounding": known[way]}
    if way != Rounding.FEEDBACK.value or not given["remainder"].isdigit():
        raise PlasticSearchError(
            f"--bits remainder={given['remainder']}: only rounding=feedback keeps a remainder, of 1 to 8 bits"
        )
    return {"rounding": known[way], "remainder": int(given["remainder"])}


def written(precision: Integer) -> str:
    """The text that `combination` reads as this precision."""
    bits = {role.value: form.bits for role in Role if (form := precision.format(role))}
    words = [f"{role}={count}" for role, count in bits.items()]
    words += [f"rounding={precision.rounding.value}"] * ("trace" in bits)
    return ",".join(words + [f"remainder={precision.remainder}"] * _keeps_other(precision))


def _keeps_other(precision: Integer) -> bool:
    """Whether error feedback keeps other bits than it does by default."""
    return precision.rounding is Rounding.FEEDBACK and precision.remainder != Integer.remainder
