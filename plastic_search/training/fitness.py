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
from plastic_search.training.episodes import act

__all__ = ["Fitness", "fitness_of", "in_chunks"]


class Fitness(Enum):
    """What of a task is to be large; in an environment, it is the return."""

    LOSS = "loss"  # minus the loss
    SCORE = "score"  # the score, which needs no derivative


@torch.no_grad()
def fitness_of(
    population: Population, task: Task | Environment, episodes: int, seed: int, what: Fitness = Fitness.LOSS
) -> Tensor:
    """Each member's fitness, its mean over some new episodes [member].

    Args:
        population: an even number of members.
        episodes: of each member.
        seed: of the episodes.

    Raises:
        PlasticSearchError: what the task or the environment returns is not what `tasks.Task` or
            `environments.Environment` describes.
    """
    if isinstance(task, Environment):
        return _returns(population, task, episodes, seed).mean(1)
    rng = torch.Generator().manual_seed(seed)
    drawn = draw(task, episodes, Split.TRAIN, rng, next(population.parameters()))
    outputs, _ = population(drawn.inputs)
    if what is Fitness.LOSS:
        return torch.stack([-loss_of(task, own, drawn) for own in outputs])
    return torch.stack([scores_of(task, own, drawn).mean() for own in outputs])


def _returns(population: Population, environment: Environment, episodes: int, seed: int) -> Tensor:
    """The sum of the rewards of each episode [member, episode]; NaN where the network's outputs were."""
    rngs = [torch.Generator().manual_seed(seed) for _ in range(2)]  # the same for both halves
    rollout = Rollout(population, episodes, steps=0)
    of_members, of_halves = (len(population), episodes), (2, len(population) // 2 * episodes)
    lost = torch.zeros(of_members, dtype=torch.bool, device=next(population.parameters()).device)

    def step(x: Tensor, clear: Tensor | None) -> Tensor:
        outputs = rollout.step(x.view(*of_members, -1), clear=None if clear is None else clear.view(of_members))
        lost.logical_or_(outputs.isnan().any(2))
        return outputs.nan_to_num().view(*of_halves, -1)

    played = act(step, environment, of_halves[1], rngs, next(population.parameters())).played
    return played.rewards.sum(1).view(of_members).masked_fill(lost, math.nan)


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
) -> Tensor:  # fmt: skip
    """Each member's fitness, where `chunk` members at a time, half of them from each half, are run as one batch.

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
    fitness = torch.empty(len(population), dtype=torch.double)
    for own, found in zip(places, each(_work, works()), strict=True):
        fitness[torch.from_numpy(own)] = torch.from_numpy(found)
    return fitness


def _work(work: _Work) -> NDArray[np.floating[Any]]:
    torch.set_num_threads(1)  # what is this small is slowed down by a second one
    tensors = {name: torch.from_numpy(t) for name, t in work.tensors.items()}
    first = next(iter(tensors.values()))
    population = Population([Network(work.spec, work.inputs, kernel=work.kernel)] * len(first)).to(first.dtype)
    population.load_state_dict(tensors)
    return fitness_of(population, work.task, work.episodes, work.seed, work.what).double().numpy()
