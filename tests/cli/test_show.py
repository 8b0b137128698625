"""What `show` prints of parts, studies and search spaces, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call, refused

from plastic_search.core import loading
from plastic_search.export import manifest
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.graph import Graph
from plastic_search.tasks.switched import Switched

CONTENT = [(folder, name) for folder in ("studies", "search_spaces") for name in loading.names(folder)]

USERS = '''"""A rule without a word on its settings, and one with."""

from dataclasses import dataclass

from plastic_search.rules.hebb import Hebb


@dataclass(frozen=True)
class Quiet(Hebb):
    """dH = post (x) pre - decay * H"""

    loudness: float = 2.0


@dataclass(frozen=True)
class Loud(Hebb):
    """dH = post (x) pre - decay * H

    Args:
        loudness: how loud it is, in sone.
    """

    loudness: float = 2.0
'''


def shown(*words: str, cwd: Path | None = None) -> str:
    ended = call("show", *words, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_part_is_shown_with_type_default_and_meaning_of_each_setting() -> None:
    settings = json.loads(shown("Gated", "--json"))["settings"]
    assert settings["width"] == {
        "type": "float",
        "default": 1.0,
        "meaning": "scale of the sigmoid that carries the gradient, in standard deviations of the scores",
    }
    assert "stages tuple of Stream [RepeatedPairs, " in " ".join(shown("Switched").split())
    text = " ".join(shown("Gradient").split())
    assert "clip float 1.0 largest norm of the whole gradient" in text


@pytest.mark.parametrize(
    ("name", "setting", "kind", "default"),
    [
        ("Layer", "bound", "one of none, hard, soft, when_read", "hard"),
        ("Layer", "skip", "tuple of int", []),
        ("Layer", "rule", "Rule", {"kind": "Hebb", "decay": 0.0}),
        ("Integer", "weight", "int or None", 8),
        ("Switched", "stages", "tuple of Stream", [each.to_json() for each in Switched().stages]),
        ("Study", "question", "str", None),
        ("Comparison", "task", "Task or Environment or None", None),
        ("Case", "name", "str", None),
        ("Report", "figures", "tuple of str", []),
    ],
)
def test_so_is_every_value_that_users_make(name: str, setting: str, kind: str, default: object) -> None:
    described = json.loads(shown(name, "--json"))
    found = described["settings"][setting]
    assert described["name"] == name
    assert (found["type"], found.get("default")) == (kind, default)
    assert ("default" in found) == (setting not in ("question", "name"))
    assert found["meaning"]


def test_a_users_part_is_shown_with_the_meanings_that_it_gives(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(USERS)
    assert "how loud it is, in sone" in " ".join(shown("Loud", "--parts", "mine.py", cwd=tmp_path).split())
    quiet = json.loads(shown("Quiet", "--parts", "mine.py", "--json", cwd=tmp_path))["settings"]
    assert quiet["loudness"] == {"type": "float", "default": 2.0, "meaning": ""}
    assert quiet["decay"]["meaning"].startswith("share of the trace")


@pytest.mark.parametrize(("folder", "name"), CONTENT)
def test_a_study_fits_a_screen_and_its_json_has_every_path(
    folder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(f"{folder}/{name}")
    assert text.count("\n") <= 40
    assert max(map(len, text.splitlines())) <= 120
    settings = json.loads(shown(f"{folder}/{name}", "--json"))["settings"]
    assert f"all {len(settings)} settings with their paths: plastic-search show {folder}/{name} --json" in text


def test_so_does_a_comparison_of_many_cases(tmp_path: Path) -> None:
    (tmp_path / "many.py").write_text(
        "from small import study\n"
        "from plastic_search.experiments.comparison import Case, Change, Comparison\n"
        "_small = study()\n"
        "STUDY = Comparison('Which?', tuple(\n"
        "    Case(f'case {n}', changes=(Change('layers.1.units', n), Change('layers.1.limit', 2)), about='long ' * 9)\n"
        "    for n in range(4, 64)), spec=_small.space, task=_small.task, trainer=_small.trainer)\n"
    )
    text = shown("many.py", cwd=tmp_path)
    assert text.count("\n") <= 40
    assert "Case(case 4, changes=(Change(path=layers.1.units, value=4)" in text
    assert "and 54 more" in text
    assert json.loads(shown("many.py", "--json", cwd=tmp_path))["settings"]["cases.59.changes.0.value"] == "63"


def test_so_does_a_bundle_of_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "manifest.json").write_text("{}")
    graph = Graph(tuple((0, pre) for pre in range(5000)))
    content = {"spec": NetworkSpec((Layer(structure=graph),)).to_json(), "about": {}}
    monkeypatch.setattr(manifest, "read", lambda folder: content)
    text = shown(str(tmp_path))
    assert text.count("\n") <= 10
    assert f"the whole manifest: plastic-search show {tmp_path} --json" in text
    assert json.loads(shown(str(tmp_path), "--json")) == content


def test_what_is_not_there_is_refused_with_what_is() -> None:
    assert "Did you mean 'NetworkSpec'?" in refused("show", "NetworkSpecs")
    assert "no part, study, space or folder is called '_Range'" in refused("show", "_Range")
