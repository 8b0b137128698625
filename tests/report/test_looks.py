"""No two networks of a page look alike, and one network looks the same in all of its figures."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import synthetic
from test_comparison_page import with_scores

from plastic_search.records import run
from plastic_search.records.run import Record
from plastic_search.report import groups
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures import ablation, bits, controls, figures, learning_curves, pareto, search_progress
from plastic_search.report.report import Report, write

MANY = [7, 12, 20]


def lines(drawing: str) -> list[tuple[str, str]]:
    """Colour and dashes of every line of a network, that of its legend included."""
    styles = re.findall(r'<path d="[^"]*"[^>]* style="fill: none; ([^"]*)"', drawing)
    found = [dict(part.split(": ") for part in style.split("; ") if ": " in part) for style in styles]
    of_networks = [each for each in found if re.search("blue|orange|green|purple|yellow|sky", each["stroke"])]
    return [(each["stroke"], each.get("stroke-dasharray", "")) for each in of_networks]


def drawings(page: Path) -> dict[str, str]:
    return dict(re.findall(r'<figure id="figure-([^"]+)">(.*?)</figure>', page.read_text(), flags=re.S))


def with_finalists(full: Record, count: int) -> Record:
    """A study of so many finalists, whose names share their beginning and their end."""
    template = full.stage("final", "dense")
    more = [
        run.Run(**{**vars(each), "name": f"a network of mine, number {i}, with a cell of another kind"})
        for i in range(count - len(groups.finals(full)))
        for each in template
    ]
    return full._replace(runs=full.runs + more)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run.load(synthetic.full(tmp_path_factory.mktemp("full"), trials=8))


def test_no_two_looks_share_colour_and_dashes() -> None:
    looks = [canvas.look(i) for i in range(100)]
    assert len({(each.colour, str(each.dash)) for each in looks}) == 100
    assert all(a.marker != b.marker for a, b in pairwise(looks))


@pytest.mark.parametrize("count", MANY)
def test_the_curves_of_a_study_all_differ(full: Record, tmp_path: Path, count: int) -> None:
    record = with_finalists(full, count)
    curves = drawings(write(record, tmp_path, Report(full.name, figures=("learning_curves",))))["learning_curves"]
    pairs = lines(curves)
    assert len(set(pairs)) == count
    assert all(pairs.count(pair) == 2 for pair in pairs), "each once in the axes, and once in the legend"
    labels = re.findall(r">([^<]*another kind)</text>", curves)
    assert len(set(labels)) == len(labels) == count - 5


@pytest.mark.parametrize("count", MANY)
def test_the_curves_and_groups_of_a_comparison_all_differ(tmp_path: Path, count: int) -> None:
    record = with_scores(tmp_path, {f"case {i}": [0.1 * i, 0.1 * i + 1] for i in range(count + 1)})
    for i, case in enumerate(record.study["cases"]):
        case |= {"group": f"group {i}", "at": 1.0}
    record.study["axis"] = "size"
    curve: Any = [[step, 1.0, 0.5] for step in (1.0, 2.0, 3.0)]
    runs = [run.Run(**{**vars(each), "curve": curve}) for each in record.runs]
    found = drawings(write(record._replace(runs=runs), tmp_path))
    for name, number in (("curve-loss", count + 1), ("curve-score", count + 1), ("axis-score", count)):
        pairs = lines(found[name])
        assert len(set(pairs)) == number, name


def test_a_network_looks_the_same_in_every_figure(full: Record) -> None:
    """Also where a figure leaves out those before it: the best of random search has no curve, the winner no score."""
    change = {"best_random": {"curve": []}, "winner": {"metrics": {}}}
    record = full._replace(runs=[run.Run(**{**vars(r), **change.get(r.name, {})}) for r in full.runs])
    learned, compared, taken = learning_curves.data(record), controls.data(record), ablation.data(record)
    assert learned is not None
    assert compared is not None
    assert taken is not None
    assert "best_random" not in [each.name for each in learned.curves]
    assert "winner" not in [each.name for each in compared.rows]
    assert learned.looks == compared.looks == taken.looks == {name: i for i, name in enumerate(learned.looks)}


def test_a_search_looks_like_the_finalist_that_it_found(full: Record) -> None:
    looks, found = groups.looks(full), groups.arm_looks(full)
    assert found == {"tpe": looks["winner"], "random": looks["best_random"]}
    progress, front = search_progress.data(full), pareto.data(full)
    assert progress is not None
    assert front is not None
    assert {arm.name: arm.look for arm in progress.arms} == front.looks == found
    many = [run.Run(**{**vars(r), "name": f"arm {i}"}) for i in range(20) for r in full.stage("search", "tpe")]
    record = full._replace(runs=many)
    assert len(set(groups.arm_looks(record).values())) == 20
    data = search_progress.data(record)
    assert data is not None
    pairs = set(lines(search_progress.draw(data)))
    assert len(pairs) == 20


def test_the_roles_of_bits_differ_without_colours(full: Record) -> None:
    data = bits.data(full)
    assert data is not None
    looks = [canvas.look(i) for i, _ in enumerate(bits.ROLES)]
    assert all(a.marker != b.marker for a, b in combinations(looks, 2))
    drawn = bits.draw(data)
    for label in ("all, nearest", "all, stochastic", "weight", "alpha", "trace, nearest", "trace, stochastic"):
        assert drawn.count(f">{label}</text>") == 1


@pytest.mark.parametrize("labels", [["a" * 50 + "b", "c" * 50 + "b"], ["same", "same"], ["short", "x" * 90], []])
def test_shortened_labels_stay_distinct(labels: list[str]) -> None:
    cut = canvas.distinct(labels, 20)
    assert len(set(cut)) == len(set(labels))
    assert all(len(each) <= max(20, len(label)) for each, label in zip(cut, labels, strict=True))


def test_a_legend_has_a_height_for_every_entry() -> None:
    assert canvas.legend_height(["x" * 200] * 3) == 3 * canvas.legend_height(["x"])
    assert canvas.legend_height(["x"] * 4) == canvas.legend_height(["x"])


def test_every_figure_is_drawn_with_many_finalists(full: Record) -> None:
    record = with_finalists(full, 20)
    for figure in figures().values():
        data = figure.data(record)
        assert data is None or figure.draw(data).endswith("</svg>")
