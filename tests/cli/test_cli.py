"""The command line: what it offers, what it refuses, and with which words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from command_line import HERE, call, one_line, refused, spawn

from plastic_search.export.runner import examples

SHORT = ("trials=1", "trainer.steps=2", "finalist.steps=2", "fine_tuning.steps=1", "seeds.0=7")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which digit_recall was run, quantized, exported and reported, all as short as can be."""
    folder = tmp_path_factory.mktemp("cli")
    sets = [word for each in SHORT for word in ("--set", each)]
    ran = call("run", "digit_recall", "--workers", "1", *sets, "--set", "layers.1.rule=Oja", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "searching 2/2" in ran.stderr
    rounded = call("quantize", "runs/digit_recall", "--bits", "4", "--workers", "1", "--json", cwd=folder)
    assert rounded.returncode == 0, rounded.stderr
    assert "w4a4t8-stochastic-tuned" in json.loads(rounded.stdout)["stages"]["quantized"]
    return folder


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    ended = call("--help")
    assert ended.returncode == 0
    for command in ("list", "run", "quantize", "export", "report", "copy", "show", "repair"):
        assert command in ended.stdout
    heavy = (
        "import sys; sys.argv = ['plastic-search', '--help']\n"
        "from plastic_search.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'optuna', 'numpy', 'matplotlib', 'brevitas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", heavy], check=True, capture_output=True, cwd=HERE.parent)


def test_list_in_both_forms() -> None:
    output = json.loads(call("list", "rules", "--json").stdout)
    assert output["rules"]["Oja"] == "dH = post (x) pre - post^2 * H"
    assert "digit_recall" in call("list", "studies").stdout


