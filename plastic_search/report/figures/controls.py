"""The winner beside the networks that it must be compared with, each with its interval over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search.core.statistics import Estimate
from plastic_search.records.run import Record
from plastic_search.report import groups
from plastic_search.report.figures import _canvas as canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "The winner and its controls"
QUESTION = "What would the winner score without its structure, without its plasticity, or without the search?"
SECTION, ORDER, NEEDS = "controls", 80, "run"


class Row(NamedTuple):
    """One finalist."""

    name: str
    label: str
    seeds: list[float]  # test score of each
    score: Estimate


class Controls(NamedTuple):
    score_name: str
    chance: float | None
    rows: list[Row]
    looks: dict[str, int]  # network -> its look


def data(record: Record) -> Controls | None:
    """Every finalist with a test score; None where there is none."""
    rows = []
    for each in groups.finals(record):
        score = each.mean()
        if score is not None:
            rows.append(Row(each.name, each.label, list(each.values().values()), score))
    return Controls(groups.score_name(record), groups.chance(record), rows, groups.looks(record)) if rows else None


def caption(data: Controls) -> str:
    """How to read it."""
    alone = any(row.score.n == 1 for row in data.rows)
    return (
        "Large marks: mean over seeds. Bars: its 95 % Student interval. Small marks: single seeds. "
        + ("A network trained with one seed has no interval. " if alone else "")
        + ("Dotted line: chance. " if data.chance is not None else "")
        + f"Scores are {data.score_name} on test episodes, which chose nothing."
        + canvas.CUT * canvas.beyond([row.score for row in data.rows], _limits(data))
    )


def _limits(data: Controls) -> tuple[float, float]:
    """Wide enough for every seed and for chance; an interval that runs further is cut at the edge."""
    marks = [s for row in data.rows for s in row.seeds] + ([data.chance] if data.chance is not None else [])
    margin = 0.12 * (max(marks) - min(marks)) + 0.01
    return min(marks) - margin, max(marks) + margin


def draw(data: Controls) -> str:
    """One row a network."""
    limits = _limits(data)

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for y, row in enumerate(data.rows):
            canvas.interval_row(axes, y, row.score, row.seeds, canvas.look(data.looks[row.name]), limits)
            axes.annotate(f"{row.score.value:.3f}", (1.01, y), xycoords=("axes fraction", "data"), va="center")
        canvas.name_rows(axes, [row.label for row in data.rows], limits, f"test {data.score_name}")
        canvas.chance_line(axes, data.chance, "y")
        if data.chance is not None:
            axes.annotate(" chance", (data.chance, -0.75), va="center", color=canvas.MUTED, fontsize=10)
            axes.set_ylim(top=-1)

    return canvas.render("controls", f"{TITLE}. {QUESTION}", 74 + 34 * len(data.rows), paint)
