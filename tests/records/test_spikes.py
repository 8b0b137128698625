"""The file of a spiking episode: what is written is read, and anything else is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_spikes import fired

from plastic_search.core.errors import PlasticSearchError
from plastic_search.records import spikes


def test_what_is_written_is_read(tmp_path: Path) -> None:
    one = fired(np.random.default_rng(0), "plastic", 1)
    spikes.write(tmp_path, one, "plastic-1")
    assert spikes.read_all(tmp_path) == {"plastic-1": one}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schema", "plastic_search/spikes/9", "schema must be 'plastic_search/spikes/1'"),
        ("steps", 99, "steps must be from 1 to length=40"),
        ("layers.0.spikes.0", [30], "layers.0.spikes must be steps from 0 to 29"),
        ("layers.1.shown", [0, 1, 3], "layers.1.shown must name units from 0 to 2"),
        ("layers.1.shown", [0, 1], "layers.1.spikes must have 2 entries, but has 3"),
        ("layers.1.membranes.0.potential", [0.0], "layers.1.membranes.0.potential must have 30 entries"),
        ("layers.1.before", "five", "layers.1.before must be a list"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, path: str, value: Any, words: str) -> None:
    data: Any = fired(np.random.default_rng(0), "plastic", 1).to_json()
    *above, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    at = data
    for name in above:
        at = at[name]
    at[last] = value
    file = tmp_path / "plastic-1.json"
    file.write_text(json.dumps(data))
    with pytest.raises(PlasticSearchError) as caught:
        spikes.read(file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
