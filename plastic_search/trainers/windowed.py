"""Backpropagation within windows of a text, as in min-char-rnn (Karpathy 2015) and Miconi 2016 (arXiv 1606.06216)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.tasks import Stream, Task
from plastic_search.trainers import Progress, Trainer
from plastic_search.training.streaming import Course, RMSProp


@dataclass(frozen=True)
class Windowed(Trainer):
    """v' = memory v + (1 - memory) g^2; theta' = theta - clip(learning_rate g / sqrt(v' + 1e-8), most)

    One text, one update a window; what the network remembers is carried over, gradients are not. The loss that is
    told is a running average, 0.99 of what it was and 0.01 of the last window's nats, from what a guess costs.
    """

    steps: int = 100_000
    learning_rate: float = 0.01
    memory: float = 0.99
    most: float = 0.01  # by which a number changes in an update
    reports: int = 10  # how many times progress is told

    def check(self) -> None:
        positive(self, "steps", "learning_rate", "most", "reports")
        if not 0.0 <= self.memory < 1.0:
            raise PlasticSearchError(f"Windowed.memory is a share, from 0 to below 1, but is {self.memory}")

    def train(self, net: Network, task: Task, seed: int) -> Iterator[Progress]:
        population = Population([net])
        for (progress,) in self.train_together(population, task, (seed,)):
            net.load_state_dict(population.member(0).state_dict())
            yield progress

    def train_together(
        self, population: Population, task: Task, seeds: Sequence[int]
    ) -> Iterator[tuple[Progress, ...]]:
        """Train every member in place, each as `train` would alone; the caller is told of each one's progress.

        Args:
            seeds: one a member, for the text that it hears.

        Raises:
            PlasticSearchError: there is not one seed for each member.
        """
        course = self.course(population, task, seeds)
        every = max(1, self.steps // self.reports)
        while course.step < self.steps:
            course.advance(min(every, self.steps - course.step))
            yield tuple(Progress(course.step, self.steps, loss) for loss in course.running.tolist())

    def course(self, population: Population, task: Task, seeds: Sequence[int]) -> Course:
        """The same, to be advanced by hand, put down and taken up again.

        Raises:
            PlasticSearchError: the task is no text.
        """
        if not isinstance(task, Stream):
            raise PlasticSearchError(
                f"Windowed trains on a text without end, but {type(task).__name__} has episodes; use Gradient"
            )
        return Course(population, task, seeds, self.steps, RMSProp(self.learning_rate, self.memory, self.most))
