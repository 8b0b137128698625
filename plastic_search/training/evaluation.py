"""The score of a network on its task, as it is and with its traces ablated."""

from __future__ import annotations

from typing import Any, cast

import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Environment
from plastic_search.network.interventions import Given
from plastic_search.network.module import Network
from plastic_search.network.state import describe
from plastic_search.tasks import Split, Task
from plastic_search.training.contract import draw, scores_of
from plastic_search.training.episodes import Ablation
from plastic_search.training.reward import measured

__all__ = ["Ablation", "evaluate", "frozen", "shuffled"]

_CHUNK = 500  # episodes in a batch, which bounds the memory of traces


@torch.no_grad()
def evaluate(
    net: Network, task: Task | Environment, split: Split, episodes: int, ablation: Ablation | None = None
) -> float:
    """The mean score over `episodes` episodes, which are the same at every call; nan where one is nan.

    Of a task it lies from 0 to 1; of an environment it is the first of its metrics.

    Args:
        ablation: what is imposed on the network: None, `frozen`, the result of `shuffled`, or any function from the
            number of steps to arguments of `Network.forward`, such as `lambda time: {"clamp": torch.zeros(time)}`.

    Raises:
        PlasticSearchError: what is returned is not what `tasks.Task` or `environments.Environment` describes.
    """
    if isinstance(task, Environment):
        return next(iter(measured(net, task, split, episodes, ablation)[0].values()))
    rng = torch.Generator().manual_seed(20_000 + list(Split).index(split))
    scores = []
    for size in [_CHUNK] * (episodes // _CHUNK) + [episodes % _CHUNK] * (episodes % _CHUNK > 0):
        drawn = draw(task, size, split, rng, next(net.parameters()))
        outputs, _ = net(drawn.inputs, **_given(ablation, len(drawn.inputs)))
        scores.append(scores_of(task, outputs, drawn))
    return torch.cat(scores).mean().item()


def _given(ablation: Ablation | None, time: int) -> Given:
    given: Any = ablation(time) if ablation else {}
    if not isinstance(given, dict):
        wanted = "a dict of arguments of Network.forward, such as {'clamp': torch.zeros(time)}"
        raise PlasticSearchError(f"an ablation must return {wanted}, but returned {describe(given)}")
    return cast(Given, given)


def frozen(time: int) -> Given:
    """An ablation: every trace is frozen at zero, so that the fixed weights work alone."""
    return {"freeze": torch.ones(time, dtype=torch.bool)}


def shuffled(query_step: int, seed: int = 0) -> Ablation:
    """An ablation: every trace's entries are permuted among the synapses of its layer from the first scored step on.

    The distribution of the trace's entries stays the same, but not their places: a control for the trace's magnitude.

    Raises:
        PlasticSearchError: the ablation is of sequences that have no such step.
    """

    def ablation(time: int) -> Given:
        if not 0 <= query_step < time:
            raise PlasticSearchError(f"query_step must be a step of the sequence, 0 to {time - 1}, but is {query_step}")
        steps = torch.arange(time)
        return {"shuffle": torch.where(steps >= query_step, seed + steps, -1)}

    return ablation
