"""A run folder from the command line: how it was asked, what it goes on from, and what mends it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import HERE, call, refused

from plastic_search.records import run

MINE = '''"""A study with a rule of its own."""

from dataclasses import dataclass, replace

from small import study

from plastic_search.rules import Change, Outer, Rule


@dataclass(frozen=True)
class {rule}(Rule):
    """dH = 0.5 * post (x) pre"""

    def step(self, params, state, seen):
        return Change((Outer(seen.post, seen.pre, 0.5),)), state


STUDY = study(trials=2)
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a study of the user's own was run and quantized."""
    folder = tmp_path_factory.mktemp("first") / "home"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE.format(rule="Drowsy"))
    (folder / "more parts.py").write_text('"""Nothing in it."""\n')
    ran = call("run", "mine.py", "--parts", "more parts.py", "--set", "seeds=[0]", "--workers", "1", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    files = "--parts 'more parts.py' --parts mine.py"
    assert f"next: plastic-search quantize runs/mine {files}; plastic-search export runs/mine {files}; " in ran.stderr
    assert "`quantize` makes up to 59 runs here; fewer with --bits" in ran.stderr
    assert ran.stderr.endswith("plastic-search report runs/mine\n")
    rounded = call("quantize", "runs/mine", "--bits", "4", "--workers", "1", cwd=folder)
    assert rounded.returncode == 0, rounded.stderr
    return folder


@pytest.fixture
def mine(home: Path, tmp_path: Path) -> Path:
    """The same folder, to be spoilt."""
    for path in (p for p in home.rglob("*") if p.is_file()):
        copied = tmp_path / "home" / path.relative_to(home)  # a part's module is called after its folder
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
    return tmp_path / "home"


def again(mine: Path, *words: str) -> str:
    ran = call("run", "mine.py", "--set", "seeds=[0]", "--workers", "1", *words, cwd=mine)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


def test_it_says_how_it_was_asked(home: Path) -> None:
    asked = run.load(home / "runs" / "mine").study["command"]
    assert asked == {"study": "mine.py", "sets": ["seeds=[0]"], "parts": ["more parts.py"], "out": ""}


def test_fewer_trials_than_it_holds_are_told(mine: Path) -> None:
    output = again(mine, "--set", "trials=1")
    assert "runs/mine has 2 trials of each search already, more than the 1 requested; all stay" in output


def test_names_are_whole_on_a_narrow_terminal(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in ("80", "60"):
        monkeypatch.setenv("COLUMNS", width)
        lines = call("show", "runs/mine", cwd=home).stdout.splitlines()
        assert "w32a32t4-stochastic-tuned" in {word for line in lines for word in line.split()}
        assert max(len(line.rstrip()) for line in lines) <= 80
        assert any(line.rstrip().endswith("connections") for line in lines)


def test_every_address_is_shown_and_can_be_set_to_what_it_is(home: Path) -> None:
    output = json.loads(call("show", "mine.py", "--json", cwd=home).stdout)
    assert output["layers.0.units"] == "3 to 7"
    settings = output["settings"]
    assert settings["trainer.steps"] == "4"
    assert settings["seeds"] == "[0, 1]"
    assert settings["layers.1.modulation.rate"] == "0.2"
    assert not settings.keys() & output.keys()
    values = {a: text for a, text in settings.items() if not text[0].isupper()}  # to name a part sets it anew
    values |= {"seeds": "[0]", "task.present": "3"}
    sets = [word for address, text in values.items() for word in ("--set", f"{address}={text}")]
    output = refused("run", "mine.py", *sets, cwd=home)
    assert "runs/mine holds another question: task.present was 1, is 3. Nothing was changed; give this" in output
    table = call("show", "mine.py", cwd=home).stdout
    assert table.index("layers.0.units") < table.index("settings in short") < table.index("Gradient(steps=4")


def test_a_part_of_the_users_own_is_shown_with_its_file(home: Path) -> None:
    (home / "aside.py").write_text(MINE.format(rule="Dozing"))
    output = json.loads(call("show", "Dozing", "--parts", "aside.py", "--json", cwd=home).stdout)
    assert output["file"] == "aside.py"


def test_repair_keeps_every_whole_line_of_the_runs(mine: Path) -> None:
    folder = mine / "runs" / "mine"
    lines = (folder / run.RUNS).read_text().splitlines(keepends=True)
    broken = [*lines[:4], "garbage\n", '{"stage": "search"}\n', *lines[4:], lines[0][:30]]
    (folder / run.RUNS).write_text("".join(broken))
    for command in ("show", "report", "quantize", "export"):
        assert "torn at line 5; nothing was changed" in refused(command, "runs/mine", cwd=mine)
    output = call("repair", "runs/mine", cwd=mine).stdout
    assert output.startswith(
        f"runs.jsonl: kept {len(lines)} of {len(broken)} lines, all that are whole; the old file is "
    )
    assert (folder / run.RUNS).read_text() == "".join(lines)


def test_a_cut_journal_is_told_by_run_alone_and_kept_up_to_the_break(mine: Path) -> None:
    journal = mine / "runs" / "mine" / run.JOURNAL
    journal.write_text(journal.read_text()[:-40])
    assert call("show", "runs/mine", cwd=mine).returncode == 0
    assert "journal.log is torn" in refused("run", "mine.py", "--set", "seeds=[0]", cwd=mine)
    assert "lines before the first damaged one" in call("repair", "runs/mine", cwd=mine).stdout


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("finalist", "reports"), -3, "study.finalist: Gradient.reports must be above 0, but is -3"),
        (("trainer", "steps"), "many", "study.trainer: Gradient.steps wants an int, but got 'many' (str)"),
        (("task", "bitz"), 3, "study.task: no field of PatternCompletion is called 'bitz'; known: "),
        (("space", "layers"), [[]], "study.space: NetworkSpec.layers.0 wants a Layer, but got () (tuple)"),
        (("trainer", "learning_rate"), 10**400, "study.trainer: Gradient.learning_rate wants a float, but got 1000"),
        (("space", "kind"), -3, 'study.space: a part in JSON needs a "kind", and its value must be a name'),
    ],
)
def test_a_value_that_no_part_may_have_is_named_with_file_and_path(
    path: tuple[str, str], value: Any, message: str, mine: Path
) -> None:
    file = mine / "runs" / "mine" / run.STUDY
    study = json.loads(file.read_text())
    study["study"][path[0]][path[1]] = value
    file.write_text(json.dumps(study))
    for command in ("export", "quantize"):
        found = refused(command, "runs/mine", "--parts", "mine.py", cwd=mine)
        assert found.startswith(f"plastic-search: runs/mine/study.json: {message}")


