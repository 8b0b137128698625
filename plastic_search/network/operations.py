"""What an episode of a network costs in operations, and an estimate of their energy.

An event is a presynaptic output that is not 0, of a unit that fires, or of an input where all inputs are 0 or 1. A
synapse adds its weight where an event arrives, and does nothing else; from other units it multiplies and adds in every
step. Energies are those of Horowitz 2014 (ISSCC, "Computing's energy problem", 45 nm), of 32-bit floats, as two
secondary sources quote that table.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network, check_network
from plastic_search.network.step import step_signals

__all__ = ["ADD", "MULTIPLY", "Operations", "count_operations"]

ADD, MULTIPLY = 0.9, 3.7  # pJ, of 32-bit floats (Horowitz 2014)


class Operations(NamedTuple):
    """Means over episodes.

    Args:
        spikes: of each layer that fires, by its number: spikes per unit and step.
        rate: spikes per unit and step over all units that fire.
        accumulates: additions of a weight to a drive, per episode.
        multiply_accumulates: multiplications of a weight, or of a trace, with the addition of the product, per episode.
        writes: changes of a trace, one for each synapse and step in which it changes, per episode.
    """

    spikes: dict[int, float]
    rate: float
    accumulates: float
    multiply_accumulates: float
    writes: float

    @property
    def energy(self) -> float:
        """The energy of an episode, nJ: additions and multiplications of 32-bit floats alone, each write one of both.

        It leaves out what is not arithmetic of synapses, memory access above all, which in hardware often costs more
        than all that is counted; and the dynamics of units, biases, what a rule and a modulation compute for a
        write, encoding, and leakage. It is that of float32 whatever the precision of the network.
        """
        both = self.multiply_accumulates + self.writes
        return (ADD * self.accumulates + (ADD + MULTIPLY) * both) / 1000.0


@torch.no_grad()
def count_operations(net: Network, x: Tensor) -> Operations:
    """Count the operations of whole episodes, by the reference step.

    For each drive of a cell, an existing synapse takes an accumulate per event, or from a source without events a
    multiply-accumulate per step. Where it is plastic its weight is W + alpha H: a multiply-accumulate more, each time
    that it is read. A write is counted where a trace differs from what it was a step before; synapses without a trace
    are never counted, whatever the trace of an absent one would be.

    Args:
        x: [time, batch, inputs].

    Raises:
        PlasticSearchError: `net` is no Network, `x` has another shape or type, no episodes, or no layer fires.
    """
    check_network(net)
    net.check(x)
    firing = [i for i, layer in enumerate(net.spec.layers) if layer.cell.spiking]
    if not x.shape[1] or not firing:
        what = "no episodes to count" if firing else "no layer that fires, such as one of LIF units, in the network"
        raise PlasticSearchError(f"operations are counted of spiking networks and of episodes, but there is {what}")
    events = {-1: bool(((x == 0) | (x == 1)).all())} | {i: i in firing for i in range(len(net.shapes))}
    reads = [_Reads(net, i, events) for i in range(len(net.shapes))]
    state, ready, traced = net.initial_state(x.shape[1]), net.resolve(), net.plastic()
    spikes, writes = dict.fromkeys(firing, 0.0), 0.0
    for inputs in x:
        before = state
        state, signals = step_signals(net.spec, net.shapes, ready, before, inputs)
        for i, (read, now, seen) in enumerate(zip(reads, state, signals, strict=True)):
            read.add(seen.pre)
            if i in spikes:
                spikes[i] += float((now.output != 0).sum())
            old = before[i].trace
            if now.trace is not None and old is not None:
                writes += float(((now.trace != old) * traced[i]).sum(dtype=torch.float64))
    time, batch = x.shape[:2]
    units = net.units()
    return Operations(
        spikes={i: count / (time * batch * max(units[i], 1)) for i, count in spikes.items()},
        rate=sum(spikes.values()) / (time * batch * max(sum(units[i] for i in firing), 1)),
        accumulates=sum(read.accumulates for read in reads) / batch,
        multiply_accumulates=sum(read.multiplies for read in reads) / batch,
        writes=writes / batch,
    )


class _Reads:
    """The operations by which a layer's synapses are read, summed over steps and episodes."""

    def __init__(self, net: Network, i: int, events: dict[int, bool]) -> None:
        shape, exists = net.shapes[i], net.existing()[i]
        self.accumulates = self.multiplies = 0.0
        self._outgoing = exists.sum(0) * net.spec.layers[i].cell.drives  # [pre], synapses of each column
        self._plastic = torch.zeros_like(self._outgoing)  # [pre], those of them with a trace
        self._plastic[shape.plastic] = (net.plastic()[i] * exists[:, shape.plastic]).sum(0)
        self._events = exists.new_tensor([events[layer] for layer, _ in shape.presynaptic])  # [pre], 0 or 1

    def add(self, pre: Tensor) -> None:
        """A step, in which the layer receives `pre` [batch, pre]."""
        read = (pre != 0) * self._events + (1.0 - self._events)  # how often each column is read
        self.accumulates += float((read * self._events * self._outgoing).sum(dtype=torch.float64))
        plain = (1.0 - self._events) * self._outgoing + self._plastic
        self.multiplies += float((read * plain).sum(dtype=torch.float64))
