"""An exported network that acts in its environment: its steps run in onnxruntime, without torch's."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator, Tensor

from plastic_search.core.paths import as_path
from plastic_search.environments import Environment, Played
from plastic_search.network.controls import ACTIVITY
from plastic_search.network.module import Network
from plastic_search.tasks import Split
from plastic_search.training.episodes import act, member
from plastic_search.training.reward import gained, measured

__all__ = ["played_exported"]

_EPISODES = 500  # as many as are behind a score in an environment


def played_exported(net: Network, bundle: Path | str, environment: Environment) -> dict[str, float]:
    """What a bundle's network earns on the test split: `score` through onnxruntime, `by_torch` as `net`.

    Both begin the same episodes, `episodes` in number. Where a last bit of the outputs decides about an action, they go
    on differently.

    Raises:
        PlasticSearchError: the bundle is damaged.
    """
    from plastic_search.export.manifest import refusals

    path = as_path(bundle)
    with refusals(), torch.no_grad():
        exported, _ = gained(environment, Split.TEST, _EPISODES, lambda size, rng: _play(path, environment, size, rng))
    by_torch, _ = measured(net, environment, Split.TEST, _EPISODES)
    score, reference = (next(iter(each.values())) for each in (exported, by_torch))
    return {"score": round(score, 6), "by_torch": round(reference, 6), "episodes": float(_EPISODES)}


def _play(bundle: Path, environment: Environment, batch: int, rng: Generator) -> Played:
    """A batch of episodes of the network in a bundle."""
    from plastic_search.export.runner import Runner

    runner = Runner(bundle)
    runner.reset(batch)

    def step(x: Tensor, clear: Tensor | None) -> Tensor:
        if clear is not None:
            for name, value in runner.state.items():
                if name.split(".")[2] in ACTIVITY:
                    value[clear[0].numpy()] = 0
        return torch.from_numpy(runner(x[0].numpy())).unsqueeze(0)

    return member(act(step, environment, batch, [rng], torch.zeros(1)).played, 0)
