"""What a study answers, worked out from its numbers alone: yes, no, unclear, or not known yet."""

from __future__ import annotations

from typing import Any

from plastic_search.core import statistics
from plastic_search.records.run import Record
from plastic_search.report import groups, reproduce
from plastic_search.report.figures import learning_curves, topology
from plastic_search.report.formatting import change, count, estimate, listed, percent, score
from plastic_search.report.groups import Contrast, Group, above, compare, loss, reach
from plastic_search.report.precision import precision
from plastic_search.report.verdict import Verdict

__all__ = ["Verdict", "verdicts"]


def verdicts(record: Record) -> list[Verdict]:
    """Every answer, in the order in which a page gives them; none on structure where nothing can be left out."""
    lossy = [verdict for verdict in (_structure(record), precision(record)) if verdict is not None]
    kept = [_unless_at_chance(record, verdict) for verdict in lossy]
    return [_plasticity(record), _search(record), *kept, _export(record)]


def _unless_at_chance(record: Record, verdict: Verdict) -> Verdict:
    """The verdict on what is lost; unclear where the winner may have nothing to lose."""
    mean, chance = groups.group(record, "winner").mean(), groups.chance(record)
    if mean is None or mean.low is None or chance is None or mean.low > chance or verdict.answer == "unknown":
        return verdict
    head = f"{verdict.head} But the winner is not shown to score above chance, {score(chance)}: {estimate(mean)}."
    return verdict._replace(answer="unclear", head=head)


def _plasticity(record: Record) -> Verdict:
    question = "Did plasticity matter?"
    winner = groups.group(record, "winner")
    mean = winner.mean()
    if mean is None:
        return Verdict("plasticity", question, "unknown", "Whether plasticity matters is not known yet.", "", [])
    tried = [layer.get("plastic") for trial in groups.trials(record) for layer in trial.spec.get("layers", ())]
    if not winner.plastic and set(tried) == {"none"}:
        head = "Whether plasticity matters was not asked: no network of the search had a trace."
        return Verdict("plasticity", question, "unknown", head, head, [])
    if not winner.plastic:
        head = f"The winner, at {estimate(mean)}, has no trace: the search chose a network without plasticity."
        return Verdict("plasticity", question, "no", head, "There is no trace that could be taken away.", [])
    frozen = groups.compared_scores(winner.values(), winner.values("frozen"))
    frozen_mean = winner.mean("frozen")
    if frozen is None or frozen_mean is None:
        return Verdict("plasticity", question, "unknown", "The winner was not tested without its trace.", "", [])
    contrasts = [Contrast("winner", "winner, trace frozen", frozen, None)]
    without = [(g, c) for g in groups.baselines(record) if (c := compare(winner, g)) is not None]
    against = [c for _, c in without]
    reason = (
        f"With its trace fixed at zero the winner scores {estimate(frozen_mean)} instead of {estimate(mean)}: "
        f"{change(-frozen.value)} by seed, {reach(frozen, -1)}. That shows whether it uses its trace. Whether a "
        "trace was needed only networks without one can show"
    )
    if not against:
        head = f"The winner scores {estimate(mean)}, and {score(frozen_mean.value)} with its trace frozen."
        return Verdict("plasticity", question, "unclear", head, f"{reason}, and none was trained.", contrasts)
    shortfalls = [f"{c.theirs}{_weakness(record, g)} is {_short_of(c)}" for g, c in without]
    rival, nearest = min(without, key=lambda pair: pair[1].difference.value)
    signs = [frozen.sign, *(c.difference.sign for c in against)]
    answer = "yes" if min(signs) > 0 else "no" if nearest.difference.sign < 0 else "unclear"
    start = {
        "yes": "Plasticity mattered",
        "no": "Plasticity was not needed",
        "unclear": "Whether plasticity mattered is not shown",
    }[answer]
    head = (
        f"{start}: the winner scores {estimate(mean)}, {above(nearest.difference)} the best network without it "
        f"({nearest.theirs}{_caveat(record, rival) if nearest.difference.value > 0 else ''})."
    )
    return Verdict("plasticity", question, answer, head, f"{reason}: {listed(shortfalls)}.", contrasts + against)


