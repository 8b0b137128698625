"""Run folders as tables: columns by path, one row a run, a trial or a point of a curve, and files of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
from command_line import call

from plastic_search.core.errors import PlasticSearchError
from plastic_search.records import run as records
from plastic_search.records import table
from plastic_search.records.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.full(tmp_path_factory.mktemp("table") / "full", trials=6)


def _run(stage: str, name: str, trial: int = 0, seed: int = 0, outcome: str = "complete", **more: Any) -> Run:
    fields: dict[str, Any] = {"stage": stage, "outcome": outcome, "spec": {}, "costs": {"seconds": 2.0}} | more
    return Run(study="s", name=name, trial=trial, seed=seed, **fields)


def test_a_row_a_run_with_columns_by_path(folder: Path) -> None:
    record = records.load(folder)
    rows = table.runs(folder)
    assert len(rows) == len(record.runs)
    assert list(rows.columns[:7]) == ["study", "stage", "name", "trial", "seed", "outcome", "note"]
    for run, (_, row) in zip(record.runs, rows.iterrows(), strict=True):
        assert (row["stage"], row["name"], row["seed"]) == (run.stage, run.name, run.seed)
        assert all(row[f"metrics.{name}"] == value for name, value in run.metrics.items())
        assert all(row[f"costs.{name}"] == value for name, value in run.costs.items())
        assert all(row[f"choices.{path}"] == value for path, value in run.choices.items() if value is not None)
    pd.testing.assert_frame_equal(table.runs(record), rows)


def test_the_spec_is_flattened_by_path_and_whole_numbers_stay_whole(tmp_path: Path) -> None:
    synthetic.study(tmp_path)
    gated = {"kind": "Gated", "density": 0.5, "support": {"kind": "FeedForward"}}
    layer = {"kind": "Layer", "units": 7, "rule": {"kind": "Oja", "decay": 0.1}, "structure": gated, "skip": [1]}
    spec = {"kind": "NetworkSpec", "layers": [layer], "precision": {"kind": "Integer", "weight": 4}}
    records.append(tmp_path, [_run("final", "a", spec=spec), _run("final", "b", outcome="pruned")])
    rows = table.runs(tmp_path)
    first = rows.iloc[0]
    assert first["layers.0.rule"] == "Oja"
    assert first["layers.0.rule.Oja.decay"] == 0.1
    assert first["layers.0.structure.Gated.support"] == "FeedForward"
    assert (first["layers.0.skip"], first["precision"]) == ("[1]", "Integer")
    assert rows["layers.0.units"].dtype == rows["precision.Integer.weight"].dtype == "Int64"
    assert rows.iloc[1][["layers.0.rule", "layers.0.units"]].isna().all()


def test_a_trial_is_its_seeds_together(tmp_path: Path) -> None:
    synthetic.study(tmp_path)
    runs = [
        _run("search", "tpe", 1, 0, choices={"a": 1}, metrics={"score": 0.4, "connections": 0.0}),
        _run("search", "tpe", 1, 1, "pruned", choices={"a": 1}, metrics={"score": 0.6, "connections": 0.0}),
        _run("search", "random", 0, 0, "infeasible", choices={"b": "x"}, note="too large"),
    ]
    records.append(tmp_path, runs)
    first, second = table.trials(tmp_path).to_dict("records")
    assert (first["arm"], first["number"], first["outcome"], first["note"]) == ("random", 0, "infeasible", "too large")
    assert (second["outcome"], second["score"], second["seeds"], second["seconds"]) == ("pruned", 0.5, 2, 4.0)
    assert (second["connections"], second["choices.a"]) == (0.0, 1)
    assert pd.isna(second["choices.b"])
    assert pd.isna(first["score"])


def test_curves_have_a_row_a_point(folder: Path) -> None:
    record = records.load(folder)
    rows = table.curves(folder)
    assert len(rows) == sum(len(run.curve) for run in record.runs)
    winner = rows.query("stage == 'final' and name == 'winner' and seed == 1")
    curve = record.stage("final", "winner")[1].curve
    points = winner[["step", "loss", "score"]].to_dict("split")["data"]
    assert points == [list(point[:3]) for point in curve]
    assert winner["units"].count() == 0


@pytest.mark.parametrize("make", [synthetic.empty, synthetic.partly])
def test_a_study_without_runs_or_half_done_has_tables_too(make: object, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path)
    assert {"stage", "name", "seed"} <= set(table.runs(tmp_path).columns)
    assert {"arm", "number", "outcome"} <= set(table.trials(tmp_path).columns)
    assert {"step", "loss", "score", "units"} <= set(table.curves(tmp_path).columns)


def test_files_hold_the_whole_table(folder: Path, tmp_path: Path) -> None:
    rows = table.folders([folder, folder])
    assert rows["folder"].unique().tolist() == [str(folder)]
    table.write(rows, tmp_path / "new" / "runs.csv", "csv")
    assert len(pd.read_csv(tmp_path / "new" / "runs.csv")) == len(rows)
    pytest.importorskip("pyarrow", reason="pyarrow is not installed; it is in the parquet extra")
    mixed = rows.assign(mixed=[1 if i % 2 else "text" for i in range(len(rows))])
    table.write(mixed, tmp_path / "runs.parquet", "parquet")
    back = pd.read_parquet(tmp_path / "runs.parquet")
    assert list(back.columns) == list(mixed.columns)
    assert back["metrics.score"].tolist() == pytest.approx(rows["metrics.score"].tolist(), nan_ok=True)


def test_what_cannot_be_written_is_explained(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table.runs(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(
        PlasticSearchError, match=r"file is a file, not a folder; choose another place than .*file/a\.csv"
    ):
        table.write(rows, tmp_path / "file" / "a.csv", "csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PlasticSearchError, match=r"pip install \"plastic-search\[parquet\]\"; or use --csv"):
        table.write(rows, tmp_path / "a.parquet", "parquet")


def test_the_command_prints_writes_and_joins(folder: Path, tmp_path: Path) -> None:
    printed = call("table", str(folder))
    assert printed.returncode == 0, printed.stderr
    assert "metrics.score" in printed.stdout
    rows = json.loads(call("table", str(folder), str(folder), "--json").stdout)
    assert len(rows) == 2 * len(records.load(folder).runs)
    written = call("table", str(folder), "--csv", str(tmp_path / "a.csv"))
    assert (written.stdout.strip(), written.returncode) == (str(tmp_path / "a.csv"), 0)
    assert "holds no study" in call("table", str(tmp_path / "nowhere")).stderr


def test_importing_tables_does_not_import_pandas() -> None:
    code = "import sys, plastic_search.records.table, plastic_search.cli.table; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
