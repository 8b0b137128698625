"""What rounding costs: the answer of a study to whether its winner survives in few bits."""

from __future__ import annotations

from typing import Any

from plastic_search.core import statistics
from plastic_search.core.statistics import Estimate
from plastic_search.records.run import Record
from plastic_search.report import reproduce
from plastic_search.report.figures import bits as rounded
from plastic_search.report.figures.bits import width_text
from plastic_search.report.formatting import MARGIN, bits, estimate, listed
from plastic_search.report.groups import Contrast, loss
from plastic_search.report.verdict import Verdict

__all__ = ["precision"]


def precision(record: Record) -> Verdict:
    question = "Does it survive in few bits?"
    rounding = rounded.data(record)
    together = [v for v in rounding.together if v.change] if rounding else []
    if not rounding or not together:
        return Verdict("precision", question, "unknown", "What rounding costs is not known yet.", "", [])
    chosen = min(together, key=_preference)
    d = chosen.cost
    if d is None:
        return Verdict("precision", question, "unknown", "What rounding costs is not known: no float winner.", "", [])
    answer, lost = loss(d)
    if answer == "yes" and not chosen.fair:
        answer, lost = "unclear", "and that may hide what rounding costs"
    roles = "" if chosen.family in rounded.ROLES else f"{'/'.join(chosen.bits)}, "
    how = f"{width_text(chosen)} ({roles}{_how(chosen)})"
    theirs = "float, trained on as long" if chosen.matched else "float"
    against = f"the winner in {theirs}" if chosen.fair else "the winner in float, which was not trained on as long"
    head = f"In {how} its score changes by {estimate(d, True)} against {against}, {lost}."
    compared = [Contrast(width_text(chosen), theirs, d, None)]
    reason = _trained_on(record, chosen) + _fewest(together) + _against_nearest(rounding)
    return Verdict("precision", question, answer, head, reason, compared)


def _trained_on(record: Record, chosen: rounded.Variant) -> str:
    """What training on, and not rounding, has to do with a change."""
    if not chosen.tuned or chosen.change is None:
        return ""
    if chosen.matched:
        return (
            f"Against the winner as it was, before any training on, the score in {width_text(chosen)} changes by "
            f"{estimate(chosen.change, True)}. "
        )
    return (
        "The rounded network was trained on and the float winner was not, so this does not part what rounding costs "
        f"from what more training gives; `{reproduce.filling(record, 'quantize')}` trains the float winner on as long. "
    )


def _fewest(together: list[rounded.Variant]) -> str:
    """The fewest bits that cost little, of the ways that have a fair comparison."""
    fair = [(v, v.cost) for v in together if v.fair and v.cost is not None]
    sure = [(v, d) for v, d in fair if d.low is not None and d.low >= -MARGIN]
    ways = f"{len(fair)} ways of rounding all roles that can be compared with float fairly"
    if sure:
        v, d = min(sure, key=lambda pair: _total(pair[0]))
        return (
            f"The fewest bits that surely stay within {MARGIN} of float are {_widths(v)} ({_how(v)}), "
            f"{estimate(d, True)}, the fewest of the {ways}."
        )
    if all(not d.known for _, d in fair):
        return f"With one seed, none of the {ways} can be shown to stay within {MARGIN} of it."
    return f"None of the {ways} surely stays within {MARGIN} of it."


def _against_nearest(rounding: rounded.Bits) -> str:
    """What other ways than rounding to nearest do for the trace alone."""
    others = dict.fromkeys(v.rounding for v in rounding.variants if v.family == "trace" and v.rounding != "nearest")
    return "".join(_by_way(rounding, way) for way in sorted(others, reverse=True))


def _by_way(rounding: rounded.Bits, way: str) -> str:
    """What one way of rounding does for the trace alone, at every width that it and nearest have."""
    phrases, surely = [], {1: [], -1: []}
    for tuned, when in ((False, "without fine-tuning"), (True, "fine-tuned")):
        alone = {
            (v.bits["trace"], v.rounding): v for v in rounding.variants if v.family == "trace" and v.tuned == tuned
        }
        both = [b for b, rounding in alone if b is not None and rounding == "nearest" and (b, way) in alone]
        steps = []
        for b in sorted(both, reverse=True):
            d = _difference(alone[b, way], alone[b, "nearest"])
            steps.append(f"{estimate(d, True)} at {b} bits")
            if d.sign:
                surely[d.sign].append(f"{b} bits ({when})")
        phrases += [f"{when} by {listed(steps)}"] * bool(steps)
    if not phrases:
        return ""
    sides = [f"surely {word} at {listed(surely[sign])}" for sign, word in ((1, "helps"), (-1, "hurts")) if surely[sign]]
    how = "by stochastic instead of nearest rounding" if way == "stochastic" else f"by {way} instead of to nearest"
    return (
        f" Writing the trace alone {how} changes the score, by seed, "
        f"{'; '.join(phrases)}: it {' and '.join(sides) or 'makes no sure difference'}."
    )


def _difference(ours: rounded.Variant, theirs: rounded.Variant) -> Estimate:
    if len(ours.seeds) == len(theirs.seeds):
        result = statistics.mean([a - b for a, b in zip(ours.seeds, theirs.seeds, strict=True)])
    else:
        result = statistics.difference(ours.seeds, theirs.seeds)
    return statistics.bounded(result, ours.seeds, theirs.seeds)


def _total(variant: rounded.Variant) -> int:
    return sum(variant.bits.get(role) or 32 for role in rounded.ROLES)


def _preference(variant: rounded.Variant) -> tuple[Any, ...]:
    """Which way of rounding an answer is about: 4/4/8, or 4-bit weights, fine-tuned, where there is such a one."""
    widths = variant.family != "mixed", variant.family == "weight" and variant.bits["weight"] != 4
    return "activity" in variant.bits, *widths, not variant.tuned, variant.rounding != "stochastic", _total(variant)


def _widths(variant: rounded.Variant) -> str:
    return bits({role: b for role, b in variant.bits.items() if b is not None})


def _how(variant: rounded.Variant) -> str:
    return f"{variant.rounding}, {'fine-tuned' if variant.tuned else 'not fine-tuned'}"
