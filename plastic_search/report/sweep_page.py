"""The page about a sweep: score against the axis, what holds and what does not, and whether its graphs agree."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastic_search.records.run import Record, Run
from plastic_search.report import statistics
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures import topology
from plastic_search.report.html import write_page
from plastic_search.report.stability import stability
from plastic_search.report.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["compared", "contents", "write"]

MARGIN = 0.01  # of score, below which a loss is small
_EXACT = 0.02  # by which share a budget may be missed


def write(record: Record, out: Path) -> Path:
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
        "again": _command(study),
        "provenance": {k: study.get(k) for k in ("machine", "versions", "code", "created")},
    }
    page["answers"] = _answers(page)
    return page


def _command(study: dict[str, Any]) -> str:
    """What was typed to run the sweep."""
    asked = study.get("asked") or {}
    words = ["plastic-search", "run", asked.get("study", study["name"])]
    for option, key in (("--set", "sets"), ("--parts", "parts")):
        words += [word for value in asked.get(key, []) for word in (option, value)]
    return shlex.join(words)


def _groups(record: Record) -> dict[str, list[dict[str, Any]]]:
    """Every group's rows, along the axis."""
    found: dict[str, dict[float, list[Run]]] = {}
    for run in record.stage("sweep"):
        if run.outcome == "complete":
            found.setdefault(run.choices["group"], {}).setdefault(run.choices["at"], []).append(run)
    key, reference = record.study["budget"], record.study["reference"]
    full = [run.metrics[key] for rows in found.get(reference, {}).values() for run in rows] if key else []
    return {
        group: [_row(at, sorted(rows[at], key=_seed), key, full[0] if full else None) for at in sorted(rows)]
        for group, rows in found.items()
    }


def _seed(run: Run) -> int:
    """The order of scores, whoever was ready first."""
    return run.seed


def _row(at: float, runs: list[Run], key: str, full: float | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "at": at,
        "scores": [run.metrics["score"] for run in runs],
        "score": statistics.mean([run.metrics["score"] for run in runs])._asdict(),
        "connections": sum(run.metrics["connections"] for run in runs) / len(runs),
        "plastic_connections": sum(run.metrics["plastic_connections"] for run in runs) / len(runs),
        "seconds": sum(run.costs["seconds"] for run in runs) / len(runs),
        "curve": _mean_curve(runs, key),
    }
    for stage in ("soft", "hard", "tuned"):
        values = [run.metrics[stage] for run in runs if stage in run.metrics]
        made[stage] = sum(values) / len(values) if values else None
    if key and full and at <= 1.0:  # where it is a number, each layer has as many
        made["asked"] = at * full
        whole = 0.5 * len(runs[0].spec["layers"])  # in each layer a budget is rounded to whole connections
        off = [max(abs(run.metrics[key] - made["asked"]) - whole, 0.0) for run in runs]
        made["missed"] = max(off) / made["asked"]
    return made


def _mean_curve(runs: list[Run], key: str) -> list[list[float]]:
    """[step, score on validation, what the budget counts], means over seeds."""
    rows = zip(*(run.curve for run in runs), strict=False)
    last = -1 if key == "plastic_connections" else 3
    return [[each[0][0], *(sum(r[i] for r in each) / len(each) for i in (2, last))] for each in rows]


def _answers(page: dict[str, Any]) -> list[dict[str, Any]]:
    """What was asked of the sweep, place by place, worked out from the intervals alone."""
    groups, ours, made = page["groups"], page["ours"], []
    mine = {row["at"]: row for row in groups.get(ours, [])}
    if any("missed" in row for row in mine.values()):
        missed = {at: row["missed"] for at, row in mine.items()}
        holds = max(missed.values()) <= _EXACT
        made.append({"question": "Is the budget met within 2 %?", "at": None, "answer": "yes" if holds else "no",
                     "says": f"largest miss {100 * max(missed.values()):.2f} %", "difference": None})  # fmt: skip
    reference = groups.get(page["reference"], [])
    for at in sorted(mine, reverse=True):
        for group in [page["reference"]] * bool(reference) + [g for g in groups if g not in (ours, page["reference"])]:
            rows = reference if group == page["reference"] else [r for r in groups[group] if r["at"] == at]
            if rows:
                made.append(compared(page, at, mine[at], group, rows[0]))
    return made


def compared(
    page: dict[str, Any], at: float, mine: dict[str, Any], group: str, theirs: dict[str, Any]
) -> dict[str, Any]:
    """One answer: yes or no only where the whole interval of the difference lies on one side."""
    gap = statistics.difference(mine["scores"], theirs["scores"])
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


def _colour(page: dict[str, Any], group: str) -> str:
    if group == page["ours"]:
        return canvas.BLUE
    others = [g for g in page["groups"] if g not in (page["ours"], page["reference"])]
    return (*canvas.COLOURS[1:], canvas.MUTED)[others.index(group) % len(canvas.COLOURS)]


def _scores(page: dict[str, Any]) -> str:
    """Score against the axis, a line a group."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for group, rows in page["groups"].items():
            if group == page["reference"]:
                each = rows[0]["score"]
                if each["low"] is not None:
                    axes.axhspan(each["low"], each["high"], color=canvas.MUTED, alpha=0.18, linewidth=0)
                axes.axhline(each["value"], color=canvas.MUTED, linestyle="--", label=group)
                continue
            at, made, colour = [r["at"] for r in rows], [r["score"] for r in rows], _colour(page, group)
            axes.plot(at, [m["value"] for m in made], "o-", color=colour, label=group, markersize=4)
            if all(m["low"] is not None for m in made):
                axes.fill_between(at, [m["low"] for m in made], [m["high"] for m in made], color=colour, alpha=0.15,
                                  linewidth=0)  # fmt: skip
        places = sorted({r["at"] for rows in page["groups"].values() for r in rows})
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{p:g}" for p in places])
        axes.minorticks_off()
        canvas.chance_line(axes, page["chance"])
        axes.set_xlabel(page["axis"])
        axes.set_ylabel(f"test {page['score_name']}")
        axes.set_ylim(max(axes.get_ylim()[0], -0.02), 1.02)  # a wide interval leaves what a score can be
        canvas.bare(axes)
        canvas.legend(axes)

    return canvas.render("scores", page["question"], 380, paint)


def _gates(page: dict[str, Any]) -> str:
    """Connections over training, a line for each place of ours."""
    rows = [r for r in page["groups"].get(page["ours"], []) if len(r["curve"]) > 1]
    if not rows:
        return ""
    counted = "plastic connections" if page["budget"] == "plastic_connections" else "connections"

    def paint(figure: Figure) -> None:
        for axes, column, label in zip(figure.subplots(1, 2), (2, 1), (counted, "validation score"), strict=True):
            for colour, row in zip(canvas.COLOURS * 3, rows, strict=False):
                axes.plot(
                    [c[0] for c in row["curve"]],
                    [c[column] for c in row["curve"]],
                    color=colour,
                    label=f"{row['at']:g}",
                )
            axes.set_xlabel("updates")
            axes.set_ylabel(label)
            canvas.bare(axes)
        canvas.legend(figure.axes[0])

    return canvas.render("gates", "connections and score over training", 280, paint)
