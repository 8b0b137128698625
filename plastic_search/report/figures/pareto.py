"""Score against connections: every complete trial of every search, and the front that no other trial dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search.records.run import Record
from plastic_search.report import groups
from plastic_search.report.figures import _canvas as canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Score against connections"
QUESTION = "How few connections does how good a network need?"
SECTION, ORDER, NEEDS = "search", 20, "run"


class Point(NamedTuple):
    arm: str
    trial: int
    connections: float
    score: float
    front: bool  # no other trial has as good a score with as few connections
    winner: bool


class Pareto(NamedTuple):
    score_name: str
    labels: dict[str, str]  # arm -> what it is called
    looks: dict[str, int]
    points: list[Point]


def data(record: Record) -> Pareto | None:
    """Every complete trial; None where there is none."""
    tried = [t for t in groups.trials(record) if t.outcome == "complete"]
    scored = [(t, t.connections, t.score) for t in tried if t.connections is not None and t.score is not None]
    if not scored:
        return None
    best = groups.winning_trial(record)
    winner = (best.arm, best.number) if best else None
    pairs = [(c, s) for _, c, s in scored]
    points = [
        Point(t.arm, t.number, c, s, not _dominated(c, s, pairs), (t.arm, t.number) == winner) for t, c, s in scored
    ]
    looks = groups.arm_looks(record)
    labels = {arm: groups.arm_label(arm) for arm in looks}
    return Pareto(groups.score_name(record), labels, looks, sorted(points, key=lambda p: (p.connections, -p.score)))


def _dominated(connections: float, score: float, others: list[tuple[float, float]]) -> bool:
    return any(c <= connections and s >= score and (c, s) != (connections, score) for c, s in others)


def caption(data: Pareto) -> str:
    """How to read it."""
    front = [p for p in data.points if p.front]
    share = ", ".join(f"{sum(p.arm == a for p in front)} from {name}" for a, name in data.labels.items())
    ring = " The ring marks the trial that became the winner." if any(p.winner for p in data.points) else ""
    return (
        f"Every complete trial. Those on the line are the front: to score more, a network needs more connections. Of "
        f"the {len(front)} on it, {share}.{ring}"
    )


def draw(data: Pareto) -> str:
    """Up and to the left is better."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        front = [(p.connections, p.score) for p in data.points if p.front]
        axes.step(*zip(*front, strict=True), where="post", color=canvas.MUTED, linewidth=1.2, zorder=1, label="front")
        for arm, label in data.labels.items():
            colour, _, marker = canvas.look(data.looks[arm])
            mine = [p for p in data.points if p.arm == arm]
            for on_front, alpha in ((False, 0.35), (True, 1.0)):
                some = [(p.connections, p.score) for p in mine if p.front == on_front]
                if some:
                    axes.plot(*zip(*some, strict=True), linestyle="none", marker=marker, markersize=6, color=colour,
                              alpha=alpha, markeredgewidth=0)  # fmt: skip
            axes.plot([], [], linestyle="none", marker=marker, markersize=6, color=colour, label=label)
        for p in data.points:
            if p.winner:
                axes.plot(p.connections, p.score, marker="o", markersize=15, markerfacecolor="none", linestyle="none",
                          markeredgecolor=canvas.INK, markeredgewidth=1.4, label="winner")  # fmt: skip
        sizes = [p.connections for p in data.points]
        if min(sizes) > 0 and max(sizes) > 20 * min(sizes):
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.set(xlabel="connections", ylabel=f"validation {data.score_name}")
        axes.margins(0.06)
        canvas.bare(axes, "both")
        canvas.legend(figure)

    return canvas.render("pareto", f"{TITLE}. {QUESTION}", 340, paint)
