"""Everything that a page about a study shows, as plain data: what report.json holds, and all that the template sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from plastic_search.core import statistics
from plastic_search.records import provenance
from plastic_search.records.run import Finalist, Record, rounded_network
from plastic_search.report import groups, low_bits, reproduce, spiking_page, verdicts
from plastic_search.report.figures import Figure, ablation, bits, importances, learning_curves, topology
from plastic_search.report.formatting import MARGIN
from plastic_search.report.groups import Group, Trial
from plastic_search.report.html import plain

__all__ = ["SCHEMA", "contents"]

SCHEMA = "plastic_search/report/2"
_TOP = 15  # rows of the leaderboard
_SECTIONS = {  # section -> what it is about, the command that fills it
    "search": ("The searches", "run"),
    "leaderboard": ("The leaderboard", "run"),
    "topology": ("The learned topology", "run"),
    "learning": ("Learning curves", "run"),
    "importances": ("Importances", "run"),
    "bits": ("Score against bits", "quantize"),
    "ablation": ("The ablation", "run"),
    "controls": ("The controls", "run"),
    "export": ("The export", "export"),
}


def contents(record: Record, title: str, prose: str, shown: dict[Figure, Any]) -> dict[str, Any]:
    """The page as plain data.

    Args:
        title: of the page; "" names it after the study.
        prose: what the author has to say; "" for nothing.
        shown: the figures with their data, None where the record lacks it.
    """
    study = record.study
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "name": record.name,
        "title": title or _titled(record.name),
        "question": str(study.get("question", "")),
        "task": {"kind": "", "about": ""} | study.get("task", {}),
        "score_name": groups.score_name(record),
        "margin": MARGIN,
        "answer": {"prose": prose, "verdicts": verdicts.verdicts(record)},
        "search": _searches(record),
        "leaderboard": _leaderboard(record),
        "topology": _topology(record),
        "learning": _learning(record),
        "importances": importances.shares(record) or None,
        "bits": _bits(record),
        "ablation": _ablation(record),
        "controls": _controls(record),
        "spiking": spiking_page.contents(
            record, [(g.name, g.label, g.runs) for g in groups.finals(record)], ["winner"]
        ),
        "export": _exported(record),
        "equations": _equations(record),
        "provenance": _provenance(record),
        "figures": [_figure(f, data) for f, data in shown.items() if data is not None],
    }
    notes = {"importances": _too_few(record)}
    result["missing"] = [
        {"section": s, "title": about, "command": reproduce.filling(record, verb), "note": notes.get(s, "")}
        for s, (about, verb) in _SECTIONS.items()
        if not result[s] and not (s == "ablation" and record.stage("final", "winner"))
    ]
    return plain(result)


def _too_few(record: Record) -> str:
    """Why a search that has ended shows no importances; "" before its end."""
    planned, tried = record.study.get("trials"), groups.trials(record)
    if not tried or any(sum(t.arm == arm for t in tried) < (planned or 0) for arm in groups.arms(record)):
        return ""
    complete = sum(t.outcome == "complete" for t in tried)
    return (
        f"The search has ended with {complete} complete trial{'s' * (complete != 1)}. That is too few to tell which "
        "choices mattered: at least four are needed, of choices that differ. More trials, `--set trials=`, add them."
    )


def _titled(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _figure(figure: Figure, data: Any) -> dict[str, Any]:
    return {
        "name": figure.name,
        "title": figure.title,
        "question": figure.question,
        "section": figure.section if figure.section in _SECTIONS else "more",
        "caption": figure.caption(data),
        "data": data,
    }


def _searches(record: Record) -> list[dict[str, Any]] | None:
    result = []
    for arm in groups.arms(record):
        tried = groups.trials(record, arm)
        complete = [t.score for t in tried if t.outcome == "complete" and t.score is not None]
        outcomes = [t.outcome for t in tried]
        result.append(
            {
                "name": arm,
                "label": groups.arm_label(arm),
                "trials": len(tried),
                "planned": record.study.get("trials"),
                "outcomes": {name: outcomes.count(name) for name in dict.fromkeys(["complete", "pruned", *outcomes])},
                "best": max(complete, default=None),
                "typical": statistics.iqm(complete) if complete else None,
                "seconds": sum(t.seconds for t in tried),
            }
        )
    return result or None


def _leaderboard(record: Record) -> dict[str, Any] | None:
    tried = groups.trials(record)
    ranked = sorted(
        (t for t in tried if t.outcome == "complete" and t.score is not None),
        key=lambda t: (-(t.score or 0.0), t.connections or 0.0, t.arm, t.number),
    )
    if not ranked:
        return None
    chosen = dict.fromkeys(path for t in ranked for path in t.choices)
    paths = dict.fromkeys([*(p for p in record.study.get("search_parameters", {}) if p in chosen), *chosen])
    columns = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    best = groups.winning_trial(record)
    won = (best.arm, best.number) if best else None
    rows = [
        t._asdict()
        | {"rank": i, "label": groups.arm_label(t.arm), "winner": (t.arm, t.number) == won}
        | {"cells": [_cell(c, t) for c in columns]}
        for i, t in enumerate(ranked, start=1)
        if i <= _TOP or (t.arm, t.number) == won
    ]
    for row in rows:
        del row["spec"], row["outcome"]
    return {"columns": columns, "rows": rows, "complete": len(ranked), "trials": len(tried)}


def _cell(column: str, trial: Trial) -> str:
    """The value at a path, and in brackets the values below it: Hebb (decay 0.62)"""
    if column not in trial.choices:
        return ""
    below = [(a.removeprefix(f"{column}."), v) for a, v in trial.choices.items() if a.startswith(f"{column}.")]
    parts = ", ".join(f"{a.rpartition('.')[2]} {_value(v)}" for a, v in below)
    return _value(trial.choices[column]) + (f" ({parts})" if parts else "")


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _topology(record: Record) -> dict[str, Any] | None:
    graph = topology.data(record)
    if graph is None:
        return None
    edges, plastic = len(graph.edges), sum(e.plastic for e in graph.edges)
    winner, dense = groups.group(record, "winner"), groups.standing(record, "dense")
    contrast = groups.compare(winner, dense)
    difference = contrast.difference if contrast else None
    possible = dense.cost("connections") or sum(b.possible for b in graph.blocks)
    return {
        "graph": graph.name,
        "connections": edges,
        "possible": possible,
        "share": edges / possible if possible else None,
        "plastic": plastic,
        "plastic_share": plastic / edges if edges else None,
        "blocks": graph.blocks,
        "winner": winner.mean(),
        "dense": dense.mean(),
        "difference": difference,
        "within": difference.value >= -MARGIN if difference else None,
        "surely_within": difference.low is not None and difference.low >= -MARGIN if difference else None,
    }


def _learning(record: Record) -> list[dict[str, Any]] | None:
    result = learning_curves.data(record)
    return result and [
        {"name": c.name, "label": c.label, "seeds": c.seeds, "steps": c.steps[-1], "last": c.mean[-1]}
        for c in result.curves
    ]


def _ablation(record: Record) -> list[Any] | None:
    result = ablation.data(record)
    return result and result.networks


def _bits(record: Record) -> dict[str, Any] | None:
    """The winner's ways of rounding, and those of other finalists that were quantized."""
    networks = dict.fromkeys(rounded_network(run) for run in record.stage("quantized"))
    others = [
        {"name": name, "label": groups.group(record, name).label} | _rounded(record, name)
        for name in networks
        if name != Finalist.WINNER
    ]
    winner = _rounded(record, Finalist.WINNER)
    known = any(each["rows"] or each["low"] for each in (winner, *others))
    return winner | {"others": others} if known else None


