"""What the study of networks that choose their size has found: figures with intervals, and verdicts from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.records.files import read_json, read_lines
from plastic_search.report.statistics import Estimate, median, median_difference, quartiles, share

__all__ = ["SOLVED", "findings", "verdicts"]

SOLVED = 11.0  # nats a window of the hard text; runs end near 10, or near 13 and above
_LABELS = {
    "variable-hard": "chooses its size, hard text",
    "variable-easy": "chooses its size, easy text",
    "easy-hard-easy": "chooses its size, easy, hard, easy",
    "fixed-20": "20 units, hard text",
    "fixed-37": "37 units, hard text",
    "fixed-75": "75 units, hard text",
    "fixed-100": "100 units, hard text",
}
_HARD = ("variable-hard", "fixed-20", "fixed-37", "fixed-75", "fixed-100")
_PUBLISHED = {  # units and nats a window at the end, medians of 20 runs; losses are read off figures
    "variable-hard": ("37", "10.2"),
    "variable-easy": ("14 (figure: 16)", "9"),
    "easy-hard-easy": ("19", "9"),
    "fixed-20": ("20", "13 to 14"),
    "fixed-37": ("37", "13 to 14"),
    "fixed-75": ("75", "13 to 14"),
    "fixed-100": ("100", "15.5"),
}
_SWITCHED = (("at a third", "14"), ("at its largest", "about 60"), ("at two thirds", "42"), ("at the end", "19"))

Lines = list[dict[str, Any]]


def findings(out: Path) -> dict[str, Any]:
    """All that the page shows, as plain data.

    Raises:
        PlasticSearchError: the folder holds no such study, or no condition of it is finished.
    """
    path = out / "growth.json"
    if not path.is_file():
        raise PlasticSearchError(f"{out} holds no growth.json; `plastic-search grow --out {out}` makes one")
    asked = read_json(path, "choose another folder with --out")
    read = {name: list(read_lines(out / "conditions" / f"{name}.jsonl")) for name in _LABELS}
    runs = {name: lines for name, lines in read.items() if lines}
    if not runs:
        raise PlasticSearchError(f"no condition in {out} is finished; the command that began it goes on")
    told = {name: asked.get(name) for name in ("cycles", "seeds", "floors", "machine", "code", "versions")}
    return told | {
        "missing": [_LABELS[name] for name in _LABELS if name not in runs],
        "conditions": [_condition(name, lines) for name, lines in runs.items()],
        "switched": _switched(runs["easy-hard-easy"]) if "easy-hard-easy" in runs else [],
        "verdicts": verdicts(runs),
    }


def _condition(name: str, lines: Lines) -> dict[str, Any]:
    units, losses = [_units(line) for line in lines], [_loss(line) for line in lines]
    steps = [row[0] for row in lines[0]["curve"]]
    columns = {
        what: [list(quartiles([line["curve"][i][at] for line in lines])) for i in range(len(steps))]
        for what, at in (("loss", 1), ("units", 2))
    }
    solved = share(sum(loss < SOLVED for loss in losses), len(losses)) if name in _HARD else None
    published = dict(zip(("units", "loss"), _PUBLISHED[name], strict=True))
    return {
        "name": name,
        "label": _LABELS[name],
        "hard": name in _HARD,
        "seeds": len(lines),
        "units": median(units)._asdict() | {"quartiles": quartiles(units)},
        "loss": median(losses)._asdict() | {"quartiles": quartiles(losses)},
        "solved": solved and solved._asdict(),
        "published": published,
        "final": [[line["seed"], loss, count] for line, loss, count in zip(lines, losses, units, strict=True)],
        "curve": {"steps": steps, **columns},
        "minutes": sum(line["seconds"] for line in lines) / 60,
    }


def _units(line: dict[str, Any], at: float = 1.0) -> float:
    """Units once a share of training is over."""
    rows = [row for row in line["curve"] if row[0] <= at * line["cycles"]]
    return float((rows or line["curve"])[-1 if rows else 0][2])


def _loss(line: dict[str, Any]) -> float:
    """The running loss, its mean over the last twentieth of training."""
    rows = [row[1] for row in line["curve"] if row[0] > 0.95 * line["cycles"]]
    return sum(rows) / len(rows)


def _switched(lines: Lines) -> list[dict[str, Any]]:
    """Units where the paper tells them of the text that is switched."""
    most = [max(row[2] for row in line["curve"]) for line in lines]
    found = [[_units(line, 1 / 3) for line in lines], most, [_units(line, 2 / 3) for line in lines]]
    found.append([_units(line) for line in lines])
    return [
        {"when": when, "published": published, "units": median(values)._asdict()}
        for (when, published), values in zip(_SWITCHED, found, strict=True)
    ]


def verdicts(runs: dict[str, Lines]) -> list[dict[str, str]]:
    """What the intervals say to each question that can be asked of the finished conditions."""
    made = []
    units = {name: [_units(line) for line in lines] for name, lines in runs.items()}
    if {"variable-hard", "variable-easy"} <= runs.keys():
        change = median_difference(units["variable-hard"], units["variable-easy"])
        made.append(_verdict("Does a harder text make a larger network?", [change], f"{_told(change, 0)} units more"))
    fixed = [name for name in runs if name.startswith("fixed")]
    if fixed and "variable-hard" in runs:
        made += _against(runs, fixed)
    if "easy-hard-easy" in runs:
        lines = runs["easy-hard-easy"]
        grown = median([_units(line, 2 / 3) - _units(line, 1 / 3) for line in lines])
        told = f"from a third to two thirds of training a network gains {_told(grown, 0)} units"
        made.append(_verdict("Do networks grow when the text becomes hard?", [grown], told))
        shrunk = median([_units(line, 2 / 3) - _units(line) for line in lines])
        told = f"from two thirds of training to its end a network loses {_told(shrunk, 0)} units"
        made.append(_verdict("Do they shrink when it becomes easy again?", [shrunk], told))
    return made


def _against(runs: dict[str, Lines], fixed: list[str]) -> list[dict[str, str]]:
    """The network that chooses its size, beside those that do not, on the hard text."""
    losses = {name: [_loss(line) for line in runs[name]] for name in ("variable-hard", *fixed)}
    ours = losses["variable-hard"]
    gains = {name: median_difference(losses[name], ours) for name in fixed}
    told = "; ".join(f"{name.removeprefix('fixed-')} units: {_told(gain, 1)}" for name, gain in gains.items())
    solved = share(sum(loss < SOLVED for loss in ours), len(ours))
    most = solved._replace(value=solved.value - 0.5, low=(solved.low or 0) - 0.5, high=(solved.high or 0) - 0.5)
    return [
        _verdict(
            "On the hard text, is a network that chooses its size better than one of each fixed size?",
            list(gains.values()), f"median loss of the fixed one, less that of the other, in nats a window: {told}",
        ),
        _verdict(
            "Do most networks that choose their size solve the hard text?", [most],
            f"{solved.value:.0%} [{solved.low:.0%}, {solved.high:.0%}] end below {SOLVED:g} nats a window",
        ),
    ]  # fmt: skip


def _verdict(question: str, estimates: Sequence[Estimate], told: str) -> dict[str, str]:
    """Yes where every interval lies above 0, no where one lies below, else unclear."""
    signs = [each.sign for each in estimates]
    answer = "no" if -1 in signs else "yes" if all(sign == 1 for sign in signs) else "unclear"
    return {"question": question, "answer": answer, "told": told}


def _told(made: Estimate, digits: int) -> str:
    if made.low is None or made.high is None:
        return f"{made.value:.{digits}f} ({made.note})"
    return f"{made.value:.{digits}f} [{made.low:.{digits}f}, {made.high:.{digits}f}]"
