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
from torch import Generator, Tensor

from plastic_search.environments import Environment, Moment
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import NetworkSpec
from plastic_search.tasks import Split, Task
from plastic_search.training import environment_contract as contract
from plastic_search.training.contract import draw, loss_of, scores_of
from plastic_search.training.episodes import cleared

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
    """The sum of the rewards of each episode [member, episode]."""
    pairs, members = len(population) // 2, len(population)
    own, ours = _seeds(seed, 2)
    rngs = [torch.Generator().manual_seed(own) for _ in range(2)]  # the same for both halves
    rng = torch.Generator().manual_seed(ours)  # of actions
    agents, like = _Agents(population, episodes), next(population.parameters())
    begun = [contract.begin(environment, pairs * episodes, each, like) for each in rngs]
    states, moments = [state for state, _ in begun], [moment for _, moment in begun]
    total = torch.zeros(members, episodes, dtype=like.dtype)
    going = torch.ones(members, episodes, dtype=torch.bool)
    for _ in range(environment.steps):
        observed = _both(moments, "observation")
        outputs = agents.step(observed.to(like).unflatten(0, (members, episodes)), _both(moments, "clear"))
        total.masked_fill_(outputs.isnan().any(2).cpu(), math.nan)
        actions = _chosen(environment, outputs.nan_to_num().flatten(0, 1).cpu(), rng)
        for half, own in enumerate(actions.chunk(2)):
            states[half], moments[half] = contract.act(environment, states[half], own, rngs[half], like)
        total += torch.where(going, _both(moments, "reward").to(total).unflatten(0, (members, episodes)), 0.0)
        if (done := _both(moments, "done")) is not None:
            going &= ~done.unflatten(0, (members, episodes))
            if not going.any():
                break
    return total


def _both(moments: list[Moment], name: str) -> Any:
    """A field of the moments of both halves, one after the other; None where they have none."""
    found = [getattr(moment, name) for moment in moments]
    known = [each for each in found if each is not None]
    return torch.cat([torch.zeros_like(known[0]) if each is None else each for each in found]) if known else None


def _chosen(environment: Environment, outputs: Tensor, rng: Generator) -> Tensor:
    """Actions from the outputs [2 n, outputs]; n random numbers decide for both halves alike."""
    logits = outputs[:, : environment.actions]
    if environment.continuous:
        return logits.clamp(-1.0, 1.0)
    uniform = torch.rand(len(logits) // 2, environment.actions, generator=rng)
    gumbel = -(-uniform.clamp_min(1e-20).log()).log()
    return (logits + gumbel.repeat(2, 1)).argmax(1)


def _seeds(seed: int, count: int) -> list[int]:
    """Seeds that follow from one."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(2**62, (count,), generator=rng).tolist()


class _Agents:
    """A population in the midst of episodes."""

    def __init__(self, population: Population, episodes: int) -> None:
        self._population, self._episodes = population, episodes
        self._rollout = Rollout(population, episodes, steps=0)

    def step(self, x: Tensor, clear: Tensor | None) -> Tensor:
        """From inputs [member, episode, inputs] to outputs [member, episode, outputs].

        Args:
            clear: where all of the state but the traces is set to 0 first [member * episode].
        """
        if clear is not None and clear.any() and not clear.all():  # a rollout clears the same episodes of all members
            state = cleared(self._rollout.state, clear.unflatten(0, x.shape[:2]))
            self._rollout = Rollout(self._population, self._episodes, state, steps=0)
            clear = None
        return self._rollout.step(x, clear=None if clear is None else bool(clear.any()))


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
