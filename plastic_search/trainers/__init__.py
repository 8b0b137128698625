"""Trainers: how a network's parameters are found.

A `Trainer` has `train`, for one network, and `train_together`, for all members of a population at once; both yield
progress. A `ResumableTrainer` can also be interrupted: `begin` returns a `Training`, which is advanced by hand, saved
and restored.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.environments import Environment
from plastic_search.network.diagnostics import described, fault
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.tasks import Task

__all__ = [
    "Evolved",
    "Progress",
    "ResumableTrainer",
    "Scored",
    "Shared",
    "Trainer",
    "Training",
    "advance",
    "check_fits",
    "one_seed_each",
    "progress_of",
    "task_of",
]


_REPORTS = 200  # of progress, where a trainer does not say


class Progress(NamedTuple):
    """How far a training has come.

    Args:
        step: updates made.
        steps: updates in all.
        loss: the mean over the updates since the last progress, or a running mean.
    """

    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Trainer(Part):
    """How a network's parameters are found."""

    def outputs(self, task: Task | Environment) -> int:
        """How many outputs a network must have that is trained for `task`.

        Raises:
            PlasticSearchError: the trainer cannot train for it.
        """
        return task_of(self, task).outputs

    @abstractmethod
    def train(self, net: Network, task: Task | Environment, seed: int) -> Iterator[Progress]:
        """Train `net` in place, and yield progress now and then, the last at the end of training.

        A caller that stops iterating stops the training.
        """

    def train_together(
        self, population: Population, task: Task | Environment, seeds: Sequence[int]
    ) -> Iterator[tuple[Progress, ...]]:
        """Train every member in place, each as `train` would alone, and yield the progress of all.

        By default members are trained one beside the other; a trainer may do better.

        Args:
            seeds: one a member.

        Raises:
            PlasticSearchError: there is not one seed for each member.
        """
        one_seed_each(population, seeds)
        nets = [population.member(k) for k in range(len(population))]
        trainings = [self.train(net, task, seed) for net, seed in zip(nets, seeds, strict=True)]
        for progress in zip(*trainings, strict=True):
            population.load_state_dict(Population(nets).state_dict())
            yield progress


class Training(Protocol):
    """The training of a population in progress, which can be interrupted between two updates.

    Example:
        >>> training = Windowed(steps=1000).begin(population, task, seeds)
        >>> training.advance(400)
        >>> saved = training.saved()  # a flat dict of tensors, as safetensors stores it
        >>> later = Windowed(steps=1000).begin(another, task, seeds)  # of the same spec; its parameters are overwritten
        >>> later.restore(saved)
        >>> later.advance(later.steps - later.step)  # bit for bit as without the interruption
    """

    @property
    def step(self) -> int:
        """Updates made."""
        ...

    @property
    def steps(self) -> int:
        """Updates in all."""
        ...

    @property
    def running(self) -> Tensor:
        """A running mean of each member's loss [member]."""
        ...

    def advance(self, count: int) -> None:
        """Make `count` more updates; the population is trained in place."""

    def saved(self) -> dict[str, Tensor]:
        """Copies of everything that is needed to go on: parameters, the optimiser's state, random generators, ..."""
        ...

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `saved` returned, in a training that was begun with the same arguments."""


@runtime_checkable
class Scored(Protocol):
    """A `Training` that measures each member's score as it goes."""

    @property
    def scores(self) -> Tensor:
        """Each member's score in training, its last one or a running mean [member]; NaN where there is none."""
        ...


@runtime_checkable
class Evolved(Protocol):
    """A `Training` whose updates are generations of candidates."""

    @property
    def fitness(self) -> Tensor:
        """Of each member's last candidates, the mean fitness and that of the best [member, 2]."""
        ...


@runtime_checkable
class Shared(Protocol):
    """A `Training` that gives parts of its work to other processes where it has an executor, with the same result."""

    executor: Executor | None


