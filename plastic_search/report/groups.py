"""Runs in the groups that pages show: trials over their seeds, finalists, variants; and differences between them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import count
from typing import Any, Literal, NamedTuple

from plastic_search.core import statistics
from plastic_search.core.statistics import Estimate
from plastic_search.records import table
from plastic_search.records.run import Finalist, Record, Run, Stage, identity
from plastic_search.report.formatting import MARGIN, interval, score

__all__ = [
    "Contrast", "Group", "Trial", "above", "alike", "arm_label", "arm_looks", "arms", "baselines", "bundles", "chance",
    "compare", "compared", "compared_scores", "ended", "finals", "finite", "group", "looks", "loss", "main_bundle",
    "of_arm", "of_winner", "outdated", "reach", "rewarded", "score_name", "smaller", "standing", "trials",
    "winning_trial",
]  # fmt: skip

_ARMS = {"tpe": "TPE", "random": "random search"}
_FINALS: dict[str, tuple[str, str]] = {  # finalist -> what a page calls it, and what it is
    Finalist.WINNER: ("winner", "the chosen network, trained anew and for longer"),
    Finalist.BEST_TPE: ("best of TPE", "the best trial of TPE, trained as long"),
    Finalist.BEST_RANDOM: ("best of random search", "the best trial of random search, trained as long"),
    Finalist.DENSE: ("dense", "the winner with every connection allowed that its gates chose among"),
    Finalist.RANDOM_MASK: ("random mask", "the winner with as many connections, chosen by chance"),
    Finalist.PRUNED: ("pruned by magnitude", "the winner with as many connections, those of largest magnitude"),
    Finalist.FIXED: ("fixed", "the winner without plasticity and without gates"),
    Finalist.FIXED_LSTM: ("fixed LSTM", "an LSTM without plasticity"),
}
_MATCHED = (Finalist.FIXED, Finalist.FIXED_LSTM)  # meant to have at least as many parameters as the winner
_CONTROLS = (Finalist.DENSE, Finalist.RANDOM_MASK, Finalist.PRUNED, *_MATCHED)


class Trial(NamedTuple):
    """One combination that a search tried, over all its seeds."""

    arm: str
    number: int
    outcome: str  # the worst of its seeds
    score: float | None  # mean over its seeds; of a pruned trial the last one seen
    connections: float | None
    seconds: float
    seeds: int
    choices: dict[str, Any]
    spec: dict[str, Any]
    note: str


class Group(NamedTuple):
    """The runs of one network, one a seed."""

    name: str
    label: str
    about: str
    runs: list[Run]

    def values(self, metric: str = "score") -> dict[int, float]:
        """The metric of each seed that has one, in the order of seeds, whoever was ready first."""
        runs = sorted(self.runs, key=lambda run: run.seed)
        return {r.seed: value for r in runs if (value := finite(r.metrics.get(metric))) is not None}

    def mean(self, metric: str = "score") -> Estimate | None:
        """The mean of a score, or of the score in another state or on another split."""
        values = list(self.values(metric).values())
        if not values:
            return None
        found = statistics.mean(values)
        return found if rewarded(self.runs) else statistics.bounded(found, values)

    def cost(self, name: str) -> float | None:
        """The mean cost of a run."""
        return average(r.costs.get(name) for r in self.runs)

    @property
    def plastic(self) -> bool:
        """Whether its trace could be taken away."""
        return bool(self.values("frozen"))


def finite(value: Any) -> float | None:
    """`value`, if it is a number that can be drawn."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fine else None


def average(values: Iterable[Any]) -> float | None:
    """The mean of those that are numbers."""
    known = [v for v in map(finite, values) if v is not None]
    return sum(known) / len(known) if known else None


def rewarded(runs: Iterable[Run]) -> bool:
    """Whether scores are rewards of an environment, which have no bounds: only there is a reward for each trial."""
    return any("trial.0" in run.metrics for run in runs)


def score_name(record: Record) -> str:
    """What a score is called: accuracy."""
    return str(record.study.get("task", {}).get("score_name") or "score")


def chance(record: Record) -> float | None:
    """The score of guessing."""
    return finite(record.study.get("task", {}).get("chance"))


def trials(record: Record, arm: str | None = None) -> list[Trial]:
    """The trials of a search in the order of their numbers."""
    specs = {(run.name, run.trial): (run.choices, run.spec) for run in record.stage(Stage.SEARCH, arm)}
    rows = table.trials(record._replace(runs=record.stage(Stage.SEARCH, arm)))
    return [
        Trial(
            arm=row["arm"],
            number=row["number"],
            outcome=row["outcome"],
            score=finite(row["score"]),
            connections=finite(row["connections"]),
            seconds=row["seconds"],
            seeds=row["seeds"],
            choices=table.used(*specs[row["arm"], row["number"]]),
            spec=specs[row["arm"], row["number"]][1],
            note=row["note"],
        )
        for row in rows.to_dict("records")
    ]


