"""The page about a comparison: named cases trained with the same seeds, and what surely differs between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plastic_search.core import statistics
from plastic_search.core.errors import unknown
from plastic_search.core.statistics import Estimate
from plastic_search.records import table
from plastic_search.records.run import Record
from plastic_search.report import environment_page, low_bits, reproduce, spiking_page
from plastic_search.report.comparison_figures import QUANTITIES, along_axis, every_seed, in_few_bits, over_training
from plastic_search.report.figures import _learning, _rounded
from plastic_search.report.figures._cases import Curve
from plastic_search.report.figures._learning import runs_of
from plastic_search.report.formatting import digits, listed, measure
from plastic_search.report.groups import compared, rewarded
from plastic_search.report.html import plain, write_page

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SCHEMA", "contents", "write"]

SCHEMA = "plastic_search/comparison_report/1"
_EVOLVED = ("fitness", "best_fitness")
_ENOUGH = 8  # seeds from which on a bootstrap of the median is wide enough
_STAGES = ("comparison", "sweep")
_SCORES = ("score", "validation", "test", "frozen", "shuffled", "soft", "hard", "tuned")
_COSTS = ("seconds", "steps", "parameters", "connections")


class Metric(NamedTuple):
    """What was measured of every case."""

    name: str
    label: str
    better: str = "higher"  # or lower; "" where neither is better
    unit: str = ""
    limit: float | None = None  # reached at this value or beyond it
    published: dict[str, str] = {}  # noqa: RUF012  case -> what a paper says
    average: str = ""  # mean or median; "" chooses by the number of seeds
    share: bool = False  # whether its values lie from 0 to 1

    @property
    def title(self) -> str:
        """accuracy, or loss in nats"""
        return f"{self.label}, {self.unit}" if self.unit else self.label


class Measured(NamedTuple):
    """One metric of one case, over its seeds."""

    result: Estimate
    quartiles: tuple[float, float, float]
    values: dict[int, float]  # seed -> value
    reached: Estimate | None  # the share of seeds that reached the metric's limit
    published: str


class Difference(NamedTuple):
    """A case beside the reference."""

    case: str
    metric: str
    difference: Estimate  # case minus reference
    answer: str  # whether the case is better: yes, no, unclear; "" for a metric of which neither is better
    rank_sum: float  # p of the two-sided rank-sum test


def write(record: Record, out: Path | str, title: str = "", prose: str = "") -> Path:
    """Write `out`/report.html and, with every number that it shows, `out`/report.json."""
    page = contents(record, title, prose)
    drawings = {
        "finals": every_seed(page),
        "axis": along_axis(page),
        "curves": over_training(page),
        "environment": environment_page.drawings(record, page),
        "rounded": in_few_bits(page),
        "spiking": spiking_page.drawings(record, page["spiking"]),
    }
    return write_page(out, "comparison.html.j2", plain(page), drawings=drawings)


def contents(record: Record, title: str = "", prose: str = "") -> dict[str, Any]:
    """The page as plain data.

    Args:
        title: of the page; "" takes the question.
        prose: what the author adds; an empty line separates paragraphs.
    """
    study = record.study
    metrics = [_metric(each, () if rewarded(record.runs) else _SCORES) for each in study["metrics"]]
    rows = table.runs(record)
    rows = rows[rows.stage.isin(_STAGES)]
    described = _by_group(study["cases"])
    names = [case["name"] for case in described]
    complete = rows[rows.outcome == "complete"]
    wide = {m.name: _wide(complete, f"metrics.{m.name}", names) for m in metrics}
    metrics = [m._replace(average=m.average or _average(wide[m.name])) for m in metrics]
    cases = [_case(case, metrics, wide, rows) for case in described]
    reference = study.get("reference") or next((case["name"] for case in study["cases"]), "")
    comparable = _comparable(described, reference)
    differences = [
        found
        for metric in metrics
        for name in comparable
        if name != reference and (found := _difference(metric, wide[metric.name], name, reference))
    ]
    page: dict[str, Any] = {
        "schema": SCHEMA,
        "name": record.name,
        "title": title or study["question"],
        "question": study["question"],
        "prose": prose,
        "task": {"kind": "", "about": "", "chance": None} | (study.get("task") or {}),
        "axis": study.get("axis", ""),
        "seeds": list(study["seeds"]),
        "planned": len(names) * len(study["seeds"]),
        "complete": len(complete),
        "metrics": [m._asdict() | {"title": m.title, "digits": _digits(m, cases, differences)} for m in metrics],
        "cases": cases,
        "reference": reference,
        "comparable": comparable,
        "differences": differences,
        "curves": _curves(record, described),
        "floor": study.get("floor") or {},
        "notes": [*(study.get("notes") or ()), *_missing(metrics, complete)],
        "seconds": float(rows["costs.seconds"].sum()) if "costs.seconds" in rows else 0.0,
        "provenance": {key: study.get(key) or default for key, default in _PROVENANCE.items()},
        "commands": reproduce.again(record),
    }
    page["summary"] = _summary(page, metrics[0], wide[metrics[0].name])
    return page | _more(record, page)


def _more(record: Record, page: dict[str, Any]) -> dict[str, Any]:
    """What only networks have that were rounded, are in an environment, or have units that fire; else None, or []."""
    cases, best = page["cases"], page["summary"]["best"]
    networks = [(case["name"], case["label"], runs_of(record, case["name"])) for case in cases]
    return {
        "environment": environment_page.contents(record, cases, best),
        "rounded": _rounded.data(record, cases),
        "low_bits": [{"label": c["label"]} | found for c in cases if (found := low_bits.contents(record, c["name"]))],
        "spiking": spiking_page.contents(record, networks, [best, page["reference"]]),
    }


_PROVENANCE: dict[str, Any] = {"machine": {}, "versions": {}, "code": "", "created": ""}


def _metric(data: dict[str, Any], shares: tuple[str, ...]) -> Metric:
    known = {key: value for key, value in data.items() if key in Metric._fields}
    return Metric(**known)._replace(share=data["name"] in shares)


def _by_group(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases, those of one group beside each other; groups in the order in which they begin."""
    groups = list(dict.fromkeys(case.get("group", "") for case in cases))
    return sorted(cases, key=lambda case: groups.index(case.get("group", "")))


