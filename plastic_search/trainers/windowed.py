"""Truncated backpropagation through time over a long text, as in min-char-rnn (Karpathy 2015) and Miconi 2016.

The paper is arXiv 1606.06216; the optimiser is RMSProp whose updates are clipped element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.environments import Environment
from plastic_search.network.population import Population
from plastic_search.tasks import Stream, Task
from plastic_search.trainers import ResumableTrainer, one_seed_each, task_of
from plastic_search.training.streaming import RMSProp, StreamingTraining


@dataclass(frozen=True)
class Windowed(ResumableTrainer):
    """v' = memory v + (1 - memory) g^2; theta' = theta - clip(learning_rate g / sqrt(v' + 1e-8), most)

    One update for each window of the text; the network's state is carried from window to window, gradients are not.
    The loss that is reported is a running mean in nats a window, with weight 0.01 on the last window; it starts at the
    loss of a uniform guess.

    Args:
        steps: number of updates, each on one window of the text.
        learning_rate: step size, before it is divided by the root of v.
        memory: share of v, the running mean of squared gradients, that an update keeps, from 0 to below 1.
        most: the largest change of a parameter in one update.
        reports: how many times progress is reported, evenly over the updates.
    """

    steps: int = 100_000
    learning_rate: float = 0.01
    memory: float = 0.99
    most: float = 0.01
    reports: int = 10

    def check(self) -> None:
        positive(self, "steps", "learning_rate", "most", "reports")
        if not 0.0 <= self.memory < 1.0:
            raise PlasticSearchError(f"Windowed.memory is a share, from 0 to below 1, but is {self.memory}")

    def begin(self, population: Population, task: Task | Environment, seeds: Sequence[int]) -> StreamingTraining:
        one_seed_each(population, seeds)
        task = task_of(self, task)
        if not isinstance(task, Stream):
            raise PlasticSearchError(
                f"Windowed trains on a text without end, but {type(task).__name__} has episodes; use Gradient"
            )
        rmsprop = RMSProp(self.learning_rate, self.memory, self.most)
        return StreamingTraining(population, task, seeds, self.steps, rmsprop)
