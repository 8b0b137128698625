"""The page of a comparison: what it claims follows from intervals alone, and all that it shows is in its JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import synthetic
from command_line import call
from synthetic_comparison import comparison

from plastic_search.records import run as records
from plastic_search.records.run import Record, Run
from plastic_search.report import comparison_page
from plastic_search.report.report import Report, write


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return records.load(comparison(tmp_path_factory.mktemp("comparison")))


def with_scores(
    folder: Path, scores: dict[str, list[float]], better: str = "higher", limit: float | None = None
) -> Record:
    """A comparison of one metric, whose first case is the reference."""
    comparison(folder, seeds=())
    study = json.loads((folder / records.STUDY).read_text())
    metric = {"name": "score", "label": "accuracy", "better": better, "unit": "", "limit": limit, "published": {}}
    study |= {
        "cases": [{"name": name, "label": name} for name in scores],
        "reference": "",
        "metrics": [metric],
        "floor": {},
    }
    study["seeds"] = list(range(max(map(len, scores.values()))))
    runs = [
        Run(study="s", stage="comparison", name=name, trial=-1, seed=seed, outcome="complete", spec={},  # type: ignore[arg-type]
            metrics={"score": value})
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return Record("s", folder, study, runs, {}, {})


def test_the_command_writes_a_page_and_its_json_companion(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "growing")
    done = call("report", str(folder))
    assert (done.returncode, done.stdout.strip()) == (0, str(folder / "report.html")), done.stderr
    page = json.loads(call("report", str(folder), "--json").stdout)
    assert page["schema"] == comparison_page.SCHEMA
    text = (folder / "report.html").read_text()
    for outside in ("<script", "src=", "@import", "url(http", "https:"):
        assert outside not in text
    assert text.count("<svg") == 4  # two metrics, and curves of loss and units; connections do not change in training


def test_everything_measured_is_there(full: Record) -> None:
    page = comparison_page.contents(full)
    grows = page["cases"][0]
    loss = grows["metrics"]["loss"]
    values = [run.metrics["loss"] for run in full.stage("comparison", "grows")]
    assert list(loss.values.values()) == values
    assert loss.result.low < loss.result.value < loss.result.high
    assert "median" in loss.result.method
    assert loss.quartiles[0] < loss.result.value < loss.quartiles[2]
    assert loss.reached.value == sum(v <= 11.0 for v in values) / 10
    assert "Wilson" in loss.reached.method
    assert (loss.published, grows["metrics"]["units"].published) == ("10.2", "37")
    assert grows["costs"] == {"seconds": 97.0, "steps": 2000.0, "parameters": 55.0 * 37, "connections": 40.0 * 37}
    assert list(page["curves"]) == ["loss", "units"]
    curve = page["curves"]["units"][0]
    assert (curve.name, curve.steps[0], curve.steps[-1]) == ("grows", 100.0, 2000.0)
    assert curve.low[-1] <= curve.middle[-1] == grows["metrics"]["units"].result.value <= curve.high[-1]
    assert page["commands"][0] == f"plastic-search run growing_units --set trainer.steps=2000 --out {full.folder}"


def test_what_is_shown_is_in_the_json_file(full: Record, tmp_path: Path) -> None:
    text = re.sub(r"<svg.*?</svg>|<[^>]*>", " ", write(full, tmp_path).read_text(), flags=re.S)
    page = json.loads((tmp_path / "report.json").read_text())
    assert page["summary"]["sentences"][1] in text.replace("&#39;", "'")
    for phrase in ("13 to 14", "nats per window", "0123abc", "adds and deletes its own units", *page["notes"]):
        assert phrase in text
    shown = {m["name"]: m["digits"] for m in page["metrics"]}
    for case in page["cases"]:
        for name, measured in case["metrics"].items():
            assert f"{measured['result']['value']:.{shown[name]}f} [" in text


def test_the_same_record_gives_the_same_bytes(full: Record, tmp_path: Path) -> None:
    first, second = (write(full, tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "a/report.json").read_bytes() == (tmp_path / "b/report.json").read_bytes()


NEAR = [0.90, 0.91, 0.92, 0.905, 0.915]
FAR = [0.50, 0.51, 0.53, 0.505, 0.515]


@pytest.mark.parametrize(
    ("scores", "better", "answers", "best"),
    [
        ({"a": FAR, "b": NEAR}, "higher", ["yes"], ("b", "yes")),
        ({"a": FAR, "b": NEAR}, "lower", ["no"], ("a", "yes")),
        ({"a": NEAR, "b": [0.95, 0.85, 0.92, 0.99, 0.80], "c": FAR}, "higher", ["unclear", "no"], ("a", "unclear")),
        ({"a": [0.9], "b": [0.1]}, "higher", ["unclear"], ("a", "unclear")),
    ],
)
def test_a_case_is_called_better_only_where_its_interval_says_so(
    tmp_path: Path, scores: dict[str, list[float]], better: str, answers: list[str], best: tuple[str, str]
) -> None:
    page = comparison_page.contents(with_scores(tmp_path, scores, better))
    assert [d.answer for d in page["differences"]] == answers
    assert (page["summary"]["best"], page["summary"]["answer"]) == best
    emitted = " ".join(page["summary"]["sentences"] + page["summary"]["beside"])
    assert ("surely better" in emitted.lower()) == ("yes" in (best[1], *answers))


def test_the_words_of_a_summary(tmp_path: Path) -> None:
    page = comparison_page.contents(with_scores(tmp_path, {"plain": FAR, "plastic": NEAR}))
    assert page["summary"]["sentences"] == [
        "Compared, with 5 seeds each: plain and plastic.",
        "The highest mean accuracy is that of plastic: 0.910 [0.900,\N{NO-BREAK SPACE}0.920], surely better than every "
        "other case; from the next best, plain, it differs by +0.398 [+0.392,\N{NO-BREAK SPACE}+0.404].",
    ]
    assert page["summary"]["beside"] == [
        "Surely better than plain: plastic, by +0.398 [+0.392,\N{NO-BREAK SPACE}+0.404]."
    ]
    one = comparison_page.contents(with_scores(tmp_path, {"plain": [0.5], "plastic": [0.9]}))
    assert one["summary"]["sentences"][1] == (
        "The highest mean accuracy is that of plastic: 0.900 (one seed: no interval). Without intervals, no case is "
        "shown to be better than another."
    )


def test_a_summary_counts_the_seeds_that_are_complete(tmp_path: Path) -> None:
    page = comparison_page.contents(records.load(comparison(tmp_path / "some", (0, 1, 2), planned=5)))
    assert "with 3 of 5 seeds each: " in page["summary"]["sentences"][0]
    uneven = comparison_page.contents(with_scores(tmp_path, {"plain": FAR, "plastic": NEAR[:3]}))
    assert uneven["summary"]["sentences"][0] == "Compared, with 3 to 5 of 5 seeds each: plain and plastic."


def test_differences_are_paired_where_seeds_are_shared(tmp_path: Path) -> None:
    """Seeds that differ by much, and cases that differ by little at each seed."""
    base = [0.1, 0.5, 0.9, 0.3]
    page = comparison_page.contents(
        with_scores(tmp_path, {"a": base, "b": [x + 0.01 + i / 1e4 for i, x in enumerate(base)]})
    )
    (difference,) = page["differences"]
    assert (difference.answer, difference.difference.n) == ("yes", 4)
    assert difference.difference.method.startswith("paired by seed")


def test_medians_are_taken_from_eight_seeds_on_or_where_they_are_asked_for(tmp_path: Path) -> None:
    few, many = ({"a": [0.1 * i for i in range(n)], "b": [0.2] * n} for n in (7, 8))
    assert comparison_page.contents(with_scores(tmp_path, few))["metrics"][0]["average"] == "mean"
    assert comparison_page.contents(with_scores(tmp_path, many))["metrics"][0]["average"] == "median"
    chosen = with_scores(tmp_path, few)
    chosen.study["metrics"][0]["average"] = "median"
    assert "median" in comparison_page.contents(chosen)["cases"][0]["metrics"]["score"].result.method


@pytest.mark.parametrize(("better", "share"), [("higher", 0.75), ("lower", 0.5)])
def test_a_limit_is_reached_at_it_or_beyond_it(tmp_path: Path, better: str, share: float) -> None:
    record = with_scores(tmp_path, {"a": [0.1, 0.5, 0.9, 0.7]}, better, limit=0.5)
    assert comparison_page.contents(record)["cases"][0]["metrics"]["score"].reached.value == share


def test_failed_and_missing_runs_are_named(full: Record, tmp_path: Path) -> None:
    failed = [
        Run(**vars(run) | {"outcome": "diverged", "metrics": {}}) if run.key[1:] == ("grows", -1, 3) else run
        for run in full.runs
        if run.name != "fixed-20"
    ]
    page = comparison_page.contents(full._replace(runs=failed))
    assert (page["complete"], page["planned"]) == (29, 40)
    assert page["cases"][0]["outcomes"] == {"complete": 9, "diverged": 1}
    assert page["cases"][1]["metrics"]["loss"] is None
    assert "9, 1 diverged" in write(full._replace(runs=failed), tmp_path).read_text()
    empty = records.load(comparison(tmp_path / "empty", seeds=(), planned=2))
    text = write(empty, tmp_path / "empty").read_text()
    assert "0 of 8 runs are complete" in text
    assert "No run is complete yet." in text


def test_a_metric_that_no_run_has_is_named(tmp_path: Path) -> None:
    record = with_scores(tmp_path, {"a": [0.1, 0.5], "b": [0.2, 0.4]})
    assert comparison_page.contents(record)["notes"] == record.study["notes"]
    record.study["metrics"].append({"name": "scor", "label": "misspelt"})
    (note,) = set(comparison_page.contents(record)["notes"]) - set(record.study["notes"])
    assert note == "no metric of any run is called 'scor'; known: score. Did you mean 'score'?"


def test_cases_along_an_axis_have_a_figure_of_it(tmp_path: Path) -> None:
    record = records.load(comparison(tmp_path, seeds=(0, 1, 2), axis=True))
    text = write(record, tmp_path).read_text()
    assert 'id="figure-axis-loss"' in text
    assert "Loss, nats per window against units" in text


def test_names_that_are_markup_stay_text(full: Record, tmp_path: Path) -> None:
    nasty: Any = json.loads(json.dumps(full.study).replace("hard text", f"{synthetic.HOSTILE} </style>"))
    nasty |= {"question": f"Is {synthetic.HOSTILE} safe?", "notes": [synthetic.HOSTILE]}
    text = write(full._replace(study=nasty), tmp_path, Report(full.name, title="<b>T", answer="<i>A")).read_text()
    assert "<script" not in text
    assert text.count("</style>") == 1
    assert "&lt;b&gt;T" in text
    assert "&lt;i&gt;A" in text


def test_cases_of_another_task_are_shown_but_neither_ranked_nor_compared(tmp_path: Path) -> None:
    record = with_scores(tmp_path, {"a": [0.5, 0.51, 0.52], "b": [0.6, 0.61, 0.62], "easy": [0.9, 0.91, 0.92]})
    record.study["cases"][2]["task"] = {"kind": "Easy"}
    page = comparison_page.contents(record)
    assert [case["name"] for case in page["cases"]] == ["a", "b", "easy"]
    assert page["summary"]["best"] == "b"
    assert "Not ranked, since their task is another: easy." in page["summary"]["sentences"]
    assert {d.case for d in page["differences"]} == {"b"}