def _comparable(cases: list[dict[str, Any]], reference: str) -> list[str]:
    """The names of the cases whose task is that of the reference."""
    task = next((case.get("task") for case in cases if case["name"] == reference), None)
    return [case["name"] for case in cases if case.get("task") == task]


def _wide(rows: DataFrame, column: str, names: list[str]) -> DataFrame:
    """A metric with a row for each seed and a column for each case."""
    if column not in rows:
        return rows.reindex(columns=names).iloc[:0]
    return rows.pivot(index="seed", columns="name", values=column).reindex(columns=names).sort_index()


def _missing(metrics: list[Metric], complete: DataFrame) -> list[str]:
    """A sentence for each metric that no complete run has, with those that there are."""
    known = [
        c.removeprefix("metrics.")
        for c in map(str, complete)
        if c.startswith("metrics.") and not complete[c].isna().all()
    ]
    whole = [name for name in known if not name.startswith(("trial.", "spikes."))]
    absent = [m.name for m in metrics if m.name not in known] if len(complete) else []
    return [str(unknown("metric of any run", name, whole)) for name in absent]


def _values(wide: DataFrame, name: str) -> dict[int, float]:
    """Seed -> value, of the seeds that have one."""
    return {int(str(seed)): float(value) for seed, value in wide[name].dropna().items()}


def _average(wide: DataFrame) -> str:
    """The median from eight seeds on; of fewer its bootstrap would be too narrow, and the mean is taken."""
    return "median" if len(wide.columns) and min(wide.count(), default=0) >= _ENOUGH else "mean"


def _case(case: dict[str, Any], metrics: list[Metric], wide: dict[str, DataFrame], rows: DataFrame) -> dict[str, Any]:
    mine = rows[rows.name == case["name"]]
    costs = {cost: f"costs.{cost}" for cost in _COSTS if f"costs.{cost}" in mine}
    means = {cost: float(mine[column].mean()) for cost, column in costs.items()}
    return {
        "name": case["name"],
        "label": case.get("label") or case["name"],
        "about": case.get("about", ""),
        "group": case.get("group", ""),
        "at": case.get("at"),
        "seeds": int((mine.outcome == "complete").sum()),
        "outcomes": {str(outcome): int(n) for outcome, n in mine.outcome.value_counts().items()},
        "metrics": {m.name: _measured(m, _values(wide[m.name], case["name"]), case["name"]) for m in metrics},
        "costs": {cost: means.get(cost) for cost in _COSTS},
    }


def _measured(metric: Metric, values: dict[int, float], case: str) -> Measured | None:
    if not values:
        return None
    each = list(values.values())
    reached = None
    if metric.limit is not None:
        higher = metric.better == "higher"
        count = sum(v >= metric.limit if higher else v <= metric.limit for v in each)
        reached = statistics.share(count, len(each))
    result = statistics.median(each) if metric.average == "median" else statistics.mean(each)
    return Measured(
        result=statistics.bounded(result, each) if metric.share else result,
        quartiles=statistics.quartiles(each),
        values=values,
        reached=reached,
        published=metric.published.get(case, ""),
    )


def _difference(metric: Metric, wide: DataFrame, case: str, reference: str) -> Difference | None:
    average = "median" if metric.average == "median" else "mean"
    ours, theirs = _values(wide, case), _values(wide, reference)
    found = compared(ours, theirs, average)
    if found is None:
        return None
    if metric.share:
        found = statistics.bounded(found, ours.values(), theirs.values())
    better = {"higher": found.sign, "lower": -found.sign}.get(metric.better, 0)
    answer = {1: "yes", -1: "no"}.get(better, "unclear" if metric.better else "")
    return Difference(case, metric.name, found, answer, statistics.rank_sum([*ours.values()], [*theirs.values()]))


