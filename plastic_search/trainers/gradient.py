"""Backpropagation through the whole episode, with Adam (Kingma and Ba 2015) or another optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.environments import Environment
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.tasks import Episodes, Split, Task
from plastic_search.trainers import Progress, Trainer, one_seed_each, task_of
from plastic_search.training.adaptation import Adaptation
from plastic_search.training.contract import check_dependence, draw, loss_of
from plastic_search.training.optimisers import (
    Adam,
    Optimiser,
    ParameterGroup,
    clip_members,
    gradient_factors,
    keep_held,
    mean_gradients,
    parameter_groups,
)


@dataclass(frozen=True)
class Gradient(Trainer):
    """theta' = theta - optimiser(clip(dLoss/dtheta))

    Args:
        steps: number of updates.
        learning_rate: the optimiser's step size, before it falls.
        batch: episodes in each update.
        clip: largest norm of the whole gradient; a longer one is scaled down to it.
        cooldown_fraction: last share of the updates, over which the learning rate falls linearly to 0.
        reports: how many times progress is reported, evenly over the updates.
        optimiser: how an update follows from a gradient: `Adam`, `AdamW`, `SGD` or `ShiftAdaMax` of
            `training.optimisers`.
        groups: parameters, by path, whose learning rate or gradient is multiplied by a factor.

    Example:
        from plastic_search.training.optimisers import Adam, ParameterGroup

        slower = ParameterGroup("layers.*.alpha", rate=0.1)
        trainer = Gradient(learning_rate=1e-4, optimiser=Adam(epsilon=1e-6), groups=(slower,))
    """

    renamed: ClassVar[dict[str, str]] = {"settle": "cooldown_fraction"}

    steps: int = 1000
    learning_rate: float = 1e-2
    batch: int = 64
    clip: float = 1.0
    cooldown_fraction: float = 0.5
    reports: int = 10
    optimiser: Optimiser = Adam()
    groups: tuple[ParameterGroup, ...] = ()

    def check(self) -> None:
        positive(self, "steps", "learning_rate", "batch", "clip", "reports")
        if not 0.0 <= self.cooldown_fraction <= 1.0:
            raise PlasticSearchError(f"Gradient.cooldown_fraction is a share, 0 to 1, but is {self.cooldown_fraction}")

    def train(self, net: Network, task: Task | Environment, seed: int) -> Iterator[Progress]:
        task, rng = task_of(self, task), torch.Generator().manual_seed(seed)
        params = list(net.parameters())

        adaptation = Adaptation(net, (seed,), self.steps)

        def losses(first: bool) -> Tensor:
            episodes = draw(task, self.batch, Split.TRAIN, rng, params[0])
            outputs, _ = net(episodes.inputs)
            return _loss(task, outputs, episodes, first).unsqueeze(0)

        def clip() -> None:
            torch.nn.utils.clip_grad_norm_(params, self.clip)

        for progress in self._updates(net, losses, clip, adaptation):
            yield progress[0]

    def train_together(
        self, population: Population, task: Task | Environment, seeds: Sequence[int]
    ) -> Iterator[tuple[Progress, ...]]:
        one_seed_each(population, seeds)
        task = task_of(self, task)
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        params = list(population.parameters())

        def losses(first: bool) -> Tensor:
            drawn = [draw(task, self.batch, Split.TRAIN, rng, params[0]) for rng in rngs]
            outputs, _ = population(torch.stack([episodes.inputs for episodes in drawn]))
            return torch.stack([_loss(task, *each, first) for each in zip(outputs, drawn, strict=True)])

        def clip() -> None:
            clip_members(params, self.clip)

        yield from self._updates(population, losses, clip, Adaptation(population, seeds, self.steps))

    def _updates(
        self,
        net: Network | Population,
        losses: Callable[[bool], Tensor],
        clip: Callable[[], None],
        adaptation: Adaptation,
    ) -> Iterator[tuple[Progress, ...]]:
        """Make all updates.

        Args:
            losses: draws episodes and returns the loss of each network [networks]; receives whether it is the first.
            clip: bounds the norm of each network's gradient, in place.
        """
        optimiser = self.optimiser.begin(parameter_groups(net, self.groups, self.learning_rate), self.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._share)
        scale, restore = gradient_factors(net, self.groups), keep_held(net)
        every, recent = max(1, self.steps // self.reports), []
        adaptation.after(0)
        for step in range(1, self.steps + 1):
            loss = losses(step == 1)
            optimiser.zero_grad()
            (loss + adaptation.constraint()).sum().backward()
            scale()
            clip()
            optimiser.step()
            restore()
            schedule.step()
            if step < self.steps:
                adaptation.after(step, *mean_gradients(optimiser))
            recent.append(loss.detach())
            if step % every == 0 or step == self.steps:
                yield tuple(Progress(step, self.steps, mean) for mean in torch.stack(recent).mean(0).tolist())
                recent = []
        adaptation.after(self.steps)  # gates are made hard after the last progress was yielded

    def _share(self, step: int) -> float:
        """The factor of the learning rate at `step`."""
        left = 1.0 - step / self.steps
        return min(1.0, left / self.cooldown_fraction) if self.cooldown_fraction else 1.0


def _loss(task: Task, outputs: Tensor, episodes: Episodes, first: bool) -> Tensor:
    """The loss, which must depend on the outputs; seen once, at the first update."""
    loss = loss_of(task, outputs, episodes)
    if first:
        check_dependence(task, "loss", loss, outputs)
    return loss
