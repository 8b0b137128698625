"""The page about a sweep: score against the axis, what holds and what does not, and whether its graphs agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastic_search.records import table
from plastic_search.records.run import Record
from plastic_search.report import reproduce, statistics
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures import topology
from plastic_search.report.figures._cases import Line, along_axis
from plastic_search.report.html import write_page
from plastic_search.report.stability import stability
from plastic_search.report.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["compared", "contents", "write"]

MARGIN = 0.01  # of score, below which a loss is small
_EXACT = 0.02  # by which share a budget may be missed


def write(record: Record, out: Path | str) -> Path:
    """Write `out`/report.html and, with every number that it shows, `out`/report.json."""
    page = contents(record)
    graph = topology.data(record)
    drawings = {
        "scores": _scores(page),
        "gates": _gates(page),
        "graph": topology.draw(graph) if graph else "",
        "graph_caption": topology.caption(graph) if graph else "",
    }
    return write_page(out, "sweep.html.j2", page, drawings=drawings)


def contents(record: Record) -> dict[str, Any]:
    """The page as plain data."""
    study = record.study
    groups = _groups(record)
    page = {
        "schema": "plastic_search/sweep_report/1",
        "name": record.name,
        "question": study["question"],
        "axis": study["axis"],
        "ours": study["ours"],
        "reference": study["reference"],
        "budget": study["budget"],
        "score_name": study["task"]["score_name"],
        "chance": study["task"]["chance"],
        "margin": MARGIN,
        "seeds": study["seeds"],
        "groups": groups,
        "complete": sum(len(row["scores"]) for rows in groups.values() for row in rows),
        "wanted": study["trials"] * len(study["seeds"]),
        "stability": stability(record),
        "again": reproduce.again(record)[0],
        "provenance": {k: study.get(k) for k in ("machine", "versions", "code", "created")},
    }
    page["answers"] = _answers(page)
    return page


def _groups(record: Record) -> dict[str, list[dict[str, Any]]]:
    """Every group's rows, along the axis."""
    runs = table.runs(record)
    runs = runs[(runs.stage == "sweep") & (runs.outcome == "complete")]
    if runs.empty:
        return {}
    key, points = record.study["budget"], table.curves(record)
    base = runs[runs["choices.group"] == record.study["reference"]]
    full = float(base[f"metrics.{key}"].iloc[0]) if key and len(base) else None
    groups: dict[str, list[dict[str, Any]]] = {}
    for _, case in runs.groupby(["choices.group", "choices.at"], sort=False):
        group, at = str(case["choices.group"].iloc[0]), float(case["choices.at"].iloc[0])
        curves = points[(points.stage == "sweep") & (points.name == case["name"].iloc[0])]
        groups.setdefault(group, []).append(_row(at, case.sort_values("seed"), curves, key, full))
    return {group: sorted(rows, key=lambda row: row["at"]) for group, rows in groups.items()}


def _row(at: float, runs: DataFrame, curves: DataFrame, key: str, full: float | None) -> dict[str, Any]:
    scores = runs["metrics.score"].to_list()
    row: dict[str, Any] = {
        "at": at,
        "scores": scores,
        "score": statistics.bounded(statistics.mean(scores), scores)._asdict(),
        "connections": float(runs["metrics.connections"].mean()),
        "plastic_connections": float(runs["metrics.plastic_connections"].mean()),
        "seconds": float(runs["costs.seconds"].mean()),
        "curve": _mean_curve(curves, "plastic_connections" if key == "plastic_connections" else "connections"),
    }
    for stage in ("soft", "hard", "tuned"):
        measured = runs.get(f"metrics.{stage}")
        row[stage] = float(measured.mean()) if measured is not None and measured.count() else None
    if key and full and at <= 1.0:  # where it is a number, each layer has as many
        row["asked"] = at * full
        whole = 0.5 * int(runs.filter(regex=r"^layers\.\d+\.units$").iloc[0].count())  # each layer's budget is rounded
        row["missed"] = (
            float(((runs[f"metrics.{key}"] - row["asked"]).abs() - whole).clip(lower=0.0).max()) / row["asked"]
        )
    return row