def test_a_value_that_no_network_may_have_is_named_with_its_line(mine: Path) -> None:
    file = mine / "runs" / "mine" / run.RUNS
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    number = next(n for n, line in enumerate(lines) if line["name"] == "winner")
    for line in lines[number:]:
        line["spec"]["layers"][0]["cell"] = {"kind": "RNNN"}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = refused("quantize", "runs/mine", "--parts", "mine.py", cwd=mine)
    assert re.search(r"runs\.jsonl, line \d+: spec\.layers\.0\.cell: no cell is called 'RNNN'; known: ", found)


def test_repair_needs_no_parts_of_the_users_own(mine: Path) -> None:
    folder = mine / "runs" / "mine"
    study = json.loads((folder / run.STUDY).read_text())
    study["study"]["task"] = {"kind": "OnceMine"}
    (folder / run.STUDY).write_text(json.dumps(study))
    lines = (folder / run.RUNS).read_text().splitlines(keepends=True)
    (folder / run.RUNS).write_text("".join([*lines, "garbage\n"]))
    before = (folder / run.JOURNAL).read_bytes()
    assert call("repair", "runs/mine", cwd=mine).stdout.startswith(f"runs.jsonl: kept {len(lines)} of ")
    assert call("repair", "runs/mine", cwd=mine).stdout == "nothing was broken\n"
    assert (folder / run.JOURNAL).read_bytes() == before


