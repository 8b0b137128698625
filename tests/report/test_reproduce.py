"""The command lines on a page are those that were typed, and name the folder in which the record is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic

from plastic_search.records import run as runs
from plastic_search.records.run import Record
from plastic_search.report import reproduce


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return runs.load(synthetic.full(tmp_path_factory.mktemp("full"), trials=6))


def asked(record: Record, folder: str, **words: Any) -> Record:
    return record._replace(folder=Path(folder), study=record.study | {"command": words})


def test_what_was_typed_is_printed(full: Record) -> None:
    sets = ["trials=10", "layers.1.rule=Oja", 'task.note="a b"']
    record = asked(full, "out/here", study="my study.py", sets=sets, parts=["parts.py"], out="out/here")
    assert reproduce.again(record) == [
        "plastic-search run 'my study.py' --set trials=10 --set layers.1.rule=Oja --set 'task.note=\"a b\"' "
        "--out out/here --parts parts.py",
        "plastic-search quantize out/here --parts 'my study.py' --parts parts.py",
        "plastic-search export out/here --parts 'my study.py' --parts parts.py",
        "plastic-search report out/here",
    ]


def test_a_study_of_ours_in_its_own_folder_is_told_shortly(full: Record) -> None:
    record = asked(full, "runs/digit_recall", study="digit_recall", sets=[], parts=[], out="runs/digit_recall")
    assert reproduce.again(record) == reproduce.again(full._replace(folder=Path("runs/digit_recall")))
    assert reproduce.again(record)[:2] == [
        "plastic-search run digit_recall",
        "plastic-search quantize runs/digit_recall",
    ]


def test_an_older_record_names_the_folder_that_it_is_in(full: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reproduce.filling(full, "quantize") == f"plastic-search quantize {full.folder}"
    assert reproduce.filling(full, "run") == f"plastic-search run digit_recall --out {full.folder}"
    (run,) = full.stage("exported")
    assert reproduce.running(full, run) == f"python {full.folder}/bundle/runner.py"
    monkeypatch.chdir(full.folder.parent)
    assert reproduce.filling(full, "export") == f"plastic-search export {full.folder.name}"


def test_a_moved_record_is_filled_where_it_is_and_made_again_where_it_was(full: Record) -> None:
    record = asked(full, "moved/here", study="digit_recall", sets=[], parts=[], out="runs/digit_recall")
    assert reproduce.filling(record, "run") == "plastic-search run digit_recall --out moved/here"
    assert reproduce.again(record)[0] == "plastic-search run digit_recall"


def test_other_widths_and_other_bundles_are_told(full: Record) -> None:
    few = [r for r in full.runs if r.stage != "quantized" or r.name.startswith(("w8a8t8", "w4a4t4"))]
    (run,) = full.stage("exported")
    spec = full.stage("final", "dense")[0].spec
    other = {"name": "dense", "seed": 2, "spec": spec, "choices": {"bundle": "../mine"}}
    few.append(runs.Run(**{**vars(run), **other}))
    text = reproduce.again(full._replace(runs=few, folder=Path("runs/digit_recall")))
    assert text[1] == "plastic-search quantize runs/digit_recall --bits 8,4"
    assert text[3] == "plastic-search export runs/digit_recall --name dense --seed 2 --out runs/mine"


def test_widths_that_another_command_had_rounded_together_before_are_those_of_the_grid_too(full: Record) -> None:
    def searched(run: runs.Run) -> runs.Run:
        return replace(run, choices=run.choices | {"budget": 900}) if run.name.startswith("w2a2t2") else run

    again = reproduce.again(full._replace(runs=[searched(r) for r in full.runs], folder=Path("runs/digit_recall")))
    assert [line for line in again if " quantize " in line] == [
        "plastic-search quantize runs/digit_recall",
        "plastic-search quantize runs/digit_recall --budget 900",
    ]


def test_the_bundle_of_an_earlier_winner_is_not_asked_for_again(full: Record) -> None:
    """Its rounded networks are gone, so its name would be refused."""
    spec = {"kind": "NetworkSpec", "layers": [{"kind": "Layer", "units": 9}]}
    kept = [r for r in full.runs if r.stage != "quantized"]
    result = [replace(r, spec=spec) if r.name == "winner" else r for r in kept]
    text = reproduce.again(full._replace(runs=result, folder=Path("runs/digit_recall")))
    assert "plastic-search export runs/digit_recall" in text
