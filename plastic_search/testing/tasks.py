"""Promises of every task."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.testing import assert_close

from plastic_search.tasks import Episodes, Split, Task
from plastic_search.testing.checks import keep, noise, promise, rng_of, variants
from plastic_search.testing.values import part_promises

__all__ = ["task_promises"]

MANY = 512  # episodes


def task_promises(kind: type[Task] | Task) -> None:
    """Check a task's scores, that the same seed gives the same episodes, and that splits share nothing.

    Raises:
        DataMissing: the task's data is not on this machine; a test may skip.
    """
    part_promises(kind)
    for task in variants(kind):
        for split in Split:
            _episodes(task, split)
        _scores(task, task.episodes(MANY, Split.TRAIN, rng_of(0)))
        with promise(task, "no item is in two splits"):
            train, test = (task.episodes(MANY, split, rng_of(1)).inputs for split in (Split.TRAIN, Split.TEST))
            generated = torch.equal(train, test)  # from the seed alone: there are no stored items to share
            keep(generated or not (_items(train) & _items(test)), "the same input occurs in TRAIN and in TEST")


def _episodes(task: Task, split: Split) -> None:
    with promise(task, f"{split.name} episodes have the sizes that the task declares"):
        drawn = task.episodes(6, split, rng_of(0))
        time, size, width = drawn.inputs.shape
        right = (size, width) == (6, task.inputs) and 0 <= drawn.query_step < time
        keep(right, f"inputs are {list(drawn.inputs.shape)}")
        keep(len(drawn.targets) == 6 and bool(drawn.inputs.isfinite().all()), "targets lack some, or inputs not finite")
    with promise(task, f"the same seed gives the same {split.name} episodes, another seed others"):
        same, other = (task.episodes(6, split, rng_of(seed)) for seed in (0, 1))
        keep(torch.equal(same.inputs, drawn.inputs) and torch.equal(same.targets, drawn.targets), "they differ")
        keep(not torch.equal(other.inputs, drawn.inputs), "another seed gave the same")


def _scores(task: Task, episodes: Episodes) -> None:
    guess = noise(len(episodes.inputs), MANY, task.outputs).float().requires_grad_()
    with promise(task, "a score lies from 0 to 1, one for each episode"):
        scores = task.scores(guess, episodes).detach()
        keep(scores.shape == (MANY,) and bool(((scores >= 0) & (scores <= 1)).all()), f"got {scores}")
    with promise(task, f"a guess scores no better than chance, {task.chance:.3g}"):
        slack = 4 * float(scores.std()) / MANY**0.5
        keep(0 <= task.chance < 1 and float(scores.mean()) <= task.chance + slack, f"it scored {float(scores.mean())}")
    with promise(task, "outputs before the query step do not count, nor those of other episodes"):
        late = torch.cat([torch.zeros_like(guess[: episodes.query_step]), guess[episodes.query_step :]])
        assert_close(task.scores(late, episodes).detach(), scores)
        few = episodes._replace(inputs=episodes.inputs[:, :2], targets=episodes.targets[:2])
        assert_close(task.scores(guess[:, :2], few).detach(), scores[:2])
    with promise(task, "its loss is one finite number with a gradient"):
        loss = task.loss(guess, episodes)
        loss.backward()
        keep(loss.dim() == 0 and guess.grad is not None and bool(guess.grad.isfinite().all()), f"got {loss}")
        keep(guess.grad is not None and bool(guess.grad.any()), "its gradient is 0 everywhere")


def _items(inputs: Tensor) -> set[bytes]:
    """The inputs of single steps that may be stored items: those with at least 8 nonzero entries."""
    rows = inputs.flatten(0, 1)
    return {row.numpy().tobytes() for row in rows[(rows != 0).sum(1) >= 8]}
