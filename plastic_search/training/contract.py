"""What a task must return, checked wherever it enters: in training, in evaluation, and by the promises of tasks.

A fault names the task, its file and line, what was wanted, and what was returned.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.network.diagnostics import described, fault
from plastic_search.tasks import Episodes, Split, Stream, Task

__all__ = ["check_dependence", "check_sizes", "draw", "following_loss", "loss_of", "phase_of", "scores_of", "text_of"]

_SLACK = 1e-5  # by which a score may leave 0 to 1, since sums are rounded


def check_sizes(task: Task) -> None:
    """Refuse a task whose sizes, chance or name of its score are not what they must be."""
    for name in ("inputs", "outputs"):
        if type(size := getattr(task, name)) is not int or size < 1:
            raise fault(task, name, f"{name} must be a whole number from 1, but is {described(size)}")
    if type(task.chance) not in (int, float) or not 0.0 <= task.chance < 1.0:
        raise fault(task, "chance", f"chance must be a number from 0 to below 1, but is {described(task.chance)}")
    if not isinstance(task.score_name, str):
        raise fault(task, "score_name", f"score_name must be a text, but is {described(task.score_name)}")


def draw(task: Task, size: int, split: Split, rng: Generator, like: Tensor) -> Episodes:
    """`size` episodes of a task, on the device of `like`.

    Args:
        like: a tensor of the type that inputs must have, such as a network's parameter.

    Raises:
        PlasticSearchError: they are not `Episodes` as `tasks.Episodes` describes them.
    """

    def refuse(what: str, wanted: str, found: str) -> PlasticSearchError:
        return fault(task, "episodes", f"{what} must be {wanted}, but {found}")

    drawn = task.episodes(size, split, rng)
    if not isinstance(drawn, Episodes):
        raise refuse("the result of `episodes`", "Episodes(inputs, targets, query_step)", f"is {described(drawn)}")
    inputs, targets, query_step = drawn
    wanted = f"[time, batch, inputs], here [any, {size}, {task.inputs}]"
    if (
        not isinstance(inputs, Tensor)
        or inputs.dim() != 3
        or inputs.shape[1:] != (size, task.inputs)
        or not len(inputs)
    ):
        raise refuse("inputs", wanted, f"are {described(inputs)}")
    if inputs.dtype != like.dtype:
        raise refuse("inputs", f"{like.dtype}, as the network's parameters are", f"are {inputs.dtype}")
    if not isinstance(targets, Tensor) or size not in targets.shape[:2]:
        raise refuse(
            "targets", f"[batch, ...] or [time, batch, ...], here with {size} as batch", f"are {described(targets)}"
        )
    try:
        inside = 0 <= operator.index(query_step) < len(inputs)
    except TypeError:
        inside = False
    if not inside:
        raise refuse("query_step", f"a time step, here from 0 to {len(inputs) - 1}", f"is {described(query_step)}")
    return drawn._replace(query_step=operator.index(query_step)).beside(like)


def loss_of(task: Task, outputs: Tensor, episodes: Episodes) -> Tensor:
    """The training loss: one number, with a gradient where `outputs` [time, batch, outputs] has one.

    Raises:
        PlasticSearchError: it is something else, or the call changes its arguments in place.
    """
    before = _versions(outputs, episodes)
    loss = task.loss(outputs, episodes)
    if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
        raise fault(task, "loss", f"the loss must be one number, as a tensor without axes, but is {_kind_of(loss)}")
    if outputs.requires_grad and not loss.requires_grad:
        raise fault(task, "loss", "the loss has no gradient: it does not depend on the outputs, or was detached")
    if before != _versions(outputs, episodes):
        raise fault(task, "loss", "`loss` must not change outputs, inputs or targets in place, but does")
    return loss


def check_dependence(task: Part, method: str, loss: Tensor, outputs: Tensor) -> None:
    """Refuse a loss of which no gradient reaches the outputs, so that nothing would be trained; for a first update.

    Args:
        method: what of the task computes the loss.
    """
    if not outputs.requires_grad:
        return
    if not loss.requires_grad or torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)[0] is None:
        raise fault(task, method, "the loss does not depend on the outputs, so nothing would be learned")


def scores_of(task: Task, outputs: Tensor, episodes: Episodes) -> Tensor:
    """Each episode's score [batch], from 0 to 1; one that is not finite stays.

    Raises:
        PlasticSearchError: they are something else.
    """
    scores = task.scores(outputs, episodes)
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        raise fault(task, "scores", f"scores must be floats [batch], but are {_kind_of(scores)}")
    if scores.shape != (outputs.shape[1],):
        raise fault(
            task, "scores", f"scores must be floats [batch], here [{outputs.shape[1]}], but are {described(scores)}"
        )
    outside = scores[scores.isfinite() & ((scores < -_SLACK) | (scores > 1.0 + _SLACK))]
    if len(outside):
        raise fault(
            task, "scores", f"scores must lie from 0 to 1, larger is better, but one is {float(outside[0]):.6g}"
        )
    return scores


def text_of(task: Stream, length: int, rng: Generator) -> Tensor:
    """The first `length` symbols of a random text, as indices [length].

    Raises:
        PlasticSearchError: it has another length or type, or an index is of no symbol.
    """
    text, count = task.text(length, rng), len(task.symbols)
    if not isinstance(text, Tensor) or text.shape != (length,) or text.is_floating_point():
        raise fault(task, "text", f"a text must be whole numbers [length], here [{length}], but is {_kind_of(text)}")
    if length and not 0 <= int(text.min()) <= int(text.max()) < count:
        found = f"from {int(text.min())} to {int(text.max())}"
        raise fault(task, "text", f"a text must hold indices from 0 to {count - 1}, but they are {found}")
    return text


def phase_of(task: Stream, progress: float) -> Stream:
    """The task to train on at this share of training.

    Raises:
        PlasticSearchError: it is not a `Stream`.
    """
    phase = task.phase(progress)
    if not isinstance(phase, Stream):
        raise fault(task, "phase", f"`phase` must return a Stream, but returned {described(phase)}")
    return phase


def following_loss(task: Stream, outputs: Tensor, following: Tensor) -> Tensor:
    """The cross-entropy of every one of the `following` symbols.

    Raises:
        PlasticSearchError: it has another shape.
    """
    nats = task.nats(outputs, following)
    if not isinstance(nats, Tensor) or nats.shape != following.shape:
        wanted = f"one number a symbol, here {list(following.shape)}"
        raise fault(task, "nats", f"`nats` must return {wanted}, but returned {described(nats)}")
    return nats


def _versions(outputs: Tensor, episodes: Episodes) -> tuple[int, ...]:
    """How often each tensor has been changed in place."""
    return outputs._version, episodes.inputs._version, episodes.targets._version


def _kind_of(value: Any) -> str:
    """`torch.bool`, `of shape [3]`, `a list`."""
    if not isinstance(value, Tensor):
        return described(value)
    return f"of shape {list(value.shape)}" if value.is_floating_point() else str(value.dtype)
