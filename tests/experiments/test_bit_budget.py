"""The search for bits within a budget: what fits, what is chosen, and that it goes on where it was."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from quick_code import compile_quickly

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.bit_budget import Chosen, search_bits
from plastic_search.experiments.comparison import Case, Change, Comparison
from plastic_search.experiments.events import Event
from plastic_search.experiments.quantize import quantize
from plastic_search.experiments.runner import run
from plastic_search.experiments.variants import combination
from plastic_search.modulations.constant import Constant
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import run as runs
from plastic_search.records.run import Run
from plastic_search.report import reproduce
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

SHORT = Gradient(steps=2, batch=8, reports=1)
LAYER = Layer(4, plastic=Pathway.INPUT, modulation=Constant(rate=0.2))
SMALL = Comparison(
    question="Does anything come back?",
    cases=(Case("plastic"), Case("fixed", changes=(Change("layers.0.plastic", Pathway.NONE),))),
    spec=NetworkSpec((LAYER,)),
    task=PatternCompletion(bits=4, patterns=1, present=1, delay=0),
    trainer=SHORT,
    tuning=SHORT,
    seeds=(0, 1),
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("budget") / "small"
    with pytest.MonkeyPatch.context() as patch:
        compile_quickly(patch)  # for the tests, too
        list(run(SMALL, "small", folder, 1))
        yield folder


def searched(search: Generator[Event, None, Chosen]) -> tuple[list[Event], Chosen]:
    events = []
    while True:
        try:
            events.append(next(search))
        except StopIteration as end:
            return events, end.value


def least(out: Path) -> int:
    with pytest.raises(PlasticSearchError) as refusal:
        next(search_bits(out, 1, name="plastic"))
    assert "nothing fits 1 bytes: plastic needs " in str(refusal.value)
    assert "with weight=2,alpha=2,trace=2,rounding=" in str(refusal.value)
    return int(str(refusal.value).split(" needs ")[1].split(" ")[0])


def kept(out: Path) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for each in runs.load(out).stage("quantized"):
        groups.setdefault(each.name, []).append(each)
    return groups


def taken(run: Run) -> int:
    return int(sum(run.metrics[f"bytes.{role}"] for role in ("weight", "alpha", "trace")))


def test_the_best_within_a_budget_is_chosen_by_validation_and_is_what_was_measured(out: Path) -> None:
    budget = least(out) + 12
    events, best = searched(search_bits(out, budget, trials=3, workers=1, name="plastic"))
    made = kept(out)
    rounded = {name: group for name, group in made.items() if "tuned" not in name}
    assert len(events) == sum(map(len, made.values()))
    assert 3 <= len(rounded) == best.measured <= 6 < best.fitting
    assert all(taken(each) <= budget for name, group in made.items() if "t32" not in name for each in group)
    means = {name: sum(r.metrics["validation"] for r in group) / 2 for name, group in made.items() if "t32" not in name}
    assert best.validation == max(means.values()) == means[best.name]
    assert best.bytes == max(taken(each) for each in made[best.name]) == best.weight + best.alpha + best.trace
    assert set(best.found) == {"tpe", "random"}
    assert sum(name.endswith("-tuned") for name in made) == 3 + 1, "the best three, and the float network beside them"
    assert searched(search_bits(out, budget, trials=3, workers=1, name="plastic")) == ([], best)
    (command,) = (line for line in reproduce.again(runs.load(out)) if " quantize " in line)
    assert command.endswith(f" --name plastic --budget {budget}")


def test_a_search_that_was_stopped_goes_on_to_the_same_end(out: Path) -> None:
    budget, before = least(out) + 12, kept(out)
    whole = searched(search_bits(out, budget, trials=3, workers=1, name="plastic"))[1]
    lines = (out / runs.RUNS).read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"quantized"' in line)
    (out / runs.RUNS).write_text("".join(lines[: first + 5]))
    events, again = searched(search_bits(out, budget, trials=3, workers=1, name="plastic"))
    assert again == whole
    assert 0 < len(events) == sum(map(len, before.values())) - 5
    assert kept(out).keys() == before.keys()


def test_where_few_fit_all_are_measured_and_a_network_without_a_trace_has_bits_of_weights(out: Path) -> None:
    with pytest.raises(PlasticSearchError, match=r"fixed needs [0-9,]+ at least, with weight=2 "):
        next(search_bits(out, 1, name="fixed"))
    _, best = searched(search_bits(out, 10**6, trials=7, workers=1, name="fixed"))
    assert (best.measured, best.fitting, best.found) == (7, 7, {})
    assert best.name.startswith("fixed-w")


def test_what_was_measured_by_another_command_is_told_as_its_own(out: Path) -> None:
    """It lacks a validation score, and is measured anew."""
    asked = "weight=2,alpha=2,trace=2,rounding=nearest"
    list(quantize(out, combination(asked), 1, name="plastic"))
    searched(search_bits(out, least(out), trials=3, workers=1, name="plastic"))
    again = {r.seed: r for r in kept(out)["plastic-w2a2t2-nearest"]}
    assert all("validation" in r.metrics and r.choices["bits"] == asked for r in again.values())
