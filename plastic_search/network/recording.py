"""What happens inside a network at every step: traces, plasticity rates, outputs of layers, states of parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.network.controls import chosen
from plastic_search.network.interventions import Given, Interventions
from plastic_search.network.module import Network
from plastic_search.network.quantization import reading
from plastic_search.network.state import State, describe, named, same_shapes
from plastic_search.network.step import LayerState, Signals, step_signals, trace_read
from plastic_search.precisions import Role
from plastic_search.rules import Activity

__all__ = ["record"]


def record(
    net: Network,
    x: Tensor,
    names: str | Iterable[str],
    state: tuple[LayerState, ...] | None = None,
    **interventions: Unpack[Given],
) -> tuple[dict[str, Tensor], State]:
    """Run whole episodes by the reference step, whatever the network's kernel, and keep what is named at every step.

    Args:
        x: [time, batch, inputs].
        names: paths, each of one tensor or of all below it: `layers.1.trace`, `layers.0.cell.memory`, `layers.0`. Those
            of the state are recorded as they are after the step; beside them, each layer has its signals: `pre`
            [batch, pre], what it receives; `drive` [batch, sums, post]; `post` [batch, post], the activity in the
            plasticity rule; `recall` [batch, post], H pre; and the modulator's `rate.write` [batch, post], or
            [batch, 1] where one rate serves all units, or [batch, post, pre] where each synapse has its own, and
            `rate.eligibility` [batch].
        state: the state from which the episodes continue; None starts new ones.
        interventions: as those of `Network`. Once an episode has ended, its state stays as it is, and signals are 0.

    Returns:
        Each tensor by its path, time first; and the state after the last step. Gradients flow through both.

    Raises:
        PlasticSearchError: a name is unknown, and the message lists those that are known; or `x` or `state` has the
            wrong shape.

    Example:
        net = Network(NetworkSpec((Layer(16, plastic=Pathway.BOTH), Layer(2))), inputs=3)
        x = torch.randn(20, 4, 3)  # [time, batch, inputs]
        inside, state = record(net, x, ["layers.0.trace", "layers.0.rate", "layers.0.output"])
        assert inside["layers.0.trace"].shape == (20, 4, 16, 3 + 16)  # H after each step
        assert inside["layers.0.rate.write"].shape == (20, 4, 16)  # by which its change was multiplied
        inside["layers.0.trace"].square().mean().backward()  # a loss may depend on it
    """
    names = _checked(net, x, names)
    fresh = net.initial_state(x.shape[1])
    now, ready, wanted = fresh if state is None else same_shapes(state, fresh), net.resolve(), None
    given = Interventions.of(interventions).checked(x)
    ended = given.ended(len(x))
    controls, x = given.controls(ended), x if ended is None else x.masked_fill(ended.unsqueeze(-1), 0.0)
    steps: list[dict[str, Tensor]] = []
    for t, inputs in enumerate(x):
        imposed, before = controls.at(t), given.state_before(t, now, fresh)
        now, signals = step_signals(net.spec, net.shapes, ready, before, inputs, imposed)
        computed = named(signals) | _recalls(net, before, signals)
        found = named(now) | {name: _zero(imposed.ended, each) for name, each in computed.items()}
        wanted = _chosen(names, found) if wanted is None else wanted
        steps.append({name: _of_each_episode(found[name], len(inputs)) for name in wanted})
    return {name: torch.stack([each[name] for each in steps]) for name in steps[0]}, State(now)


def _checked(net: Network, x: Tensor, names: str | Iterable[str]) -> list[str]:
    """The names, if all arguments are of the right kind."""
    if not isinstance(net, Network):
        raise PlasticSearchError(f"net must be a Network, but is {describe(net)}; `Population.member` returns one")
    if not isinstance(names, Iterable):
        raise PlasticSearchError(f"names must be paths such as 'layers.0.trace', but is {describe(names)}")
    net.check(x)
    return [names] if isinstance(names, str) else list(names)


def _zero(ended: Tensor | None, signal: Tensor) -> Tensor:
    """A signal, 0 in episodes that have ended."""
    return signal if ended is None else chosen(ended, torch.zeros_like(signal), signal)


def _recalls(net: Network, before: tuple[LayerState, ...], signals: tuple[Signals, ...]) -> dict[str, Tensor]:
    """H pre of every plastic layer, by its path."""
    found: dict[str, Tensor] = {}
    form = net.spec.precision.format(Role.TRACE)
    for i, (layer, shape, state, own) in enumerate(zip(net.spec.layers, net.shapes, before, signals, strict=True)):
        if state.trace is not None:
            trace = trace_read(state.trace, layer.bound, layer.limit, reading(form, layer.limit))
            found[f"layers.{i}.recall"] = Activity(own.pre[:, shape.plastic], own.post, None, trace).recall
    return found


def _chosen(names: Iterable[str], known: dict[str, Tensor]) -> list[str]:
    """The paths that are meant, in the order of `names`."""
    chosen: dict[str, None] = {}
    for name in names:
        below = [path for path in known if path == name or path.startswith(f"{name}.")]
        if not below:
            raise unknown("value of this network", str(name), known, "A path may also end where several begin.")
        chosen |= dict.fromkeys(below)
    return list(chosen)


def _of_each_episode(value: Tensor, batch: int) -> Tensor:
    """A tensor [batch, ...], also of what is equal in all episodes."""
    value = value.reshape(1) if value.dim() == 0 else value
    return value.expand(batch, *value.shape[1:]) if len(value) == 1 else value
