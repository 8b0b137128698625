"""What a network gains in an environment, as it is and with something imposed on its plasticity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from plastic_search.environments import Environment, Played
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.network.state import State
from plastic_search.tasks import Split
from plastic_search.training.environment_contract import metrics_of
from plastic_search.training.episodes import Ablation, act, play

__all__ = ["by_trial", "clamped", "gained", "mean_rate", "measured"]

_CHUNK = 100  # episodes in a batch, which bounds the memory of traces
_TRIALS, _BINS = 50, 20  # the most trials that are reported, and the spans of time where there are none
_SAMPLE = 50  # episodes from which the mean plasticity rate is taken
_CONSTANT = 1e-6  # a rate whose values differ by less is not modulated


def measured(
    net: Network, environment: Environment, split: Split, episodes: int, ablation: Ablation | None = None
) -> tuple[dict[str, float], list[float]]:
    """The environment's metrics by name, the score first, and the reward of each trial; means over `episodes` episodes.

    A mean leaves out the episodes in which a metric is NaN, but for the score. They are the same episodes at every
    call, as far as a network's actions do not change them. Splits differ in the seed alone.

    Args:
        ablation: what is imposed on the network: None, `evaluation.frozen`, the result of `clamped`, ...

    Raises:
        PlasticSearchError: the environment returns something else than `environments.Environment` describes.
    """
    return gained(environment, split, episodes, lambda size, rng: play(net, environment, size, rng, ablation))


def gained(
    environment: Environment, split: Split, episodes: int, playing: Callable[[int, Generator], Played]
) -> tuple[dict[str, float], list[float]]:
    """The same of whatever plays: from a number of episodes, and the source of their chance, to these episodes."""
    rng, found, trials = _rng(split), dict[str, list[Tensor]](), list[tuple[Tensor, Tensor]]()
    for size in _sizes(episodes):
        played = playing(size, rng)
        for name, values in metrics_of(environment, played).items():
            found.setdefault(name, []).append(values.double())
        trials.append(by_trial(played))
    longest = max(len(total) for total, _ in trials)
    totals, counts = (
        sum(torch.nn.functional.pad(each[i], (0, longest - len(each[i]))) for each in trials) for i in range(2)
    )
    metrics = {name: float(torch.cat(values).nanmean()) for name, values in found.items()}
    metrics |= {name: float(torch.cat(values).mean()) for name, values in list(found.items())[:1]}
    return metrics, (totals / counts).tolist()  # type: ignore[operator, union-attr]


def by_trial(played: Played) -> tuple[Tensor, Tensor]:
    """The summed reward of each trial over all episodes, and how many episodes have the trial [trials] each.

    Of episodes without trials, twenty equal spans of their time take the place.
    """
    rewards = played.rewards.double()
    times, batch = rewards.shape
    trials = played.trials
    if trials is None:
        trials = (torch.arange(times) * min(_BINS, times) // times).unsqueeze(1).expand(times, batch)
    trials = trials.long().cpu()
    count = min(_TRIALS, int(trials.max()) + 1)
    inside = (trials >= 0) & (trials < count)
    place = trials.clamp(0, max(0, count - 1)) * batch + torch.arange(batch)
    total = torch.zeros(max(1, count) * batch, dtype=torch.float64)
    has = total.clone()
    total.index_add_(0, place[inside], rewards.cpu()[inside])
    has[place[inside]] = 1.0
    return total.view(-1, batch).sum(1)[:count], has.view(-1, batch).sum(1)[:count]


@torch.no_grad()
def mean_rate(net: Network, environment: Environment) -> float | None:
    """The mean plasticity rate over synapses, steps and a sample of episodes; None where it does not vary."""
    rates = [f"layers.{i}.rate.write" for i, shape in enumerate(net.shapes) if shape.width]
    output = f"layers.{len(net.shapes) - 1}.output"
    found: list[Tensor] = []
    state: State | None = None

    def step(x: Tensor, clear: Tensor | None) -> Tensor:
        nonlocal state
        inside, state = record(net, x, [*rates, output], state, clear=clear)
        found.extend(inside[name].flatten(2).mean(2).flatten() for name in rates)
        lowest.append(min(float(inside[name].min()) for name in rates))
        highest.append(max(float(inside[name].max()) for name in rates))
        return inside[output]

    lowest: list[float] = []
    highest: list[float] = []
    if not rates:
        return None
    act(step, environment, _SAMPLE, [_rng(Split.VALIDATION)], next(net.parameters()))
    mean = float(torch.cat(found).double().mean())
    return mean if max(highest) - min(lowest) > _CONSTANT and math.isfinite(mean) else None


def clamped(rate: float) -> Ablation:
    """An ablation: the plasticity rate is held at `rate`, so that the trace changes, but nothing modulates it."""
    return lambda time: {"clamp": torch.full((time,), rate)}


def _rng(split: Split) -> Generator:
    return torch.Generator().manual_seed(30_000 + list(Split).index(split))


def _sizes(episodes: int) -> Iterator[int]:
    """Batches of at most `_CHUNK`."""
    yield from [_CHUNK] * (episodes // _CHUNK) + [episodes % _CHUNK] * (episodes % _CHUNK > 0)
