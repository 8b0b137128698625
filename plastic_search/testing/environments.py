"""Promises of every environment."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor
from torch.testing import assert_close

from plastic_search.environments import Environment, Moment, Played
from plastic_search.network.pytree import leaves
from plastic_search.testing.checks import keep, promise, rng_of, variants
from plastic_search.testing.values import part_promises
from plastic_search.training.environment_contract import act, begin, check_environment, metrics_of

__all__ = ["Policy", "environment_promises", "played_by", "uniform"]

Policy = Callable[[Moment, Generator], Tensor]  # from what is observed to actions
FEW = 4  # episodes
SHORT = 20  # steps


def environment_promises(kind: type[Environment] | Environment) -> None:
    """Check an environment's sizes, moments and metrics, by the contract that trainers check too.

    Also that episodes are over in time and stay so, that the same seed gives the same episodes, another one others, and
    that nothing is drawn but from the generator.

    Raises:
        NotInstalled: what it needs is not on this machine; a test may skip.
    """
    part_promises(kind)
    first, *others = variants(kind)
    with promise(first, "its sizes and the name of its score are what they must be"):
        check_environment(first)
    _measured(first, _episodes(first, first.steps))
    _chance(first)
    for environment in others:
        _episodes(environment, SHORT)


def uniform(environment: Environment) -> Policy:
    """Every action as often, whatever is observed; numbers are drawn from -1 to 1."""

    def policy(moment: Moment, rng: Generator) -> Tensor:
        batch, actions = len(moment.reward), environment.actions
        if environment.continuous:
            return 2.0 * torch.rand(batch, actions, generator=rng) - 1.0
        return torch.randint(actions, (batch,), generator=rng)

    return policy


def played_by(policy: Policy, environment: Environment, batch: int, seed: int, steps: int | None = None) -> Played:
    """A batch of episodes, in which a policy acts; whole ones, or the first `steps` of each.

    Args:
        policy: receives each moment and a generator, and returns actions as `Environment.step` takes them.
    """
    return _played(*moments(policy, environment, batch, seed, steps))


def moments(
    policy: Policy, environment: Environment, batch: int, seed: int, steps: int | None = None
) -> tuple[list[Moment], list[Tensor], list[Moment]]:
    """The moments before each action, the actions, and the moments after them."""
    rng, choices = rng_of(seed), rng_of(seed + 1_000)
    like = torch.zeros(())
    state, moment = begin(environment, batch, rng, like)
    before, actions, after = [], [], []
    for _ in range(min(steps or environment.steps, environment.steps)):
        before.append(moment)
        actions.append(policy(moment, choices))
        state, moment = act(environment, state, actions[-1], rng, like)
        after.append(moment)
    return before, actions, after


def _played(before: list[Moment], actions: list[Tensor], after: list[Moment]) -> Played:
    one = torch.ones_like(before[0].reward)
    alive = torch.stack([one if m.done is None else one * ~m.done for m in before])
    return Played(
        torch.stack([m.observation for m in before]),
        torch.stack(actions),
        torch.stack([m.reward for m in after]) * alive,
        torch.stack([one if m.weight is None else m.weight for m in before]) * alive,
        None if after[0].trial is None else _stacked([m.trial for m in after]),
        {name: torch.stack([m.marks[name] for m in after]) for name in after[0].marks},
    )


def _episodes(environment: Environment, steps: int) -> Played:
    with promise(environment, "in every step its moment has the sizes that it declares, and finite numbers"):
        before, actions, after = moments(uniform(environment), environment, FEW, 0, steps)
        for moment in (before[0], *after):
            for number in (moment.observation, moment.reward, moment.weight):
                keep(number is None or bool(number.isfinite().all()), f"one is not finite: {number}")
    with promise(environment, "what a moment has, all have after an action: weights, trials, ends, marks"):
        keep(len({_has(moment) for moment in after}) == 1, "some have, some have not")
    with promise(environment, "no reward precedes an action, and no episode is over before one"):
        keep(not bool(before[0].reward.any()), f"the first moment's is {before[0].reward}")
        keep(before[0].done is None or not bool(before[0].done.any()), "one is over at its start")
    with promise(environment, "trials are counted from 0, without a gap, and weights are not negative"):
        for trial in [] if after[0].trial is None else _stacked([m.trial for m in after]).T:
            own = trial[trial >= 0]
            keep(torch.equal(own.unique_consecutive(), torch.arange(len(own.unique()))), f"they are {own}")
        keep(all(m.weight is None or bool((m.weight >= 0).all()) for m in after), "one is below 0")
    with promise(environment, "what is over stays so, and an episode is over after `steps` actions"):
        for one, other in pairwise(after):
            if one.done is not None and other.done is not None:
                keep(bool((other.done >= one.done).all()), "an episode went on after its end")
        last = after[-1].done
        keep(len(after) < environment.steps or last is None or bool(last.all()), "`done` is not true at its end")
    return _played(before, actions, after)


def _measured(environment: Environment, episodes: Played) -> None:
    with promise(environment, "its metrics are floats [batch], and the first is called `score_name` and finite"):
        name, score = next(iter(metrics_of(environment, episodes).items()))
        keep(name == environment.score_name, f"it is {name!r}, not {environment.score_name!r}")
        keep(bool(score.isfinite().all()), f"the score is {score}")


def _chance(environment: Environment) -> None:
    before = torch.get_rng_state()
    with promise(environment, "the same seed gives the same episodes, another seed others"):
        same, again, other = (_tensors_of(environment, seed) for seed in (0, 0, 1))
        assert_close(same, again, rtol=0, atol=0)
        keep(any(not torch.equal(a, b) for a, b in zip(same, other, strict=True)), "another seed gave the same")
    with promise(environment, "nothing is drawn but from the generator that it receives"):
        keep(torch.equal(torch.get_rng_state(), before), "torch's own generator was used")
    with promise(environment, "two batches of episodes can be played by turns"):
        assert_close(_by_turns(environment), same, rtol=0, atol=0)
    with promise(environment, "one episode alone is a batch, too"):
        moments(uniform(environment), environment, 1, 0, SHORT)


def _tensors_of(environment: Environment, seed: int) -> list[Tensor]:
    """All tensors of the moments of short episodes."""
    before, _, after = moments(uniform(environment), environment, FEW, seed, SHORT)
    return _tensors([before[0], *after])


def _by_turns(environment: Environment) -> list[Tensor]:
    """As `_tensors_of` seed 0, while a batch of other episodes goes on."""
    policy, like = uniform(environment), torch.zeros(())
    rngs, choices = [rng_of(0), rng_of(1)], [rng_of(1_000), rng_of(1_001)]
    games: list[tuple[Any, Moment]] = [begin(environment, FEW, rng, like) for rng in rngs]
    found = [games[0][1]]
    for _ in range(min(SHORT, environment.steps)):
        for k, (state, moment) in enumerate(games):
            games[k] = act(environment, state, policy(moment, choices[k]), rngs[k], like)
        found.append(games[0][1])
    return _tensors(found)


def _tensors(found: list[Moment]) -> list[Tensor]:
    tensors = []
    for m in found:
        parts = (m.observation, m.reward, m.weight, m.trial, m.done, m.clear, *m.marks.values())
        tensors += [part for part in leaves(parts) if isinstance(part, Tensor)]
    return tensors


def _has(moment: Moment) -> tuple[Any, ...]:
    optional = (moment.weight, moment.trial, moment.done, moment.clear)
    return *(each is None for each in optional), *sorted(moment.marks)


def _stacked(tensors: list[Tensor | None]) -> Tensor:
    return torch.stack([each for each in tensors if each is not None])
