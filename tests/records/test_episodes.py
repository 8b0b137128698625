"""The file of an episode: what is written is read, and anything else is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused
from synthetic_rewards import episode, rewards

from plastic_search.core.errors import PlasticSearchError
from plastic_search.records import episodes, run


def test_what_is_written_is_read(tmp_path: Path) -> None:
    one = episode(np.random.default_rng(0), "modulated", 1)
    episodes.write(tmp_path, one, "modulated-1")
    assert episodes.read_all(tmp_path) == {"modulated-1": one}


def changed(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(data: dict[str, Any]) -> None:
        *path, last = key.split(".")
        at: Any = data
        for name in path:
            at = at[int(name)] if isinstance(at, list) else at[name]
        at[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed("schema", "plastic_search/episode/9"), "schema must be 'plastic_search/episode/1'"),
        (changed("rewards", []), "rewards must have a number for each step"),
        (changed("rewards", [1.0, "two"]), "rewards.1 must be a number, but is 'two'"),
        (changed("frames", ["@"]), "frames must have 0 or 41 entries"),
        (changed("layers.0.trace", [0.0]), "layers.0.trace must have 40 entries"),
        (changed("layers.0.more", 1), "has a key 'more'"),
        (changed("score", True), "score must be a number or null, but is True"),
        (lambda data: data.pop("trials"), "lacks 'trials'"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, change: Any, words: str) -> None:
    data = episode(np.random.default_rng(0), "modulated", 1).to_json()
    change(data)
    path = tmp_path / "modulated-1.json"
    path.write_text(json.dumps(data))
    with pytest.raises(PlasticSearchError) as caught:
        episodes.read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_torn_file_is_refused_by_commands(tmp_path: Path) -> None:
    folder = rewards(tmp_path / "maze", seeds=(0,))
    assert set(run.load(folder).episodes) == {"modulated-0", "plastic-0", "rnn-0"}
    path = folder / "episodes" / "rnn-0.json"
    path.write_text(path.read_text()[:100])
    assert "rnn-0.json is damaged" in refused("report", str(folder))
