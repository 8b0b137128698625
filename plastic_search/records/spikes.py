"""A test episode of a trained network with units that fire, as a run folder keeps it: spikes/NAME-SEED.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.records.files import read_json, write_text
from plastic_search.records.schema import conform

__all__ = ["SCHEMA", "SPIKES", "FiringLayer", "MembraneTrace", "SpikingEpisode", "read", "read_all", "write"]

SPIKES, SCHEMA = "spikes", "plastic_search/spikes/1"
_AGAIN = "remove it, and the page goes without this episode"


@dataclass(frozen=True)
class MembraneTrace:
    """The membrane of one unit after each step.

    Args:
        unit: its number in the layer, one of those whose spikes are kept.
        potential: after the reset, where the unit fired.
        threshold: above which the unit fires in the next step.
    """

    unit: int
    potential: list[float]
    threshold: list[float]


@dataclass(frozen=True)
class FiringLayer:
    """What the units of one layer that fires, or those inputs that are spikes, do in an episode.

    Args:
        layer: its number, from 0; -1 for the network's inputs.
        units: how many it has.
        shown: the numbers of the units whose spikes are kept, one at least.
        spikes: of each of these, the steps in which it fires, ascending.
        membranes: of a few units; none of inputs.
        before: time constants of the membrane at the start of training, in steps, of every unit; none of inputs.
        after: at its end, likewise.
    """

    layer: int
    units: int
    shown: list[int]
    spikes: list[list[int]]
    membranes: list[MembraneTrace]
    before: list[float]
    after: list[float]


@dataclass(frozen=True)
class SpikingEpisode:
    """One episode.

    Args:
        schema: `SCHEMA`.
        name: of the network.
        seed: with which it was trained.
        steps: how many of the episode's steps are kept, from the first on.
        length: how many steps the episode has.
        query_step: the first step whose output is scored.
        score: of this episode.
        layers: those that fire, inputs first where they are spikes.
    """

    schema: str
    name: str
    seed: int
    steps: int
    length: int
    query_step: int
    score: float
    layers: list[FiringLayer]

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        return asdict(self)


def write(folder: Path | str, episode: SpikingEpisode, file: str) -> None:
    """Write an episode into a run folder.

    Args:
        file: its name without an end.
    """
    text = json.dumps(episode.to_json(), allow_nan=False)
    write_text(as_path(folder) / SPIKES / f"{file}.json", text)


def read_all(folder: Path | str) -> dict[str, SpikingEpisode]:
    """The episodes of a run folder, by the names of their files.

    Raises:
        PlasticSearchError: a file is damaged; the message names it.
    """
    return {path.stem: read(path) for path in sorted((as_path(folder) / SPIKES).glob("*.json"))}


def read(path: Path | str) -> SpikingEpisode:
    """The episode in a file.

    Raises:
        PlasticSearchError: it is no whole JSON file, or has other keys, types or lengths than an episode.
    """
    path = as_path(path)
    data: dict[str, Any] = read_json(path, _AGAIN)
    conform(data, SpikingEpisode, str(path), _AGAIN)
    layers = [
        FiringLayer(**each | {"membranes": [MembraneTrace(**one) for one in each["membranes"]]})
        for each in data["layers"]
    ]
    episode = replace(SpikingEpisode(**data), layers=layers)
    if fault := _fault(episode):
        raise PlasticSearchError(f"{path}: {fault}; {_AGAIN}")
    return episode


def _fault(episode: SpikingEpisode) -> str:
    """What does not fit together in an episode; "" where all does."""
    if episode.schema != SCHEMA:
        return f"schema must be {SCHEMA!r}, but is {episode.schema!r:.60}"
    if not 1 <= episode.steps <= episode.length:
        return f"steps must be from 1 to length={episode.length}, but is {episode.steps}"
    lengths: dict[str, tuple[int, int]] = {}
    for i, each in enumerate(episode.layers):
        lengths[f"layers.{i}.spikes"] = len(each.spikes), len(each.shown)
        lengths[f"layers.{i}.after"] = len(each.after), len(each.before)
        for k, trace in enumerate(each.membranes):
            for name in ("potential", "threshold"):
                lengths[f"layers.{i}.membranes.{k}.{name}"] = len(getattr(trace, name)), episode.steps
        at = [step for unit in each.spikes for step in unit]
        if at and not 0 <= min(at) <= max(at) < episode.steps:
            return f"layers.{i}.spikes must be steps from 0 to {episode.steps - 1}"
        if not each.shown or not 0 <= min(each.shown) <= max(each.shown) < each.units:
            return f"layers.{i}.shown must name units from 0 to {each.units - 1}"
        if any(trace.unit not in each.shown for trace in each.membranes):
            return f"layers.{i}.membranes must be of units that are shown"
    for name, (length, wanted) in lengths.items():
        if length != wanted:
            return f"{name} must have {wanted} entries, but has {length}"
    return ""
