"""The fitness of each member of a population: minus its loss, or its score, on a task; its return in an environment.

All members are run as one batch. Member k of the first half and member k of the second half meet the same episodes,
with the same random numbers: where they are perturbed with opposite signs, their difference is due to that alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastic_search.environments import Environment
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import NetworkSpec
from plastic_search.tasks import Split, Task
from plastic_search.training.contract import draw, loss_of, scores_of
from plastic_search.training.environment_contract import metrics_of
from plastic_search.training.episodes import act, member

__all__ = ["Fitness", "Worth", "in_chunks", "worth_of"]


class Fitness(Enum):
    """What of a task is to be large; in an environment, it is the return."""

    LOSS = "loss"  # minus the loss
    SCORE = "score"  # the score, which needs no derivative


class Worth(NamedTuple):
    """What the members of a population are worth, means over episodes.

    Args:
        fitness: [member].
        scores: the score of an environment, its first metric [member]; NaN on a task.
    """

    fitness: Tensor
    scores: Tensor


@torch.no_grad()
def worth_of(
    population: Population, task: Task | Environment, episodes: int, seed: int, what: Fitness = Fitness.LOSS
) -> Worth:
    """Each member's fitness, and its score in an environment, over some new episodes.

    Args:
        population: an even number of members.
        episodes: of each member.
        seed: of the episodes.

    Raises:
        PlasticSearchError: what the task or the environment returns is not what `tasks.Task` or
            `environments.Environment` describes.
    """
    if isinstance(task, Environment):
        return _acted(population, task, episodes, seed)
    rng = torch.Generator().manual_seed(seed)
    drawn = draw(task, episodes, Split.TRAIN, rng, next(population.parameters()))
    outputs, _ = population(drawn.inputs)
    if what is Fitness.LOSS:
        fitness = torch.stack([-loss_of(task, own, drawn) for own in outputs])
    else:
        fitness = torch.stack([scores_of(task, own, drawn).mean() for own in outputs])
    return Worth(fitness, torch.full_like(fitness, math.nan))


def _acted(population: Population, environment: Environment, episodes: int, seed: int) -> Worth:
    """The sum of an episode's rewards, and its score; NaN where the network's outputs were."""
    rngs = [torch.Generator().manual_seed(seed) for _ in range(2)]  # the same for both halves
    rollout = Rollout(population, episodes, steps=0)
    of_members, of_halves = (len(population), episodes), (2, len(population) // 2 * episodes)
    lost = torch.zeros(of_members, dtype=torch.bool, device=next(population.parameters()).device)

    def step(x: Tensor, clear: Tensor | None) -> Tensor:
        outputs = rollout.step(x.view(*of_members, -1), clear=None if clear is None else clear.view(of_members))
        lost.logical_or_(outputs.isnan().any(2))
        return outputs.nan_to_num().view(*of_halves, -1)

    played = act(step, environment, of_halves[1], rngs, next(population.parameters())).played
    halves = [metrics_of(environment, member(played, k)) for k in range(2)]
    scores = torch.stack([next(iter(each.values())) for each in halves]).view(of_members)
    returns = played.rewards.sum(1).view(of_members).masked_fill(lost, math.nan)
    return Worth(returns.mean(1), scores.to(returns).masked_fill(lost, math.nan).nanmean(1))


def _seeds(seed: int, count: int) -> list[int]:
    """Seeds that follow from one."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(2**62, (count,), generator=rng).tolist()


class _Work(NamedTuple):
    """Some members to be run by any process."""

    spec: NetworkSpec
    inputs: int
    kernel: str | None
    tensors: dict[str, NDArray[np.floating[Any]]]  # of these members, by name
    task: Task | Environment
    episodes: int
    seed: int
    what: Fitness


def in_chunks(
    population: Population, task: Task | Environment, episodes: int, seed: int, what: Fitness, chunk: int,
    executor: Executor | None = None,
) -> Worth:  # fmt: skip
    """What each member is worth, where `chunk` members at a time, half of them from each half, are run as one batch.

    Args:
        chunk: an even number.
        executor: runs chunks in other processes; None runs them here. The result is the same.
    """
    pairs, tensors = len(population) // 2, {name: t.numpy() for name, t in population.state_dict().items()}
    places = [np.arange(first, min(first + chunk // 2, pairs)) for first in range(0, pairs, chunk // 2)]
    places = [np.concatenate([own, own + pairs]) for own in places]

    def works() -> Iterator[_Work]:
        for own, mine in zip(places, _seeds(seed, len(places)), strict=True):
            parts = {name: t[own] for name, t in tensors.items()}
            yield _Work(
                population.spec, population.inputs, population.kernel, parts, task, episodes, mine, what,
            )  # fmt: skip

    each: Callable[..., Iterable[NDArray[np.floating[Any]]]] = map if executor is None else executor.map
    worth = torch.empty(2, len(population), dtype=torch.double)
    for own, found in zip(places, each(_work, works()), strict=True):
        worth[:, torch.from_numpy(own)] = torch.from_numpy(found)
    return Worth(*worth)


def _work(work: _Work) -> NDArray[np.floating[Any]]:
    torch.set_num_threads(1)  # what is this small is slowed down by a second one
    tensors = {name: torch.from_numpy(t) for name, t in work.tensors.items()}
    first = next(iter(tensors.values()))
    population = Population([Network(work.spec, work.inputs, kernel=work.kernel)] * len(first)).to(first.dtype)
    population.load_state_dict(tensors)
    worth = worth_of(population, work.task, work.episodes, work.seed, work.what)
    return torch.stack(worth).double().numpy()
