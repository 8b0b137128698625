"""What a study answers, worked out from its numbers alone: yes, no, unclear, or not known yet."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search import findings, statistics
from plastic_search.figures import bits as rounded
from plastic_search.figures import topology
from plastic_search.findings import Group
from plastic_search.runs import Record
from plastic_search.statistics import Estimate
from plastic_search.wording import MARGIN, bits, change, count, estimate, interval, listed, percent, score

__all__ = ["Comparison", "Verdict", "verdicts"]


class Comparison(NamedTuple):
    """Two networks, and how much more the first one scores."""

    ours: str
    theirs: str
    difference: Estimate
    probability: Estimate | None  # that a seed of ours scores more than one of theirs


class Verdict(NamedTuple):
    """One question with its answer."""

    key: str
    question: str
    answer: str  # yes, no, unclear, unknown
    head: str  # the answer in one sentence
    says: str  # what it rests on
    comparisons: list[Comparison]


def verdicts(record: Record) -> list[Verdict]:
    """Every answer, in the order in which a page gives them."""
    return [_plasticity(record), _search(record), _structure(record), _precision(record), _export(record)]


def _compare(ours: Group, theirs: Group) -> Comparison | None:
    """Two networks over their seeds, as independent groups: a seed means something else in another network."""
    x, y = list(ours.values().values()), list(theirs.values().values())
    if not x or not y:
        return None
    return Comparison(ours.label, theirs.label, statistics.difference(x, y), statistics.improvement(x, y))


def _plasticity(record: Record) -> Verdict:
    question = "Did plasticity matter?"
    winner = findings.group(record, "winner")
    mean = winner.mean()
    if mean is None:
        return Verdict("plasticity", question, "unknown", "Whether plasticity matters is not known yet.", "", [])
    if not winner.plastic:
        head = f"The winner, at {estimate(mean)}, has no trace: the search chose a network without plasticity."
        return Verdict("plasticity", question, "no", head, "", [])
    frozen = findings.compared(winner.values(), winner.values("frozen"))
    held = winner.mean("frozen")
    if frozen is None or held is None:
        return Verdict("plasticity", question, "unknown", "The winner was not tested without its trace.", "", [])
    made = [Comparison("winner", "winner, trace frozen", frozen, None)]
    against = [c for g in findings.baselines(record) if (c := _compare(winner, g)) is not None]
    says = (
        f"With its trace held at zero the winner scores {estimate(held)} instead of {estimate(mean)}: "
        f"{change(-frozen.value)} by seed, {_interval(frozen, -1)}. That shows whether it uses its trace. Whether a "
        "trace was needed only networks without one can show"
    )
    if not against:
        head = f"The winner scores {estimate(mean)}, and {score(held.value)} with its trace frozen."
        return Verdict("plasticity", question, "unclear", head, f"{says}, and none was trained.", made)
    guessing = {g.label for g in findings.baselines(record) if _guesses(g, findings.chance(record))}
    told = [f"{c.theirs}{', no better than chance,' * (c.theirs in guessing)} is {_short_of(c)}" for c in against]
    nearest = min(against, key=lambda c: c.difference.value)
    signs = [frozen.sign, *(c.difference.sign for c in against)]
    answer = "yes" if min(signs) > 0 else "no" if nearest.difference.sign < 0 else "unclear"
    start = {
        "yes": "Plasticity mattered",
        "no": "Plasticity was not needed",
        "unclear": "Whether plasticity mattered is not shown",
    }[answer]
    head = (
        f"{start}: the winner scores {estimate(mean)}, {_above(nearest.difference)} the best network without it "
        f"({nearest.theirs})."
    )
    return Verdict("plasticity", question, answer, head, f"{says}: {listed(told)}.", made + against)


def _guesses(group: Group, chance: float | None) -> bool:
    """Whether its interval reaches down to chance: it may not have been trained long enough to say anything."""
    mean = group.mean()
    return mean is not None and chance is not None and (mean.value if mean.low is None else mean.low) <= chance


def _search(record: Record) -> Verdict:
    question = "Did the search beat random search?"
    arms = findings.arms(record)
    learned = next((arm for arm in arms if arm != "random"), None)
    if learned is None or "random" not in arms:
        return Verdict("search", question, "unknown", "No two searches have been run that could be compared.", "", [])
    name, trials = findings.arm_label(learned), [_complete(record, arm) for arm in (learned, "random")]
    ours, theirs = (findings.of_arm(record, arm) for arm in (learned, "random"))
    says = _trial_by_trial(name, trials)
    found = _compare(ours, theirs) if ours and theirs else None
    if found is None or ours is None or theirs is None or found.probability is None:
        head = f"Whether {name} beats random search is not known: their best networks were not both trained anew."
        return Verdict("search", question, "unknown", head, says, [])
    d, p = found.difference, found.probability
    answer = "yes" if d.sign > 0 else "no" if d.sign < 0 else "unclear"
    start = {
        "yes": f"{name} beat random search",
        "no": f"{name} did worse than random search",
        "unclear": f"{name} was not shown to beat random search of equal budget",
    }[answer]
    head = f"{start}: {_above(d)} it after retraining (probability of improvement {estimate(p)})."
    sizes = [count(g.cost("connections")) for g in (ours, theirs)]
    says += (
        f" Retrained alike, {name}'s best scores {estimate(ours.mean())} with {sizes[0]} connections, random search's "
        f"{estimate(theirs.mean())} with {sizes[1]}."
    )
    if answer != "yes":
        says += " A search that does not beat random search has found nothing that chance would not have."
    return Verdict("search", question, answer, head, says, [found])


def _complete(record: Record, arm: str) -> list[float]:
    return [t.score for t in findings.trials(record, arm) if t.outcome == "complete" and t.score is not None]


def _trial_by_trial(name: str, trials: list[list[float]]) -> str:
    ours, theirs = trials
    if not ours or not theirs:
        return ""
    p = statistics.improvement(ours, theirs)
    return (
        f"On validation, {name}'s best of {len(ours)} complete trials scores {score(max(ours))}, random search's best "
        f"of {len(theirs)} {score(max(theirs))}; one trial of {name} scores more than one of random search with "
        f"probability {estimate(p)}."
    )


def _structure(record: Record) -> Verdict:
    question = "Can connections be left out?"
    winner, dense = findings.group(record, "winner"), findings.group(record, "dense")
    found = _compare(winner, dense)
    kept, full = winner.cost("connections"), dense.cost("connections")
    graph = topology.data(record)
    share = kept / full if kept is not None and full else None
    if graph is not None and share is None:
        share = sum(b.edges for b in graph.blocks) / max(sum(b.possible for b in graph.blocks), 1)
    if share is None:
        return Verdict("structure", question, "unknown", "How many connections are needed is not known yet.", "", [])
    if found is None:
        head = f"The winner keeps {percent(share)} of the connections that it might have."
        return Verdict("structure", question, "unclear", head, "No dense network was trained to compare it with.", [])
    d = found.difference
    within = d.value >= -MARGIN
    sure = d.low is not None and d.low >= -MARGIN
    answer = "yes" if within and sure else "unclear" if within else "no"
    where = f"within {MARGIN}" if within else f"more than {MARGIN} away"
    where = "so nothing is lost" if d.value >= 0 else where
    reach = f", though the interval reaches more than {MARGIN} below" if within and not sure else ""
    head = f"{percent(share)} of the connections are kept: {_above(d)} the dense network, {where}{reach}."
    says = (
        f"With {count(kept)} connections the winner scores {estimate(winner.mean())}; the same network with all "
        f"{count(full)} of them, trained as long, scores {estimate(dense.mean())}."
    )
    return Verdict("structure", question, answer, head, says, [found])


def _precision(record: Record) -> Verdict:
    question = "Does it survive in few bits?"
    made = rounded.data(record)
    together = [v for v in made.variants if v.family in ("uniform", "mixed") and v.change] if made else []
    if not made or not together:
        return Verdict("precision", question, "unknown", "What rounding costs is not known yet.", "", [])
    chosen = min(together, key=lambda v: (v.family != "mixed", not v.tuned, v.rounding != "stochastic", _total(v)))
    d = chosen.change
    if d is None:
        return Verdict("precision", question, "unknown", "What rounding costs is not known: no float winner.", "", [])
    sure = d.low is not None and d.low >= -MARGIN
    answer = "yes" if sure else "unclear" if d.value >= -MARGIN else "no"
    how = f"{bits(chosen.bits)} bits (weight/alpha/trace, {_how(chosen)})"
    head = f"In {how} its score changes by {estimate(d, True)}."
    near = [v for v in together if v.change and v.change.low is not None and v.change.low >= -MARGIN]
    fewest = min(near, key=_total, default=None)
    says = (
        f"The fewest bits that surely stay within {MARGIN} of float are {bits(fewest.bits)} ({_how(fewest)}), "
        f"{estimate(fewest.change, True)}, the fewest of {len(together)} ways that were tried."
        if fewest
        else f"None of the {len(together)} ways of rounding all roles surely stays within {MARGIN} of float."
    )
    compared = [Comparison(f"{bits(chosen.bits)} bits", "float", d, None)]
    return Verdict("precision", question, answer, head, says + _by_chance(made), compared)


def _by_chance(made: rounded.Bits) -> str:
    """What stochastic rounding does for the trace alone, at the fewest bits that have both."""
    alone = {(v.bits["trace"], v.rounding): v for v in made.variants if v.family == "trace" and not v.tuned}
    both = [b for b, _ in alone if b is not None and (b, "nearest") in alone and (b, "stochastic") in alone]
    if not both:
        return ""
    b = min(both)
    told = [f"{estimate(alone[b, r].change, True)} when written {w}" for r, w in _ROUNDINGS if alone[b, r].change]
    return f" A {b}-bit trace alone, without fine-tuning, changes the score by {listed(told)}." if told else ""


_ROUNDINGS = (("nearest", "to nearest"), ("stochastic", "by stochastic rounding"))


def _export(record: Record) -> Verdict:
    question = "Does it run outside Python's torch?"
    exported = [r for r in record.stage("exported") if findings.finite(r.metrics.get("parity")) is not None]
    if not exported:
        return Verdict("export", question, "unknown", "It has not been exported yet.", "", [])
    last = exported[-1].metrics
    steps, compared = (findings.finite(last.get(name)) for name in ("steps", "compared"))
    each = f"each of {count(steps)} steps is within {last.get('stepwise', last['parity']):.1e} of the reference"
    alone = f"left to itself it stays within {last['parity']:.1e} over {count(compared)}"
    tie = "" if compared == steps else ", where a last bit decides how a number of the trace is rounded"
    head = f"Exported, {each}; {alone}{tie}."
    return Verdict("export", question, "yes", head, "", [])


def _above(d: Estimate) -> str:
    """0.012 [0.004, 0.020] above, or the same below"""
    side = 1 if d.value >= 0 else -1
    return f"{score(abs(d.value))} {_interval(d, side)} {'above' if side > 0 else 'below'}"


def _short_of(c: Comparison) -> str:
    d = c.difference
    side = 1 if d.value >= 0 else -1
    return f"{score(abs(d.value))} {_interval(d, side)} {'below' if side > 0 else 'above'} the winner"


def _interval(d: Estimate, side: int) -> str:
    """The interval of a difference as a distance to one side."""
    if side < 0 and d.low is not None and d.high is not None:
        d = d._replace(low=-d.high, high=-d.low)
    return interval(d)


def _total(variant: rounded.Variant) -> int:
    return sum(b or 32 for b in variant.bits.values())


def _how(variant: rounded.Variant) -> str:
    return f"{variant.rounding}, {'fine-tuned' if variant.tuned else 'not fine-tuned'}"
