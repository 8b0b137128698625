"""The page about a sweep: that of a comparison along an axis, what holds at each value, and whether graphs agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plastic_search.core import statistics
from plastic_search.records import table
from plastic_search.records.run import Record, Stage
from plastic_search.report import comparison_page, environment_page, spiking_page
from plastic_search.report.comparison_figures import along_axis, in_few_bits, over_training
from plastic_search.report.figures import topology
from plastic_search.report.html import plain, write_page
from plastic_search.report.stability import stability

__all__ = ["compared", "contents", "write"]

MARGIN = 0.01  # of score, below which a loss is small
_EXACT = 0.02  # by which share a budget may be missed
_MEANS = ("soft", "hard", "tuned", "connections", "plastic_connections")  # metrics of a row


def write(record: Record, out: Path | str, title: str = "", prose: str = "") -> Path:
    """Write `out`/report.html and, with every number that it shows, `out`/report.json."""
    page, graph = contents(record, title, prose), topology.data(record)
    drawings = {
        "axis": along_axis(page),
        "curves": over_training(page),
        "environment": environment_page.drawings(record, page),
        "rounded": in_few_bits(page),
        "spiking": spiking_page.drawings(record, page["spiking"]),
        "graph": topology.draw(graph) if graph else "",
        "graph_caption": topology.caption(graph) if graph else "",
    }
    return write_page(out, "sweep.html.j2", plain(page), drawings=drawings)


def contents(record: Record, title: str = "", prose: str = "") -> dict[str, Any]:
    """The page of a comparison, and what only a sweep has; scores are means, however many seeds there are."""
    study, runs = record.study, record.stage(Stage.SWEEP)
    cases = {r.name: {"name": r.name, "group": r.choices["group"], "at": r.choices["at"]} for r in runs}
    base = next((name for name, case in cases.items() if case["group"] == study["reference"]), "")
    cases |= {base: cases[base] | {"label": study["reference"]}} if base else {}
    metric = {"name": "score", "label": f"test {study['task']['score_name']}", "average": "mean"}
    asked = {"cases": list(cases.values()), "metrics": [metric], "reference": base}
    page = comparison_page.contents(record._replace(study=study | asked), title, prose)
    groups = _groups(record, page)
    kept = ("connections", "score", "plastic_connections")
    ours = {q: [c for c in page["curves"].get(q, ()) if cases[c.name]["group"] == study["ours"]] for q in kept}
    del page["summary"], page["differences"]  # those of sweeps are the answers, value by value
    return page | {
        "schema": "plastic_search/sweep_report/2",
        "base": study["reference"],
        "ours": study["ours"],
        "budget": study["budget"],
        "margin": MARGIN,
        "planned": study["trials"] * len(study["seeds"]),
        "groups": groups,
        "curves": {quantity: curves for quantity, curves in ours.items() if curves},
        "stability": stability(record),
        "answers": _answers(groups, study["ours"], study["reference"]),
    }


def _groups(record: Record, page: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Every group's cases that have a score, along the axis."""
    rows, key = table.runs(record), record.study["budget"]
    rows = rows[(rows.stage == Stage.SWEEP) & (rows.outcome == "complete")]
    means = rows.groupby("name")[[c for m in _MEANS if (c := f"metrics.{m}") in rows]].mean()
    full = means.get(f"metrics.{key}", {}).get(page["reference"])
    groups: dict[str, list[dict[str, Any]]] = {}
    for case in sorted(page["cases"], key=lambda case: case["at"]):
        if case["metrics"]["score"] is None:
            continue
        row = case | {m: float(means[c][case["name"]]) if (c := f"metrics.{m}") in means else None for m in _MEANS}
        if full and case["at"] <= 1.0:  # where it is a number, each layer has as many
            mine = rows[rows.name == case["name"]]
            whole = 0.5 * mine.filter(regex=r"^layers\.\d+\.units$").count(axis=1).iloc[0]  # each layer's is rounded
            row["asked"] = case["at"] * full
            missed = ((mine[f"metrics.{key}"] - row["asked"]).abs() - whole).clip(lower=0.0)
            row["missed"] = float(missed.max()) / row["asked"]
        groups.setdefault(case["group"], []).append(row)
    return {each["group"]: groups[each["group"]] for each in page["cases"] if each["group"] in groups}


def _answers(groups: dict[str, list[dict[str, Any]]], ours: str, base: str) -> list[dict[str, Any]]:
    """What was asked of the sweep, value by value, worked out from the intervals alone."""
    mine = groups.get(ours, [])
    missed, answers = [row["missed"] for row in mine if "missed" in row], []
    if missed:
        holds = "yes" if max(missed) <= _EXACT else "no"
        answers.append(_answer("Is the budget met within 2 %?", None, holds, f"largest miss {100 * max(missed):.2f} %"))
    for row in reversed(mine):
        for group in sorted(groups, key=lambda group: group != base):
            theirs = [r for r in groups[group] if group == base or r["at"] == row["at"]]
            if theirs and group != ours:
                answers.append(compared(ours, row, group, theirs[0], group == base))
    return answers


def compared(ours: str, mine: dict[str, Any], group: str, theirs: dict[str, Any], is_base: bool) -> dict[str, Any]:
    """One answer: yes or no only where the whole interval of the difference lies on one side."""
    scores, rivals = (list(row["metrics"]["score"].values.values()) for row in (mine, theirs))
    gap = statistics.difference(scores, rivals)
    side = statistics.difference([score + MARGIN * is_base for score in scores], rivals).sign
    answer = {1: "yes", -1: "no"}.get(side, "unclear")
    question = f"Is {ours} better than {group}?"
    if is_base:
        question = f"Does {ours} lose less than {MARGIN:g} beside {group}?"
    return _answer(question, mine["at"], answer, "", gap)


def _answer(question: str, at: float | None, answer: str, evidence: str, gap: Any = None) -> dict[str, Any]:
    return {"question": question, "at": at, "answer": answer, "evidence": evidence, "difference": gap}
