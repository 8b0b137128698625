"""A test episode of a trained network with units that fire, as figures show it: spikes, membranes, time constants."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from plastic_search.cells import Membrane
from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.contract import build
from plastic_search.network.module import Network
from plastic_search.network.step import step_signals
from plastic_search.records.spikes import SCHEMA, FiringLayer, MembraneTrace, SpikingEpisode
from plastic_search.tasks import Split, Task
from plastic_search.training.contract import draw, scores_of

__all__ = ["fires", "record_firing"]

_STEPS = 1000  # of an episode, that are kept
_UNITS = 80  # of a layer, likewise, evenly spaced
_DIGITS = 5  # significant ones of what is kept
_DRAW = 60_000  # of the episode; training and evaluation draw others


def fires(net: Network) -> bool:
    """Whether a network has units that fire."""
    return any(layer.cell.spiking for layer in net.spec.layers)


@torch.no_grad()
def record_firing(net: Network, task: Task, name: str = "", seed: int = 0) -> SpikingEpisode:
    """Run a test episode and keep the first 1,000 steps: spikes of up to 80 units a layer, membranes of three.

    Args:
        name: of the network, and the `seed` with which it was drawn: what the record calls it.

    Raises:
        PlasticSearchError: a number to keep is not finite.
    """
    like = next(net.parameters())
    episode = draw(task, 1, Split.TEST, torch.Generator().manual_seed(_DRAW), like)
    outputs, _ = net(episode.inputs)
    x = episode.inputs[:_STEPS]
    layers = [_layer(net, i, steps, seed) for i, steps in _steps(net, x).items()]
    if bool(((x == 0) | (x == 1)).all()):
        shown = _spaced(net.inputs)
        layers.insert(0, FiringLayer(-1, net.inputs, shown, _times(x[:, 0], shown), [], [], []))
    return SpikingEpisode(
        schema=SCHEMA,
        name=name,
        seed=seed,
        steps=len(x),
        length=len(episode.inputs),
        query_step=episode.query_step,
        score=_rounded(scores_of(task, outputs, episode))[0],
        layers=layers,
    )


class _Step(NamedTuple):
    """One layer after one step of one episode."""

    output: Tensor  # [post]
    membrane: Membrane | None


def _steps(net: Network, x: Tensor) -> dict[int, list[_Step]]:
    """Every step of each layer that fires, by the reference step; traces are not kept."""
    state, ready = net.initial_state(x.shape[1]), net.resolve()
    found: dict[int, list[_Step]] = {i: [] for i, layer in enumerate(net.spec.layers) if layer.cell.spiking}
    for inputs in x:
        state, _ = step_signals(net.spec, net.shapes, ready, state, inputs)
        for i, steps in found.items():
            membrane = net.spec.layers[i].cell.membranes(ready[i].cell, state[i].cell)
            steps.append(_Step(state[i].output[0], membrane))
    return found


def _layer(net: Network, i: int, steps: list[_Step], seed: int) -> FiringLayer:
    """What one layer does in these steps."""
    units, cell = net.shapes[i].post, net.spec.layers[i].cell
    spikes = torch.stack([step.output for step in steps]) != 0  # [time, units]
    shown = _spaced(units)
    membranes = [step.membrane for step in steps if step.membrane is not None]
    traces, before, after = list[MembraneTrace](), list[float](), list[float]()
    if membranes:
        potential = torch.stack([each.potential[0] for each in membranes])
        threshold = torch.stack([each.threshold[0] for each in membranes])
        for unit in (shown[k] for k in _typical(spikes[:, shown].sum(0))):
            traces.append(MembraneTrace(unit, _rounded(potential[:, unit]), _rounded(threshold[:, unit])))
        start = build(net.spec, net.inputs, seed)
        fresh = cell.membranes(start.resolve()[i].cell, start.initial_state(1)[i].cell)
        before = [] if fresh is None else _rounded(fresh.tau)
        after = _rounded(membranes[-1].tau)
    return FiringLayer(i, units, shown, _times(spikes, shown), traces, before, after)


def _typical(counts: Tensor) -> list[int]:
    """The units that fire most, as often as the middle one, and least, of those that fire at all if any does."""
    order = [unit for unit in counts.argsort(descending=True, stable=True).tolist() if counts[unit] > 0]
    order = order or list(range(len(counts)))
    return list(dict.fromkeys([order[0], order[len(order) // 2], order[-1]]))


def _spaced(units: int) -> list[int]:
    """Up to 80 of so many units."""
    shown = min(units, _UNITS)
    return [k * units // shown for k in range(shown)]


def _times(spikes: Tensor, shown: list[int]) -> list[list[int]]:
    """The steps in which each unit fires, from spikes [time, units]."""
    return [spikes[:, unit].nonzero()[:, 0].tolist() for unit in shown]


def _rounded(values: Tensor) -> list[float]:
    if not bool(values.isfinite().all()):
        raise PlasticSearchError("a potential, a time constant or the score of the episode is not finite")
    return [float(f"{value:.{_DIGITS}g}") for value in values.flatten().tolist()]
