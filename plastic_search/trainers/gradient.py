"""Backpropagation through the whole episode, with Adam (Kingma and Ba 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from plastic_search.errors import PlasticSearchError
from plastic_search.network import Network
from plastic_search.tasks import Split, Task
from plastic_search.trainers import Progress, Trainer


@dataclass(frozen=True)
class Gradient(Trainer):
    """theta' = theta - Adam(clip(dLoss/dtheta))"""

    steps: int = 1000
    learning_rate: float = 1e-2
    batch: int = 64
    clip: float = 1.0  # largest norm of the whole gradient
    settle: float = 0.5  # last share of the steps, over which the learning rate falls linearly to zero
    reports: int = 10  # how many times progress is told

    def check(self) -> None:
        if min(self.steps, self.batch, self.reports) < 1 or self.learning_rate <= 0 or self.clip <= 0:
            raise PlasticSearchError(f"Gradient wants positive numbers, but got {self}")
        if not 0.0 <= self.settle <= 1.0:
            raise PlasticSearchError(f"Gradient.settle is a share, 0 to 1, but is {self.settle}")

    def train(self, net: Network, task: Task, seed: int) -> Iterator[Progress]:
        rng = torch.Generator().manual_seed(seed)
        params = list(net.parameters())
        adam = torch.optim.Adam(params, self.learning_rate)
        fall = torch.optim.lr_scheduler.LambdaLR(adam, self._share)
        every, losses = max(1, self.steps // self.reports), []
        for step in range(1, self.steps + 1):
            episodes = task.episodes(self.batch, Split.TRAIN, rng)
            outputs, _ = net(episodes.inputs)
            loss = task.loss(outputs, episodes)
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, self.clip)
            adam.step()
            fall.step()
            losses.append(loss.detach())
            if step % every == 0 or step == self.steps:
                yield Progress(step, self.steps, torch.stack(losses).mean().item())
                losses = []

    def _share(self, step: int) -> float:
        """The share of the learning rate that is used at `step`."""
        left = 1.0 - step / self.steps
        return min(1.0, left / self.settle) if self.settle else 1.0
