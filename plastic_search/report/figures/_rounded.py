"""What a network scores in few bits: the case as it was trained, rounded, and exported, run by onnxruntime."""

from __future__ import annotations

from typing import Any, NamedTuple

from plastic_search.core import statistics
from plastic_search.core.statistics import Estimate
from plastic_search.records.run import Outcome, Record, Run, Stage, rounded_network
from plastic_search.report import groups
from plastic_search.report.figures import _cases
from plastic_search.report.figures._canvas import Look
from plastic_search.report.figures._cases import Final
from plastic_search.report.figures._learning import runs_of
from plastic_search.report.formatting import bits

__all__ = ["Rounded", "data", "draw"]

_ROLES = ("weight", "alpha", "trace")
_MOST = 16  # rows


class Rounded(NamedTuple):
    """One network in one number format, by one way of running it."""

    case: str
    label: str
    values: dict[int, float]  # seed -> score
    result: Estimate


def data(record: Record, cases: list[dict[str, Any]]) -> list[Rounded]:
    """The cases that were rounded or exported: in float, with all roles that they have rounded, and by onnxruntime."""
    found: list[Rounded] = []
    for case in cases:
        trained = [run for run in runs_of(record, case["name"]) if _known(run)]
        rounded = [run for run in record.stage(Stage.QUANTIZED) if _known(run) and rounded_network(run) == case["name"]]
        names = {case["name"], *(run.name for run in rounded)}
        exported = [run for run in groups.bundles(record) if _known(run) and run.name in names]
        if not rounded and not exported:
            continue
        rows = {f"{case['label']}, float": trained}
        roles = {role for run in rounded for role in _widths(run)}
        for run in [r for r in rounded if _widths(r).keys() == roles]:
            rows.setdefault(f"{case['label']}, {_format(run)}", []).append(run)
        for run in exported:
            form = "float" if run.name == case["name"] else _format(run)
            rows.setdefault(f"{case['label']}, {form}, onnxruntime", []).append(run)
        found += [_rounded(case["name"], label, runs) for label, runs in rows.items() if runs]
    return found[:_MOST]


def _known(run: Run) -> bool:
    return run.outcome == Outcome.COMPLETE and groups.finite(run.metrics.get("score")) is not None


def _widths(run: Run) -> dict[str, int | None]:
    """The bits of the roles that are rounded."""
    return {role: width for role in _ROLES if (width := run.choices.get(role)) is not None}


def _format(run: Run) -> str:
    """4/4/8 stochastic, tuned; 4-bit weights of a network that has nothing else"""
    activity, widths = run.choices.get("activity"), _widths(run)
    words = [f"{bits(widths)} {run.choices.get('rounding', '')}".strip()]
    if len(widths) == 1:
        words = [f"{role}s in {count} bits" for role, count in widths.items()]
    words += [f"activity {activity}"] * (activity is not None) + ["tuned"] * bool(run.choices.get("tuned"))
    return ", ".join(words)


def _rounded(case: str, label: str, runs: list[Run]) -> Rounded:
    values = {run.seed: run.metrics["score"] for run in sorted(runs, key=lambda run: run.seed)}
    return Rounded(case, label, values, statistics.mean(list(values.values())))


def draw(rows: list[Rounded], looks: dict[str, Look], measured: str) -> str:
    """A row each, with every seed."""
    finals = [Final(each.label, looks[each.case], list(each.values.values()), each.result) for each in rows]
    return _cases.every_seed("rounded", finals, measured, None, {})