@dataclass(frozen=True)
class ResumableTrainer(Trainer):
    """A trainer whose training can be interrupted between any two updates.

    A field `reports` says how many times progress is reported, evenly over the updates.
    """

    def train(self, net: Network, task: Task | Environment, seed: int) -> Iterator[Progress]:
        population = Population([net])
        for (progress,) in self.train_together(population, task, (seed,)):
            net.load_state_dict(population.member(0).state_dict())
            yield progress

    def train_together(
        self, population: Population, task: Task | Environment, seeds: Sequence[int]
    ) -> Iterator[tuple[Progress, ...]]:
        training = self.begin(population, task, seeds)
        every = self.between_reports(training)
        while training.step < training.steps:
            training.advance(min(every, training.steps - training.step))
            yield tuple(Progress(training.step, training.steps, loss) for loss in training.running.tolist())

    def between_reports(self, training: Training) -> int:
        """Updates between two reports of progress."""
        return max(1, training.steps // int(vars(self).get("reports", _REPORTS)))

    @abstractmethod
    def begin(self, population: Population, task: Task | Environment, seeds: Sequence[int]) -> Training:
        """A training of `population` at step 0.

        Args:
            seeds: one a member.

        Raises:
            PlasticSearchError: there is not one seed for each member, or the task is not of the right kind.
        """


def task_of(trainer: Trainer, task: Task | Environment) -> Task:
    """`task`, if it is none of the environments, of which `trainer` can make nothing."""
    if isinstance(task, Environment):
        raise PlasticSearchError(
            f"{type(trainer).__name__} trains networks for tasks, but {type(task).__name__} is an environment; "
            "use one that learns from reward, ActorCritic or Evolution"
        )
    return task


def one_seed_each(population: Population, seeds: Sequence[int]) -> None:
    """Refuse a number of seeds other than that of the population's members."""
    if len(seeds) != len(population):
        raise PlasticSearchError(f"{len(population)} members want as many seeds, but there are {len(seeds)}")


def check_fits(trainer: Trainer, population: Population, task: Task | Environment, more: bool = False) -> None:
    """Refuse a population whose sizes are not those that a trainer wants for a task or an environment.

    Args:
        more: whether there may be more outputs than that.
    """
    units, wanted = population.spec.layers[-1].units, trainer.outputs(task)
    if population.inputs != task.inputs or not (units == wanted or (more and units > wanted)):
        raise PlasticSearchError(
            f"{type(trainer).__name__} and {type(task).__name__} want a network of {task.inputs} inputs and {wanted} "
            f"outputs, but it has {population.inputs} and {units}"
        )


def progress_of(trainer: Trainer, net: Network, task: Task | Environment, seed: int) -> Iterator[Progress]:
    """The progress of `trainer.train`, of which every one is checked.

    Raises:
        PlasticSearchError: the trainer yields something else, or nothing; the message names it, its file and line.
    """
    training, last = trainer.train(net, task, seed), None
    if not isinstance(training, Iterator):
        wanted = "be a generator that yields Progress(step, steps, loss)"
        raise fault(trainer, "train", f"`train` must {wanted}, but returned {described(training)}")
    for last in training:
        if not isinstance(last, Progress):
            raise fault(
                trainer, "train", f"`train` must yield Progress(step, steps, loss), but yielded {described(last)}"
            )
        if type(last.step) is not int or type(last.steps) is not int or not isinstance(last.loss, float | int):
            found = f"Progress({', '.join(map(described, last))})"
            raise fault(trainer, "train", f"`train` must yield Progress of two ints and a float, but yielded {found}")
        yield last
    if last is None:
        raise fault(trainer, "train", "`train` must yield Progress at the end of training, but yielded nothing")


def advance(trainer: ResumableTrainer, training: Training, count: int, members: int) -> list[float]:
    """Make `count` more updates; returns the running mean of each member's loss.

    Raises:
        PlasticSearchError: the training did not advance, or `running` is not a tensor [member].
    """
    before = training.step
    training.advance(count)
    if operator.index(training.step) <= before:
        raise fault(trainer, "begin", f"`advance` of its training must make updates, but step stayed {before}")
    running = training.running
    if not isinstance(running, Tensor) or running.shape != (members,):
        wanted = f"be a tensor [member], here [{members}]"
        raise fault(trainer, "begin", f"`running` of its training must {wanted}, but is {described(running)}")
    return running.tolist()
