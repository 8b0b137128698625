"""Which choices of the search set its best trials apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from plastic_search.records.run import Record
from plastic_search.report import groups
from plastic_search.report.figures import _canvas as canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Importance of each choice"
QUESTION = "Which of the searched choices set the best trials apart from the others?"
SECTION, ORDER, NEEDS = "importances", 50, "run"

_MOST = 12
_ENOUGH = 20  # of the best trials


class Importances(NamedTuple):
    paths: list[str]  # the most important first
    shares: list[float]
    present: list[int]  # in how many complete trials there was such a choice
    conditional: list[bool]  # whether it is there only where another choice took one of its options
    trials: int  # complete ones, of all searches, that this rests on


def shares(record: Record) -> dict[str, float]:
    """The share of each path, without those that trials chose and no network made use of."""
    chosen = {path for run in record.stage("search") for path in run.choices}
    unused = chosen.difference(*(t.choices for t in groups.trials(record) if t.outcome == "complete"))
    return {
        path: share
        for path, value in record.importances.items()
        if (share := groups.finite(value)) is not None and path not in unused
    }


def data(record: Record) -> Importances | None:
    """Every path with its share; None where none was worked out."""
    known = shares(record)
    if not known:
        return None
    order = sorted(known, key=lambda path: (-known[path], path))
    complete = [t for t in groups.trials(record) if t.outcome == "complete"]
    present = [sum(a in t.choices for t in complete) for a in order]
    others = {*known, *record.study.get("search_parameters", {})}
    conditional = [any(a.startswith(f"{b}.") for b in others) for a in order]
    return Importances(order, [known[a] for a in order], present, conditional, len(complete))


def caption(data: Importances) -> str:
    """How to read it."""
    rest = data.shares[_MOST:]
    many = f"{len(rest)} paths share" if len(rest) > 1 else "path has"
    more = f" Another {many} {_percent(sum(rest))}." if rest else ""
    some = (
        " A path below a choice is there only where the choice took its option: in as many trials as stand beside "
        "it, so that its share rests on fewer."
        if any(data.conditional)
        else ""
    )
    best = max(2, -(-data.trials // 10))  # as Optuna takes them
    hint = f" The best tenth are {best} trials: this is a hint, not a measurement." if best < _ENOUGH else ""
    return (
        "How far each path's values in the best tenth of the trials differ from those in all of them, as a share of "
        f"the sum: PED-ANOVA (Watanabe et al. 2023), over the {data.trials} complete trials of all searches.{some}"
        f"{more}{hint}"
    )


def draw(data: Importances) -> str:
    """One bar an path."""
    rows = list(zip(data.paths, data.shares, strict=True))[:_MOST]
    in_some = [f", in {n} of {data.trials}" if c else "" for n, c in zip(data.present, data.conditional, strict=True)]

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        axes.barh(range(len(rows)), [share for _, share in rows], height=0.62, color=canvas.BLUE, alpha=0.85)
        for y, (_, share) in enumerate(rows):
            axes.annotate(_percent(share) + in_some[y], (share, y), xytext=(6, 0),
                          textcoords="offset points", va="center")  # fmt: skip
        axes.set_yticks(range(len(rows)), [canvas.short(path) for path, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, max((1.35 if any(data.conditional) else 1.12) * max(share for _, share in rows), 0.01))
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines["bottom"].set_visible(False)

    return canvas.render("importances", f"{TITLE}. {QUESTION}", 24 + 26 * len(rows), paint)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "< 1%"
