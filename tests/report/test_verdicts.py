"""An answer says no more than its record does: what is unfair, unmatched, outdated or unsure is told with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic

from plastic_search.records import run as runs
from plastic_search.records.run import Record, Run
from plastic_search.report import groups
from plastic_search.report.study_page import contents
from plastic_search.report.verdicts import Verdict, verdicts


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return runs.load(synthetic.full(tmp_path_factory.mktemp("full")))


def answers(record: Record) -> dict[str, Verdict]:
    return {v.key: v for v in verdicts(record)}


def changed(record: Record, stage: str, name: str = "", spec: Any = None, curve: Any = None, **more: Any) -> Record:
    """The record with the spec or curve of some runs replaced, and numbers added to their metrics or costs."""

    def new(run: Run) -> Run:
        fields = vars(run) | {key: vars(run)[key] | value for key, value in more.items()}
        return Run(**fields | {"spec": spec or run.spec, "curve": curve or run.curve})

    return record._replace(runs=[new(r) if r.stage == stage and name in ("", r.name) else r for r in record.runs])


def test_parameters_are_said_to_match_only_where_they_do(full: Record) -> None:
    assert groups.group(full, "fixed").about.endswith("gates; 4,266 parameters against 4,210")
    few = changed(full, "final", "fixed", costs={"parameters": 820.0})
    assert groups.group(few, "fixed").about.endswith("gates; 820 parameters against 4,210: not matched")
    text = answers(changed(few, "final", "fixed", metrics={"score": 0.7}))["plasticity"]
    assert "(fixed, which has only 820 parameters against 4,210)" in text.head
    assert (
        "fixed, of fewer parameters than the winner and its training loss still falling at the end, is" in text.evidence
    )
    assert "not matched" not in groups.group(full, "dense").about


def test_a_control_that_still_learns_is_a_caveat_of_the_headline(full: Record) -> None:
    assert "still rises" not in answers(full)["plasticity"].head
    curve = [[200.0 * i, 1.0, 0.2 + 0.03 * i] for i in range(1, 11)]
    text = answers(changed(full, "final", "fixed_lstm", curve=curve))["plasticity"]
    assert "(fixed LSTM; its learning curve still rises, by 0.060 over the last fifth of training" in text.head
    assert "still rising at the end of its training" in text.evidence
    flat = [[200.0 * i, 2.0 - 0.1 * i, 0.5] for i in range(1, 11)]
    text = answers(changed(full, "final", "fixed_lstm", curve=flat))["plasticity"]
    assert "still rises" not in text.head
    assert "fixed LSTM, its training loss still falling at the end, is " in text.evidence


def test_one_seed_has_no_interval_that_could_reach_anywhere(tmp_path: Path) -> None:
    record = runs.load(synthetic.full(tmp_path, seeds=(3,)))
    text = answers(record)
    for key in ("structure", "precision"):
        assert text[key].answer == "unclear"
        assert "interval reaches" not in text[key].head
        assert text[key].head.endswith(", and without an interval it is not shown whether more than 0.02 is lost.")
    assert "With one seed, none of the" in text["precision"].evidence


def test_a_rounded_network_that_was_trained_on_is_compared_with_one_that_was_too(full: Record) -> None:
    text = answers(full)["precision"]
    assert "against the winner in float, trained on as long" in text.head
    assert text.comparisons[0].theirs == "float, trained on as long"
    assert "Against the winner as it was, before any training on" in text.evidence
    page = contents(full, "", "", {})
    assert page["bits"]["float_tuned"]["name"] == "w32a32t32-tuned"
    assert all(row["family"] != "float" for row in page["bits"]["rows"])


LOSSES = [  # change of each seed, and what is said of it
    ((0.03, 0.031, 0.032), "yes", "so nothing is lost"),
    ((0.0, 0.001, -0.001), "yes", "so surely no more than 0.02 is lost"),
    ((-0.004, -0.005, -0.006), "yes", "so surely no more than 0.02 is lost"),
    ((0.05, 0.0, -0.03), "unclear", "but the interval reaches to a loss of more than 0.02"),
    ((0.0, -0.01, -0.04), "unclear", "but the interval reaches to a loss of more than 0.02"),
    ((-0.01, -0.03, -0.05), "unclear", "but the interval reaches to a loss of less than 0.02"),
    ((-0.04, -0.05, -0.06), "no", "so surely more than 0.02 is lost"),
]


@pytest.mark.parametrize(("changes", "answer", "words"), LOSSES)
def test_a_loss_is_called_small_or_large_only_where_the_interval_is(
    changes: tuple[float, ...], answer: str, words: str, full: Record
) -> None:
    def new(run: Run) -> Run:
        network = {("final", "winner"): 0, ("final", "dense"): 1, ("quantized", "w32a32t32-tuned"): 1}
        way = network.get((run.stage, run.name), 0 if run.name == "w4a4t8-stochastic-tuned" else None)
        score = run.metrics["score"] if way is None else 0.8 if way else 0.8 + changes[run.seed]
        return Run(**{**vars(run), "metrics": run.metrics | {"score": score}})

    text = answers(full._replace(runs=[new(r) if r.stage != "search" else r for r in full.runs]))
    for key in ("structure", "precision"):
        assert (key, text[key].answer) == (key, answer)
        assert text[key].head.endswith(f", {words}.")


def test_a_loss_against_a_network_that_was_trained_less_is_never_called_small(full: Record) -> None:
    older = full._replace(runs=[r for r in full.runs if r.name != "w32a32t32-tuned"])
    for name in ("winner", "w4a4t8-stochastic-tuned"):
        older = changed(older, "final" if name == "winner" else "quantized", name, metrics={"score": 0.8})
    text = answers(older)["precision"]
    assert text.answer == "unclear"
    assert text.head.endswith("which was not trained on as long, and that may hide what rounding costs.")


def test_without_that_the_comparison_is_called_unfair(full: Record) -> None:
    older = full._replace(runs=[r for r in full.runs if r.name != "w32a32t32-tuned"])
    text = answers(older)["precision"]
    assert text.answer == "unclear"
    assert "which was not trained on as long" in text.head
    assert "trains the float winner on as long" in text.evidence
    assert "not fine-tuned), " in text.evidence, "the fewest bits are sought where the comparison is fair"


def test_both_roundings_are_quoted_at_every_width(full: Record) -> None:
    better = changed(full, "quantized", "w32a32t8-nearest", metrics={"score": 0.99})
    text = answers(better)["precision"].evidence
    for width in (8, 4, 3, 2):
        assert text.count(f" at {width} bits") >= 2, "without fine-tuning, and fine-tuned"
    assert "surely helps at 4 bits (without fine-tuning)" in text
    assert "surely hurts at 8 bits (without fine-tuning)" in text


@pytest.mark.parametrize(
    ("metrics", "ending"),
    [
        ({"ties": 3.0, "free_ties": 1.0}, ", up to where a last bit decides how a number of the trace is rounded."),
        ({"ties": 0.0, "free_ties": 0.0}, "; beyond that the network itself magnifies a last bit as much."),
        ({"ties": 3.0, "free_ties": 0.0}, "; beyond that the network itself magnifies a last bit as much."),
        ({"compared": 200.0}, "of it for 200 steps."),
    ],
)
def test_the_free_run_ends_for_the_reason_that_is_told(full: Record, metrics: dict[str, float], ending: str) -> None:
    assert answers(changed(full, "exported", metrics=metrics))["export"].head.endswith(ending)


def test_an_older_record_does_not_say_which_and_a_float_trace_has_no_ties(full: Record) -> None:
    (run,) = full.stage("exported")
    del (metrics := dict(run.metrics))["free_ties"]
    assert groups.ended(Run(**{**vars(run), "metrics": metrics})) == "either"
    assert groups.ended(Run(**{**vars(run), "metrics": metrics | {"ties": 0.0}})) == "magnified"


def test_the_bundle_of_an_earlier_winner_is_not_this_winners(full: Record) -> None:
    record = changed(full, "final", "winner", spec={"kind": "NetworkSpec", "layers": [{"kind": "Layer", "units": 9}]})
    text = answers(record)["export"]
    assert text.answer == "unclear"
    assert "The bundle is of an earlier winner" in text.head
    assert f"`plastic-search export {full.folder}` makes it anew" in text.head
    (entry,) = contents(record, "", "", {})["export"]
    assert entry["outdated"]
    assert not contents(full, "", "", {})["export"][0]["outdated"]


def test_the_bundle_of_a_control_is_not_the_winners(full: Record) -> None:
    (control,) = full.stage("final", "fixed")[:1]
    (run,) = full.stage("exported")
    other = Run(**{**vars(run), "name": "fixed", "spec": control.spec})
    text = answers(full._replace(runs=[*(r for r in full.runs if r is not run), other]))["export"]
    assert (text.answer, "The bundle is of fixed, not of this winner" in text.head) == ("unclear", True)


def test_seeds_of_two_winners_are_never_one_group(tmp_path: Path) -> None:
    """A study that went on and was stopped while its new winner was being trained."""
    synthetic.study(tmp_path)
    one, two = ({"kind": "NetworkSpec", "layers": [{"units": n}]} for n in (1, 2))
    result = [
        Run("s", runs.Stage.FINAL, "winner", 0, seed, runs.Outcome.COMPLETE, one, {}, {"score": 0.5})
        for seed in range(3)
    ]
    result.append(Run("s", runs.Stage.FINAL, "winner", 7, 0, runs.Outcome.COMPLETE, two, {}, {"score": 0.9}))
    runs.append(tmp_path, result)
    assert [r.metrics["score"] for r in runs.load(tmp_path).stage("final", "winner")] == [0.9]


def test_nothing_is_lost_only_where_there_was_something_to_lose(full: Record) -> None:
    assert "yes" in {answers(full)[key].answer for key in ("structure", "precision")}
    task = full.study["task"] | {"chance": groups.group(full, "winner").mean().value}  # type: ignore[union-attr]
    guessing = answers(full._replace(study=full.study | {"task": task}))
    for key in ("structure", "precision"):
        assert guessing[key].answer == "unclear"
        assert "the winner is not shown to score above chance" in guessing[key].head
