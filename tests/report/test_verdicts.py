"""An answer says no more than its record does: what is unfair, unmatched, outdated or unsure is stated with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic

from plastic_search.records import run as runs
from plastic_search.records import table
from plastic_search.records.run import Record, Run
from plastic_search.report import figures, groups
from plastic_search.report.figures import bits as rounded
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


def spread(record: Record) -> Record:
    """The record with scores so near to 1, and so far apart, that Student's intervals leave 0 to 1."""

    def new(run: Run) -> Run:
        score = [1.0, 0.94, 0.3][max(run.seed, 0) % 3]
        return replace(run, metrics=dict.fromkeys(run.metrics, score) | {"connections": 9.0})

    return record._replace(runs=[new(run) if run.stage != "search" else run for run in record.runs])


def intervals(data: Any) -> Iterator[dict[str, Any]]:
    """Every estimate in the JSON of a page."""
    if isinstance(data, dict):
        if {"value", "low", "high"} <= data.keys() and data["low"] is not None:
            yield data
        data = list(data.values())
    for each in data if isinstance(data, list) else ():
        yield from intervals(each)


def test_no_interval_on_a_page_leaves_what_a_score_can_be(full: Record) -> None:
    record = spread(full)
    shown = {figure: figure.data(record) for figure in figures.figures().values()}
    found = list(intervals(contents(record, "", "", shown)))
    assert len(found) > 200
    assert all(-1.0 <= each["low"] <= each["high"] <= 1.0 for each in found)
    assert {(each["low"], each["high"]) for each in found} >= {(0.0, 1.0)}
    assert "[0.000,\N{NO-BREAK SPACE}1.000]" in answers(record)["plasticity"].head


SAME: list[tuple[dict[str, str], set[str], dict[str, str]]] = [
    ({"dense": "winner"}, {"plasticity", "search", "precision", "export"}, {}),
    ({"best_random": "winner"}, set(), {"search": "TPE did not beat random search: both found the same network."}),
    ({"dense": "best_random"}, set(), {"structure": "the dense network"}),
]


@pytest.mark.parametrize(("same", "keys", "heads"), SAME)
def test_no_answer_compares_a_network_with_itself(
    same: dict[str, str], keys: set[str], heads: dict[str, str], full: Record
) -> None:
    """Whether it was trained once, as `same` says, or twice, by an earlier version."""
    once = full._replace(
        study=full.study | {"same": same}, runs=[r for r in full.runs if not (r.stage == "final" and r.name in same)]
    )
    ((name, stands),) = same.items()
    spec = full.stage("final", stands)[0].spec
    twice = changed(full, "final", name, spec=spec)
    for record in (once, twice)[: 1 if stands == "best_random" else 2]:
        found = answers(record)
        assert not keys or found.keys() == keys
        for key, text in heads.items():
            assert text in found[key].head
        for verdict in found.values():
            assert all(contrast.ours != contrast.theirs for contrast in verdict.comparisons)
        page = contents(record, "", "", {})
        assert ("structure" in {v["key"] for v in page["answer"]["verdicts"]}) == ("structure" in found)
        assert page["topology"]["difference"] is None or stands != "winner" or name != "dense"


def test_a_winner_without_gates_has_nothing_to_leave_out(full: Record) -> None:
    """Also while its controls are not trained yet, or in a folder that does not say which networks are the same."""
    gated = full._replace(runs=[r for r in full.runs if r.name != "dense"])
    for kind, rest, key in (
        ("Dense", {}, False),
        ("Selected", {"columns": [1], "support": {"kind": "Dense"}}, False),
        ("Selected", {"columns": [1], "support": {"kind": "Graph", "support": {"kind": "Dense"}}}, True),
        ("Graph", {"support": {"kind": "Dense"}}, True),
        ("Gated", {"support": {"kind": "Dense"}}, True),
    ):
        spec = {"kind": "NetworkSpec", "layers": [{"kind": "Layer", "structure": {"kind": kind} | rest}]}
        assert ("structure" in answers(changed(gated, "final", "winner", spec=spec))) == key


def test_a_winner_that_kept_everything_shows_nothing(full: Record) -> None:
    text = answers(changed(full, "final", "winner", costs={"connections": 3083.0}))["structure"]
    assert text.answer == "unclear"
    assert "kept every connection that it might have" in text.head


def test_controls_of_an_earlier_winner_are_not_this_winners(full: Record) -> None:
    later = [replace(r, trial=77) if r.stage == "final" and r.name == "winner" else r for r in full.runs]
    record = full._replace(runs=later)
    assert [each.name for each in groups.finals(record)] == ["winner", "best_random"]
    gated = {"kind": "Gated", "support": {"kind": "Dense"}}
    record = changed(record, "final", "winner", spec={"layers": [{"kind": "Layer", "structure": gated}]})
    assert answers(record)["structure"].evidence == "No dense network was trained to compare it with."


def unplastic(record: Record) -> Record:
    """The record of a winner without plasticity, as `run` and `quantize` make it."""
    spec = {"kind": "NetworkSpec", "layers": [{"kind": "Layer", "plastic": "none", "structure": {"kind": "Dense"}}]}

    def new(run: Run) -> Run:
        metrics = {k: v for k, v in run.metrics.items() if k not in ("frozen", "shuffled")}
        return replace(run, spec=spec, metrics=metrics)

    kept = [r for r in record.runs if r.name not in ("dense", "fixed") and r.stage != "exported"]
    kept = [r for r in kept if r.stage != "quantized" or r.choices["trace"] is None is r.choices["alpha"]]
    runs_ = [new(r) if r.name == "winner" or r.stage == "quantized" else r for r in kept]
    return record._replace(runs=runs_, study=record.study | {"same": {"dense": "winner", "pruned": "winner"}})