def _weakness(record: Record, group: Group) -> str:
    """Why a control may say less than it seems to."""
    curve = learning_curves.curve(group)
    marks = {
        "no better than chance": _guesses(group, groups.chance(record)),
        "of fewer parameters than the winner": groups.smaller(record, group),
        "still rising at the end of its training": curve.rising,
        "its training loss still falling at the end": curve.falling and not curve.rising,
    }
    found = [mark for mark, true in marks.items() if true]
    return f", {listed(found)}," if found else ""


def _caveat(record: Record, rival: Group) -> str:
    """What else might explain that the winner is above the best network without plasticity."""
    curve, text = learning_curves.curve(rival), ""
    if groups.smaller(record, rival):
        text += f", which has only {count(rival.cost('parameters'))} parameters against " + count(
            groups.group(record, "winner").cost("parameters")
        )
    if curve.rising:
        text += (
            f"; its learning curve still rises, by {score(curve.rise)} over the last fifth of training, so longer "
            "training might narrow this"
        )
    return text


def _guesses(group: Group, chance: float | None) -> bool:
    """Whether its interval reaches down to chance: it may not have been trained long enough to say anything."""
    mean = group.mean()
    return mean is not None and chance is not None and (mean.value if mean.low is None else mean.low) <= chance


def _search(record: Record) -> Verdict:
    question = "Did the search beat random search?"
    arms = groups.arms(record)
    learned = next((arm for arm in arms if arm != "random"), None)
    if learned is None or "random" not in arms:
        return Verdict("search", question, "unknown", "No two searches have been run that could be compared.", "", [])
    name, trials = groups.arm_label(learned), [_complete(record, arm) for arm in (learned, "random")]
    ours, theirs = (groups.of_arm(record, arm) for arm in (learned, "random"))
    reason = _trial_by_trial(name, trials)
    if ours and theirs and ours.runs and groups.alike(ours, theirs):
        head = f"{name} did not beat random search: both found the same network."
        return Verdict("search", question, "no", head, reason, [])
    found = compare(ours, theirs) if ours and theirs else None
    if found is None or ours is None or theirs is None or found.probability is None:
        head = f"Whether {name} beats random search is not known: their best networks were not both trained anew."
        return Verdict("search", question, "unknown", head, reason, [])
    d, p = found.difference, found.probability
    answer = "yes" if d.sign > 0 else "no" if d.sign < 0 else "unclear"
    start = {
        "yes": f"{name} beat random search",
        "no": f"{name} did worse than random search",
        "unclear": f"{name} was not shown to beat random search of equal budget",
    }[answer]
    head = f"{start}: {above(d)} it after retraining (probability of improvement {estimate(p)})."
    sizes = [count(g.cost("connections")) for g in (ours, theirs)]
    reason += (
        f" Retrained alike, {name}'s best scores {estimate(ours.mean())} with {sizes[0]} connections, random search's "
        f"{estimate(theirs.mean())} with {sizes[1]}."
    )
    if answer != "yes":
        reason += " A search that does not beat random search has found nothing that chance would not have."
    return Verdict("search", question, answer, head, reason, [found])


def _complete(record: Record, arm: str) -> list[float]:
    return [t.score for t in groups.trials(record, arm) if t.outcome == "complete" and t.score is not None]


def _trial_by_trial(name: str, trials: list[list[float]]) -> str:
    ours, theirs = trials
    if not ours or not theirs:
        return ""
    p = statistics.improvement(ours, theirs)
    p = p if p.known else p._replace(note="one trial on a side: no interval")
    many = "s" if len(ours) != 1 else ""
    return (
        f"On validation, {name}'s best of {len(ours)} complete trial{many} scores {score(max(ours))}, random search's "
        f"best of {len(theirs)} {score(max(theirs))}; one trial of {name} scores more than one of random search with "
        f"probability {estimate(p)}."
    )


