"""Finalists as they are, with their trace fixed at zero, and with its entries shuffled among synapses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search.records.run import Record
from plastic_search.report import groups
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Taking the trace away"
QUESTION = "Does the winner answer from what its trace holds?"
SECTION, ORDER, NEEDS = "ablation", 70, "run"

_STATES = (("score", "intact"), ("frozen", "trace frozen at zero"), ("shuffled", "trace shuffled"))


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


def data(record: Record) -> Ablation | None:
    """The plastic finalists; None where none was measured without its trace."""
    networks = []
    for each in groups.finals(record):
        if not each.plastic:
            continue
        conditions = []
        for metric, name in _STATES:
            values, score = each.values(metric), each.mean(metric)
            if score is not None:
                change = groups.compared_scores(values, each.values()) if metric != "score" else None
                conditions.append(Condition(name, list(values.values()), score, change))
        networks.append(Network(each.name, each.label, conditions))
    return Ablation(groups.score_name(record), groups.chance(record), networks) if networks else None


def caption(data: Ablation) -> str:
    """How to read it."""
    return (
        "The same trained networks, each tested three times: as it is; with every trace fixed at zero, so that only "
        "the fixed weights answer; and with the trace's entries exchanged among the synapses of a layer just before "
        "the question, so that what was written is all there but no longer where it was written. Bars: 95 % Student "
        "intervals over seeds."
        + (" Dotted line: chance." if data.chance is not None else "")
        + canvas.CUT * canvas.beyond([c.score for n in data.networks for c in n.conditions], _limits(data))
    )


def _limits(data: Ablation) -> tuple[float, float]:
    """Wide enough for every seed and for chance."""
    marks = [s for n in data.networks for c in n.conditions for s in c.seeds]
    marks += [data.chance] if data.chance is not None else []
    return min(0.0, *marks), max(marks) + 0.08 * (max(marks) - min(marks)) + 0.02


def draw(data: Ablation) -> str:
    """Networks side by side, treatments within each."""
    limits = _limits(data)

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        looks = dict(zip((n for _, n in _STATES), zip(canvas.COLOURS, "osD", strict=False), strict=False))
        for x, network in enumerate(data.networks):
            for condition, dx in zip(network.conditions, canvas.spread(len(network.conditions), 0.56), strict=True):
                colour, marker = looks[condition.name]
                canvas.whiskers(axes, x + dx, condition.score, colour, "y", limits)
                axes.plot([x + dx + d for d in canvas.spread(len(condition.seeds), 0.06)], condition.seeds,
                          linestyle="none", marker=marker, markersize=3, markerfacecolor=canvas.PAPER,
                          markeredgecolor=colour, zorder=3)  # fmt: skip
                axes.plot(x + dx, condition.score.value, marker=marker, markersize=8, color=colour, zorder=4,
                          linestyle="none", label=condition.name if x == 0 else None)  # fmt: skip
                axes.annotate(f"{condition.score.value:.3f}", (x + dx, condition.score.value), xytext=(12, 0),
                              textcoords="offset points", va="center", fontsize=10)  # fmt: skip
        canvas.chance_line(axes, data.chance)
        axes.set_xticks(range(len(data.networks)), [canvas.short(n.label, 24) for n in data.networks])
        axes.set_xlim(-0.5, max(len(data.networks), 2) - 0.5)
        axes.set_ylim(*limits)
        axes.set_ylabel(f"test {data.score_name}")
        canvas.bare(axes)
        canvas.legend(axes)

    return canvas.render("ablation", f"{TITLE}. {QUESTION}", 290, paint)
