"""The score of a network on its task, as it is and with its traces ablated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plastic_search.network.module import Network
from plastic_search.network.state import State
from plastic_search.tasks import Split, Task
from plastic_search.training.contract import draw, scores_of

__all__ = ["Edit", "evaluate", "frozen", "shuffled"]

Edit = Callable[[int, State], State]

_CHUNK = 500  # episodes in a batch, which bounds the memory of traces


@torch.no_grad()
def evaluate(net: Network, task: Task, split: Split, episodes: int, edit: Edit | None = None) -> float:
    """The mean score, from 0 to 1, over `episodes` episodes, which are the same at every call; nan where one is nan.

    Args:
        edit: an ablation of the state before each step: None, `frozen`, or the result of `shuffled`.

    Raises:
        PlasticSearchError: the task's episodes or scores are not what `tasks.Task` describes.
    """
    rng = torch.Generator().manual_seed(20_000 + list(Split).index(split))
    scores = []
    for size in [_CHUNK] * (episodes // _CHUNK) + [episodes % _CHUNK] * (episodes % _CHUNK > 0):
        drawn = draw(task, size, split, rng, next(net.parameters()))
        outputs, _ = net(drawn.inputs, edit=edit)
        scores.append(scores_of(task, outputs, drawn))
    return torch.cat(scores).mean().item()


def frozen(time: int, state: State) -> State:
    """An ablation: every trace is zero, so that the fixed weights work alone."""
    return State(s if s.trace is None else s._replace(trace=torch.zeros_like(s.trace)) for s in state)


def shuffled(query_step: int, seed: int = 0) -> Edit:
    """An ablation: every trace's entries are permuted among the synapses of its layer from the first scored step on.

    The distribution of the trace's entries stays the same, but not their places: a control for the trace's magnitude.
    """

    def edit(time: int, state: State) -> State:
        if time < query_step:
            return state
        rng = torch.Generator().manual_seed(seed + time)
        return State(s if s.trace is None else s._replace(trace=_permuted(s.trace, rng)) for s in state)

    return edit


def _permuted(trace: Tensor, rng: torch.Generator) -> Tensor:
    order = torch.randperm(trace[0].numel(), generator=rng).to(trace.device)
    return trace.flatten(1)[:, order].view_as(trace)
