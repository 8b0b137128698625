"""What is imposed on the steps of a network from outside, as data: definitions that `step` and the kernels share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.modulations import Rate
from plastic_search.network.pytree import map_pairs, map_tensors

__all__ = ["ACTIVITY", "NOTHING", "Controls", "begun", "chosen", "cleared", "imposed", "shuffled", "stacked"]


class Controls(NamedTuple):
    """What is imposed on a step from outside: truth values and rates [batch, 1]; of a sequence [time, batch, 1].

    Args:
        ended: the episode is over: its state stays as it is, and its output is 0.
        frozen: the trace and the eligibility trace stay as they are; true wherever `ended` is.
        clamped: `rate` takes the place of what the modulation multiplies by, `Rate.write`.
        rate: any number where it is not.
        cleared: before the step, the outputs and states of cells and the eligibility traces are set to 0, while traces
            and the states of rules and modulations stay; false wherever `ended` is true.
    """

    ended: Tensor | None = None
    frozen: Tensor | None = None
    clamped: Tensor | None = None
    rate: Tensor | None = None
    cleared: Tensor | None = None

    def at(self, time: int) -> Controls:
        """Those of one step of a sequence."""
        return Controls(*(None if each is None else each[time] for each in self))


NOTHING = Controls()
ACTIVITY = ("output", "cell", "eligibility")  # of a layer's state, what `cleared` sets to 0


def stacked(steps: Sequence[Controls], like: Controls) -> Controls:
    """Those of a sequence [..., time, batch, 1], from those of its steps [..., batch, 1].

    Where `like` has a value, None imposes nothing.
    """
    if like is NOTHING:
        return NOTHING
    found = []
    for name, one in like._asdict().items():
        values = [getattr(step, name) for step in steps]
        zero = None if one is None else torch.zeros_like(one)
        found.append(None if zero is None else torch.stack([zero if value is None else value for value in values], -3))
    return Controls(*found)


def imposed(rate: Rate, controls: Controls) -> Rate:
    """The plasticity rate, where it is not clamped."""
    if controls.clamped is None or controls.rate is None:
        return rate
    clamped, value = controls.clamped, controls.rate
    if rate.write.dim() == 3:  # of every synapse
        clamped, value = clamped.unsqueeze(-1), value.unsqueeze(-1)
    return rate._replace(write=torch.where(clamped, value, rate.write))


def chosen(which: Tensor | None, one: Any, other: Any, dim: int = 0) -> Any:
    """A tree of tensors [batch, ...], from `one` in the episodes `which` [batch] or [batch, 1], else from `other`.

    An episode that ended keeps its state by it, and one that begins in mid-sequence has that of the start.

    Args:
        dim: the axis over the batch.
    """
    if which is None:
        return other
    return map_pairs(lambda a, b: torch.where(which.view(-1, *[1] * (b.dim() - 1 - dim)), a, b), one, other)


def cleared(which: Tensor | None, values: Any) -> Any:
    """A tree of tensors [batch, ...], in which those of the episodes `which` [batch] or [batch, 1] are 0."""
    return chosen(which, map_tensors(torch.zeros_like, values), values)


def begun(state: Any, controls: Controls) -> Any:
    """The state of a layer with which a step begins, `step.LayerState`: in some episodes, activity begins anew."""
    if controls.cleared is None:
        return state
    activity = cleared(controls.cleared, tuple(getattr(state, name) for name in ACTIVITY))
    return state._replace(**dict(zip(ACTIVITY, activity, strict=True)))


def shuffled(state: Any, seed: int, which: Tensor | None = None) -> tuple[Any, ...]:
    """A state in which the entries of each layer's trace are permuted among its synapses, by a permutation of `seed`.

    The distribution of the entries stays the same, but not their places. All episodes share one permutation.

    Args:
        state: of every layer, `step.LayerState`.
        which: [batch], the episodes in which they are; None for all.
    """
    rng, after = torch.Generator().manual_seed(seed), []
    for layer in state:
        trace = layer.trace
        if trace is not None:
            order = torch.randperm(trace.shape[-2] * trace.shape[-1], generator=rng).to(trace.device)
            mixed = trace.flatten(-2).index_select(-1, order).view_as(trace)
            layer = layer._replace(trace=mixed if which is None else torch.where(which[:, None, None], mixed, trace))
        after.append(layer)
    return tuple(after)
