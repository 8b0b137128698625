"""Mistakes in user-defined parts and settings: one line names them, and no work is lost."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import one_line, spawn
from small import study

from plastic_search.core import loading
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.core.space import choice, integer, override, possible, real
from plastic_search.experiments.folder import change
from plastic_search.experiments.runner import run
from plastic_search.experiments.study import Study
from plastic_search.modulations import Modulation
from plastic_search.network.diagnostics import attributed
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import run as runs
from plastic_search.rules import Change, Outer, Rule
from plastic_search.rules.bcm import BCM
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

RULES = '''"""Rules that fail."""

from dataclasses import dataclass

from small import study

from plastic_search.rules import Rule


class Odd(Exception):
    """Does not cross processes."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


@dataclass(frozen=True)
class Raiser(Rule):
    """dH = 0"""

    def step(self, params, state, seen):
        raise Odd("this", "that")


STUDY = study(trials=1)
'''


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_rule_that_raises_is_named_with_its_line_and_once_mended_the_study_goes_on(
    workers: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(RULES)
    words = ("run", "mine.py", "--set", "layers.1.rule=Raiser", "--workers", workers)
    text = one_line(spawn(*words, cwd=tmp_path))
    line = RULES.split("\n").index('        raise Odd("this", "that")') + 1
    assert f"rule Raiser (mine.py:{line}) raised Odd: this and that in " in text
    assert text.endswith(" trial 0; mend it and give the same command again\n")
    if workers == "1":
        mended = "from plastic_search.rules import Change\n        return Change(()), state"
        (tmp_path / "mine.py").write_text(RULES.replace('raise Odd("this", "that")', mended))
        assert spawn(*words, cwd=tmp_path).returncode == 0


def tried(part: Part, out: Path) -> str:
    """The message of a study whose second layer has `part`."""
    small = study(trials=1)
    field = "rule" if isinstance(part, Rule) else "modulation"
    plain = override(small.space, "layers.1.rule", "Oja").layers[1]
    layer = replace(plain, **{field: part})
    with pytest.raises(PlasticSearchError) as caught:
        list(run(replace(small, space=replace(small.space, layers=(small.space.layers[0], layer))), "s", out, 1))
    return str(caught.value)


def test_an_answer_of_the_wrong_kind_or_shape_names_the_part(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Swapped(Rule):
        """dH = pre (x) post"""

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return Change((Outer(seen.pre, seen.post),)), state

    @dataclass(frozen=True)
    class Three(Rule):
        """dH = 3"""

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return 3

    @dataclass(frozen=True)
    class Grows(Rule):
        """dH = post (x) pre"""

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return Change((Outer(seen.post, seen.pre),)), seen

    @dataclass(frozen=True)
    class Flat(Modulation):
        """rate = 1"""

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return 1.0, state

    wanted = {
        Swapped(): "must return Outer.post [batch, post], here [2, 4], but returned one of shape [2, ",
        Three(): "must return (Change, state), but returned 3; mend it",
        Grows(): "must return its state in the shape it had, nothing, but returned pre [2, ",
        Flat(): "must return a Rate as its first result, but returned 1.0",
    }
    for part, message in wanted.items():
        name = type(part).__name__
        text = tried(part, tmp_path / name)
        assert message in text
        assert f" {name} (" in text
        assert "test_diagnostics.py:" in text
        assert not (tmp_path / name).exists()


def test_a_failure_that_is_nobodys_alone_names_the_work_and_the_line() -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError as error:
        text = str(attributed(error, "tpe trial 3"))
    assert text.startswith("tpe trial 3 raised RuntimeError: two lines (")
    assert "test_diagnostics.py:" in text
    assert "more memory" in str(attributed(MemoryError(), "tpe trial 3"))


def test_the_innermost_part_is_named_unless_it_only_called_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Calls(Rule):
        """A rule that calls its argument."""

        def step(self, params: Any, state: Any, seen: Any) -> Any:
            return seen()

    @dataclass(frozen=True)
    class Twice(Calls):
        """Another one."""

    def fails(*_: Any) -> Any:
        raise RuntimeError("no")

    def message(call: Any) -> str:
        with pytest.raises(RuntimeError) as caught:
            call()
        return str(attributed(caught.value, "tpe trial 3"))

    rule, net = Calls(), Network(NetworkSpec((Layer(2),)), 3)
    assert message(lambda: rule.step((), (), fails)).startswith("rule Calls (tests/network/test_diagnostics.py:")
    nested = message(lambda: Calls().step((), (), lambda: Twice().step((), (), fails)))
    assert nested.startswith("rule Twice (")
    monkeypatch.setattr("plastic_search.network.episodes.sequences", fails)
    within = message(lambda: rule.step((), (), lambda: net(torch.zeros(1, 1, 3))))
    assert within.startswith("tpe trial 3 raised RuntimeError: no (tests/network/test_diagnostics.py:")


IMPOSSIBLE = [
    ({"layers.1.units": "0"}, "space.layers.1: a layer needs at least 1 unit, but got units=0"),
    ({"layers.0.units": "0"}, "a layer needs at least 1 unit, but got units=0"),
    ({"layers.1.units": "5"}, "space: the last layer has units=5, but PatternCompletion wants 4 outputs"),
    (
        {"layers.0.structure.plastic": "-1"},
        "space.layers.0.structure: nothing can be built here, with 300 fillings tried",
    ),
    ({"layers.1.skip": "[4]"}, "layers.1.skip=(4,) reaches back beyond the network's input"),
]


@pytest.mark.parametrize(("sets", "message"), IMPOSSIBLE, ids=[message for _, message in IMPOSSIBLE])
def test_what_no_filling_can_mend_is_refused_before_there_is_a_folder(
    sets: dict[str, str], message: str, tmp_path: Path
) -> None:
    def requested() -> None:
        value = study()
        for path, text in sets.items():
            value = override(value, f"space.{path}", text)
        next(run(value, "small", tmp_path / "a", 1))

    with pytest.raises(PlasticSearchError, match=re.escape(message)):
        requested()
    assert not (tmp_path / "a").exists()


FIELDS = [
    (lambda: Gradient(steps=-5), "Gradient.steps must be above 0, but is -5"),
    (lambda: Gradient(learning_rate=0.0), "Gradient.learning_rate must be above 0, but is 0.0"),
    (lambda: PatternCompletion(patterns=0), "PatternCompletion.patterns must be above 0, but is 0"),
    (lambda: PatternCompletion(bits=5), "PatternCompletion.bits must be even, but is 5"),
    (lambda: PatternCompletion(delay=-1), "PatternCompletion.delay must be 0 or more, but is -1"),
]


@pytest.mark.parametrize(("make", "message"), FIELDS, ids=[message for _, message in FIELDS])
def test_a_number_that_cannot_be_is_told_with_its_field(make: Any, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=f"^{re.escape(message)}$"):
        make()


def test_an_option_that_cannot_be_is_refused_and_one_filling_in_many_will_do() -> None:
    layer = Layer(units=integer(2, 4), plastic=choice(Pathway.RECURRENT, Pathway.INPUT), structure=FeedForward())
    possible(NetworkSpec((layer,)))
    odd = Layer(units=3, structure=choice(FeedForward(), Gated(density=0.0, plastic=real(0.2, 0.9))))
    with pytest.raises(PlasticSearchError, match=r"^layers\.0\.structure\.Gated: nothing .*Gated wants a density"):
        possible(NetworkSpec((odd,)))


def test_a_trial_of_another_width_than_the_task_wants_is_counted_not_fatal(tmp_path: Path) -> None:
    value = study(trials=4)
    last = replace(value.space.layers[1], units=choice(4, 5))
    events = list(
        run(replace(value, space=replace(value.space, layers=(value.space.layers[0], last))), "s", tmp_path, 1)
    )
    record = runs.load(tmp_path)
    assert {r.note for r in record.stage("search") if r.outcome == "infeasible"} == {
        "the last layer has units=5, but PatternCompletion wants 4 outputs"
    }
    assert [e.done for e in events if e.stage == "search"] == list(range(1, 9))


def test_after_a_kill_trials_are_counted_from_where_they_were(tmp_path: Path) -> None:
    first = run(study(trials=4), "small", tmp_path, 1)
    assert [next(first).done for _ in range(3)] == [1, 2, 3]
    first.close()
    assert [e.done for e in run(study(trials=4), "small", tmp_path, 1) if e.stage == "search"] == [4, 5, 6, 7, 8]


def test_a_folder_remembers_how_it_was_asked_and_an_older_one_learns_it(tmp_path: Path) -> None:
    requested = {"study": "small", "sets": ["trials=1"], "parts": [], "out": ""}
    list(run(study(trials=1), "small", tmp_path, 1))
    assert "command" not in runs.load(tmp_path).study
    list(run(study(trials=1), "small", tmp_path, command=requested))
    assert runs.load(tmp_path).study["command"] == requested
    list(run(study(trials=1), "small", tmp_path, command=requested | {"study": "otherwise"}))
    assert runs.load(tmp_path).study["command"] == requested


def test_another_question_says_what_is_new_or_gone_and_where_long_values_part() -> None:
    long = "Why " * 40
    rules = choice(Hebb(), Oja())
    cases = [
        ({"seeds": (0,)}, {"seeds": (0, 5)}, "seeds.1 is new: 5"),
        ({"seeds": (0, 5)}, {"seeds": (0,)}, "seeds.1 is gone; it was 5"),
        ({"rule": rules}, {"rule": choice(Hebb(), Oja(), BCM())}, "layers.1.rule gained the option BCM"),
        ({"rule": rules}, {"rule": choice(Hebb(), BCM())}, "layers.1.rule gained the option BCM"),
        ({"rule": rules}, {"rule": choice(Oja())}, "layers.1.rule lost the option Hebb"),
        ({"rule": rules}, {"rule": choice(Oja(), Hebb())}, "layers.1.rule has its options in another order"),
        ({"rule": rules}, {"rule": choice(Hebb(0.5), Oja())}, "layers.1.rule.Hebb.decay was 0.0, is 0.5"),
        ({"rule": rules}, {"rule": Oja()}, "layers.1.rule.kind was "),
    ]
    for old, new, message in cases:
        assert message in change(asking(**old).to_json(), asking(**new).to_json())
    text = change(asking(question=long + "?").to_json(), asking(question=long + "!").to_json())
    assert 'Why ?" was' not in text
    assert text.endswith('Why ?", is ...Why Why Why Why Why !"')
    assert change(asking(trials=3).to_json(), asking(trials=9).to_json()) == ""


def asking(rule: Any = None, **changes: Any) -> Study:
    small = study()
    first, second = small.space.layers
    space = small.space if rule is None else replace(small.space, layers=(first, replace(second, rule=rule)))
    return replace(small, space=space, **changes)


MISSPELT = '''"""A rule that lacks its step."""

