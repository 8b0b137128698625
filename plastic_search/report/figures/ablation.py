"""Finalists as they are, with their trace fixed at zero, and with its entries shuffled among synapses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search.core.statistics import Estimate
from plastic_search.records.run import Record
from plastic_search.report import groups
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.groups import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Taking the trace away"
QUESTION = "Does the winner answer from what its trace holds?"
SECTION, ORDER, NEEDS = "ablation", 70, "run"

_STATES = (
    ("score", "intact"),
    ("frozen", "trace frozen at zero"),
    ("shuffled", "trace shuffled"),
    ("clamped", "rate held at its mean"),
)


class Condition(NamedTuple):
    """One network under one treatment."""

    name: str  # intact, ...
    seeds: list[float]
    score: Estimate
    change: Estimate | None  # against intact, by seed


class Network(NamedTuple):
    name: str
    label: str
    conditions: list[Condition]


class Ablation(NamedTuple):
    score_name: str
    chance: float | None
    networks: list[Network]
    looks: dict[str, int]  # network -> its look


def data(record: Record) -> Ablation | None:
    """The plastic finalists; None where none was measured without its trace."""
    return of_networks(groups.finals(record), groups.score_name(record), groups.chance(record), groups.looks(record))


def of_networks(found: list[Group], score_name: str, chance: float | None, looks: dict[str, int]) -> Ablation | None:
    """The same of any networks; those that are not plastic are left out."""
    networks = []
    for each in found:
        if not each.plastic:
            continue
        conditions = []
        for metric, name in _STATES:
            values, score = each.values(metric), each.mean(metric)
            if score is not None:
                change = groups.compared_scores(values, each.values()) if metric != "score" else None
                conditions.append(Condition(name, list(values.values()), score, change))
        networks.append(Network(each.name, each.label, conditions))
    return Ablation(score_name, chance, networks, looks) if networks else None


def caption(data: Ablation) -> str:
    """How to read it."""
    return (
        "The same trained networks, each tested three times: as it is; with every trace fixed at zero, so that only "
        "the fixed weights answer; and with the trace's entries exchanged among the synapses of a layer just before "
        f"the question, so that what was written is all there but no longer where it was written. {intervals(data)}"
    )


def intervals(data: Ablation) -> str:
    """What its bars are."""
    return (
        "Bars: 95 % Student intervals over seeds."
        + (" Dotted line: chance." if data.chance is not None else "")
        + canvas.CUT * canvas.beyond([c.score for n in data.networks for c in n.conditions], _limits(data))
    )


def _limits(data: Ablation) -> tuple[float, float]:
    """Wide enough for every seed and for chance."""
    marks = [s for n in data.networks for c in n.conditions for s in c.seeds]
    marks += [data.chance] if data.chance is not None else []
    return min(0.0, *marks), max(marks) + 0.08 * (max(marks) - min(marks)) + 0.02


def draw(data: Ablation) -> str:
    """One row a network, treatments below one another within it."""
    limits = _limits(data)
    known = {condition.name for network in data.networks for condition in network.conditions}
    markers = {name: marker for (_, name), marker in zip(_STATES, "osDv", strict=True) if name in known}

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for name, marker in markers.items():
            axes.plot([], [], linestyle="none", marker=marker, markersize=7, color=canvas.INK, label=name)
        for y, network in enumerate(data.networks):
            colour = canvas.look(data.looks[network.name]).colour
            for condition, dy in zip(network.conditions, canvas.spread(len(network.conditions), 0.6), strict=True):
                look = canvas.Look(colour, "-", markers[condition.name])
                canvas.interval_row(axes, y + dy, condition.score, condition.seeds, look, limits, 0.1)
                axes.annotate(f"{condition.score.value:.3f}", (1.01, y + dy), xycoords=("axes fraction", "data"),
                              va="center", fontsize=10)  # fmt: skip
        canvas.name_rows(axes, [network.label for network in data.networks], limits, f"test {data.score_name}")
        canvas.chance_line(axes, data.chance, "y")
        canvas.legend(figure)

    row = 18 * max(3, *(len(network.conditions) for network in data.networks))
    return canvas.render("ablation", f"{TITLE}. {QUESTION}", 74 + row * len(data.networks), paint)
