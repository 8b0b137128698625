"""One episode of a network in an environment, with what its plasticity does at every step."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Environment
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.records.episodes import SCHEMA, Episode, PlasticLayer
from plastic_search.training.environment_contract import check_network, metrics_of
from plastic_search.training.episodes import act, member

__all__ = ["record_episode"]

_SEED = 40_000  # of the first episode's chance; training and evaluation draw others
_DIGITS = 6  # significant ones of what is kept


@torch.no_grad()
def record_episode(net: Network, environment: Environment, draw: int = 0, name: str = "", seed: int = 0) -> Episode:
    """Let a network act for an episode, its actions drawn from what it emits, as they are in training.

    Args:
        draw: of the episode's chance; the same number gives the same episode.
        name: of the network, and the `seed` with which it was trained: what the record calls it.

    Raises:
        PlasticSearchError: the network does not fit the environment, or emits numbers that are not finite.
    """
    check_network(environment, net)
    step, frames, rng = _Recorded(net), list[str](), Generator().manual_seed(_SEED + draw)

    def watch(state: Any) -> None:
        frames.append(environment.frame(state, 0))

    played = member(act(step, environment, 1, [rng], next(net.parameters()), watch).played, 0)
    score = next(iter(metrics_of(environment, played).values()))[0]
    return Episode(
        schema=SCHEMA,
        name=name,
        seed=seed,
        draw=draw,
        environment=environment.to_json(),
        score_name=environment.score_name,
        score=_rounded(score) if bool(score.isfinite()) else None,
        frames=frames if all(frames) else [],
        rewards=[_rounded(each) for each in played.rewards[:, 0]],
        trials=[] if played.trials is None else [int(each) for each in played.trials[:, 0]],
        layers=step.layers(),
    )


class _Plastic(NamedTuple):
    """What the plasticity of a layer did in a step."""

    signal: float  # mean rate, with its sign
    rate: float  # mean magnitude of the rate
    trace: float  # mean |H|


class _Recorded:
    """Steps of a network by the reference step, and what its plasticity did in each."""

    def __init__(self, net: Network) -> None:
        self._net, self._state, self._time = net, net.initial_state(1), 0
        self._output = f"layers.{len(net.shapes) - 1}.output"
        self._plastic: dict[int, list[_Plastic]] = {i: [] for i, shape in enumerate(net.shapes) if shape.width}

    def __call__(self, x: Tensor, clear: Tensor | None) -> Tensor:
        paths = {i: (f"layers.{i}.rate.write", f"layers.{i}.trace") for i in self._plastic}
        names = [self._output, *(path for pair in paths.values() for path in pair)]
        inside, self._state = record(self._net, x, names, self._state, clear=clear)
        for i, (rate, trace) in paths.items():
            values = inside[rate].mean(), inside[rate].abs().mean(), inside[trace].abs().mean()
            self._plastic[i].append(_Plastic(*map(_rounded, values)))
        outputs = inside[self._output]
        if not bool(outputs.isfinite().all()):
            raise PlasticSearchError(f"the network's outputs are not finite at step {self._time}; choose another one")
        self._time += 1
        return outputs

    def layers(self) -> list[PlasticLayer]:
        """The steps so far, layer by layer."""
        columns = {i: [list(each) for each in zip(*steps, strict=True)] for i, steps in self._plastic.items()}
        return [PlasticLayer(i, *each) for i, each in columns.items()]


def _rounded(value: Tensor) -> float:
    return float(f"{float(value):.{_DIGITS}g}")
