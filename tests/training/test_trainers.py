"""What trainers share: members are trained together as they would be alone, and training can be interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Environment
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks import Task
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.trainers import Progress, ResumableTrainer, Trainer, Training
from plastic_search.trainers.gradient import Gradient
from plastic_search.trainers.windowed import Windowed


@dataclass(frozen=True)
class OneByOne(Trainer):
    """Gradient, without a `train_together` of its own"""

    def train(self, net: Network, task: Task | Environment, seed: int) -> Iterator[Progress]:
        yield from Gradient(steps=6, batch=2, reports=3).train(net, task, seed)


def test_members_are_trained_together_as_they_would_be_alone() -> None:
    task = PatternCompletion(bits=4)
    nets = [Network(NetworkSpec((Layer(task.outputs),)), task.inputs, seed) for seed in range(2)]
    population = Population(nets)
    together = list(OneByOne().train_together(population, task, (5, 6)))
    for k, net in enumerate(nets):
        assert list(OneByOne().train(net, task, 5 + k)) == [progress[k] for progress in together]
        for name, p in net.named_parameters():
            assert torch.equal(population.get_parameter(name)[k], p)


@pytest.mark.parametrize("trainer", [OneByOne(), Gradient(), Windowed()])
def test_every_member_has_a_seed(trainer: Trainer) -> None:
    task = RepeatedPairs()
    net = Network(NetworkSpec((Layer(task.outputs, Linear(), structure=FeedForward()),)), task.inputs)
    with pytest.raises(PlasticSearchError, match="1 members want as many seeds, but there are 2"):
        next(iter(trainer.train_together(Population([net]), task, (0, 1))))


def test_a_training_is_advanced_by_hand() -> None:
    task, trainer = RepeatedPairs(), Windowed(steps=4, reports=2)
    assert isinstance(trainer, ResumableTrainer)
    nets = [Network(NetworkSpec((Layer(task.outputs, Linear(), structure=FeedForward()),)), 4) for _ in range(2)]
    training: Training = trainer.begin(Population(nets[:1]), task, (3,))
    losses = []
    for _ in range(2):
        training.advance(2)
        losses.append(Progress(training.step, training.steps, training.running[0].item()))
    assert losses == list(trainer.train(nets[1], task, 3))
