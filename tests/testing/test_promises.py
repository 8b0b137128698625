"""Every part in every open folder keeps its promises. A new file is tested here without being named here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from plastic_search import testing
from plastic_search.core.part import Part, discover, open_set
from plastic_search.encoders import Encoder
from plastic_search.encoders.bsa import BSA
from plastic_search.encoders.latency import Latency
from plastic_search.encoders.send_on_delta import SendOnDelta
from plastic_search.environments import Moment
from plastic_search.environments._copies import NotInstalled
from plastic_search.environments.bandit import Bandit
from plastic_search.modulations.constant import Constant
from plastic_search.precisions.integer import Integer
from plastic_search.rules import Activity, Change, Outer, Rule
from plastic_search.rules.hebb import Hebb
from plastic_search.structures import Gates, Shape, Structure
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.structures.selected import Selected
from plastic_search.structures.self_recurrent import SelfRecurrent
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks._archives import DataMissing
from plastic_search.tasks.cue_association import CueAssociation
from plastic_search.tasks.digit_recall import DigitRecall
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.tasks.yin_yang import YinYang

PROMISES: dict[str, Callable[..., None]] = {
    "cells": testing.cell_promises,
    "surrogates": testing.surrogate_promises,
    "rules": testing.rule_promises,
    "modulations": testing.modulation_promises,
    "structures": testing.structure_promises,
    "precisions": testing.precision_promises,
    "encoders": testing.encoder_promises,
    "tasks": testing.task_promises,
    "environments": testing.environment_promises,
    "trainers": testing.part_promises,
}
FOUND = [(folder, kind) for folder in PROMISES for kind in discover(open_set(folder)).values()]


@pytest.mark.parametrize(("folder", "kind"), FOUND, ids=[f"{folder}/{kind.__name__}" for folder, kind in FOUND])
def test_every_part_keeps_its_promises(folder: str, kind: type[Part]) -> None:
    try:
        PROMISES[folder](kind)
    except (DataMissing, NotInstalled) as missing:
        pytest.skip(str(missing))


VALUES = [
    ("rules", Hebb(decay=1.0)),
    ("modulations", Constant(rate=1.0)),
    ("structures", Gated(density=0.3)),
    ("structures", Gated(density=1.0, support=SelfRecurrent())),
    ("structures", Gated(density=0.5, plastic=0.5, support=FeedForward())),
    ("structures", Selected((0,), FeedForward())),
    ("precisions", Integer(weight=2, alpha=None, trace=4)),
    ("precisions", Integer(weight=None, alpha=3, trace=2)),
    ("precisions", Integer(weight=1, alpha=1)),
    ("encoders", Latency(window=7, threshold=0.3)),
    ("encoders", BSA(taps=24)),
    ("tasks", CueAssociation(cues=3, delay=0, deleted=0.1)),
    ("tasks", YinYang(steps=4, encoder=SendOnDelta())),
    ("tasks", DigitRecall(ways=10)),
    ("tasks", PatternCompletion(bits=8, patterns=1, present=1, delay=0)),
]


@pytest.mark.parametrize(("folder", "part"), VALUES, ids=[str(part) for _, part in VALUES])
def test_so_do_values_away_from_the_defaults(folder: str, part: Part) -> None:
    PROMISES[folder](part)


def test_a_graph_with_edges_keeps_its_promises() -> None:
    graph = Graph(fixed=((0, 1), (4, 2)), plastic=((1, 2),))
    with pytest.raises(AssertionError, match="edge \\(1, 2\\) is plastic, but the layer's plastic pathway"):
        testing.structure_promises(graph)


@pytest.fixture
def _kinds_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts defined within a test are known to that test alone."""
    monkeypatch.setattr(Part, "kinds", dict(Part.kinds))