def _rounded(record: Record, network: str) -> dict[str, Any]:
    result = bits.data(record, network)
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for v in result.variants if result else ():
        rounding = v.rounding if v.bits["trace"] is not None else ""
        row = rows.setdefault((v.family, bits.tick(v), rounding), {"rounded": None, "tuned": None})
        row["tuned" if v.tuned else "rounded"] = v
    return {
        "low": low_bits.contents(record, network),
        "float": groups.group(record, network).mean(),
        "float_tuned": result.float_tuned if result else None,
        "rows": [{"family": f, "bits": b, "rounding": r} | row for (f, b, r), row in rows.items()],
    }


def _controls(record: Record) -> list[dict[str, Any]] | None:
    winner = list(groups.group(record, "winner").values().values())
    return [_control(each, winner) for each in groups.finals(record)] or None


def _control(group: Group, winner: list[float]) -> dict[str, Any]:
    scores = list(group.values().values())
    against = group.name != "winner" and scores and winner
    return {
        "name": group.name,
        "label": group.label,
        "about": group.about,
        "plastic": group.plastic,
        "seeds": len(group.runs),
        "unscored": len(group.runs) - len(scores),
        "score": group.mean(),
        "validation": group.mean("validation"),
        "change": statistics.bounded(statistics.difference(scores, winner), scores, winner) if against else None,
        **{cost: group.cost(cost) for cost in ("parameters", "connections", "steps", "seconds")},
    }


