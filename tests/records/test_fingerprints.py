"""A part of the user's own that was changed is never mixed with the one that earlier runs were made by."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from command_line import call, one_line, spawn
from small import study

from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import equation
from plastic_search.core.space import override
from plastic_search.experiments import runner
from plastic_search.experiments.export import export
from plastic_search.experiments.folder import begin, open_question
from plastic_search.experiments.quantize import quantize
from plastic_search.experiments.study import Study
from plastic_search.records import fingerprints
from plastic_search.records import run as runs
from plastic_search.records.files import write_text
from plastic_search.records.folder import RunFolder
from plastic_search.rules import Rule
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja

LOUD = '''"""Rules."""

from dataclasses import dataclass

from plastic_search.rules import Change, Outer, Rule

POWER = 3  # of the output
COLOUR = "red"


@dataclass(frozen=True)
class Loud(Rule):
    """dH = post^3 (x) pre"""

    def step(self, params, state, seen):
        """One step."""
        return Change((Outer(seen.post**POWER, seen.pre),)), state
'''
REFUSED = (
    r"^Loud has changed since {} made with it \((.*)loud\.py\); give the changed part a folder of its own with "
    "`run --out FOLDER`, or put the old text back$"
)


def loaded(file: Path, text: str = LOUD) -> Study:
    """A study whose second layer has the rule that `text` defines."""
    file.write_text(text)
    loading.load_module(file)
    return override(study(trials=1), "space.layers.1.rule", "Loud")


def opened(out: Path) -> Study:
    with RunFolder.open(out) as folder:
        question = open_question(folder)
        assert isinstance(question, Study)
        return question


def done(requested: Study, out: Path) -> dict[str, Any]:
    list(runner.run(requested, "s", out, 1))
    return runs.load(out).study


def test_a_part_that_was_changed_after_runs_were_made_is_refused_everywhere(tmp_path: Path) -> None:
    out, file = tmp_path / "a", tmp_path / "loud.py"
    before = done(loaded(file), out)
    assert list(before["own"]) == ["Loud"]
    result = runs.load(out).runs
    count = sum("Loud" in str(run.spec) for run in result)
    louder = replace(loaded(file, LOUD.replace("POWER = 3", "POWER = 2")), trials=2)
    for work in (
        lambda: list(runner.run(louder, "s", out, 1)),
        lambda: list(quantize(out, (8,), 1)),
        lambda: export(out),
    ):
        with pytest.raises(PlasticSearchError, match=REFUSED.format(f"{count} runs were")):
            work()
    assert runs.load(out).study == before
    assert runs.load(out).runs == result
    again = replace(loaded(file), trials=2)
    assert done(again, out)["own"] == before["own"], "the old text goes on"


def test_a_part_that_no_run_has_used_may_change(tmp_path: Path) -> None:
    out, file = tmp_path / "a", tmp_path / "loud.py"
    fails = LOUD.replace("return Change", "raise ValueError\n        return Change")
    with pytest.raises(PlasticSearchError, match=r"rule Loud .* raised ValueError"):
        done(loaded(file, fails), out)
    assert not out.exists()
    with RunFolder.open(out, create=True) as folder:  # as a run leaves it that is killed before its first network
        begin(folder, loaded(file, fails), "a")
        first = folder.study["own"]
    assert done(loaded(file), out)["own"] != first


def test_a_folder_without_digests_is_not_compared(tmp_path: Path) -> None:
    out, file = tmp_path / "a", tmp_path / "loud.py"
    about = done(loaded(file), out)
    del about["own"]
    write_text(out / runs.STUDY, json.dumps(about))
    louder = replace(loaded(file, LOUD.replace("POWER = 3", "POWER = 2")), trials=2)
    assert "own" not in done(louder, out), "it is not known which of the two made the runs"


CHANGES = [
    ('"""dH = post^3 (x) pre"""', '"""dH = loudly"""', False),
    ('"""One step."""', "# one step", False),
    ('COLOUR = "red"', 'STUDY = COLOUR = "blue"\n\n\nclass Other:\n    pass', False),
    ("post**POWER, seen.pre", "post ** POWER,\n            seen.pre", False),
    ("POWER = 3", "POWER = 4", True),
    ("POWER = 3", "POWER = 3\nPOWER += 1", True),
    ("POWER = 3", "if __debug__:\n    POWER = 3", True),
    ("import Change", "import Activity as Change", True),
    ("frozen=True", "frozen=True, order=True", True),
    ("seen.post**", "seen.pre**", True),
]


@pytest.mark.parametrize(("old", "new", "counts"), CHANGES, ids=[new.replace("\n", " ") for _, new, _ in CHANGES])
def test_what_a_part_does_not_use_does_not_count(old: str, new: str, counts: bool, tmp_path: Path) -> None:
    file = tmp_path / "loud.py"
    assert old in LOUD
    first = fingerprints.digests(loaded(file).to_json())["Loud"]
    text = LOUD.replace(old, new)
    file.write_text(text)
    assert (fingerprints.digests({"kind": "Loud"})["Loud"] != first) == counts


def test_a_base_in_another_file_counts_too(tmp_path: Path) -> None:
    file, text = tmp_path / "loud.py", "from dataclasses import dataclass\nfrom basis import Basis\n"
    text += "@dataclass(frozen=True)\nclass Loud(Basis):\n    pass\n"
    (tmp_path / "basis.py").write_text(LOUD.replace("Loud", "Basis"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "basis", raising=False)
        first = fingerprints.digests(loaded(file, text).to_json())["Loud"]
        (tmp_path / "basis.py").write_text(LOUD.replace("Loud", "Basis").replace("3", "4"))
        assert fingerprints.digests({"kind": "Loud"})["Loud"] != first
        patch.delitem(sys.modules, "basis")


TRAINER = '''"""A trainer."""

from dataclasses import dataclass

from plastic_search.trainers import Trainer
from plastic_search.trainers.gradient import Gradient


@dataclass(frozen=True)
class Mine(Trainer):
    """w -= 1"""

    def train(self, net, task, seed):
        yield from Gradient(steps=2, batch=4, reports=1).train(net, task, seed)
'''


def test_a_task_or_a_trainer_is_used_by_the_runs_that_it_made(tmp_path: Path) -> None:
    out, file = tmp_path / "a", tmp_path / "mine.py"
    file.write_text(TRAINER)
    module = loading.load_module(file)
    done(replace(study(trials=1), fine_tuning=module.Mine()), out)
    file.write_text(TRAINER.replace("batch=4", "batch=8"))
    opened(out)  # nothing was fine-tuned yet
    list(quantize(out, (8,), 1))
    file.write_text(TRAINER)
    with pytest.raises(PlasticSearchError, match=r"^Mine has changed since \d+ runs were made with it"):
        opened(out)
    other = done(replace(study(trials=1), trainer=module.Mine()), tmp_path / "b")
    file.write_text(TRAINER.replace("batch=4", "batch=8"))
    with pytest.raises(PlasticSearchError, match=r"^Mine has changed since 2 runs were made with it"):
        opened(tmp_path / "b")
    assert re.fullmatch("[0-9a-f]{64}", other["own"]["Mine"])


def test_the_command_line_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    (tmp_path / "mine.py").write_text("from small import study\n\nSTUDY = study(trials=1)\n")
    words = ("run", "mine.py", "--parts", "loud.py", "--set", "layers.1.rule=Loud", "--workers", "1")
    assert spawn(*words, cwd=tmp_path).returncode == 0
    (tmp_path / "loud.py").write_text(LOUD.replace("POWER = 3", "POWER = 2"))
    message = one_line(spawn(*words, "--set", "trials=2", cwd=tmp_path))
    assert "plastic-search: Loud has changed since " in message
    assert "runs were made with it (loud.py); give the changed part a folder of its own" in message


def test_a_part_that_states_no_equation_is_said_to_give_none(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Bare(Hebb):  # to which dataclass gives a docstring
        gain: float = 1.0

    class Plain(Oja):
        pass

    class Mute(Rule):
        pass

    assert [equation(kind) for kind in (Bare, Mute)] == ["no equation is given"] * 2
    assert equation(Plain) == equation(Oja), "it works as its base does"
    (tmp_path / "loud.py").write_text(LOUD.replace('    """dH = post^3 (x) pre"""\n', ""))
    message = call("show", "Loud", "--parts", "loud.py", "--json", cwd=tmp_path)
    assert json.loads(message.stdout)["equation"] == "no equation is given"


def test_a_module_that_moved_does_not_count_and_a_digest_of_version_0_1_is_accepted(tmp_path: Path) -> None:
    out, file = tmp_path / "a", tmp_path / "loud.py"
    done(loaded(file), out)
    now = runs.load(out).study["own"]["Loud"]
    lines = "from plastic_search.rules import Change, Outer\nfrom plastic_search.rules.somewhere import Rule"
    file.write_text(LOUD.replace("from plastic_search.rules import Change, Outer, Rule", lines))
    assert fingerprints.digests({"kind": "Loud"})["Loud"] == now
    file.write_text(LOUD)
    former = fingerprints._digest(Rule.kinds["Loud"], fingerprints._text)
    assert former != now
    about = runs.load(out).study
    write_text(out / runs.STUDY, json.dumps(about | {"own": {"Loud": former}}))
    opened(out)
    assert runs.load(out).study["own"]["Loud"] == now
    file.write_text(LOUD.replace("POWER = 3", "POWER = 2"))
    with pytest.raises(PlasticSearchError, match="Loud has changed"):
        opened(out)
