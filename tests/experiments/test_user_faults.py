"""Whatever a user's part does is one line that names the part, its file and line, and the trial; nothing is lost."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest
from command_line import call, one_line, spawn

HEAD = '''"""A study with a part of one's own."""

import os
import sys
import threading
import time
import warnings
from dataclasses import dataclass, replace

import torch
from small import study

from plastic_search.cells import Cell, Response
from plastic_search.modulations import Modulation, Rate
from plastic_search.network.kernels.dispatch import SlowerPath
from plastic_search.precisions import Precision
from plastic_search.rules import Change, Outer, Rule
from plastic_search.structures import Gates, LearnedStructure, Structure
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers import Progress, Trainer
from plastic_search.trainers.gradient import Gradient

warnings.simplefilter("ignore", SlowerPath)


class Odd(Exception):
    def __str__(self):
        raise ValueError


@dataclass(frozen=True)
class Mine({base}):
    """dH = 0"""

{body}


small = study(trials=1)
first, last = small.space.layers
'''
LAYERS = "STUDY = replace(small, space=replace(small.space, layers=({}, {})))"
STUDIES = {
    "PatternCompletion": "STUDY = replace(small, task=Mine(bits=4, patterns=1, present=1, delay=0))",
    "Trainer": "STUDY = replace(small, trainer=Mine())",
    "Precision": "STUDY = replace(small, space=replace(small.space, precision=Mine()))",
    "Structure": LAYERS.format("replace(first, structure=Mine())", "last"),
    "LearnedStructure": LAYERS.format("replace(first, structure=Mine())", "last"),
} | {kind: LAYERS.format("first", f"replace(last, {kind.lower()}=Mine())") for kind in ("Rule", "Cell", "Modulation")}


def written(base: str, body: str, folder: Path) -> int:
    """Write the study, and return the number of the last line of the part's method that is in it."""
    text = HEAD.format(base=base, body=textwrap.indent(body, "    ")) + STUDIES[base] + "\n"
    (folder / "mine.py").write_text(text)
    return text.split("\n").index(f"    {body.splitlines()[-1]}") + 1


def reported(base: str, body: str, folder: Path) -> str:
    """What is said of a part, `AT` for its place."""
    last = written(base, body, folder)
    lines = [last - i for i in range(len(body.splitlines()))]
    line = one_line(call("run", "mine.py", "--workers", "1", cwd=folder))
    assert line.startswith("plastic-search: ")
    (found,) = re.findall(r"mine\.py:(\d+)", line)
    assert int(found) in lines
    return line.removeprefix("plastic-search: ").replace(f"mine.py:{found}", "AT").strip()


def step(text: str) -> str:
    return f"def step(self, params, state, seen):\n    {text}"


def scores(text: str) -> str:
    return f"def scores(self, outputs, episodes):\n    right = super().scores(outputs, episodes)\n    return {text}"


def loss(text: str) -> str:
    return f"def loss(self, outputs, episodes):\n    mean = super().loss(outputs, episodes)\n    return {text}"


def episodes(text: str) -> str:
    return f"def episodes(self, size, split, rng):\n    drawn = super().episodes(size, split, rng)\n    return {text}"


def train(text: str) -> str:
    return f"def train(self, net, task, seed):\n    {text}"


def gates(text: str) -> str:
    return f"def gates(self, params, shape, like):\n    {text}"


def drawn(field: str) -> str:
    return episodes(f"drawn._replace({field})")


def modulate(text: str) -> str:
    return f"def step(self, params, state, seen):\n    return {text}, state"


def respond(text: str) -> str:
    return f"def step(self, params, state, drive):\n    return {text}"


def attribute(name: str, value: str) -> str:
    return f"@property\ndef {name}(self):\n    return {value}"


TREE = "`params` must return a NamedTuple of tensors, or (), but returned a "
IN_PLACE = "`step` must not change what it receives in place, but does"
NUMBER = "the loss must be one number, as a tensor without axes, but is "
INPUTS = "inputs must be [time, batch, inputs], here [any, 8, 4], but are "
OPEN = gates("return Gates(None, None)")
STILL = step("return Change(()), state")
RETURNED = {
    "PatternCompletion": [
        (scores("right > 0"), "scores must be floats [batch], but are torch.bool"),
        (scores("right.mean()"), "scores must be floats [batch], here [500], but are one of shape []"),
        (scores("right.numpy()"), "scores must be floats [batch], but are a numpy.ndarray"),
        (scores("0.5"), "scores must be floats [batch], but are 0.5"),
        (scores("right - 3"), "scores must lie from 0 to 1, larger is better, but one is -"),
        (scores("2 + right"), "scores must lie from 0 to 1, larger is better, but one is "),
        (loss("mean.expand(8)"), NUMBER + "of shape [8]"),
        (loss("1.5"), NUMBER + "1.5"),
        (loss("None"), NUMBER + "None"),
        (loss("mean.detach()"), "the loss has no gradient: it does not depend on the outputs, or was detached"),
        (loss("torch.zeros((), requires_grad=True)"), "the loss does not depend on the outputs, so nothing would be"),
        (loss("episodes.inputs.mul_(2).sum() * mean"), "`loss` must not change outputs, inputs or targets in place"),
        (episodes("tuple(drawn)"), "the result of `episodes` must be Episodes(inputs, targets, query_step), but is a"),
        (drawn("inputs=drawn.inputs.double()"), "inputs must be torch.float32, as the network's parameters are, but"),
        (drawn("inputs=drawn.inputs.numpy()"), INPUTS + "a numpy.ndarray"),
        (drawn("inputs=drawn.inputs.transpose(0, 1)"), INPUTS + "one of shape [8, 2, 4]"),
        (drawn("inputs=drawn.inputs[:, :0]"), INPUTS + "one of shape [2, 0, 4]"),
        (drawn("inputs=drawn.inputs[:0]"), INPUTS + "one of shape [0, 8, 4]"),
        (drawn("targets=drawn.targets[:3]"), "targets must be [batch, ...] or [time, batch, ...], here with 8 as"),
        (drawn("targets=[1]"), "batch, but are a list"),
        (drawn("query_step=2"), "query_step must be a time step, here from 0 to 1, but is 2"),
        (attribute("chance", "'half'"), "chance must be a number from 0 to below 1, but is 'half'"),
        (attribute("outputs", "4.0"), "outputs must be a whole number from 1, but is 4.0"),
    ],
    "Trainer": [
        (train("return None"), "must be a generator that yields Progress(step, steps, loss), but returned None"),
        (train("yield 3"), "`train` must yield Progress(step, steps, loss), but yielded 3"),
        (train("yield Progress(1, 1, None)"), "of two ints and a float, but yielded Progress(1, 1, None)"),
        (train("yield from ()"), "`train` must yield Progress at the end of training, but yielded nothing"),
    ],
    "Structure": [
        (gates("return None"), "must return a Gates as its result, but returned None"),
        (gates("return Gates(like.new_ones(2, 2), None)"), "must return Gates.exists [post, pre], here ["),
        (gates("return Gates(torch.ones(shape.post, shape.pre) > 0, None)"), "Gates.exists of torch.float32, as its"),
    ],
    "LearnedStructure": [(f"def params(self, shape, rng):\n    return [1]\n\n\n{OPEN}", TREE + "list")],
    "Cell": [
        (respond("drive"), "must return (state, Response), but returned one of shape [2, 1, 4]"),
        (respond("state, Response(drive.add_(1)[:, 0], drive[:, 0])"), IN_PLACE),
        (f"def params(self, post, rng):\n    return [1]\n\n\n{respond('state, drive')}", TREE + "list"),
    ],
    "Rule": [
        (step("return 3"), "must return (Change, state), but returned 3"),
        (step("return Change((Outer(seen.post.double(), seen.pre),)), state"), "of torch.float32, as its inputs are"),
        (step("return Change((Outer(seen.post, seen.pre.mul_(2)),)), state"), IN_PLACE),
        (f"def params(self, post, pre, rng):\n    return {{'a': 1}}\n\n\n{STILL}", TREE + "dict"),
    ],
    "Modulation": [(modulate("Rate(0.5)"), "must return Rate.write as a tensor, but returned 0.5")],
    "Precision": [
        ("def format(self, role):\n    return 8", "must return a Format or None for the weight, but returned 8")
    ],
}
ROWS = [(base, body, message) for base, rows in RETURNED.items() for body, message in rows]


@pytest.mark.parametrize(("base", "body", "message"), ROWS, ids=[f"{base}: {message}" for base, _, message in ROWS])
def test_what_a_part_returns_is_checked_and_the_part_named(base: str, body: str, message: str, tmp_path: Path) -> None:
    line = reported(base, body, tmp_path)
    kind = {"PatternCompletion": "task", "LearnedStructure": "structure"}.get(base, base.lower())
    assert f"{kind} Mine (AT): " in line
    assert message in line
    assert line.endswith("; mend it and give the same command again")


RAISED = [
    ("sys.exit(0)", "raised SystemExit: 0"),
    ("os._exit(0)", "raised SystemExit: 0"),
    ("raise GeneratorExit", "raised GeneratorExit"),
    ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
    ("next(iter(()))", "raised StopIteration"),
    ("return self.step(params, state, seen)", "raised RecursionError: maximum recursion depth exceeded"),
    ("raise Odd", "raised Odd: its message cannot be shown, __str__ raised ValueError"),
    ("raise ValueError('one\\n\\ttwo \\x1b[31m\\u202e')", r"raised ValueError: one two \x1b[31m\u202e"),
    ("raise OSError(threading.Lock())", "raised OSError: <unlocked _thread.lock object at"),
    ("warnings.warn('old')", "raised UserWarning: old"),
    ("raise ValueError('x' * 9999)", "xxx..."),
]


@pytest.mark.parametrize(("text", "message"), RAISED, ids=[text for text, _ in RAISED])
def test_whatever_a_part_raises_is_blamed_on_it(text: str, message: str, tmp_path: Path) -> None:
    line = reported("Rule", step(text), tmp_path)
    assert line.startswith("rule Mine (AT) raised ")
    assert message in line
    assert line.endswith(" in tpe trial 0; mend it and give the same command again")
    assert len(line) < 600


@pytest.mark.parametrize("text", ["bytearray(10**14)", "torch.empty(10**14)"])
def test_memory_that_a_part_wants_is_blamed_on_it(text: str, tmp_path: Path) -> None:
    line = reported("Rule", step(text), tmp_path)
    assert line.startswith("rule Mine (AT), in tpe trial 0, needs more memory than there is")


IMPORTED = [
    ("sys.exit(0)", "SystemExit: 0"),
    ("os._exit(0)", "SystemExit: 0"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise Odd", "Odd: its message cannot be shown, __str__ raised ValueError"),
]


@pytest.mark.parametrize(("text", "message"), IMPORTED, ids=[text for text, _ in IMPORTED])
def test_a_file_that_ends_the_program_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    written("Rule", STILL, tmp_path)
    with (tmp_path / "mine.py").open("a") as file:
        file.write(f"{text}\n")
    line = len((tmp_path / "mine.py").read_text().splitlines())
    assert one_line(call("run", "mine.py", cwd=tmp_path)) == f"plastic-search: mine.py, line {line}: {message}\n"


def notes(folder: Path) -> set[tuple[str, str]]:
    runs = map(json.loads, (folder / "runs" / "mine" / "runs.jsonl").read_text().splitlines())
    return {(run["outcome"], run["note"]) for run in runs}


NOT_FINITE = [
    (scores("right * float('nan')"), "the score of Mine is not finite on the validation split at step 2"),
    (loss("mean * float('inf')"), "the loss is not finite at step 2"),
]


@pytest.mark.parametrize(("body", "note"), NOT_FINITE, ids=[note for _, note in NOT_FINITE])
def test_what_is_not_finite_is_a_trial_that_diverged_with_a_note(body: str, note: str, tmp_path: Path) -> None:
    written("PatternCompletion", body, tmp_path)
    for again in (False, True):
        ended = call("run", "mine.py", "--workers", "1", cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (1, "")
        last = ended.stderr.splitlines()[-1]
        assert f"no trial of runs/mine came to its end, so there is no winner: diverged, {note}; see all notes" in last
        assert notes(tmp_path) == {("diverged", note)}
        assert len(ended.stderr.splitlines()) == (1 if again else 3)


def test_a_score_that_is_not_finite_on_the_test_split_alone_is_noted_and_not_repeated(tmp_path: Path) -> None:
    tested = episodes("drawn._replace(targets=drawn.targets.double()) if split is Split.TEST else drawn")
    nan = scores("right if episodes.targets.dtype is torch.float32 else right / 0")
    written("PatternCompletion", f"{tested}\n\n{nan}", tmp_path)
    ended = call("run", "mine.py", "--workers", "1", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = {note.split("; ")[-1] for outcome, note in notes(tmp_path) if outcome == "diverged"}
    assert found == {"the score of Mine is not finite on the test split"}
    assert "training finalists 1/" in ended.stderr
    assert "test score" not in ended.stderr  # the one on the validation split is none
    for reported in ("\nwinner, seed 0: diverged, ", "\nnot complete: winner, seed 0: diverged, "):
        assert reported in ended.stderr
    assert ended.stderr.splitlines()[-1] == "next: plastic-search report runs/mine"
    runs = map(json.loads, (tmp_path / "runs" / "mine" / "runs.jsonl").read_text().splitlines())
    assert all("score" not in run["metrics"] for run in runs if run["stage"] == "final")
    for command in ("quantize", "export"):
        assert "(winner, seed 0: diverged, " in one_line(call(command, "runs/mine", cwd=tmp_path))
    before = (tmp_path / "runs" / "mine" / "runs.jsonl").read_text()
    assert call("run", "mine.py", "--workers", "1", cwd=tmp_path).returncode == 0
    assert (tmp_path / "runs" / "mine" / "runs.jsonl").read_text() == before
    assert call("report", "runs/mine", cwd=tmp_path).returncode == 0


def test_what_a_part_prints_stays_out_of_the_results(tmp_path: Path) -> None:
    written("PatternCompletion", scores("print('here') or sys.stdout.write('there') * 0 + right"), tmp_path)
    with (tmp_path / "mine.py").open("a") as file:
        file.write("print('loaded')\n")
    ended = call("run", "mine.py", "--workers", "1", "--json", cwd=tmp_path)
    assert json.loads(ended.stdout)["name"] == "mine"
    assert {"here", "there", "loaded"} <= set(re.findall("here|there|loaded", ended.stderr))


def test_a_worker_that_is_gone_is_blamed_on_its_job(tmp_path: Path) -> None:
    written("Rule", step("os.kill(os.getpid(), 9)"), tmp_path)
    line = one_line(spawn("run", "mine.py", "--workers", "2", cwd=tmp_path))
    assert re.search(r"the worker that trained (tpe|random) trial 0 was ended by SIGKILL \(out of memory\?", line)
    assert "what was finished is kept, and the same command goes on from there" in line
    written("Rule", step("import ctypes; ctypes.CDLL(None).exit(0)"), tmp_path)
    line = one_line(spawn("run", "mine.py", "--workers", "2", cwd=tmp_path))
    assert "trial 0 left with exit code 0: a part, or a library that it uses, ended the process" in line


def test_a_crash_names_the_line_that_was_at_work(tmp_path: Path) -> None:
    written("Rule", step("import ctypes; ctypes.string_at(0)"), tmp_path)
    lines = (tmp_path / "mine.py").read_text().splitlines()
    number = next(n for n, line in enumerate(lines, start=1) if "string_at" in line)
    line = one_line(spawn("run", "mine.py", "--workers", "2", cwd=tmp_path))
    assert f"trial 0 was ended by SIGSEGV in mine.py:{number}; what was finished is kept" in line
    alone = spawn("run", "mine.py", "--workers", "1", cwd=tmp_path)
    assert alone.returncode != 0
    assert f'mine.py", line {number} in step' in alone.stderr


def test_a_part_that_hangs_is_ended_and_named_and_the_others_are_kept(tmp_path: Path) -> None:
    """The first network that has it hangs; with one worker too."""
    hangs = "right if os.path.exists('hung') else os.mkdir('hung') or time.sleep(1000)"
    written("PatternCompletion", scores(hangs), tmp_path)
    ended = spawn("run", "mine.py", "--workers", "1", "--trial-timeout", "8", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (note,) = [note for outcome, note in notes(tmp_path) if outcome == "timeout"]
    wanted = r"it took longer than the 8 s of --trial-timeout, and was in task Mine \(mine\.py:\d+\)"
    assert re.fullmatch(wanted, note)
    assert "complete" in {outcome for outcome, _ in notes(tmp_path)}