def test_a_damaged_model_is_trained_again_once_removed(mine: Path) -> None:
    (model,) = (mine / "runs" / "mine" / run.MODELS).glob("winner-*/0.safetensors")
    whole = model.read_bytes()
    model.write_bytes(b"\x00" * 20)
    output = refused("export", "runs/mine", "--name", "winner", cwd=mine)
    assert "is damaged" in output
    assert "remove it, and the command that trained it (`plastic-search run`, or `quantize`) trains it again" in output
    model.unlink()
    assert "(winner, seed 0" in again(mine)
    assert model.read_bytes() == whole
    (tuned,) = (mine / "runs" / "mine" / run.MODELS).glob("w4a4t8-nearest-tuned-*/0.safetensors")
    tuned.unlink()
    rounded = call("quantize", "runs/mine", "--bits", "4", "--workers", "1", cwd=mine)
    assert "(w4a4t8-nearest-tuned, seed 0" in rounded.stderr
    assert tuned.is_file()


@pytest.mark.parametrize("text", ['{"name": ', '{"name": "mine"}', "[]"])
def test_a_damaged_study_says_what_to_do(text: str, mine: Path) -> None:
    (mine / "runs" / "mine" / run.STUDY).write_text(text)
    assert "put a copy of it back" in refused("show", "runs/mine", cwd=mine)


WORDS = [
    ("STUDY = 3\n", "own.py: STUDY must be a Study, but is an int"),
    ("A = 1\n\n\ndef f():\n    return A / 0\n\n\nSTUDY = f()\n", "own.py, line 5: ZeroDivisionError: division by zero"),
    ("from plastic_search import Layer\n\nLayer(units=0)\n", "own.py, line 3: a layer needs at least 1 unit"),
]


@pytest.mark.parametrize(("text", "message"), WORDS, ids=[message for _, message in WORDS])
def test_a_study_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(text)
    assert f"plastic-search: {message}" in refused("run", "own.py", cwd=tmp_path)


def test_what_is_misused_is_one_line(tmp_path: Path) -> None:
    assert "there is no file nope.py; name one that is there, or one of: bandit, bip, crippled_ant," in refused(
        "run", "nope.py"
    )
    (tmp_path / "wine_study.py").touch()
    for word in ("wine_stdy.py", "wine_stdy"):
        assert refused("run", word, cwd=tmp_path).endswith("Did you mean 'wine_study.py'?\n")
    parts = ("run", "digit_recall", "--parts", "wine_stdy.py")
    assert refused(*parts, cwd=tmp_path).endswith("no file wine_stdy.py. Did you mean 'wine_study.py'?\n")
    for words in (("run", "digit_recall", "--workers", "0"), ("frob",), ("list", "--nope"), ("run",)):
        ended = call(*words, cwd=tmp_path)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended
        assert "(see plastic-search" in ended.stderr


def killed(how: signal.Signals, home: Path, group: bool) -> tuple[int, str]:
    """The exit code of a run that was killed after its first event, its workers too or not, and what it then said."""
    (home / "mine.py").write_text("from small import study\n\nSTUDY = study(trials=40, steps=50)\n")
    script = "from plastic_search.cli.app import main\nif __name__ == '__main__': main()"
    command = [sys.executable, "-c", script, "run", "mine.py", "--workers", "2"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parent)))}
    with subprocess.Popen(
        command, cwd=home, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        (os.killpg if group else os.kill)(process.pid, how)
        output = process.stderr.read()
    return process.returncode, output


def test_a_polite_kill_is_answered_like_ctrl_c(tmp_path: Path) -> None:
    code, output = killed(signal.SIGTERM, tmp_path, group=True)
    assert code == 130
    assert output.endswith("plastic-search: stopped; the same command goes on from here\n")
    assert "Traceback" not in output
    assert "leaked" not in output


def test_kill_9_leaves_no_warning_on_the_terminal(tmp_path: Path) -> None:
    code, output = killed(signal.SIGKILL, tmp_path, group=False)
    assert code == -signal.SIGKILL
    assert "leaked" not in output
    assert "Traceback" not in output
