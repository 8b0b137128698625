"""A study can be stopped at any time, goes on where it was, and comes to the same end however it got there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small import study

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.folder import open_question
from plastic_search.experiments.quantize import quantize
from plastic_search.experiments.repair import repair
from plastic_search.experiments.runner import run
from plastic_search.experiments.search import best
from plastic_search.experiments.study import Study
from plastic_search.experiments.variants import combination, variants, written
from plastic_search.records import run as runs
from plastic_search.records.folder import RunFolder
from plastic_search.report import reproduce
from plastic_search.trainers.gradient import Gradient


def done(out: Path, workers: int = 1, **changes: object) -> runs.Record:
    for _ in run(replace(study(), **changes), "small", out, workers):
        pass
    return runs.load(out)


def output(record: runs.Record) -> list[tuple[object, ...]]:
    """What must be the same of two runs of one study: all but times."""
    return sorted((r.key, r.outcome, json.dumps(r.spec), r.metrics.get("score")) for r in record.runs)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the small study was run."""
    out = tmp_path_factory.mktemp("finished") / "a"
    done(out)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """The same folder, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "a"))


def test_a_study_leaves_searches_finals_models_and_a_topology(finished: Path) -> None:
    record = runs.load(finished)
    assert {r.trial for r in record.stage("search", "tpe")} == {0, 1, 2}
    assert {r.trial for r in record.stage("search", "random")} == {0, 1, 2}
    names = {r.name for r in record.stage("final")}
    assert {"winner", "dense", "fixed", "fixed_lstm"} <= names
    assert names & {"best_tpe", "best_random"}
    assert set(record.topologies) == {"winner-0", "winner-1"}
    winner = record.stage("final", "winner")[0]
    for control in ("fixed", "fixed_lstm"):
        assert record.stage("final", control)[0].costs["parameters"] >= winner.costs["parameters"]
    assert {"frozen", "shuffled", "score", "validation"} <= set(winner.metrics)
    assert "frozen" not in record.stage("final", "fixed")[0].metrics


def test_worker_processes_come_to_the_same_end_as_one(finished: Path, tmp_path: Path) -> None:
    assert output(runs.load(finished)) == output(done(tmp_path / "two", 2))


def test_a_second_run_does_nothing_anew(out: Path) -> None:
    first = runs.load(out)
    lines = (out / "runs.jsonl").read_text()
    assert list(run(study(), "small", out, 1)) == []
    assert (out / "runs.jsonl").read_text() == lines
    assert output(runs.load(out)) == output(first)


def test_trials_are_a_total_and_more_of_them_go_on_from_the_old(tmp_path: Path) -> None:
    done(tmp_path / "grown", trials=2)
    grown = done(tmp_path / "grown", trials=5)
    assert len(grown.stage("search", "tpe")) == 5
    assert grown.study["trials"] == 5


def test_killed_at_any_event_it_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    whole = runs.load(finished)
    for _ in range(30):
        events = run(study(), "small", tmp_path / "cut", 1)
        if next(events, None) is None:
            break
        events.close()  # as Ctrl-C would: between two pieces of work
    assert output(runs.load(tmp_path / "cut")) == output(whole)


def test_kill_9_leaves_a_study_that_the_same_command_resumes(tmp_path: Path) -> None:
    whole = done(tmp_path / "whole", trials=4)
    script = (
        "from dataclasses import replace; from pathlib import Path; from small import study\n"
        "from plastic_search.experiments.runner import run\n"
        "if __name__ == '__main__':\n"
        f"    for e in run(replace(study(), trials=4), 'small', Path({str(tmp_path / 'killed')!r}), 2):\n"
        "        print(e, flush=True)\n"
    )
    (tmp_path / "go.py").write_text(script)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen([sys.executable, str(tmp_path / "go.py")], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(1.5)  # the workers notice within a second that their parent is gone
    assert output(done(tmp_path / "killed", trials=4)) == output(whole)


def test_another_question_in_the_same_folder_is_refused(out: Path) -> None:
    with pytest.raises(PlasticSearchError, match=r"trainer.steps was 4, is 5"):
        done(out, trainer=Gradient(steps=5, batch=8, reports=2))


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "a", create=True), pytest.raises(PlasticSearchError, match="another process"):
        done(tmp_path / "a")


def test_a_torn_journal_is_told_and_mended(out: Path) -> None:
    whole = runs.load(out)
    journal = out / runs.JOURNAL
    text = journal.read_text()
    journal.write_text(text[:-20])
    before = (out / runs.RUNS).read_text()
    with pytest.raises(PlasticSearchError, match=r"torn at line \d+; nothing was changed.*plastic-search repair"):
        done(out)
    assert (out / runs.RUNS).read_text() == before
    assert journal.read_text() == text[:-20]
    assert any("journal.log: kept" in line for line in repair(out))
    assert output(done(out)) == output(whole)
    assert list(out.glob("journal.torn-*"))


def test_a_journal_that_lost_whole_lines_is_told_and_mended(out: Path) -> None:
    whole = runs.load(out)
    lines = (out / runs.JOURNAL).read_text().splitlines(keepends=True)
    (out / runs.JOURNAL).write_text("".join(lines[: len(lines) // 3]))
    with pytest.raises(PlasticSearchError, match="lost its end"):
        done(out)
    assert any("no longer knows" in line for line in repair(out))
    assert [k for k, *_ in output(done(out))] == [k for k, *_ in output(whole)]


def test_nothing_broken_nothing_mended(out: Path) -> None:
    assert repair(out) == []


def test_a_combination_that_cannot_be_built_is_counted_not_fatal(tmp_path: Path) -> None:
    from plastic_search.core.space import choice
    from plastic_search.network.spec import Pathway

    space = study().space
    odd = replace(space.layers[1], plastic=choice(Pathway.INPUT, Pathway.RECURRENT))
    record = done(tmp_path / "a", space=replace(space, layers=(space.layers[0], odd)), trials=6)
    outcomes = {r.outcome for r in record.stage("search")}
    assert "infeasible" in outcomes
    assert "complete" in outcomes
    assert all("recurrent" in r.note for r in record.stage("search") if r.outcome == "infeasible")


def test_the_smallest_within_one_standard_error_wins(tmp_path: Path) -> None:
    def trial(number: int, score: float, connections: int) -> runs.Run:
        metrics = {"score": score, "connections": float(connections)}
        return runs.Run("s", runs.Stage.SEARCH, "tpe", number, 0, runs.Outcome.COMPLETE, {}, {}, metrics)

    result = [trial(0, 0.950, 900), trial(1, 0.947, 300), trial(2, 0.900, 100)]
    record = runs.Record("s", tmp_path, {}, result, {}, {})
    chosen = best(record, "tpe")
    assert chosen is not None
    assert chosen.trial == 1


def test_quantized_variants_resume_and_need_a_winner(out: Path) -> None:
    first = [e.text for e in quantize(out, (4,), 1)]
    assert len(first) == 2 * len(variants((4,)))
    assert list(quantize(out, (4,), 1)) == []
    (out / runs.RUNS).write_text("")
    with pytest.raises(PlasticSearchError, match="no winner yet"):
        list(quantize(out, (4,), 1))


def test_another_finalist_is_quantized_beside_the_winner_and_in_what_it_has(out: Path) -> None:
    rounded = len(list(quantize(out, (4,), 1)))
    assert len(list(quantize(out, (4,), 1, name="fixed"))) == 2 * 3
    record = runs.load(out)
    mine = [r for r in record.stage("quantized") if r.name.startswith("fixed-")]
    assert {r.name for r in mine} == {"fixed-w32a32t32-tuned", "fixed-w4a32t32-nearest", "fixed-w4a32t32-nearest-tuned"}
    assert {r.choices["network"] for r in mine} == {"fixed"}
    assert len(record.stage("quantized")) == rounded + 6
    assert list(quantize(out, (4,), 1, name="fixed")) == []
    with pytest.raises(PlasticSearchError, match=r"no finalist is called 'fixd'; known: .*Did you mean 'fixed'\?"):
        list(quantize(out, (4,), 1, name="fixd"))
    assert {v.name for v in variants((8, 4), plastic=False)} == {"w32a32t32-tuned"} | {
        f"w{bits}a32t32-nearest{tuned}" for bits in (8, 4) for tuned in ("", "-tuned")
    }


def test_one_combination_is_tried_alone_and_its_command_is_known(out: Path) -> None:
    asked = "weight=4,alpha=4,trace=3,rounding=feedback,remainder=6"
    assert len(list(quantize(out, combination(asked), 1))) == 2 * 3
    assert list(quantize(out, combination(asked), 1)) == []
    record = runs.load(out)
    made = {r.name: r for r in record.stage("quantized")}
    assert list(made) == ["w32a32t32-tuned", "w4a4t3-feedback6", "w4a4t3-feedback6-tuned"]
    assert made["w4a4t3-feedback6"].choices["bits"] == asked
    precision = made["w4a4t3-feedback6-tuned"].spec["precision"]
    assert (precision["trace"], precision["rounding"], precision["remainder"]) == (3, "feedback", 6)
    (command,) = (line for line in reproduce.again(record) if " quantize " in line)
    assert command.endswith(f" --bits {asked}")
    list(quantize(out, (4,), 1))
    assert [" --bits 4" in c or asked in c for c in reproduce.again(runs.load(out)) if " quantize " in c] == [True] * 2
    with pytest.raises(PlasticSearchError, match=r"nothing is plastic in fixed, so it has no trace; .* weight=4"):
        list(quantize(out, combination("weight=4,trace=4"), 1, name="fixed"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight=4,alpa=4", r"no role is called 'alpa'; known: activity, alpha, .* Did you mean 'alpha'\?"),
        ("weight=4,8", "one combination, such as weight=4,alpha=4,trace=4, but got 'weight=4,8'"),
        ("weight=4,weight=8", "gives weight twice: 4 and 8"),
        ("weight=17", r"Integer\.weight wants 1 to 16 bits, but got 17"),
        ("trace=two", "trace=two: give 2 to 16 bits, or float"),
        ("weight=float", "leaves every role a float"),
        ("trace=4,rounding=nearst", "Did you mean 'nearest'"),
        ("weight=4,rounding=nearest", "rounding, which is that of the trace, but no bits of it; add trace=4"),
        ("trace=4,remainder=2", "only rounding=feedback keeps a remainder"),
    ],
)
def test_a_combination_that_cannot_be_is_refused_with_what_can(text: str, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        combination(text)


@pytest.mark.parametrize("text", ["weight=4,alpha=4", "trace=3,rounding=feedback", "weight=8,activity=1"])
def test_what_a_combination_is_written_as_is_what_it_was_read_from(text: str) -> None:
    assert written(combination(text)) == text
    assert written(combination(f"{text},alpha=float" if "alpha" not in text else text)) == text


def test_activity_is_rounded_where_it_is_asked_for_and_old_records_resume(out: Path) -> None:
    before = len(list(quantize(out, (4,), 1, name="fixed")))
    records = [r.choices for r in runs.load(out).stage("quantized")]
    assert len(records) == before
    assert all("activity" not in choices for choices in records)
    assert len(list(quantize(out, (4,), 1, name="fixed", activity_bits=(2,)))) == 2 * 4
    record = runs.load(out)
    active = {r.name: r for r in record.stage("quantized") if "activity" in r.choices}
    assert active.keys() == {f"fixed-w{w}a32t32y2-nearest{end}" for w in (32, 4) for end in ("", "-tuned")}
    assert {r.choices["activity"] for r in active.values()} == {2}
    assert all(r.spec["precision"]["activity"] == 2 for r in active.values())
    names = {v.name for v in variants((8,), activity_bits=(4, 1))} - {v.name for v in variants((8,))}
    beside = {f"w4a4t8y{y}-{how}" for y in (4, 1) for how in ("nearest", "stochastic")}
    assert names == {
        f"{name}{end}" for name in beside | {f"w32a32t32y{y}-nearest" for y in (4, 1)} for end in ("", "-tuned")
    }


def test_another_winner_is_said_before_quantized_networks_of_the_old_one_go(out: Path) -> None:
    list(quantize(out, (4,), 1, name="fixed"))
    old = runs.load(out).stage("final", "winner")[0].spec
    with RunFolder.open(out) as folder:
        other = next(r for r in folder.stage(runs.Stage.SEARCH) if r.spec and r.spec != old)
        folder.append(replace(other, outcome=runs.Outcome.COMPLETE, metrics=other.metrics | {"score": 0.999}))
    events = run(study(), "small", out, 1)
    notice = next(event.notice for event in events)
    assert notice.startswith("the search has another winner now: 6 quantized runs are of a network before it, and no ")
    assert f"`plastic-search quantize {out}` rounds the new one" in notice
    events.close()
    assert len(runs.load(out).stage("quantized")) == 6, "nothing has gone yet"
    assert [bool(event.notice) for event in run(study(), "small", out, 1)].count(True) == 1
    record = runs.load(out)
    assert record.stage("final", "winner")[0].spec == other.spec
    assert record.stage("quantized") == []


def test_the_folder_holds_the_whole_question(finished: Path) -> None:
    with RunFolder.open(finished) as folder:
        again = open_question(folder)
    assert again == study()
    assert isinstance(again, Study)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "at least one trial"),
        ({"objectives": ("connections",)}, "must be 'score'"),
        ({"objectives": ("speed",)}, "no Objective"),
        ({"seeds": ()}, "at least one"),
    ],
)
def test_a_study_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        replace(study(), **change)
