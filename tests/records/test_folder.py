"""A run folder is locked, read once, and appended to; what it held in earlier versions is read."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from small import study

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.export import export
from plastic_search.experiments.quantize import quantize
from plastic_search.experiments.runner import run
from plastic_search.records import run as runs
from plastic_search.records.files import replacing, write_text
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import CurvePoint, Finalist, Outcome, Run, Stage, load

RUN = Run("s", Stage.FINAL, "winner", 0, 0, Outcome.COMPLETE, {"layers": [{"units": 1}]}, metrics={"score": 0.5})
FORMER = {"feasibility_threshold": "worth", "support": "within", "annealing_fraction": "narrowing"}
FORMER |= {"cooldown_fraction": "settle"}


def begun(folder: Path) -> Path:
    write_text(folder / runs.STUDY, json.dumps({"name": "s", "question": "?", "study": {}, "trials": 1}))
    return folder


def test_what_was_appended_is_known_without_reading_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(RUN, name="dense")
    runs.append(begun(tmp_path), [RUN, other])
    with RunFolder.open(tmp_path) as folder:
        assert folder.stage(Stage.FINAL) == [RUN, other]
        monkeypatch.setattr(runs, "read_lines", None)
        again = replace(RUN, metrics={"score": 0.7})
        folder.append(again)
        assert folder.stage(Stage.FINAL, Finalist.WINNER) == [again]
        new = replace(RUN, spec={"layers": [{"units": 2}]}, seed=1)
        quantized = replace(new, stage=Stage.QUANTIZED, name="w4")
        folder.append(new, replace(quantized, spec=RUN.spec), replace(quantized, seed=2))
        current = folder.runs.all()
    monkeypatch.undo()
    assert current == [other, new, replace(quantized, seed=2)], "another winner replaces the old, and what follows it"
    assert load(tmp_path).runs == current


def test_one_process_works_in_a_folder(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "a", create=True), pytest.raises(PlasticSearchError, match="another process is at"):
        RunFolder.open(tmp_path / "a").__enter__()
    with RunFolder.open(tmp_path / "a") as folder:
        assert folder.study == {}
    with pytest.raises(PlasticSearchError, match="holds no study"):
        RunFolder.open(tmp_path / "nowhere").__enter__()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    write_text(path, "old")
    with suppress(ValueError), replacing(path) as temporary:
        temporary.write_text("ne")
        raise ValueError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_curve_keeps_what_was_measured() -> None:
    assert CurvePoint(1.0, 2.0, 0.5).to_json() == [1.0, 2.0, 0.5]
    assert CurvePoint(1.0, 2.0, units=3.0).to_json() == [1.0, 2.0, None, None, None, 3.0]
    data = RUN.to_json() | {"curve": [[1.0, 2.0, 0.5], [2.0, 1.0, 0.6, 10.0, 5.0]]}
    curve = Run.from_json(json.loads(json.dumps(data))).curve
    assert curve == [CurvePoint(1.0, 2.0, 0.5), CurvePoint(2.0, 1.0, 0.6, 10.0, 5.0)]
    former = Run.from_json(RUN.to_json() | {"name": "random"})
    assert former.name == Finalist.BEST_RANDOM


def test_a_folder_of_version_0_1_goes_on(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    few = study(trials=1)
    list(run(few, "small", tmp_path, 1))
    for file in (tmp_path / runs.STUDY, tmp_path / runs.RUNS):
        text = file.read_text()
        for new, old in FORMER.items():
            text = text.replace(f'"{new}"', f'"{old}"')
        file.write_text(text)
    for file in (tmp_path / runs.MODELS).rglob("*.safetensors"):
        tensors = {
            name.replace("annealing_factor", "opened").replace("frozen", "settled"): tensor
            for name, tensor in load_file(file).items()
        }
        save_file(tensors, file)
    assert "within" in (tmp_path / runs.RUNS).read_text()
    assert list(run(few, "small", tmp_path, 1)) == [], "nothing is run again"
    assert len(list(quantize(tmp_path, (4,), 1)))
    assert export(tmp_path, "winner")["name"] == "winner"
    with pytest.raises(PlasticSearchError, match=r"holds another question: feasibility_threshold was 0\.9, is 0\.5"):
        list(run(replace(few, feasibility_threshold=0.5), "small", tmp_path, 1))


def test_keys_of_study_json_of_an_earlier_version_are_read_under_todays_names(tmp_path: Path) -> None:
    study = {"name": "s", "question": "?", "study": {}, "trials": 1, "asked": {"study": "s"}, "holes": {"layers.0": {}}}
    (tmp_path / "study.json").write_text(json.dumps(study))
    found = load(tmp_path).study
    assert (found["command"], found["search_parameters"]) == (study["asked"], study["holes"])
    assert not {"asked", "holes"} & found.keys()
