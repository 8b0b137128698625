"""Promises of every task."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.testing import assert_close

from plastic_search.tasks import Episodes, Split, Task
from plastic_search.testing.checks import keep, noise, promise, rng_of, variants
from plastic_search.testing.values import part_promises
from plastic_search.training.contract import check_sizes, draw, loss_of, scores_of

__all__ = ["task_promises"]

FEW, MANY = 6, 512  # episodes


def task_promises(kind: type[Task] | Task) -> None:
    """Check a task's sizes, episodes, scores and loss, by the contract that trainers and `evaluate` check too.

    Also that the same seed gives the same episodes, that a guess scores no better than chance, and that splits share
    nothing.

    Raises:
        DataMissing: the task's data is not on this machine; a test may skip.
    """
    part_promises(kind)
    for task in variants(kind):
        with promise(task, "its sizes, its chance and the name of its score are what they must be"):
            check_sizes(task)
        for split in Split:
            _episodes(task, split)
        _scores(task)
        with promise(task, "no item is in two splits"):
            train, test = (_drawn(task, MANY, split, 1).inputs for split in (Split.TRAIN, Split.TEST))
            generated = torch.equal(train, test)  # from the seed alone: there are no stored items to share
            keep(generated or not (_items(train) & _items(test)), "the same input occurs in TRAIN and in TEST")


def _drawn(task: Task, size: int, split: Split = Split.TRAIN, seed: int = 0) -> Episodes:
    return draw(task, size, split, rng_of(seed), torch.zeros(()))


def _episodes(task: Task, split: Split) -> None:
    with promise(task, f"{split.name} episodes have the sizes that the task declares, and finite inputs"):
        drawn, more = _drawn(task, FEW, split), _drawn(task, FEW + 1, split)
        keep(bool(drawn.inputs.isfinite().all()), "an input is not finite")
        _batch_axis(drawn.targets, more.targets)
    with promise(task, f"the same seed gives the same {split.name} episodes, another seed others"):
        same, other = (_drawn(task, FEW, split, seed) for seed in (0, 1))
        keep(torch.equal(same.inputs, drawn.inputs) and torch.equal(same.targets, drawn.targets), "they differ")
        keep(not torch.equal(other.inputs, drawn.inputs), "another seed gave the same")


def _batch_axis(few: Tensor, more: Tensor) -> int:
    """The axis of targets that is as long as the batch; `few` and `more` are those of `FEW` and one more episodes."""
    axes = [axis for axis, sizes in enumerate(zip(few.shape, more.shape, strict=True)) if sizes == (FEW, FEW + 1)]
    keep(axes[:1] in ([0], [1]), f"targets are {list(few.shape)} for {FEW} episodes, {list(more.shape)} for {FEW + 1}")
    return axes[0]


def _scores(task: Task) -> None:
    episodes = _drawn(task, MANY)
    guess = noise(len(episodes.inputs), MANY, task.outputs).float().requires_grad_()
    with promise(task, "a score lies from 0 to 1, one for each episode, and is finite"):
        scores = scores_of(task, guess, episodes).detach()
        keep(bool(scores.isfinite().all()), f"got {scores}")
    with promise(task, f"a guess scores no better than chance, {task.chance:.3g}"):
        slack = 4 * float(scores.std()) / MANY**0.5
        keep(float(scores.mean()) <= task.chance + slack, f"it scored {float(scores.mean())}")
    with promise(task, "outputs before the query step do not count, nor those of other episodes"):
        late = torch.cat([torch.zeros_like(guess[: episodes.query_step]), guess[episodes.query_step :]])
        assert_close(scores_of(task, late, episodes).detach(), scores)
        axis = _batch_axis(_drawn(task, FEW).targets, _drawn(task, FEW + 1).targets)
        targets = episodes.targets[:2] if axis == 0 else episodes.targets[:, :2]
        few = episodes._replace(inputs=episodes.inputs[:, :2], targets=targets)
        assert_close(scores_of(task, guess[:, :2], few).detach(), scores[:2])
    with promise(task, "its loss is one finite number with a gradient"):
        loss = loss_of(task, guess, episodes)
        loss.backward()
        finite = bool(loss.isfinite()) and guess.grad is not None and bool(guess.grad.isfinite().all())
        keep(
            finite and guess.grad is not None and bool(guess.grad.any()), f"got {loss}, or its gradient is 0 everywhere"
        )


def _items(inputs: Tensor) -> set[bytes]:
    """The inputs of single steps that may be stored items: those with at least 8 nonzero entries."""
    rows = inputs.flatten(0, 1)
    return {row.numpy().tobytes() for row in rows[(rows != 0).sum(1) >= 8]}
