"""What pages show of units that fire: a table of costs with its limits, and figures of one episode."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from synthetic_spikes import counted, fired, spiking

from plastic_search.records import run
from plastic_search.records.run import Record
from plastic_search.report.report import write


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run.load(spiking(tmp_path_factory.mktemp("spiking")))


def test_a_comparison_shows_costs_and_an_episode_of_the_best(full: Record, tmp_path: Path) -> None:
    text = write(full, tmp_path).read_text()
    shown = json.loads((tmp_path / "report.json").read_text())["spiking"]
    assert [row["name"] for row in shown["rows"]] == ["plastic", "static"]
    energies = [each.metrics["energy"] for each in full.stage("comparison", "plastic")]
    assert shown["rows"][0]["energy"]["value"] == pytest.approx(np.mean(energies))
    assert [each["layer"] for each in shown["rows"][0]["layers"]] == [0, 2]
    assert (shown["episode"]["name"], shown["episode"]["seed"]) == ("plastic", 0)
    assert re.findall(r'id="figure-spiking-(\w+)"', text) == ["raster", "membranes", "constants"]
    assert "Horowitz 2014" in text
    assert "leaves out access to memory" in text
    assert "Of inputs 4 of 200 units" in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_time_constants_are_shown_where_they_are_trained(full: Record, tmp_path: Path) -> None:
    fixed = {
        name: replace(each, layers=[replace(layer, after=layer.before) for layer in each.layers])
        for name, each in full.spikes.items()
    }
    text = write(full._replace(spikes=fixed), tmp_path).read_text()
    assert re.findall(r'id="figure-spiking-(\w+)"', text) == ["raster", "membranes"]


def test_a_study_shows_its_winner(tmp_path: Path) -> None:
    record, rng = run.load(synthetic.full(tmp_path / "runs", trials=8, seeds=(0, 1))), np.random.default_rng(1)
    assert 'id="spiking"' not in write(record, tmp_path).read_text()
    runs = [
        replace(each, metrics=each.metrics | counted(rng)) if each.stage == "final" and each.name == "winner" else each
        for each in record.runs
    ]
    text = write(record._replace(runs=runs, spikes={"winner-0": fired(rng, "winner", 0)}), tmp_path).read_text()
    assert "One test episode: winner, seed 0" in text
    assert json.loads((tmp_path / "report.json").read_text())["spiking"]["rows"][0]["name"] == "winner"