def _digits(metric: Metric, cases: list[dict[str, Any]], differences: list[Difference]) -> int:
    results = [m.result for case in cases if (m := case["metrics"][metric.name])]
    return digits(results + [d.difference for d in differences if d.metric == metric.name])


def _curves(record: Record, cases: list[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Each quantity that changes in training over seeds: quartiles, of fitness the mean with its 95 % interval.

    A point counts where all seeds reached it.
    """
    import numpy as np

    points = table.curves(record)
    points = points[points.stage.isin(_STAGES)]
    found: dict[str, list[Curve]] = {}
    for quantity in QUANTITIES:
        known = points.dropna(subset=[quantity])
        if known.empty or (
            quantity not in ("loss", "score") and known.groupby(["name", "seed"])[quantity].nunique().max() == 1
        ):
            continue
        if quantity in _EVOLVED:
            found[quantity] = _learning.data(record, cases, quantity)
            continue
        by_step = known.groupby(["name", "step"])[quantity]
        seeds = by_step.count()
        quartiles = by_step.quantile(np.array([0.25, 0.5, 0.75])).unstack()[
            seeds == seeds.groupby("name").transform("max")
        ]
        found[quantity] = [
            Curve(
                case["name"],
                case.get("label") or case["name"],
                mine.index.to_list(),
                *(mine[q].to_list() for q in mine),
            )
            for case in cases
            if case["name"] in quartiles.index and len(mine := quartiles.loc[case["name"]])
        ]
    return found


def _summary(page: dict[str, Any], metric: Metric, wide: DataFrame) -> dict[str, Any]:
    """What was compared, what won, by how much and how sure that is, in plain words; no claim without an interval."""
    labels = {case["name"]: case["label"] for case in page["cases"]}
    seeds, task = _seeds([case["seeds"] for case in page["cases"]], len(page["seeds"])), page["task"]["kind"]
    what = _series(list(labels.values())) if len(labels) <= 6 else f"{len(labels)} cases"
    sentences = [f"Compared{f' on {task}' if task else ''}, with {seeds} each: {what}."]
    others = [case["label"] for case in page["cases"] if case["name"] not in page["comparable"]]
    if others:
        sentences.append(f"Not ranked, since their task is another: {_series(others)}.")
    ranked = [c for c in page["cases"] if c["metrics"][metric.name] and c["name"] in page["comparable"]]
    if not ranked:
        return {"answer": "unknown", "best": None, "sentences": [*sentences, "No run is complete yet."], "beside": []}
    ranked.sort(key=lambda case: case["metrics"][metric.name].result.value, reverse=metric.better != "lower")
    best, *others = ranked
    gaps = [(c["label"], d) for c in others if (d := _difference(metric, wide, best["name"], c["name"]))]
    unsure = [(label, d.difference) for label, d in gaps if d.answer != "yes"]
    shown = next(m["digits"] for m in page["metrics"] if m["name"] == metric.name)
    extreme = "lowest" if metric.better == "lower" else "highest"
    result = measure(best["metrics"][metric.name].result, shown)
    start = f"The {extreme} {metric.average} {metric.label} is that of {best['label']}: {result}"
    if gaps and not unsure:
        gap = measure(gaps[0][1].difference, shown, signed=True)
        start += f", surely better than every other case; from the next best, {gaps[0][0]}, it differs by {gap}."
    elif unsure and all(d.known for _, d in unsure):
        start += f", but it is not shown to be better than {_series([label for label, _ in unsure])}."
    else:
        start += ". Without intervals, no case is shown to be better than another." if gaps else "."
    answer, sentences = "yes" if gaps and not unsure else "unclear", [*sentences, start]
    beside = _beside(page, metric, labels, shown)
    return {"answer": answer, "best": best["name"], "sentences": sentences, "beside": beside}


def _seeds(complete: list[int], planned: int) -> str:
    """`5 seeds`; where not all are complete, `3 of 5 seeds` or `2 to 5 of 5 seeds`."""
    least, most = min(complete, default=planned), max(complete, default=planned)
    found = "" if least == planned else f"{least} of " if least == most else f"{least} to {most} of "
    return f"{found}{planned} seed{'s' * (planned != 1)}"


def _beside(page: dict[str, Any], metric: Metric, labels: dict[str, str], shown: int) -> list[str]:
    """The cases that are surely better, surely worse and neither, against the reference."""
    known = [d for d in page["differences"] if d.metric == metric.name and d.difference.known]
    sentences = []
    for answer, words in (
        ("yes", "Surely better than"),
        ("no", "Surely worse than"),
        ("unclear", "Not shown to differ from"),
    ):
        some = [
            f"{labels[d.case]}, by {measure(d.difference, shown, signed=True)}" for d in known if d.answer == answer
        ]
        if some:
            sentences.append(f"{words} {labels[page['reference']]}: {'; '.join(some)}.")
    return sentences


def _series(names: list[str]) -> str:
    """a, b and c; where names hold commas themselves, a; b; c"""
    return "; ".join(names) if any("," in name for name in names) else listed(names)
