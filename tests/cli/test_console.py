"""Progress and summaries in the terminal."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import synthetic
from command_line import call

from plastic_search.cli import app
from plastic_search.cli.console import fail, follow, print_line, print_table, say, summary, summary_table
from plastic_search.core.printable import printable
from plastic_search.experiments.events import Event
from plastic_search.records import run
from plastic_search.report.figures import _canvas
from plastic_search.report.study_page import contents

NASTY = "a\x1b[31m\u202eb\x07\x9b\u2028\ud800c"
SHOWN = r"a\x1b[31m\u202eb\x07\x9b\u2028\ud800c"


def test_means_are_over_complete_runs_as_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run.load(synthetic.full(tmp_path))
    means = summary(record)["stages"]["search"]["tpe"]
    ended = [r for r in record.stage("search", "tpe") if r.outcome == "complete"]
    assert (means["runs"], means["complete"]) == (24, len(ended))
    assert len(ended) < 24
    assert means["score"] == pytest.approx(sum(r.metrics["score"] for r in ended) / len(ended))
    page = contents(record, "", "", {})["search"]
    assert next(arm for arm in page if arm["label"] == "TPE")["outcomes"]["complete"] == means["complete"]
    summary_table(record)
    assert "means over complete runs" in " ".join(capsys.readouterr().out.split())


def test_a_stage_without_a_complete_run_has_no_mean(tmp_path: Path) -> None:
    synthetic.study(tmp_path)
    run.append(tmp_path, [run.Run("s", run.Stage.SEARCH, "tpe", 0, 0, run.Outcome.PRUNED, {}, metrics={"score": 0.5})])
    means = summary(run.load(tmp_path))["stages"]["search"]["tpe"]
    assert (means["runs"], means["complete"], means["score"]) == (1, 0, None)


def test_the_best_score_is_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    stages = (run.Stage.SEARCH, run.Stage.FINAL, run.Stage.QUANTIZED)
    follow(Event(stage, 1, 1, None if stage is run.Stage.QUANTIZED else 0.5, "done") for stage in stages)
    assert capsys.readouterr().err.splitlines() == [
        "searching 1/1, best 0.500 (done)",
        "training finalists 1/1, winner's best 0.500 (done)",
        "quantizing 1/1 (done)",
    ]


def test_printable_escapes_what_steers_a_terminal_and_nothing_else() -> None:
    assert printable(NASTY) == SHOWN
    for plain in ("Grüße, 世界 \N{WINKING FACE}", "a\n\tb", "a\u200db", ""):
        assert printable(plain) == plain
    assert printable("a\n\tb", keep="") == r"a\n\tb"


def test_whatever_is_printed_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    follow([Event(run.Stage.SEARCH, 1, 1, None, NASTY)])
    fail(NASTY)
    say(NASTY)
    print_line(NASTY)
    print_table(NASTY, ("what", NASTY), [(NASTY, "is")])
    out, err = capsys.readouterr()
    assert out.count(SHOWN) == 4
    assert err.count(SHOWN) == 2
    assert SHOWN.replace(r"\u2028", " ") in err, "an error is one line"
    assert not set(out + err) & set(NASTY.replace("[31m", "").replace("a", "").replace("b", "").replace("c", ""))


def test_names_questions_and_words_of_the_command_line_are_escaped(tmp_path: Path) -> None:
    folder = synthetic.partly(tmp_path / "a\x1b[2Jb")
    about = json.loads((folder / run.STUDY).read_text())
    (folder / run.STUDY).write_text(json.dumps(about | {"question": "Why\x1b]0;x\x07\u202e?", "name": "n\u2066"}))
    words = [("show", str(folder)), ("table", str(folder)), ("report", str(folder)), ("quantize", str(folder))]
    words += [
        ("fro\x1bb",),
        ("run", "x\x1b.py"),
        ("list", "ro\u202eles"),
        ("list", "--n\x1bo\npe"),
        ("show", "a\x1b/b"),
    ]
    for each in words:
        ended = call(*each, cwd=tmp_path)
        assert not {"\x1b", "\x07", "\u202e", "\u2066"} & set(ended.stdout + ended.stderr), each
    page = (folder / "report.html").read_text()
    assert r"Why\x1b]0;x\x07\u202e?" in page
    assert not {"\x1b", "\x07", "\u202e", "\u2066"} & set(page)


def test_drawings_are_escaped_too(tmp_path: Path) -> None:
    def paint(figure: Any) -> None:
        figure.text(0.1, 0.1, "a\x1b[31m\u202eb")

    assert r"a\x1b[31m\u202eb" in _canvas.render("x", "y", 20, paint)


def test_commands_print_by_the_console_or_in_json() -> None:
    for file in Path(app.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        texts = [ast.unparse(each) for each in calls if ast.unparse(each.func) == "print"]
        bare = [text for text in texts if "json" not in text and "__version__" not in text]
        assert not bare or file.name == "console.py", f"{file.name}: {bare[0]}; use console.print_line or say"


def test_an_error_of_ours_is_told_whole_and_one_of_the_system_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(error: Exception) -> str:
        def load(folder: Path) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(run, "load", load)
            ended = call("report", str(tmp_path))
        assert (ended.returncode, ended.stdout) == (1, "")
        return ended.stderr

    text = fails(RuntimeError(NASTY))
    assert text.startswith("Traceback (most recent call last):")
    assert SHOWN in text
    assert fails(PermissionError(13, "Permission denied", "a\x1b")) == "plastic-search: Permission denied: a\\x1b\n"


def test_a_notice_is_printed_before_the_work_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    follow([Event(run.Stage.FINAL, 0, 9, None, "another winner", "106 quantized runs are no longer shown")])
    assert capsys.readouterr().err.splitlines() == [
        "106 quantized runs are no longer shown",
        "training finalists 0/9 (another winner)",
    ]