def _structure(record: Record) -> Verdict | None:
    question = "Can connections be left out?"
    winner, dense = groups.group(record, "winner"), groups.standing(record, "dense")
    if winner.runs and not _leaves_out(record):
        return None
    found = compare(winner, dense)
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
    if share >= 1.0:
        head = "The winner kept every connection that it might have, so whether any can be left out is not shown."
        return Verdict("structure", question, "unclear", head, "", [found])
    answer, lost = loss(d)
    head = f"{percent(share)} of the connections are kept: {above(d)} the dense network, {lost}."
    reason = (
        f"With {count(kept)} connections the winner scores {estimate(winner.mean())}; the same network with all "
        f"{count(full)} of them, trained as long, scores {estimate(dense.mean())}."
    )
    others = [c for name in ("random_mask", "pruned") if (c := compare(winner, groups.standing(record, name)))]
    reason += "".join(f" Above {c.theirs} of as many connections: {estimate(c.difference, True)}." for c in others)
    return Verdict("structure", question, answer, head, reason + _hardened(winner), [found, *others])


def _leaves_out(record: Record) -> bool:
    """Whether the winner has some of several possible connections, chosen by gates or given by a graph."""
    winner, dense = groups.group(record, "winner"), groups.standing(record, "dense")
    layers = [layer for run in winner.runs[:1] for layer in run.spec.get("layers", ())]
    return not groups.alike(winner, dense) if dense.runs else any(_chooses(layer.get("structure")) for layer in layers)


def _chooses(structure: Any) -> bool:
    """Whether a structure in JSON has some of the connections of another one."""
    inner = structure.get("support") if isinstance(structure, dict) else None
    return _chooses(inner) if inner and structure.get("kind") == "Selected" else inner is not None


def _hardened(winner: Group) -> str:
    """What it cost that the gates were made hard, where the runs say it."""
    soft, hard = winner.mean("soft"), winner.mean("hard")
    if soft is None or hard is None:
        return ""
    return f" Making its gates hard changed its validation score by {hard.value - soft.value:+.3f}."


def _export(record: Record) -> Verdict:
    question = "Does it run outside Python's torch?"
    exported, last = groups.bundles(record), groups.main_bundle(record)
    if not exported:
        return Verdict("export", question, "unknown", "It has not been exported yet.", "", [])
    if last is None:
        what = "an earlier winner" if groups.outdated(record, exported[-1]) else exported[-1].name
        head = f"The bundle is of {what}, not of this winner; `{reproduce.filling(record, 'export')}` makes it anew."
        return Verdict("export", question, "unclear", head, "", [])
    steps, alone = (groups.finite(last.metrics.get(name)) for name in ("steps", "compared"))
    parity = last.metrics["parity"]
    each = f"each of {_steps(steps)} from the same state is within {last.metrics.get('stepwise', parity):.1e}"
    free = f"left to itself it stays within {parity:.1e} of it for {_steps(alone)}"
    which = f" ({last.name}, seed {last.seed})" if len(exported) > 1 else ""
    head = f"Exported{which}, {each} of the reference; {free if alone else 'left to itself it parts from it'}"
    return Verdict("export", question, "yes", f"{head}{_ENDED[groups.ended(last)]}.", "", [])


_ENDED = {  # why the free run was compared no further
    "": "",
    "tie": ", up to where a last bit decides how a number of the trace is rounded",
    "magnified": "; beyond that the network itself magnifies a last bit as much",
    "either": ", up to where a last bit decides how a number of the trace is rounded, or the network magnifies it",
}


def _steps(number: float | None) -> str:
    return f"{count(number)} step{'s' if number != 1 else ''}"


def _short_of(c: Contrast) -> str:
    d = c.difference
    side = 1 if d.value >= 0 else -1
    return f"{score(abs(d.value))} {reach(d, side)} {'below' if side > 0 else 'above'} the winner"
