"""An episode of a trained network in its environment, as a run folder keeps it: episodes/NAME-SEED.json.

Time: the network receives what the environment shows before action t, computes step t, and acts; `rewards[t]` is the
reward of that action, which it can receive at step t + 1 and not earlier.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.records.files import read_json, write_text
from plastic_search.records.schema import conform

__all__ = ["EPISODES", "SCHEMA", "Episode", "PlasticLayer", "read", "read_all", "write"]

EPISODES, SCHEMA = "episodes", "plastic_search/episode/1"
_AGAIN = "remove it, and the page goes without this episode"


@dataclass(frozen=True)
class PlasticLayer:
    """What the plasticity of one layer does, at each step.

    Args:
        layer: its number, from 0.
        signal: mean over units or synapses of the rate that the modulation gives, with its sign: an affine function of
            the modulator M where rate = f M + c, and M itself where one rate serves all.
        rate: mean of the rate's magnitude, which is how fast the trace changes.
        trace: mean |H| after the step.
    """

    layer: int
    signal: list[float]
    rate: list[float]
    trace: list[float]


@dataclass(frozen=True)
class Episode:
    """One episode.

    Args:
        schema: `SCHEMA`.
        name: of the network.
        seed: with which it was trained.
        draw: of the episode's chance.
        environment: as JSON.
        score_name: what the score is called.
        score: of this episode; None where it has nothing to measure.
        frames: drawings, before each action and after the last; none where the environment draws nothing.
        rewards: of each action.
        trials: number of the trial that each reward belongs to, -1 for none; empty where there are no trials.
        layers: the plastic ones.
    """

    schema: str
    name: str
    seed: int
    draw: int
    environment: dict[str, Any]
    score_name: str
    score: float | None
    frames: list[str]
    rewards: list[float]
    trials: list[int]
    layers: list[PlasticLayer]

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        return asdict(self)


def write(folder: Path | str, episode: Episode, file: str) -> None:
    """Write an episode into a run folder.

    Args:
        file: its name without an end.
    """
    text = json.dumps(episode.to_json(), allow_nan=False)
    write_text(as_path(folder) / EPISODES / f"{file}.json", text)


def read_all(folder: Path | str) -> dict[str, Episode]:
    """The episodes of a run folder, by the names of their files.

    Raises:
        PlasticSearchError: a file is damaged; the message names it.
    """
    return {path.stem: read(path) for path in sorted((as_path(folder) / EPISODES).glob("*.json"))}


def read(path: Path | str) -> Episode:
    """The episode in a file.

    Raises:
        PlasticSearchError: it is no whole JSON file, or has other keys, types or lengths than an episode.
    """
    path = as_path(path)
    data: dict[str, Any] = read_json(path, _AGAIN)
    conform(data, Episode, str(path), _AGAIN)
    episode = Episode(**data)
    episode = replace(episode, layers=[PlasticLayer(**each) for each in data["layers"]])
    if fault := _fault(episode):
        raise PlasticSearchError(f"{path}: {fault}; {_AGAIN}")
    return episode


def _fault(episode: Episode) -> str:
    """What does not fit together in an episode; "" where all does."""
    steps = len(episode.rewards)
    if episode.schema != SCHEMA:
        return f"schema must be {SCHEMA!r}, but is {episode.schema!r:.60}"
    if not steps:
        return "rewards must have a number for each step, but is empty"
    lengths: dict[str, tuple[int, tuple[int, ...]]]
    lengths = {"frames": (len(episode.frames), (0, steps + 1)), "trials": (len(episode.trials), (0, steps))}
    for i, each in enumerate(episode.layers):
        for name in ("signal", "rate", "trace"):
            lengths[f"layers.{i}.{name}"] = len(getattr(each, name)), (steps,)
    for name, (length, allowed) in lengths.items():
        if length not in allowed:
            return (
                f"{name} must have {' or '.join(map(str, allowed))} entries, as rewards has {steps}, but has {length}"
            )
    return ""