def arms(record: Record) -> list[str]:
    """The searches of a study, random search last."""
    names = list(dict.fromkeys(r.name for r in record.stage("search")))
    return sorted(names, key=lambda name: (name == "random", name != "tpe", names.index(name)))


def arm_label(name: str) -> str:
    return _ARMS.get(name, name)


def finals(record: Record) -> list[Group]:
    """The finalists: those that we know of first, then any other by name of its runs."""
    names = list(dict.fromkeys(r.name for r in record.stage("final")))
    order = list(_FINALS)
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return [found for name in names if (found := group(record, name)).runs]


def looks(record: Record) -> dict[str, int]:
    """The look of each finalist (`figures._canvas.look`), the same in every figure of a page."""
    return {each.name: i for i, each in enumerate(finals(record))}


def arm_looks(record: Record) -> dict[str, int]:
    """The look of each search: that of the finalist that it found, or one of its own."""
    taken, result = looks(record), {}
    for arm in arms(record):
        found = of_arm(record, arm)
        look = taken[found.name] if found else -1
        own = next(i for i in count(len(taken)) if i not in result.values())
        result[arm] = own if look in (-1, *result.values()) else look
    return result


def group(record: Record, name: str, stage: str = "final") -> Group:
    """The runs of one network of a stage; of a control those that belong to this winner."""
    if stage != "final":
        return Group(name, name, "", record.stage(stage, name))
    found = Group(name, *_FINALS.get(name, (name, "")), record.stage(stage, name))
    for winner in record.stage(stage, "winner")[:1]:
        if name in _CONTROLS:
            mine = [r for r in found.runs if r.trial == winner.trial and r.choices in ({}, winner.choices)]
            found = found._replace(runs=mine)
    if name == Finalist.RANDOM_MASK and any(_of_graph(run.spec) for run in found.runs):
        found = found._replace(about=f"{found.about}, the same ones for every seed")
    return found._replace(about=_sized(record, found)) if name in _MATCHED else found


def standing(record: Record, name: str) -> Group:
    """The finalist that is meant by a name: its own runs, or those of another that is the same network."""
    same = record.study.get("same")
    stands = same.get(name) if isinstance(same, dict) else None
    return group(record, stands if isinstance(stands, str) else name)


def alike(ours: Group, theirs: Group) -> bool:
    """Whether two finalists are one network, trained once or, by an earlier version, twice."""
    specs = [identity(run.spec) for each in (ours, theirs) for run in each.runs[:1] if run.spec.get("layers")]
    return ours.name == theirs.name or (len(specs) == 2 and specs[0] == specs[1])


def _of_graph(spec: Any) -> bool:
    return '"kind": "Graph"' in json.dumps(spec)


def _sized(record: Record, control: Group) -> str:
    """What a control is, with the parameters that it and the winner really have."""
    winner = group(record, "winner")
    mine, theirs = control.cost("parameters"), winner.cost("parameters")
    ours, full = ([len(r.spec.get("layers", ())) for r in each.runs[:1]] for each in (control, winner))
    more = ", a layer put before it" if control.name == "fixed" and ours > full else ""
    if mine is None or theirs is None:
        return f"{control.about}{more}"
    short = ": not matched" if mine < theirs else ""
    return f"{control.about}{more}; {mine:,.0f} parameters against {theirs:,.0f}{short}"


def smaller(record: Record, control: Group) -> bool:
    """Whether a control that is meant to have as many parameters as the winner has fewer."""
    mine, theirs = control.cost("parameters"), group(record, "winner").cost("parameters")
    return control.name in _MATCHED and mine is not None and theirs is not None and mine < theirs


def of_arm(record: Record, arm: str) -> Group | None:
    """The finalist that a search found: the final network whose spec one of its trials had."""
    stands = standing(record, f"best_{arm}")
    if stands.name != f"best_{arm}":
        return stands
    tried = [(t.number, t.spec) for t in trials(record, arm)]
    for each in finals(record):
        mine = each.name in (arm, f"best_{arm}")
        chosen = each.name == "winner" and any((r.trial, r.spec) in tried for r in each.runs)
        if mine or chosen:
            return each
    return None


def winning_trial(record: Record) -> Trial | None:
    """The trial that became the winner; None before there are finalists."""
    for run in record.stage("final", "winner")[:1]:
        return next((t for t in trials(record) if t.number == run.trial and t.spec == run.spec), None)
    return None