def _exported(record: Record) -> list[dict[str, Any]] | None:
    names = ("stepwise", "parity", "compared", "steps", "ties", "free_ties", "score", "deployed", "bytes")
    main = groups.main_bundle(record)
    return [
        {"name": r.name, "seed": r.seed, "bundle": str(r.choices.get("bundle", "bundle")), "main": r is main}
        | {"outdated": groups.outdated(record, r), "ended": groups.ended(r)}
        | {name: groups.finite(r.metrics.get(name)) for name in names}
        | {"command": reproduce.running(record, r)}
        for r in groups.bundles(record)
    ] or None


def _equations(record: Record) -> list[dict[str, Any]]:
    """The parts that were used, the winner's first."""
    mine = list(dict.fromkeys(kind for w in record.stage("final", "winner")[:1] for kind in _kinds(w.spec)))
    tried = [kind for r in record.runs for kind in _kinds(r.spec)] or list(_kinds(record.study.get("study", {})))
    known = record.study.get("parts", {})
    order = [kind for kind in dict.fromkeys([*mine, *sorted(tried)]) if kind in known]
    return [{"name": kind, "used": kind in mine} | known[kind] for kind in order]


def _kinds(spec: Any) -> Iterator[str]:
    """The parts in a spec; where a layer has no plasticity, not those that only plasticity uses."""
    if isinstance(spec, list):
        for value in spec:
            yield from _kinds(value)
    if isinstance(spec, dict):
        if isinstance(spec.get("kind"), str):
            yield spec["kind"]
        idle = ("rule", "modulation") if spec.get("plastic") == "none" else ()
        for name, value in spec.items():
            if name not in idle:
                yield from _kinds(value)


def _provenance(record: Record) -> dict[str, Any]:
    study = record.study
    question, task = study.get("study", {}), study.get("task", {})
    versions = dict(study.get("versions", {}))
    others = sorted({f"{n} {v}" for r in record.runs for n, v in r.versions.items() if versions.get(n) != v})
    stages = dict.fromkeys(r.stage for r in record.runs)
    winners = [r.spec for r in record.stage("final", "winner")[:1]]
    return {
        "created": str(study.get("created", "")),
        "data": str(task.get("source") or provenance.data(str(task.get("kind", "")))),
        "machine": _told(study.get("machine")),
        "code": str(study.get("code", "")),
        "versions": versions,
        "other_versions": others,
        "seeds": study.get("seeds", []),
        "trial_seeds": study.get("trial_seeds", []),
        "trials": study.get("trials"),
        "objectives": study.get("objectives", []),
        "trainers": {
            name: question.get(key, study.get("trainer") if key == "finalist" else None)
            for key, name in (("trainer", "search"), ("finalist", "finalists"), ("fine_tuning", "fine-tuning"))
            if isinstance(question.get(key, study.get("trainer") if key == "finalist" else None), dict)
        },
        "stages": [
            {
                "name": stage,
                "runs": len(record.stage(stage)),
                "seconds": sum(groups.finite(r.costs.get("seconds")) or 0.0 for r in record.stage(stage)),
            }
            for stage in stages
        ],
        "winner": json.dumps(winners[0], indent=1) if winners else None,
        "commands": reproduce.again(record),
    }


def _told(value: Any) -> dict[str, str]:
    """Names and values, where there are some."""
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}
