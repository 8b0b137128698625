"""Progress and summaries in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from plastic_search.cli.console import follow, summary, summary_table
from plastic_search.experiments.events import Event
from plastic_search.records import run
from plastic_search.report.study_page import contents


def test_means_are_over_complete_runs_as_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run.load(synthetic.full(tmp_path))
    means = summary(record)["stages"]["search"]["tpe"]
    ended = [r for r in record.stage("search", "tpe") if r.outcome == "complete"]
    assert (means["runs"], means["complete"]) == (24, len(ended))
    assert len(ended) < 24
    assert means["score"] == pytest.approx(sum(r.metrics["score"] for r in ended) / len(ended))
    page = contents(record, "", "", {})["search"]
    assert next(arm for arm in page if arm["label"] == "TPE")["outcomes"]["complete"] == means["complete"]
    summary_table(record)
    assert "means over complete runs" in " ".join(capsys.readouterr().out.split())


def test_a_stage_without_a_complete_run_has_no_mean(tmp_path: Path) -> None:
    synthetic.study(tmp_path)
    run.append(tmp_path, [run.Run("s", run.Stage.SEARCH, "tpe", 0, 0, run.Outcome.PRUNED, {}, metrics={"score": 0.5})])
    means = summary(run.load(tmp_path))["stages"]["search"]["tpe"]
    assert (means["runs"], means["complete"], means["score"]) == (1, 0, None)


def test_the_best_score_is_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    stages = (run.Stage.SEARCH, run.Stage.FINAL, run.Stage.QUANTIZED)
    follow(Event(stage, 1, 1, None if stage is run.Stage.QUANTIZED else 0.5, "done") for stage in stages)
    assert capsys.readouterr().err.splitlines() == [
        "searching 1/1, best 0.500 (done)",
        "training finalists 1/1, winner's best 0.500 (done)",
        "quantizing 1/1 (done)",
    ]


def test_a_notice_is_printed_before_the_work_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    follow([Event(run.Stage.FINAL, 0, 9, None, "another winner", "106 quantized runs are no longer shown")])
    assert capsys.readouterr().err.splitlines() == [
        "106 quantized runs are no longer shown",
        "training finalists 0/9 (another winner)",
    ]