@pytest.mark.usefixtures("_kinds_are_forgotten")
class TestABrokenPartIsCaught:
    def test_without_an_equation(self) -> None:
        @dataclass(frozen=True)
        class Wordy(Rule):
            """Fire together, wire together"""

            def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
                return Change((Outer(seen.post, seen.pre),)), state

        with pytest.raises(AssertionError, match=r"Wordy\(\) breaks a promise: its docstring states its equation"):
            testing.rule_promises(Wordy)

    def test_without_a_docstring(self) -> None:
        @dataclass(frozen=True)
        class Silent(Hebb):
            pass

        with pytest.raises(AssertionError, match=r"Silent\(.* it has no docstring of its own"):
            testing.rule_promises(Silent)

    def test_that_can_be_changed(self) -> None:
        class Loose(Hebb):
            """dH = post (x) pre"""

        with pytest.raises(AssertionError, match="a frozen value"):
            testing.rule_promises(Loose)

    def test_an_encoder_that_spikes_in_silence(self) -> None:
        @dataclass(frozen=True)
        class Restless(Encoder):
            """a spike in every step"""

            def encode(self, currents: Tensor, rng: torch.Generator) -> Tensor:
                return torch.ones_like(currents)

        with pytest.raises(AssertionError, match=r"no current, no input.*silence gave inputs"):
            testing.encoder_promises(Restless)

    def test_that_needs_arguments(self) -> None:
        @dataclass(frozen=True)
        class Needy(Rule):
            """dH = need * post (x) pre"""

            need: float

            def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
                return Change((Outer(seen.post, seen.pre, self.need),)), state

        with pytest.raises(AssertionError, match="Needy breaks a promise: it can be constructed with its defaults"):
            testing.rule_promises(Needy)
        testing.rule_promises(Needy(2.0))

    @pytest.mark.parametrize(
        ("spoil", "broken"),
        [
            (lambda post: post - post.mean(0), "elements of a batch are independent"),
            (lambda post: post.float(), "[Ff]loat"),
            (lambda post: post + torch.zeros(5).double(), "stays on its inputs. device"),
            (lambda post: post if post.isfinite().all() else -post, "does not branch on a tensor's values"),
            (lambda post: post.detach() + torch.zeros_like(post), "gradients reach its inputs through time"),
            (lambda post: post * torch.rand(1).double(), "it is deterministic"),
            (lambda post: post.add_(1.0), "does not change its inputs in place"),
            (lambda post: post / 0.0, "values are finite"),
        ],
    )
    def test_that_spoils_its_activity(self, spoil: Callable[[Tensor], Tensor], broken: str) -> None:
        @dataclass(frozen=True)
        class Spoilt(Rule):
            """dH = spoilt post (x) pre"""

            def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
                return Change((Outer(spoil(seen.post), seen.pre),)), state

        with pytest.raises(AssertionError, match=rf"Spoilt\(\) breaks a promise: .*{broken}"):
            testing.rule_promises(Spoilt)

    def test_a_trace_without_a_synapse(self) -> None:
        @dataclass(frozen=True)
        class Ghosts(Structure):
            """exists = 0, plastic = 1"""

            def gates(self, params: tuple[()], shape: Shape, like: Tensor) -> Gates:
                return Gates(like.new_zeros(shape.post, shape.pre), None)

        with pytest.raises(AssertionError, match="a trace has no synapse"):
            testing.structure_promises(Ghosts)

    def test_a_task_that_shares_its_material(self) -> None:
        @dataclass(frozen=True)
        class Cheat(DigitRecall):
            """digits of the training set, tested on"""

            def episodes(self, size: int, split: Split, rng: torch.Generator) -> Episodes:
                if split is Split.TEST:
                    torch.rand(1, generator=rng)
                return super().episodes(size, Split.TRAIN, rng)

        with pytest.raises(AssertionError, match="no item is in two splits"):
            testing.task_promises(Cheat)

    def test_a_task_whose_chance_is_understated(self) -> None:
        @dataclass(frozen=True)
        class Boast(DigitRecall):
            """recall that is made to look good"""

            @property
            def chance(self) -> float:
                return 0.1

        with pytest.raises(AssertionError, match="a guess scores no better than chance, 0"):
            testing.task_promises(Boast)

    def test_an_environment_that_draws_from_elsewhere(self) -> None:
        @dataclass(frozen=True)
        class Elsewhere(Bandit):
            """a bandit whose rewards are not those of the generator"""

            def step(self, state: Any, actions: Tensor, rng: torch.Generator) -> Any:
                state, moment = super().step(state, actions, rng)
                return state, replace(moment, reward=torch.rand(len(actions)))

        with pytest.raises(AssertionError, match="the same seed gives the same episodes"):
            testing.environment_promises(Elsewhere)

    def test_an_environment_that_shares_its_state(self) -> None:
        @dataclass(frozen=True)
        class Shared(Bandit):
            """a bandit with one clock for all batches"""

            clock: ClassVar[list[int]] = [0]

            def reset(self, batch: int, rng: torch.Generator) -> Any:
                self.clock[0] = 0
                return super().reset(batch, rng)

            def step(self, state: Any, actions: Tensor, rng: torch.Generator) -> Any:
                state, moment = super().step(state._replace(time=self.clock[0] % self.steps), actions, rng)
                self.clock[0] += 1
                return state, moment

        with pytest.raises(AssertionError, match="two batches of episodes can be played by turns"):
            testing.environment_promises(Shared)

    @pytest.mark.parametrize(("spoil", "broken"), [
        (lambda moment: replace(moment, observation=moment.observation[:, 1:]), r"\[4, 4\], but is of shape \[4, 3\]"),
        (lambda moment: replace(moment, reward=moment.reward / 0), "finite numbers"),
        (lambda moment: replace(moment, trial=2 * moment.trial), "trials are counted from 0, without a gap"),
    ])  # fmt: skip
    def test_an_environment_that_spoils_its_moments(self, spoil: Callable[[Moment], Moment], broken: str) -> None:
        @dataclass(frozen=True)
        class Spoilt(Bandit):
            """a spoilt bandit"""

            def step(self, state: Any, actions: Tensor, rng: torch.Generator) -> Any:
                state, moment = super().step(state, actions, rng)
                return state, spoil(moment)

        with pytest.raises(AssertionError, match=rf"Spoilt\(.* breaks a promise: .*{broken}"):
            testing.environment_promises(Spoilt)