from dataclasses import dataclass

from plastic_search.rules import Rule


@dataclass(frozen=True)
class Loud(Rule):
    """dH = post^3 (x) pre"""

    def stepp(self, params, state, seen):
        return None
'''
USING = """from dataclasses import replace

from small import study
{}

_small = study(trials=1)
_layer = replace(_small.space.layers[1], rule=Loud())
STUDY = replace(_small, space=replace(_small.space, layers=(_small.space.layers[0], _layer)))
"""


@pytest.mark.parametrize(
    "words",
    [
        ("list", "rules", "--parts", "l2.py"),
        ("show", "Loud", "--parts", "l2.py"),
        ("run", "plain.py", "--set", "layers.1.rule=Loud", "--parts", "l2.py"),
        ("run", "using.py"),
    ],
)
def test_a_part_without_its_method_is_named_and_not_left_out(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "l2.py").write_text(MISSPELT)
    (tmp_path / "plain.py").write_text("from small import study\n\nSTUDY = study(trials=1)\n")
    (tmp_path / "using.py").write_text(USING.format("from l2 import Loud"))
    text = one_line(spawn(*words, cwd=tmp_path))
    assert text == "plastic-search: l2.py: Loud is a Rule without `step`; rename its `stepp`\n"


def test_a_study_that_defines_such_a_part_says_so_too_and_a_base_of_others_may_lack_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(USING.format(MISSPELT.split("\n", 1)[1].replace("stepp", "update")))
    with pytest.raises(PlasticSearchError, match=r"mine\.py: Loud is a Rule without `step`; write it$"):
        loading.load_module(tmp_path / "mine.py")
    with pytest.raises(PlasticSearchError, match=r"^NetworkSpec\.layers\.0\.rule: Loud is a Rule without `step`"):
        NetworkSpec.from_json({"kind": "NetworkSpec", "layers": [{"kind": "Layer", "rule": {"kind": "Loud"}}]})
    base = MISSPELT.replace("class Loud(Rule)", "class Base(Rule)")
    (tmp_path / "whole.py").write_text(f"{base}\n\nclass Quiet(Base):\n    step = Base.stepp\n")
    loading.load_module(tmp_path / "whole.py")
    (tmp_path / "base.py").write_text("from abc import ABC\n" + base.replace("Base(Rule)", "Alone(Rule, ABC)"))
    loading.load_module(tmp_path / "base.py")
    (tmp_path / "other.py").write_text("print(1 + None)\n")
    with pytest.raises(PlasticSearchError, match=r"other\.py, line \d+: TypeError: unsupported operand"):
        loading.load_module(tmp_path / "other.py")