def test_a_winner_without_plasticity_is_asked_nothing_about_its_trace(full: Record) -> None:
    record = unplastic(full)
    found = answers(record)
    assert found.keys() == {"plasticity", "search", "precision", "export"}
    assert (found["plasticity"].answer, found["plasticity"].comparisons) == ("no", [])
    still = [
        replace(r, spec=record.stage("final", "winner")[0].spec) if r.stage == "search" else r for r in record.runs
    ]
    never = answers(record._replace(runs=still))["plasticity"]
    assert (never.answer, never.head.partition(": ")[2]) == ("unknown", "no network of the search had a trace.")
    head = found["precision"].head
    assert head.startswith("In 4-bit weights (nearest, fine-tuned) its score changes by ")
    assert "against the winner in float, trained on as long" in head
    page = contents(record, "", "", {})
    assert {row["family"] for row in page["bits"]["rows"]} == {"weight"}
    assert "ablation" not in {gap["section"] for gap in page["missing"]}
    assert "plastic-search quantize" in " ".join(page["provenance"]["commands"])
    assert "--bits" not in " ".join(page["provenance"]["commands"])
    data = rounded.data(record)
    assert data is not None
    assert "trace is written" not in rounded.caption(data)
    assert rounded.draw(data).count("weights, fine-tuned") == 1


def test_choices_that_a_network_makes_no_use_of_are_not_shown(full: Record) -> None:
    """Half of the trials have no plasticity; in the other half it matters how a trace changes."""

    def new(run: Run) -> Run:
        layers = [layer | {"plastic": "none" if run.trial % 2 else "input"} for layer in run.spec.get("layers", [])]
        return replace(run, spec=run.spec | {"layers": layers})

    tried = {r.trial: table.used(r.choices, new(r).spec) for r in full.stage("search", "tpe")}
    assert all(("layers.1.rule" in choices) == (not trial % 2) for trial, choices in tried.items())
    assert all({"layers.0.units", "layers.1.structure.density"} <= choices.keys() for choices in tried.values())
    record = full._replace(runs=[new(r) if r.stage == "search" else r for r in full.runs])
    board = contents(record, "", "", {})["leaderboard"]
    column = board["columns"].index("layers.1.rule")
    assert all(bool(row["cells"][column]) == (not row["number"] % 2) for row in board["rows"])
    never = full._replace(runs=[r for r in record.runs if r.stage == "search" and r.trial % 2])
    page = contents(never, "", "", {})
    assert page["leaderboard"]["columns"] == ["layers.0.units", "layers.1.structure.density"]
    assert page["importances"].keys() == {"layers.0.units", "layers.1.structure.density", "layers.0.cell"}


def test_activity_in_few_bits_is_shown_beside_the_rest(full: Record) -> None:
    def active(run: Run, name: str, **choices: Any) -> Run:
        return replace(run, name=name, choices=run.choices | {"activity": 4} | choices)

    more = [active(r, "w4a4t8y4-stochastic-tuned") for r in full.stage("quantized", "w4a4t8-stochastic-tuned")]
    alone = full.stage("quantized", "w4a32t32-nearest")
    more += [active(r, "w32a32t32y4-nearest", weight=None) for r in alone]
    record = full._replace(runs=[*full.runs, *more])
    data = rounded.data(record)
    assert data is not None
    found = {v.name: v for v in data.variants if "activity" in v.bits}
    assert {name: (v.family, rounded.tick(v)) for name, v in found.items()} == {
        "w4a4t8y4-stochastic-tuned": ("mixed", "4/4/8/4"),
        "w32a32t32y4-nearest": ("activity", "4"),
    }
    assert "A fourth number is the bits of activity" in rounded.caption(data)
    assert "A fourth number" not in rounded.caption(rounded.data(full) or data)
    assert "activity" in rounded.draw(data)
    assert answers(record)["precision"].head == answers(full)["precision"].head, "4/4/8 is what an answer is about"
    page = contents(record, "", "", {})
    assert {row["family"] for row in page["bits"]["rows"]} >= {"activity", "mixed"}
    (command,) = (line for line in page["provenance"]["commands"] if " quantize " in line)
    assert "--activity-bits 4" in command
    assert rounded.width_text(found["w32a32t32y4-nearest"]) == "4-bit activity"


def test_another_network_in_few_bits_is_shown_beside_the_winner(full: Record) -> None:
    def other(run: Run) -> Run:
        fixed = full.stage("final", "fixed")[0]
        choices = run.choices | {"network": "fixed"}
        return replace(run, name=f"fixed-{run.name}", choices=choices, spec=fixed.spec)

    more = [other(r) for r in full.stage("quantized") if r.choices["trace"] is None is r.choices["alpha"]]
    before, page = contents(full, "", "", {}), contents(full._replace(runs=[*full.runs, *more]), "", "", {})
    assert {key: page["bits"][key] for key in ("float", "float_tuned", "rows")} == {
        key: before["bits"][key] for key in ("float", "float_tuned", "rows")
    }
    (fixed,) = page["bits"]["others"]
    assert (fixed["name"], fixed["label"], {row["family"] for row in fixed["rows"]}) == ("fixed", "fixed", {"weight"})
    assert fixed["rows"][0]["tuned"]["change"]["value"] != before["bits"]["rows"][0]["tuned"]["change"]["value"]
    commands = page["provenance"]["commands"]
    assert [line.partition(" --name ")[2] for line in commands if " quantize " in line] == ["", "fixed"]
    alone = full._replace(runs=[*(r for r in full.runs if r.stage != "quantized"), *more])
    assert contents(alone, "", "", {})["bits"]["rows"] == []
