"""The actor-critic: its loss by hand, populations, interruption, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.environments import Environment, Moment, Played
from plastic_search.modulations import FanOut
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import State
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.trainers.gradient import Gradient
from plastic_search.training.episodes import Recording, play
from plastic_search.training.policy_gradient import PolicyLoss, advantages

SPEC = NetworkSpec(
    (
        Layer(6, modulation=Simple(FanOut.NETWORK), plastic=Pathway.RECURRENT),
        Layer(4, Linear(), structure=FeedForward()),
    )
)
TRAINER = ActorCritic(steps=6, batch=5, learning_rate=1e-2, reports=3)


@pytest.fixture
def choosing() -> Iterator[Any]:
    @dataclass(frozen=True)
    class Choosing(Environment):
        """One of three actions is right in an episode; some episodes end after a few steps."""

        ends: bool = True

        @property
        def inputs(self) -> int:
            return 4

        @property
        def actions(self) -> int:
            return 3

        @property
        def steps(self) -> int:
            return 7

        def reset(self, batch: int, rng: Generator) -> tuple[Any, Moment]:
            right = torch.randint(3, (batch,), generator=rng)
            last = torch.randint(3, 7, (batch,), generator=rng)
            return (right, last, 0), self._moment(torch.zeros(batch, 4), torch.zeros(batch), last, 0)

        def step(self, state: Any, actions: Tensor, rng: Generator) -> tuple[Any, Moment]:
            right, last, time = state
            reward = (actions == right).float()
            seen = torch.nn.functional.one_hot(actions, 4).float()
            seen[:, 3] = reward + 0.1 * torch.randn(len(reward), generator=rng)
            return (right, last, time + 1), self._moment(seen, reward, last, time + 1)

        def _moment(self, seen: Tensor, reward: Tensor, last: Tensor, time: int) -> Moment:
            done = last <= time if self.ends else None
            weight = torch.full_like(reward, float(time % 3))
            return Moment(seen, reward, weight, torch.full(reward.shape, time - 1), done)

    yield Choosing
    del Part.kinds["Choosing"]


def population(*seeds: int) -> Population:
    return Population([Network(SPEC, 4, seed=seed) for seed in seeds])


def test_the_loss_is_the_papers(choosing: Any) -> None:
    """Against loops over time and episodes."""
    rng = torch.Generator().manual_seed(0)
    played = play(Network(SPEC, 4), choosing(), 5, rng)
    outputs = torch.randn(1, *played.rewards.shape, 4, dtype=torch.float64, requires_grad=True)
    alive = torch.rand(played.rewards.shape, generator=rng) > 0.3
    played = played._replace(rewards=played.rewards.double() * alive, weights=played.weights.double() * alive)
    whole = Recording(Played(*(each.unsqueeze(0) for each in played[:5]), marks={}), alive.unsqueeze(0))  # type: ignore[misc, union-attr]
    PolicyLoss(0.9, 1.0, 0.1, 0.03, 0.0)(outputs, whole, State()).sum().backward()

    other = outputs.detach()[0].clone().requires_grad_()
    policy, error = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for b in range(5):
        total = 0.0
        for t in reversed(range(len(alive))):
            total = float(played.rewards[t, b]) + 0.9 * total
            if not alive[t, b]:
                continue
            p, value = other[t, b, :3].softmax(0), other[t, b, 3]
            weight = played.weights[t, b]
            error = error + 0.1 * (total - value) ** 2 / alive.sum()
            if weight > 0:
                term = -p[played.actions[t, b]].log() * (total - value.detach()) * weight + 0.03 * (p**2).sum()
                policy = policy + term / (played.weights > 0).sum()
    (policy + error).backward()
    assert outputs.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(outputs.grad[0], other.grad)


def test_generalised_advantages_lie_between_one_step_and_monte_carlo() -> None:
    rewards, values = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    total, returns = torch.zeros(3, 4, dtype=torch.float64), []
    for t in reversed(range(6)):
        total = rewards[:, t] + 0.9 * total
        returns.insert(0, total)
    torch.testing.assert_close(advantages(rewards, values, 0.9, 1.0), torch.stack(returns, 1) - values)
    following = torch.cat([values[:, 1:], torch.zeros(3, 1, 4)], 1)
    torch.testing.assert_close(advantages(rewards, values, 0.9, 0.0), rewards + 0.9 * following - values)


def test_an_episode_ends_where_it_is_done(choosing: Any) -> None:
    played = play(Network(SPEC, 4), choosing(), 50, torch.Generator().manual_seed(0))
    last = (played.weights > 0).float().cumsum(0).argmax(0)
    assert len(played.rewards) == 6, "no step is taken once all are done"
    assert last.unique().tolist() == [2, 4, 5]
    assert played.rewards[3:].sum(0)[last == 2].sum() < played.rewards[3:].sum(0)[last == 5].sum()
    assert played.trials is not None
    assert played.trials[:, 0].tolist() == list(range(6))


def test_actions_are_drawn_from_the_softmax(choosing: Any) -> None:
    net = Network(SPEC, 4)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.bags()[1].tensor("bias")[0, :3] = torch.tensor([0.1, 0.3, 0.6]).log()
    played = play(net, choosing(ends=False), 2000, torch.Generator().manual_seed(0))
    shares = torch.bincount(played.actions.flatten()) / played.actions.numel()
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.3, 0.6]), atol=0.015, rtol=0)


def test_members_train_as_they_would_alone(choosing: Any) -> None:
    together = population(0, 1)
    training = TRAINER.begin(together, choosing(), (3, 4))
    training.advance(6)
    for k in range(2):
        alone = population(k)
        own = TRAINER.begin(alone, choosing(), (3 + k,))
        own.advance(6)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(value[0], together.state_dict()[name][k])
        torch.testing.assert_close(own.scores[0], training.scores[k])
        torch.testing.assert_close(own.running[0], training.running[k])


def test_an_interrupted_training_goes_on_to_the_same_numbers(choosing: Any) -> None:
    straight = TRAINER.begin(population(0, 1), choosing(), (0, 1))
    straight.advance(6)
    before = TRAINER.begin(population(0, 1), choosing(), (0, 1))
    before.advance(4)
    after = TRAINER.begin(population(5, 6), choosing(), (0, 1))
    after.restore(before.saved())
    assert after.step == 4
    after.advance(2)
    for name, value in straight.saved().items():
        assert torch.equal(value, after.saved()[name]), name


def test_a_burn_in_changes_no_parameter(choosing: Any) -> None:
    net, before = population(0), population(0).state_dict()
    training = replace(TRAINER, burn_in=3).begin(net, choosing(), (0,))
    training.advance(3)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    training.advance(1)
    assert not all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_it_learns(choosing: Any) -> None:
    trainer = ActorCritic(steps=250, batch=30, learning_rate=1e-2)
    training = trainer.begin(population(0, 1), choosing(ends=False), (0, 1))
    training.advance(1)
    assert training.scores.max() < 3.0
    training.advance(249)
    assert training.scores.min() > 3.3, training.scores


def test_what_it_cannot_train_is_refused(choosing: Any) -> None:
    one, task = population(0), PatternCompletion()
    with pytest.raises(PlasticSearchError, match="PatternCompletion is a task; use Gradient"):
        ActorCritic().begin(one, task, (0,))
    with pytest.raises(PlasticSearchError, match="Choosing is an environment; use one that learns from reward"):
        next(Gradient().train(one.member(0), choosing(), 0))
    with pytest.raises(PlasticSearchError, match="ActorCritic and Choosing want a network of 4 inputs and 4 outputs"):
        ActorCritic().begin(Population([Network(SPEC, 5)]), choosing(), (0,))
    with pytest.raises(PlasticSearchError, match=r"ActorCritic\.gamma lies from 0 to 1, but is 2"):
        ActorCritic(gamma=2.0)


def test_what_an_environment_returns_is_checked(choosing: Any) -> None:
    none: Any = None
    wrong = type("Wrong", (choosing,), {"step": lambda self, state, actions, rng: (state, Moment(none, none))})
    try:
        with pytest.raises(PlasticSearchError, match=r"environment Wrong.*observation must be \[batch, inputs\], here"):
            ActorCritic().begin(population(0), wrong(), (0,)).advance(1)

        def late(self: Any, state: Any, actions: Tensor, rng: Generator) -> tuple[Any, Moment]:
            state, moment = choosing.step(self, state, actions, rng)
            return state, replace(moment, marks={"late": moment.reward} if state[2] > 2 else {})

        wrong.step = late
        with pytest.raises(
            PlasticSearchError, match=r"Wrong.*the mark late must be there after every step, or after no"
        ):
            ActorCritic().begin(population(0), wrong(), (0,)).advance(1)
    finally:
        del Part.kinds["Wrong"]