def baselines(record: Record) -> list[Group]:
    """The finalists without a trace to take away: what a plastic winner must beat."""
    searched = {g.name for arm in arms(record) if (g := of_arm(record, arm))} | {"dense"}
    searched = searched.difference(standing(record, name).name for name in _MATCHED) | {"winner"}
    return [g for g in finals(record) if g.name not in searched and not g.plastic and g.values()]


def of_winner(record: Record, run: Run) -> bool:
    """Whether a run's network is the present winner, whatever its precision."""
    return identity(run.spec) in {identity(r.spec) for r in record.stage("final", "winner")}


def outdated(record: Record, run: Run) -> bool:
    """Whether a run's network is no longer what its name says: the study went on, and another one won."""
    now = record.stage("final", run.name) or record.stage("final", "winner")
    return bool(now) and identity(run.spec) not in {identity(r.spec) for r in now}


def bundles(record: Record) -> list[Run]:
    """The exported networks, in the order in which they were written; of two in one folder the later one."""
    exported = [r for r in record.stage(Stage.EXPORTED) if finite(r.metrics.get("parity")) is not None]
    last = {r.choices.get("bundle"): r for r in exported}
    return [r for r in exported if last[r.choices.get("bundle")] is r]


def main_bundle(record: Record) -> Run | None:
    """The bundle that a page's answer is about: the last one of the winner, or of any network where there is none."""
    mine = [r for r in bundles(record) if not record.stage(Stage.FINAL, "winner") or of_winner(record, r)]
    return mine[-1] if mine else None


def ended(run: Run) -> str:
    """Why the free run of an export was compared no further: "" (it was, to the end), tie, magnified, or either."""
    steps, alone, ties, last = (finite(run.metrics.get(n)) for n in ("steps", "compared", "ties", "free_ties"))
    if steps is None or alone is None or alone >= steps:
        return ""
    if last is None:  # a record that does not say
        return "either" if ties else "magnified"
    return "tie" if last else "magnified"


def compared_scores(ours: dict[int, float], theirs: dict[int, float]) -> Estimate | None:
    """`compared`, of scores."""
    result = compared(ours, theirs)
    return result and statistics.bounded(result, ours.values(), theirs.values())


def compared(
    ours: dict[int, float], theirs: dict[int, float], average: Literal["mean", "median"] = "mean"
) -> Estimate | None:
    """The difference: paired by seed where both have the same two or more seeds, else of two independent groups."""
    paired, apart = {
        "mean": (statistics.mean, statistics.difference),
        "median": (statistics.median, statistics.median_difference),
    }[average]
    shared = sorted(set(ours) & set(theirs))
    if not ours or not theirs:
        return None
    if len(shared) >= 2 or (len(shared) == len(ours) == len(theirs)):
        result = paired([ours[s] - theirs[s] for s in shared])
        return result._replace(method=f"paired by seed, {result.method}" if result.known else result.method)
    return apart(list(ours.values()), list(theirs.values()))


class Contrast(NamedTuple):
    """Two networks, and how much more the first one scores."""

    ours: str
    theirs: str
    difference: Estimate
    probability: Estimate | None  # that a seed of ours scores more than one of theirs


def compare(ours: Group, theirs: Group) -> Contrast | None:
    """Two networks over their seeds, as independent groups: a seed means something else in another network.

    None where one of them was not trained, or they are the same.
    """
    x, y = list(ours.values().values()), list(theirs.values().values())
    if not x or not y or alike(ours, theirs):
        return None
    difference = statistics.difference(x, y)
    difference = difference if rewarded(ours.runs) else statistics.bounded(difference, x, y)
    return Contrast(ours.label, theirs.label, difference, statistics.improvement(x, y))


def loss(d: Estimate) -> tuple[str, str]:
    """Whether no more than the margin is lost, and that in words."""
    if d.low is None or d.high is None:
        return "unclear", f"and without an interval it is not shown whether more than {MARGIN} is lost"
    if d.low >= -MARGIN:
        return "yes", "so nothing is lost" if d.low >= 0 else f"so surely no more than {MARGIN} is lost"
    if d.high < -MARGIN:
        return "no", f"so surely more than {MARGIN} is lost"
    return "unclear", f"but the interval reaches to a loss of {'more' if d.value >= -MARGIN else 'less'} than {MARGIN}"


def above(d: Estimate) -> str:
    """0.012 [0.004, 0.020] above, or the same below"""
    side = 1 if d.value >= 0 else -1
    return f"{score(abs(d.value))} {reach(d, side)} {'above' if side > 0 else 'below'}"


def reach(d: Estimate, side: int) -> str:
    """The interval of a difference as a distance to one side."""
    if side < 0 and d.low is not None and d.high is not None:
        d = d._replace(low=-d.high, high=-d.low)
    return interval(d)
