"""A page's words on few bits: which role minds, the cost at a target, and what to do about writes that are lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic

from plastic_search.records import run as runs
from plastic_search.records.run import Record, Run
from plastic_search.report import low_bits
from plastic_search.report.figures import bits as figure
from plastic_search.report.report import Report, write

STALLED = {"size": 0.04, "stored": 0.06, "stalled": 0.6, "saturated": 0.01, "saturated_late": 0.02}


def counted(run: Run, **writes: float) -> Run:
    """A run as `quantize` records it today, of a network with 800 weights, 160 alphas and 160 traces."""
    widths = {role: run.choices.get(role) or 32 for role in ("weight", "alpha", "trace")}
    numbers = {"weight": 800, "alpha": 160, "trace": 160}
    metrics = {f"bytes.{role}": numbers[role] * bits / 8 for role, bits in widths.items()}
    metrics |= {"bytes.other": 40.0, "bytes.state": 80.0, "step.multiply_accumulates": 960.0, "step.writes": 160.0}
    metrics |= {"step.energy": 5.0} | {f"writes.1.{name}": value for name, value in writes.items()}
    return replace(run, metrics=run.metrics | metrics)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    record = runs.load(synthetic.full(tmp_path_factory.mktemp("full")))

    def now(run: Run) -> Run:
        if run.stage != "quantized":
            return run
        return counted(run, **(STALLED if run.choices["trace"] == 3 and run.choices["rounding"] == "nearest" else {}))

    return record._replace(runs=[now(each) for each in record.runs])


def found(record: Record) -> dict[str, Any]:
    result = low_bits.contents(record, "winner")
    assert result is not None
    return result


def test_of_those_that_reach_the_target_the_fewest_bytes_are_shown_before_and_after_fine_tuning(full: Record) -> None:
    page = found(full)
    assert page["target"] == pytest.approx(page["float"] - 0.02)
    in_float, *rounded = page["costs"]
    assert (in_float["bits"], in_float["bytes"]) == ("float", 3200 + 640 + 640)
    for row, tuned in zip(rounded, (False, True), strict=True):
        mine: dict[str, list[Run]] = {}
        for each in full.stage("quantized"):
            if each.choices["tuned"] == tuned and each.choices["trace" if row["bits"] != "-" else "weight"] is not None:
                mine.setdefault(each.name, []).append(each)
        reaching = [
            sum(g[0].metrics[f"bytes.{role}"] for role in ("weight", "alpha", "trace"))
            for g in mine.values()
            if sum(r.metrics["score"] for r in g) / len(g) >= page["target"]
        ]
        assert (row["tuned"], row["bytes"]) == (tuned, min(reaching))
        assert row["score"] >= page["target"]


def test_writes_that_change_nothing_are_told_with_what_to_do(full: Record) -> None:
    page = found(full)
    assert [(r["bits"], r["rounding"], r["layer"], r["stored"]) for r in page["writes"]] == [(3, "nearest", 1, 0.06)]
    (sentence,) = page["advice"]
    assert sentence.replace("\N{NO-BREAK SPACE}", " ") == (
        "94 % of writes to layer 1's trace in 3 bits, nearest, change nothing, as a write is typically 0.04 of a step, "
        "and 60 % of its synapses that were to change never did: choose error feedback, or 4 more bits."
    )


@pytest.mark.parametrize(
    ("rounding", "writes", "words"),
    [
        (
            "stochastic",
            {"size": 0.02},
            "and 6 % are made, each by a whole step: right on average, and noisy; 5 more",
        ),
        ("feedback", {"stored": 0.3}, "keep 4 more bits of the remainder"),
        ("nearest", {"stored": 0.9, "saturated_late": 0.4}, "40 % after four without a reset: give it a larger limit"),
        ("nearest", {"stored": 0.9}, "No layer's trace stalls, or stands at its limit"),
    ],
)
def test_advice_is_that_of_the_rounding(full: Record, rounding: str, writes: dict[str, float], words: str) -> None:
    def other(run: Run) -> Run:
        choices = run.choices | {"rounding": rounding} | ({"remainder": 4} if rounding == "feedback" else {})
        return replace(counted(run, **STALLED | writes), choices=choices)

    others = [r for r in full.runs if r.stage != "quantized"]
    record = full._replace(runs=others + [other(r) for r in full.stage("quantized", "w32a32t3-nearest")])
    advice = [each.replace("\N{NO-BREAK SPACE}", " ") for each in found(record)["advice"]]
    assert any(words in each for each in advice), advice


def test_the_role_that_minds_most_is_named(full: Record) -> None:
    text = found(full)["sensitivity"]
    assert text.startswith(
        "Rounded only, one role alone in 2 bits and the others in float, the mean score changes with"
    )
    assert "Fine-tuned, one role alone in 2 bits" in text
    worse = full._replace(
        runs=[replace(r, metrics=r.metrics | {"score": 0.3}) if r.name == "w32a2t32-nearest" else r for r in full.runs]
    )
    assert "the alpha is the most sensitive" in found(worse)["sensitivity"].split("Fine-tuned")[0]


def test_what_a_search_within_a_budget_tried_is_tabled_and_does_not_crowd_the_figure(full: Record) -> None:
    (source, *_) = full.stage("quantized", "w4a4t8-stochastic")
    choices = source.choices | {"weight": 3, "alpha": 5, "trace": 6, "budget": 900}
    tried = [
        counted(
            replace(source, name="w3a5t6-nearest", seed=s, choices=choices, metrics={"score": 0.9, "validation": v})
        )
        for s, v in ((0, 0.91), (1, 0.93))
    ]
    record = full._replace(runs=[*full.runs, *tried])
    row = found(record)["costs"][-1]
    assert (row["label"], row["bits"]) == ("best of the search within a budget", "3/5/6")
    before, after = figure.data(full), figure.data(record)
    assert before is not None
    assert after is not None
    assert [v.name for v in after.variants] == [v.name for v in before.variants]


def test_older_records_have_no_costs_and_networks_without_few_bits_nothing(full: Record, tmp_path: Path) -> None:
    old = runs.load(synthetic.full(tmp_path / "old"))
    page = found(old)
    assert (page["costs"], page["writes"], page["advice"]) == ([], [], [])
    assert low_bits.contents(old, "fixed") is None


def test_the_page_shows_the_cost_and_the_advice(full: Record, tmp_path: Path) -> None:
    few = full._replace(runs=[r for r in full.runs if r.stage != "search"])
    text = (
        write(few, tmp_path, Report(synthetic.STUDY, figures=("controls",)))
        .read_text()
        .replace("\N{NO-BREAK SPACE}", " ")
    )
    assert "Cost at a quality target: the fewest bytes at which the mean score is" in text
    assert "94 % of writes to layer 1&#39;s trace in 3 bits, nearest, change nothing" in text
    assert "10 pJ for every 64 bits" in text