def _mean_curve(points: DataFrame, counted: str) -> list[list[float]]:
    """[step, score on validation, what the budget counts], means over seeds."""
    means = points.groupby("step")[["score", counted]].mean()
    return [list(row) for row in means.itertuples(name=None)]


def _answers(page: dict[str, Any]) -> list[dict[str, Any]]:
    """What was asked of the sweep, place by place, worked out from the intervals alone."""
    groups, ours, answers = page["groups"], page["ours"], []
    mine = {row["at"]: row for row in groups.get(ours, [])}
    if any("missed" in row for row in mine.values()):
        missed = {at: row["missed"] for at, row in mine.items()}
        holds = max(missed.values()) <= _EXACT
        answers.append({"question": "Is the budget met within 2 %?", "at": None, "answer": "yes" if holds else "no",
                     "says": f"largest miss {100 * max(missed.values()):.2f} %", "difference": None})  # fmt: skip
    reference = groups.get(page["reference"], [])
    for at in sorted(mine, reverse=True):
        for group in [page["reference"]] * bool(reference) + [g for g in groups if g not in (ours, page["reference"])]:
            rows = reference if group == page["reference"] else [r for r in groups[group] if r["at"] == at]
            if rows:
                answers.append(compared(page, at, mine[at], group, rows[0]))
    return answers


def compared(
    page: dict[str, Any], at: float, mine: dict[str, Any], group: str, theirs: dict[str, Any]
) -> dict[str, Any]:
    """One answer: yes or no only where the whole interval of the difference lies on one side."""
    gap = statistics.difference(mine["scores"], theirs["scores"])
    gap = statistics.bounded(gap, mine["scores"], theirs["scores"])
    if group == page["reference"]:
        question, low, high = f"Does {page['ours']} lose less than {MARGIN:g} beside {group}?", -MARGIN, -MARGIN
    else:
        question, low, high = f"Is {page['ours']} better than {group}?", 0.0, 0.0
    answer = "unclear"
    if gap.low is not None and gap.low > low:
        answer = "yes"
    elif gap.high is not None and gap.high < high:
        answer = "no"
    return {"question": question, "at": at, "answer": answer, "says": _told(gap), "difference": gap._asdict()}


def _told(gap: Estimate) -> str:
    if gap.low is None or gap.high is None:
        return f"{gap.value:+.3f}, one seed: no interval"
    return f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def _scores(page: dict[str, Any]) -> str:
    """Score against the axis, a line a group."""
    results = {group: [Estimate(**row["score"]) for row in rows] for group, rows in page["groups"].items()}
    shown = sorted((g for g in page["groups"] if g != page["reference"]), key=lambda g: g != page["ours"])
    lines = [
        Line(group, canvas.look(i), [row["at"] for row in page["groups"][group]], results[group])
        for i, group in enumerate(shown)
    ]
    base = results.get(page["reference"])
    level = Line(page["reference"], canvas.look(0), [1.0], base) if base else None
    return along_axis(
        "scores", page["question"], lines, level, page["chance"], (page["axis"], f"test {page['score_name']}")
    )  # fmt: skip


def _gates(page: dict[str, Any]) -> str:
    """Connections over training, a line for each place of ours."""
    rows = [r for r in page["groups"].get(page["ours"], []) if len(r["curve"]) > 1]
    if not rows:
        return ""
    counted = "plastic connections" if page["budget"] == "plastic_connections" else "connections"

    def paint(figure: Figure) -> None:
        for axes, column, label in zip(figure.subplots(1, 2), (2, 1), (counted, "validation score"), strict=True):
            for i, row in enumerate(rows):
                steps, values = ([point[at] for point in row["curve"]] for at in (0, column))
                canvas.curve(axes, f"{row['at']:g}", steps, values, None, canvas.look(i))
            axes.set_xlabel("updates")
            axes.set_ylabel(label)
            canvas.bare(axes)
        canvas.legend(figure)

    height = 262 + canvas.legend_height([f"{row['at']:g}" for row in rows])
    return canvas.render("gates", "connections and score over training", height, paint)
