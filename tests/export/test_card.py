"""The model card of a bundle: a hub's front matter, what was measured, and lines that run as they are printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tampering import reseal

from plastic_search.export import card, manifest, runner
from plastic_search.export.loading import load


def front(text: str) -> dict[str, Any]:
    """The front matter, whose values are JSON, and so YAML."""
    lines = re.fullmatch("---\n(.*?)---\n.*", text, re.DOTALL)
    assert lines is not None
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines[1].splitlines())}


def written(folder: Path, licence: str = "", **about: Any) -> str:
    """The card of a bundle, with more known about it."""
    content = manifest.read(folder)
    sizes = {name: each["bytes"] for name, each in content["files"].items()}
    return card.text(load(folder), content | {"about": about}, sizes, licence)


def test_it_is_of_the_bundle_and_says_what_was_measured(small: Path) -> None:
    text, content = (small / "README.md").read_text(), manifest.read(small)
    about = content["examples"]
    assert front(text)["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(
        about["exported_score"], abs=1e-6
    )
    assert front(text)["tags"] == ["plastic-search", "onnx", "plasticity", "quantized"]
    assert "license" not in front(text)
    assert "No licence is stated" in text
    assert "| weight | 4 | nearest |" in text
    assert "| trace | 8 | stochastic |" in text
    assert "| activity | 32, float |  |" in text
    assert f"| step.onnx | {content['files']['step.onnx']['bytes']:,} |" in text
    assert f"takes {runner.size(content):,} bytes for each episode" in text


def test_a_licence_and_scores_of_seeds_are_stated(small: Path) -> None:
    text = written(small, "mit", study='mine: "a"\n---', network="winner", scores={"0": 0.9, "1": 0.92, "2": 0.97})
    assert front(text)["license"] == "mit"
    assert front(text)["model-index"][0]["name"] == 'mine: "a" --- / winner'
    assert "Licence: mit." in text
    assert "trained with 3 seeds: mean 0.930, 95 % interval 0.840 to 1.000 (Student)" in text
    assert "interval" not in written(small, scores={"0": 0.9})


def test_its_lines_run_as_they_are_printed(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search("```python\n(.*?)```", (copied / "README.md").read_text(), re.DOTALL)
    assert code is not None
    assert len(code[1].splitlines()) == 5
    monkeypatch.chdir(copied)
    monkeypatch.syspath_prepend(str(copied))
    found: dict[str, Any] = {}
    exec(code[1], found)
    assert found["y"].shape == (1, 3)


def test_a_changed_card_is_noticed_and_a_missing_one_was_never_there(copied: Path) -> None:
    card_of_it = copied / "README.md"
    card_of_it.write_text(card_of_it.read_text().replace("8", "9", 1))
    with pytest.raises(manifest.PlasticSearchError, match=r"README\.md was changed"):
        manifest.read(copied)
    card_of_it.unlink()
    reseal(copied, lambda data: data["files"].pop("README.md"))
    assert "README.md" not in manifest.read(copied)["files"]
