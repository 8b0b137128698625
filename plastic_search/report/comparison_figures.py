"""The figures of a page about cases: each metric at its end and along an axis, and each quantity over training."""

from __future__ import annotations

from typing import Any

from plastic_search.core.statistics import Estimate
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures import _cases, _rounded
from plastic_search.report.figures._cases import Final, Line

__all__ = ["QUANTITIES", "along_axis", "every_seed", "in_few_bits", "over_training"]

QUANTITIES = {  # of a learning curve -> its label
    "loss": "training loss", "score": "validation score", "units": "units", "connections": "connections",
    "plastic_connections": "plastic connections", "fitness": "fitness, mean of candidates",
    "best_fitness": "fitness of the best candidate",
}  # fmt: skip

Page = dict[str, Any]  # as `comparison_page.contents` makes it


def every_seed(page: Page) -> dict[str, dict[str, str]]:
    """Metric -> SVG of every seed at its end, and what its caption adds."""
    looks, result = _looks(page), {}
    for metric, known in _measured(page):
        rows = [Final(c["label"], looks[c["name"]], list(m.values.values()), m.result) for c, m in known]
        floors = page["floor"] if metric["name"] == "loss" else {}
        drawing = _cases.every_seed(f"final-{metric['name']}", rows, metric["title"], metric["limit"], floors)
        result[metric["name"]] = {"svg": drawing, "cut": _cases.cut(rows)}
    return result


def in_few_bits(page: Page) -> str:
    """SVG of the cases that were rounded or exported, a row for each number format; "" where there is none."""
    return _rounded.draw(page["rounded"], _looks(page), page["metrics"][0]["title"]) if page["rounded"] else ""


def along_axis(page: Page) -> dict[str, str]:
    """Metric -> SVG of it against the axis, a line for each group of cases."""
    result = {}
    for i, (metric, known) in enumerate(_measured(page) if page["axis"] else ()):
        groups: dict[str, list[tuple[float, Estimate]]] = {}
        for case, measured in known:
            if case["at"] is not None and case["name"] != page["reference"]:
                groups.setdefault(case["group"], []).append((case["at"], measured.result))
        lines = [
            Line(group, canvas.look(place), *map(list, zip(*sorted(points, key=lambda p: p[0]), strict=True)))
            for place, (group, points) in enumerate(groups.items())
        ]
        reference = [(c, m.result) for c, m in known if c["name"] == page["reference"]]
        base = [Line(c["label"], canvas.look(0), [c["at"]] * (c["at"] is not None), [r]) for c, r in reference]
        chance, labels = page["task"]["chance"] if i == 0 else None, (page["axis"], metric["title"])
        if lines:
            result[metric["name"]] = _cases.along_axis(f"axis-{metric['name']}", lines, base, chance, labels)
    return result


def over_training(page: Page) -> dict[str, str]:
    """Quantity -> SVG of its curves."""
    looks, floors = _looks(page), {"loss": page["floor"]}
    return {
        quantity: _cases.over_training(
            f"curve-{quantity}", curves, looks, QUANTITIES[quantity], floors.get(quantity, {})
        )
        for quantity, curves in page["curves"].items()
        if quantity != "score" or page["environment"] is None  # whose learning curves have intervals
    }


def _looks(page: Page) -> dict[str, canvas.Look]:
    return {case["name"]: canvas.look(i) for i, case in enumerate(page["cases"])}


def _measured(page: Page) -> list[tuple[dict[str, Any], list[tuple[dict[str, Any], Any]]]]:
    """Each metric with the cases that have it."""
    found = [(m, [(c, v) for c in page["cases"] if (v := c["metrics"][m["name"]])]) for m in page["metrics"]]
    return [(metric, known) for metric, known in found if known]