def test_a_users_rule_is_listed_shown_and_searched(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(USERS)
    assert "Sleepy" in call("list", "rules", "--parts", "mine.py", cwd=tmp_path).stdout
    output = json.loads(call("show", "Sleepy", "--parts", "mine.py", "--json", cwd=tmp_path).stdout)
    assert output["equation"] == "dH = 0.5 * post (x) pre"
    ran = spawn("run", "mine.py", "--workers", "2", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "winner" in json.loads(ran.stdout)["stages"]["final"]
    lost = one_line(spawn("quantize", "runs/mine", cwd=tmp_path))
    assert "no rule is called 'Sleepy'" in lost
    assert "--parts FILE on the command line. runs/mine was made with --parts mine.py" in lost
    assert spawn("quantize", "runs/mine", "--bits", "8", "--parts", "mine.py", cwd=tmp_path).returncode == 0


USERS = '''"""A study with a rule of its own."""

from dataclasses import dataclass, replace

from small import study

from plastic_search.rules import Change, Outer, Rule


@dataclass(frozen=True)
class Sleepy(Rule):
    """dH = 0.5 * post (x) pre"""

    def step(self, params, state, seen):
        return Change((Outer(seen.post, seen.pre, 0.5),)), state


_small = study(trials=1)
_layer = replace(_small.space.layers[1], rule=Sleepy())
STUDY = replace(_small, space=replace(_small.space, layers=(_small.space.layers[0], _layer)))
'''


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "digit_recal"), "Did you mean 'digit_recall'?"),
        (("run", "digit_recall", "--set", "layers.1.rule=Ojja"), "no rule is called 'Ojja'; known: ABCD, BCM"),
        (("run", "digit_recall", "--set", "trainer.stepz=3"), "Did you mean 'trainer.steps'?"),
        (("run", "digit_recall", "--set", "layer.1.rule=Hebb"), "Did you mean 'layers.1.rule'? The path was 'layer.1"),
        (("run", "digit_recall", "--set", "space.layer.1.rule=Hebb"), "Did you mean 'layers.1.rule'?"),
        (("run", "digit_recall", "--set", "trainr.steps=3"), "Did you mean 'trainer.steps'?"),
        (("run", "digit_recall", "--set", "task.way=3"), "Did you mean 'task.ways'?"),
        (("run", "digit_recall", "--set", "layers.9.units=3"), "no index is called '9'; known: 0, 1"),
        (("run", "digit_recall", "--set", "trainer.steps=many"), "trainer.steps wants an int, but got 'many'"),
        (("run", "digit_recall", "--set", "layers.1.bound=firm"), "known: hard, none, soft, when_read"),
        (("run", "digit_recall", "--set", "trainer.steps=-5"), "Gradient.steps must be above 0, but is -5"),
        (("run", "digit_recall", "--set", "seeds=[0,0]"), "seeds must all differ, but are [0, 0]"),
        (("run", "digit_recall", "--set", "trial_seeds=[1,1]"), "trial_seeds must all differ, but are [1, 1]"),
        (
            ("run", "digit_recall", "--set", "layers.1.units=5", "--set", "space.layers.1.units=6"),
            "--set gives space.layers.1.units twice: 5 and 6; keep one of them",
        ),
        (("run", "digit_recall", "--set", "trainer.steps"), "--set needs PATH=VALUE"),
        (("run", "digit_recall", "--out", "/dev/null/x"), "cannot write in /dev/null/x"),
        (("run", "digit_recall", "--out", "afile"), "afile is a file, not a folder; choose another folder with --out"),
        (("run", "digit_recall", "--out", "afile/x"), "afile is a file, not a folder; choose another folder with"),
        (("bench", "--out", "afile"), "afile is a file, not a folder; choose another folder with --out"),
        (("run", "wine"), "no study is called 'wine', but there is a file wine.py; name it with its .py"),
        (("run", "sub/wine"), "no study is called 'sub/wine', but there is a file sub/wine.py; name it with its .py"),
        (("bench", "wine"), "no benchmark is called 'wine', but there is a file wine.py; name it with its .py"),
        (("quantize", "afile"), "afile is a file, not a run folder"),
        (("show", "afile"), "afile is a file; name a folder, a part, a study or a space"),
        (("show", "runs/nope"), "there is no folder runs/nope; `plastic-search run STUDY` makes one"),
        (("show", "studies/nope"), "no part, study, space or folder is called 'studies/nope'"),
        (("run", "digit_recall", "--parts", "nowhere.py"), "there is no file"),
        (("report", "nowhere"), "nowhere holds no study"),
        (("quantize", "nowhere"), "nowhere holds no study"),
        (("quantize", "nowhere", "--bits", "wight=4"), "Did you mean 'weight'?"),
        (
            ("quantize", "nowhere", "--bits", "4;8"),
            "numbers with commas, such as 8,4, or one combination, such as",
        ),
        (("quantize", "nowhere", "--bits", "trace=4", "--activity-bits", "2"), "add activity=2 to --bits trace=4"),
        (("quantize", "nowhere", "--budget", "8 xB"), "--budget needs a number of bytes, such as 8kB"),
        (("quantize", "nowhere", "--budget", "8kB", "--bits", "4"), "so --bits cannot be given beside it"),
        (("quantize", "nowhere", "--trials", "8"), "--trials is of a search within a --budget"),
        (("export", "nowhere"), "nowhere holds no study"),
        (("repair", "nowhere"), "nowhere holds no study"),
        (("show", "nothing"), "no part, study, space or folder is called 'nothing'"),
        (("list", "roles"), "Did you mean 'rules'?"),
        (("copy", "studies/digit_recal"), "Did you mean 'digit_recall'?"),
    ],
)
def test_a_mistake_is_one_clear_line(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("")
    for file in ("wine.py", "sub/wine.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("STUDY = BENCHMARK = None\n")
    assert message in refused(*words, cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"afile", "wine.py", "sub"}


def test_a_study_file_with_a_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("STUDY = (\n")
    assert "torn.py, line 1: '(' was never closed" in refused("run", "torn.py", cwd=tmp_path)
    (tmp_path / "empty.py").write_text("A = 1\n")
    assert "defines no STUDY" in refused("run", "empty.py", cwd=tmp_path)
    (tmp_path / "fails.py").write_text("import nothing_of_that_name\n")
    assert "nothing_of_that_name" in refused("run", "fails.py", cwd=tmp_path)


def test_an_unknown_command_or_option_is_refused() -> None:
    for words in (("frob",), ("run", "digit_recall", "--workers", "0"), ("list", "--nope")):
        assert call(*words).returncode == 2


def test_a_copy_runs_as_ones_own_and_is_not_written_over(tmp_path: Path) -> None:
    assert call("copy", "studies/pattern_completion", "own.py", cwd=tmp_path).stdout.strip() == "own.py"
    assert "exists already" in refused("copy", "pattern_completion", "own.py", cwd=tmp_path)
    output = json.loads(call("show", "own.py", "--json", cwd=tmp_path).stdout)
    assert "layers.0.rule" in output


def test_a_finished_run_can_be_shown_and_run_again(result: Path) -> None:
    output = json.loads(call("show", "runs/digit_recall", "--json", cwd=result).stdout)
    assert output["stages"]["final"]["winner"]["runs"] == 3
    assert "winner" in call("show", "runs/digit_recall", cwd=result).stdout
    output = refused("show", "runs/digit_recal", cwd=result)
    assert output == "plastic-search: there is no folder runs/digit_recal; runs holds runs/digit_recall\n"


def test_export_and_report_of_a_finished_run(result: Path) -> None:
    exported = call("export", "runs/digit_recall", "--json", cwd=result)
    assert exported.returncode == 0, exported.stderr
    output = json.loads(exported.stdout)
    assert output["name"] == "w4a4t8-stochastic-tuned"
    assert output["parity"] <= 1e-5
    assert output["deployed"] < output["bytes"] == sum(output["files"].values())
    shown = json.loads(call("show", "runs/digit_recall/bundle", "--json", cwd=result).stdout)
    assert shown["format"] == "plastic_search/bundle/1"
    page = call("report", "runs/digit_recall", cwd=result)
    assert page.returncode == 0, page.stderr
    assert (result / page.stdout.strip()).stat().st_size > 10_000


def test_a_bundle_with_a_changed_byte_is_refused(result: Path) -> None:
    exported = call("export", "runs/digit_recall", "--out", "changed", cwd=result)
    assert exported.returncode == 0
    path = result / "changed" / "step.onnx"
    assert f"its examples: {examples(result / 'changed')}\n" in exported.stdout
    assert f"to be deployed: step.onnx, {path.stat().st_size:,} bytes; beside it README.md " in exported.stdout
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert "step.onnx" in refused("show", "changed", cwd=result)


def test_what_is_in_the_way_of_a_page_or_a_bundle_is_named(result: Path) -> None:
    (result / "afile").write_text("")
    for verb in ("report", "export"):
        output = refused(verb, "runs/digit_recall", "--out", "afile", cwd=result)
        assert output == "plastic-search: afile is a file, not a folder; choose another folder with --out\n"


def test_a_network_that_is_not_there_cannot_be_exported(result: Path) -> None:
    assert "Did you mean 'winner'?" in refused("export", "runs/digit_recall", "--name", "winer", cwd=result)
    assert "seed 99" in refused("export", "runs/digit_recall", "--seed", "99", cwd=result)


def test_a_network_that_does_not_fire_is_no_nir(result: Path) -> None:
    pytest.importorskip("nir", reason="the package nir is not installed")
    assert "layers.0.cell is " in refused("export", "runs/digit_recall", "--out", "mine.nir", cwd=result)
    assert not (result / "mine.nir").exists()


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from plastic_search.cli.app import main; main()",
        "run",
        "mine.py",
        "--workers",
        "2",
    ]
    (tmp_path / "mine.py").write_text("from small import study\n\nSTUDY = study(trials=40, steps=50)\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parent)))}
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background may not
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=heeding
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        output = process.stderr.read()
    assert process.returncode == 130
    assert output.endswith("plastic-search: stopped; the same command goes on from here\n")
    assert "Traceback" not in output
    assert (tmp_path / "runs" / "mine" / "runs.jsonl").is_file()
