"""What plasticity does around a reward: signal, magnitude of the rate and |H|, averaged over rewarded steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from plastic_search.core import statistics
from plastic_search.core.statistics import Estimate
from plastic_search.records.episodes import Episode, PlasticLayer
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures._canvas import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Around", "data", "draw", "rewarded"]

BEFORE, AFTER = 5, 15  # steps
_QUANTITIES = (("signal", "modulator"), ("rate", "magnitude of the rate"), ("trace", "mean |H|"))


class Around(NamedTuple):
    """One plastic layer of one case."""

    name: str
    label: str
    layer: int
    events: int  # rewarded steps, of all seeds
    lags: list[int]  # steps after the one in which the network can first receive the reward
    signal: list[Estimate]  # at each lag, over seeds
    rate: list[Estimate]
    trace: list[Estimate]


def rewarded(episode: Episode) -> list[int]:
    """The steps in which the network can first receive a reward above the middle of the smallest and the largest."""
    middle = (min(episode.rewards) + max(episode.rewards)) / 2
    return [t + 1 for t, reward in enumerate(episode.rewards) if reward > middle]


def data(episodes: list[Episode], cases: list[dict[str, Any]]) -> list[Around]:
    """The plastic layers of each case, over its seeds; none where no step is rewarded more than others."""
    found = []
    for case in cases:
        mine = [each for each in episodes if each.name == case["name"] and rewarded(each)]
        for layer in sorted({each.layer for episode in mine for each in episode.layers}):
            found.append(_around(case, layer, mine))
    return found


def _around(case: dict[str, Any], layer: int, episodes: list[Episode]) -> Around:
    lags = list(range(-BEFORE, AFTER + 1))
    pairs = [(each, own) for episode in episodes for own in episode.layers if own.layer == layer for each in [episode]]
    columns = {}
    for name, _ in _QUANTITIES:
        columns[name] = [_at(name, lag, pairs) for lag in lags]
    kept = [i for i in range(len(lags)) if columns["trace"][i] is not None]
    results = {name: [e for i in kept if (e := values[i]) is not None] for name, values in columns.items()}
    several = " layers" if len({own.layer for e in episodes for own in e.layers}) > 1 else ""
    label = case["label"] + (f", layer {layer}" if several else "")
    events = sum(len(rewarded(episode)) for episode in episodes)
    return Around(case["name"], label, layer, events, [lags[i] for i in kept], **results)


def _at(name: str, lag: int, pairs: list[tuple[Episode, PlasticLayer]]) -> Estimate | None:
    """The mean at one lag: over rewards in each episode, then over episodes, one a seed."""
    means = []
    for episode, own in pairs:
        values: list[float] = getattr(own, name)
        here = [values[t + lag] for t in rewarded(episode) if 0 <= t + lag < len(values)]
        if here:
            means.append(sum(here) / len(here))
    return statistics.mean(means) if means else None


def draw(found: list[Around], looks: dict[str, Look]) -> str:
    """A panel for each quantity, all cases over one another."""
    labels = canvas.distinct([each.label for each in found], 40)

    def paint(figure: Figure) -> None:
        panels: Any = figure.subplots(len(_QUANTITIES), 1, sharex=True)
        for axes, (name, title) in zip(panels, _QUANTITIES, strict=True):
            for each, label in zip(found, labels, strict=True):
                _line(axes, each, getattr(each, name), label, looks[each.name])
            axes.axvline(0, color=canvas.MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.set_ylabel(title)
            axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.4g}")
            canvas.bare(axes)
        canvas.whole_ticks(panels[-1])
        panels[-1].set_xlabel("steps after the reward is received")
        canvas.legend(figure)

    title = f"Modulator, plasticity rate and trace around a reward: {', '.join(labels)}"
    return canvas.render("around", title, 460 + canvas.legend_height(labels), paint)


def _line(axes: Axes, each: Around, results: list[Estimate], label: str, look: Look) -> None:
    known = all(result.known for result in results)
    band = ([r.low or 0.0 for r in results], [r.high or 0.0 for r in results]) if known else None
    look = canvas.Look(look.colour, ("-", "--", ":")[min(each.layer, 2)], look.marker)
    canvas.curve(axes, label, each.lags, [r.value for r in results], band, look)
