"""What a page adds where networks have units that fire: spikes, operations and their energy, and one episode."""

from __future__ import annotations

from typing import Any

from plastic_search.core import statistics
from plastic_search.records.run import Record, Run
from plastic_search.records.spikes import SpikingEpisode
from plastic_search.report import groups
from plastic_search.report.figures import _spikes
from plastic_search.report.formatting import digits

__all__ = ["contents", "drawings"]

_COUNTED = ("accumulates", "multiply_accumulates", "trace_writes")
_DIGITS = {"spikes": 3, "energy": 0}  # decimals at least
Page = dict[str, Any]  # as `contents` makes it, or None


def contents(record: Record, networks: list[tuple[str, str, list[Run]]], first: list[str | None]) -> Page | None:
    """What is counted of networks with units that fire, as plain data; None where there is none.

    Args:
        networks: the name of each network of the page, its label, and its runs.
        first: the networks whose episode is shown, the first that has one.
    """
    rows = [row for name, label, runs in networks if (row := _row(name, label, runs))]
    if not rows:
        return None
    labels = {name: label for name, label, _ in networks}
    shown = _shown(record, [*first, *(row["name"] for row in rows)])
    about = None
    if shown is not None and shown.name in labels:
        about = {
            "name": shown.name,
            "label": labels[shown.name],
            "seed": shown.seed,
            "score": shown.score,
            "steps": shown.steps,
            "length": shown.length,
        }
    return {
        "rows": rows,
        "digits": {name: max(digits([row[name] for row in rows]), least) for name, least in _DIGITS.items()},
        "episode": about,
    }


def _row(name: str, label: str, runs: list[Run]) -> dict[str, Any] | None:
    """The means of one network over its seeds; None where nothing was counted."""
    known = [run for run in runs if groups.finite(run.metrics.get("energy")) is not None and "spikes" in run.metrics]
    if not known:
        return None
    rates = [run.metrics["spikes"] for run in known]
    layers = sorted({int(n.removeprefix("spikes.")) for run in known for n in run.metrics if n.startswith("spikes.")})
    return {
        "name": name,
        "label": label,
        "seeds": len(known),
        "spikes": statistics.bounded(statistics.mean(rates), rates),
        "layers": [
            {"layer": i, "spikes": groups.average(run.metrics.get(f"spikes.{i}") for run in known)} for i in layers
        ],
        **{each: groups.average(run.metrics.get(each) for run in known) for each in _COUNTED},
        "energy": statistics.mean([run.metrics["energy"] for run in known]),
    }


def _shown(record: Record, names: list[str | None]) -> SpikingEpisode | None:
    """The episode of the first network that has one, of its first seed."""
    known = sorted(record.spikes.values(), key=lambda each: each.seed)
    return next((each for name in names for each in known if each.name == name), None)


def drawings(record: Record, found: Page | None) -> dict[str, dict[str, str]]:
    """Figure -> its SVG, its title and its caption; none where no episode is shown.

    Args:
        found: the result of `contents`.
    """
    episode = _shown(record, [found["episode"]["name"]]) if found and found["episode"] else None
    if found is None or episode is None:
        return {}
    whose = f"{found['episode']['label']}, seed {episode.seed}"
    kept = "" if episode.steps == episode.length else f" The first {episode.steps:,} of {episode.length:,} steps."
    query = " Dotted: from here on the output is scored." if 0 < episode.query_step < episode.steps else ""
    result = {}
    if episode.layers:
        words = f"{_RASTER}{_some(episode)}{query}{kept}"
        result["raster"] = _figure(f"One test episode: {whose}", _spikes.raster(episode), words)
    if any(layer.membranes for layer in episode.layers):
        result["membranes"] = _figure(f"Membranes in it: {whose}", _spikes.membranes(episode), f"{_MEMBRANES}{query}")
    if any(_spikes.trained(layer) for layer in episode.layers):
        result["constants"] = _figure(f"Trained time constants: {whose}", _spikes.constants(episode), _CONSTANTS)
    return result


def _some(episode: SpikingEpisode) -> str:
    """Which units are shown, where these are not all."""
    cut = [each for each in episode.layers if len(each.shown) < each.units]
    return "".join(
        f" Of {_spikes.called(each)} {len(each.shown)} of {each.units} units, evenly spaced." for each in cut
    )


_RASTER = "A mark is a spike; rows are units, a panel a layer."
_MEMBRANES = (
    "Of the units of each layer above, the one that fires most in this episode, one in the middle, and the one that "
    "fires least but does. The potential is that after the reset, so a spike, a stroke above, follows no crossing."
)
_CONSTANTS = "Units by the time constant of their membrane, at the start of training and at its end."


def _figure(title: str, svg: str, caption: str) -> dict[str, str]:
    return {"title": title, "svg": svg, "caption": caption}
