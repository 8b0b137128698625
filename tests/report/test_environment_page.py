"""The page of a comparison in an environment: rewards have no bounds, and an episode moves without scripts."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from synthetic_comparison import comparison
from synthetic_rewards import STEPS, episode, rewards

from plastic_search.records import run
from plastic_search.records.run import Record
from plastic_search.report import comparison_page
from plastic_search.report.figures import _around, _episode, _frames
from plastic_search.report.report import write


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run.load(rewards(tmp_path_factory.mktemp("rewards")))


def test_the_page_shows_what_happens_in_an_environment(full: Record, tmp_path: Path) -> None:
    text = write(full, tmp_path).read_text()
    for outside in ("<script", "src=", "@import", "url(http", "https:"):
        assert outside not in text
    assert len(text) < 3_000_000
    shown = re.findall(r'id="figure-environment-(\w+)"', text)
    assert shown == ["learning", "trials", "ablation", "around", "episode"]
    assert "One episode: modulated, seed 0" in text
    assert "curve-score" not in text  # the learning curves with intervals take its place
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_every_number_is_in_the_json_file(full: Record, tmp_path: Path) -> None:
    write(full, tmp_path)
    whole = json.loads((tmp_path / "report.json").read_text())
    page = whole["environment"]
    assert [curve["name"] for curve in page["learning"]] == ["modulated", "plastic", "rnn"]
    modulated = page["trials"][0]
    assert (len(modulated["steps"]), page["part"]) == (20, "trial")
    values = [each.metrics["trial.3"] for each in full.stage("comparison", "modulated")]
    assert modulated["middle"][3] == pytest.approx(np.mean(values))
    assert modulated["low"][3] < modulated["middle"][3] < modulated["high"][3]
    states = {each["name"]: [c["name"] for c in each["conditions"]] for each in page["ablation"]["networks"]}
    assert list(states) == ["modulated", "plastic"]
    assert states["modulated"][-1] == "rate held at its mean"
    assert [row["label"] for row in whole["rounded"]] == [
        "modulated, float",
        "modulated, 4/4/8 stochastic",
        "modulated, 4/4/8 stochastic, onnxruntime",
    ]


def test_rewards_are_not_cut_to_shares(full: Record) -> None:
    """A mean reward of 0.5, whose interval reaches below 0 and above 1."""
    small = [
        replace(each, metrics=each.metrics | {"score": float(each.seed)})
        for each in full.stage("comparison")
        if each.seed < 2
    ]
    page = comparison_page.contents(full._replace(runs=small))
    assert page["cases"][0]["metrics"]["score"].result.low < -1.0


def test_a_page_about_a_task_has_none_of_it(tmp_path: Path) -> None:
    record = run.load(comparison(tmp_path, seeds=(0, 1)))
    assert comparison_page.contents(record)["environment"] is None
    assert "In the environment" not in write(record, tmp_path).read_text()


def test_differences_carry_a_rank_sum_test(full: Record) -> None:
    found = {each.case: each for each in comparison_page.contents(full)["differences"]}
    assert found["modulated"].rank_sum == pytest.approx(2 / 252)  # 5 above 5: the smallest p that there is
    assert found["modulated"].answer == "yes"


def test_a_reward_is_where_the_network_can_receive_it() -> None:
    one = episode(np.random.default_rng(0), "modulated", 0)
    assert [one.rewards[t - 1] for t in _around.rewarded(one)] == [10.0] * sum(map(bool, one.rewards))
    (found,) = _around.data([one], [{"name": "modulated", "label": "modulated"}])
    at = dict(zip(found.lags, found.signal, strict=True))
    assert max(at, key=lambda lag: at[lag].value) in (0, 16, -16)  # the walk is as long as the ring
    assert at[0].value > 0.4 > 0.3 > at[1].value


def test_what_moves_is_where_the_frames_have_it() -> None:
    grid = _frames.grid(["#@.\n#.*", "#.@\n#*.", "#..\n#@x"])
    assert grid is not None
    assert (grid.rows, grid.columns, grid.fixed) == (2, 3, {(0, 0): "#", (1, 0): "#"})
    places = {sprite.char: sprite.places for sprite in grid.sprites}
    assert places == {
        "@": [(0, 1), (0, 2), (1, 1)],
        "*": [(1, 2), (1, 1), None],
        "x": [None, None, (1, 2)],
    }
    assert _frames.grid([]) is None
    assert _frames.grid(["x" * 121]) is None


def test_an_episode_is_a_moving_picture_without_scripts() -> None:
    one = episode(np.random.default_rng(0), "modulated", 0)
    drawn = _episode.draw(one)
    root = ET.fromstring(drawn)
    assert root.tag.endswith("svg")
    agent = re.search(r"@keyframes episode-1\{(.*?)\}\}", drawn)
    assert agent is not None
    assert len(re.findall(r"%\{", agent[1])) == STEPS + 1  # it moves in each step
    for text in ("reward", "modulator", "mean |H|", "prefers-reduced-motion", ":hover"):
        assert text in drawn
    assert "Disc: the agent." in _episode.caption(one)


def test_frames_and_names_that_are_markup_stay_text() -> None:
    one = episode(np.random.default_rng(0), synthetic.HOSTILE, 0)
    nasty = replace(one, frames=[f"{synthetic.HOSTILE}\x1b\u202e{t}" for t in range(STEPS + 1)])
    drawn = _episode.draw(nasty)
    assert "<script" not in drawn
    assert not set("\x1b\u202e") & set(drawn)
    ET.fromstring(drawn)


def test_an_environment_without_frames_has_curves_only() -> None:
    one = episode(np.random.default_rng(0), "rnn", 0)
    bare = replace(one, frames=[])
    drawn = _episode.draw(bare)
    assert "<circle" not in drawn
    assert drawn.count("@keyframes") == 1  # the cursor's
    assert "cursor stops" in _episode.caption(bare)
