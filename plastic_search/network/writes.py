"""What rounding does to what a network learns while it runs: which changes of its traces are stored, and which lost."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network, check_network
from plastic_search.network.quantization import reading, step_size
from plastic_search.network.spec import Layer
from plastic_search.network.step import LayerState, Ready, Signals, step_signals, synapse_step, trace_read
from plastic_search.precisions import Format, Role
from plastic_search.rules import Activity
from plastic_search.structures import Shape

__all__ = ["Writes", "count_writes"]

_LONG = 4  # episodes, one after another without a reset, that stand for a long one
_LEAST = 1e-4  # of the limit; what would change a trace by less is no write


class Writes(NamedTuple):
    """What becomes of the changes of one layer's trace; all but `layer` and `step` are means over episodes.

    Args:
        layer: its number.
        step: between two stored levels; with error feedback the finer ones, of what is kept.
        size: the geometric mean of the changes before rounding, in such steps; 0 where there is none. A change of less
            than a ten-thousandth of the limit does not count, here and below.
        stored: the share of changes that change what is stored, whatever by.
        stalled: the share of the synapses with any change of which none is stored in the whole episode.
        saturated: the share of traces that are at their limit at the end.
        saturated_late: likewise, at the end of four episodes that follow one another without a reset.
    """

    layer: int
    step: float
    size: float
    stored: float
    stalled: float
    saturated: float
    saturated_late: float


@torch.no_grad()
def count_writes(net: Network, x: Tensor) -> list[Writes]:
    """Compare each change of every rounded trace with what is stored of it, by the reference step.

    Args:
        x: [time, batch, inputs], whole episodes.

    Returns:
        Of each layer that has a trace; empty where the trace is a float.

    Raises:
        PlasticSearchError: `net` is no Network, or `x` has another shape or type, or no episodes.
    """
    check_network(net)
    net.check(x)
    if not x.shape[1]:
        raise PlasticSearchError("writes are counted of episodes, but x has none")
    form = net.spec.precision.format(Role.TRACE)
    if form is None:
        return []
    counts = [_Counts(*each, form) for each in enumerate(zip(net.spec.layers, net.plastic(), strict=True))]
    counts = [each for each in counts if each.count]
    state, ready = net.initial_state(x.shape[1]), net.resolve()
    for time in range(len(x) * _LONG):
        before = state
        state, signals = step_signals(net.spec, net.shapes, ready, before, x[time % len(x)])
        for each in counts:
            i = each.layer
            if time < len(x):
                each.add(net.shapes[i], ready[i], before[i], signals[i], state[i])
            if time + 1 in (len(x), len(x) * _LONG):
                each.end(state[i])
    return [each.result() for each in counts]


class _Counts:
    """The changes of one layer's trace so far."""

    def __init__(self, layer: int, parts: tuple[Layer, Tensor], form: Format) -> None:
        self._layer, mask = parts
        self.layer, self._form, self._mask = layer, form, mask > 0
        self.count = int(self._mask.sum())
        self._step = step_size(form, self._layer.limit) / 2**form.remainder
        self._changes = self._stored = self._logarithms = 0.0
        self._wanted: Tensor | None = None  # [batch, post, width], synapses with any change
        self._reached: Tensor | None = None  # those of which one was stored
        self._saturated: list[float] = []

    def add(self, shape: Shape, ready: Ready, before: LayerState, seen: Signals, after: LayerState) -> None:
        """A step."""
        if before.trace is None or after.trace is None:
            return
        change = (_exact(self._layer, shape, ready, before, seen, self._form) - before.trace).abs() / self._step
        wanted = (change > _LEAST * self._layer.limit / self._step) & self._mask
        stored = (after.trace != before.trace) & wanted
        self._changes += float(wanted.sum())
        self._stored += float(stored.sum())
        self._logarithms += float(change[wanted].log().sum(dtype=torch.float64))
        self._wanted = wanted if self._wanted is None else self._wanted | wanted
        self._reached = stored if self._reached is None else self._reached | stored

    def end(self, state: LayerState) -> None:
        """The end of an episode, short or long."""
        if state.trace is not None:
            top = self._layer.limit - 0.5 * self._step
            at_limit = (state.trace.abs() >= top) & self._mask
            self._saturated.append(float(at_limit.sum()) / (self.count * len(state.trace)))

    def result(self) -> Writes:
        wanted = 0.0 if self._wanted is None else float(self._wanted.sum())
        reached = 0.0 if self._reached is None else float(self._reached.sum())
        return Writes(
            self.layer,
            self._step,
            math.exp(self._logarithms / self._changes) if self._changes else 0.0,
            self._stored / self._changes if self._changes else 1.0,
            1.0 - reached / wanted if wanted else 0.0,
            *self._saturated,
        )


def _exact(layer: Layer, shape: Shape, ready: Ready, before: LayerState, seen: Signals, form: Format) -> Tensor:
    """A trace after a step [batch, post, width], as it would be if that step did not round it."""
    trace, pre = before.trace, seen.pre[:, shape.plastic]
    assert trace is not None
    assert seen.rate is not None
    read = trace_read(trace, layer.bound, layer.limit, reading(form, layer.limit))
    recall = None if read is trace else torch.bmm(read, pre.unsqueeze(-1)).squeeze(-1)
    change, _ = layer.rule.step(ready.rule, before.rule, Activity(pre, seen.post, recall, trace))
    after, _ = synapse_step(change, seen.rate, trace, before.eligibility, layer.bound, layer.limit, None)
    return after
