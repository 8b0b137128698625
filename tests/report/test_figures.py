"""Figures: what they compute is tested, what they draw is seen to be drawn, safe and small."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import synthetic

from plastic_search.records import run
from plastic_search.records.run import Record
from plastic_search.report.figures import _canvas as canvas
from plastic_search.report.figures import ablation, bits, controls, figures, importances, learning_curves, pareto
from plastic_search.report.figures import search_progress as progress
from plastic_search.report.figures import topology as graphs
from plastic_search.report.figures._graph import _places as places
from plastic_search.report.figures._graph import _titles as titles
from plastic_search.report.figures._graph import grid
from plastic_search.report.groups import Group
from plastic_search.report.html import plain

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run.load(synthetic.full(tmp_path_factory.mktemp("full")))


def test_the_folder_is_open_and_ordered() -> None:
    found = figures()
    assert list(found)[:3] == ["search_progress", "pareto", "topology"]
    assert {"learning_curves", "controls", "ablation", "importances", "bits"} <= set(found)
    assert [f.order for f in found.values()] == sorted(f.order for f in found.values())
    for figure in found.values():
        assert figure.question.endswith("?")
        assert figure.needs in ("run", "quantize", "export")


@pytest.mark.parametrize("name", list(figures()))
def test_each_draws_well_formed_svg(full: Record, name: str) -> None:
    figure = figures()[name]
    data = figure.data(full)
    drawn = figure.draw(data)
    root = ET.fromstring(drawn)
    assert root.tag == f"{_SVG}svg"
    assert root.get("aria-label", "").startswith(figure.title)
    assert root.findall(f".//{_SVG}text")
    assert len(drawn) < 200_000
    assert "<style" not in drawn
    assert "<!--" not in drawn
    assert "<metadata" not in drawn
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert all(str(i).startswith(f"{name}-") for i in ids)
    assert drawn == figure.draw(data)
    assert figure.caption(data).endswith(".")
    json.dumps(plain(data), allow_nan=False)


@pytest.mark.parametrize("name", list(figures()))
def test_each_bears_a_study_that_has_nothing_yet(tmp_path: Path, name: str) -> None:
    figure = figures()[name]
    assert figure.data(run.load(synthetic.empty(tmp_path / "empty"))) is None
    partly = run.load(synthetic.partly(tmp_path / "partly"))
    data = figure.data(partly)
    if figure.section == "search":
        assert ET.fromstring(figure.draw(data)).tag == f"{_SVG}svg"
    else:
        assert data is None


@pytest.mark.parametrize("name", list(figures()))
def test_each_bears_one_seed(tmp_path: Path, name: str) -> None:
    figure = figures()[name]
    data = figure.data(run.load(synthetic.full(tmp_path, seeds=(5,))))
    assert ET.fromstring(figure.draw(data)).tag == f"{_SVG}svg"


@pytest.mark.parametrize("name", list(figures()))
def test_each_escapes_hostile_names(tmp_path: Path, name: str) -> None:
    figure = figures()[name]
    root = ET.fromstring(figure.draw(figure.data(synthetic.hostile(tmp_path))))
    tags = {e.tag.removeprefix(_SVG) for e in root.iter()}
    assert tags <= {"svg", "g", "path", "text", "title", "rect", "circle", "use", "defs", "clipPath", "tspan"}
    assert not [a for e in root.iter() for a in e.attrib if a.lower().startswith("on")]


FIVE = {"connections": 5.0}


def test_progress_follows_the_best_complete_trial(tmp_path: Path) -> None:
    synthetic.study(tmp_path)
    result = [
        run.Run("s", run.Stage.SEARCH, "tpe", n, seed, run.Outcome(outcome), {}, metrics={"score": score} | FIVE)
        for n, seed, outcome, score in [
            (0, 0, "complete", 0.4), (0, 1, "complete", 0.6), (1, 0, "pruned", 0.9), (2, 0, "complete", 0.7),
            (3, 0, "complete", 0.6),
        ]
    ]  # fmt: skip
    run.append(tmp_path, result)
    data = progress.data(run.load(tmp_path))
    assert data is not None
    (arm,) = data.arms
    assert arm.numbers == [1, 2, 3, 4]
    assert arm.scores == pytest.approx([0.5, 0.9, 0.7, 0.6])
    assert arm.best == pytest.approx([0.5, 0.5, 0.7, 0.7])
    assert arm.band.high[3] == 0.7


def test_pareto_front_holds_what_nothing_dominates(full: Record) -> None:
    data = pareto.data(full)
    assert data is not None
    front = [p for p in data.points if p.front]
    assert [p.score for p in front] == sorted(p.score for p in front)
    for p in data.points:
        beaten = any(q.score >= p.score and q.connections <= p.connections and q != p for q in data.points)
        assert p.front != beaten
    assert sum(p.winner for p in data.points) == 1


def test_curves_are_means_between_worst_and_best(full: Record) -> None:
    data = learning_curves.data(full)
    assert data is not None
    assert [c.name for c in data.curves] == ["winner", "best_random", "dense", "fixed", "fixed_lstm"]
    for curve in data.curves:
        assert curve.seeds == 3
        assert curve.steps[-1] == 2000
        assert all(a <= b <= c for a, b, c in zip(curve.low, curve.mean, curve.high, strict=True))


def test_the_axis_of_one_trial_counts_trials(full: Record) -> None:
    one = full._replace(runs=[r for r in full.runs if r.stage == "search" and r.trial == 0])
    data = progress.data(one)
    assert data is not None
    texts = [t.text for t in ET.fromstring(progress.draw(data)).iter(f"{_SVG}text")]
    assert "1" in texts
    assert not {"0.96", "0.98", "1.00", "1.02"} & set(texts)


def test_an_interval_that_leaves_the_axis_is_marked(full: Record) -> None:
    data = controls.data(full)
    assert data is not None
    assert canvas.CUT not in controls.caption(data)
    wide = data.rows[1]._replace(score=data.rows[1].score._replace(low=-3.0, high=4.0))
    cut = data._replace(rows=[data.rows[0], wide, *data.rows[2:]])
    assert controls.caption(cut).endswith(canvas.CUT)
    marks = [controls.draw(d).count("<use ") for d in (data, cut)]
    assert marks[1] == marks[0] + 2


@pytest.mark.parametrize("sizes", [[446, 33, 5], [69, 33, 20, 10, 8, 5], [20, 20], [784, 128, 64, 10]])
def test_the_titles_of_a_topology_stand_apart(sizes: list[int]) -> None:
    spots = titles(sizes, places(sizes, 24.0))
    words = [
        (float(t.get("x", 0)), t.get("y"), t.text or "", t.get("style", "")) for t in ET.fromstring(f"<g>{spots}</g>")
    ]
    assert len(words) == len(sizes)
    reach = [(x - shift(style) * 6.2 * len(text), y, 6.2 * len(text)) for x, y, text, style in words]
    for i, (x, y, width) in enumerate(reach):
        assert x > -2
        assert x + width < 682
        assert all(x + width < a or a + b < x for a, line, b in reach[i + 1 :] if line == y)
    assert max(x for x, _ in places(sizes, 24.0).values()) > 640


def shift(style: str) -> float:
    """Which share of a text lies to the left of its place."""
    return 0.5 if "middle" in style else 1.0 if "anchor: end" in style else 0.0


def test_controls_and_ablation(full: Record) -> None:
    data, taken = controls.data(full), ablation.data(full)
    assert data is not None
    assert taken is not None
    assert data.chance == 0.2
    assert data.rows[0].name == "winner"
    assert all(r.score.known and len(r.seeds) == 3 for r in data.rows)
    assert [n.name for n in taken.networks] == ["winner", "best_random", "dense"]
    intact, frozen, shuffled = taken.networks[0].conditions
    assert (intact.change, frozen.name, shuffled.name) == (None, "trace frozen at zero", "trace shuffled")
    assert frozen.change is not None
    assert frozen.change.sign == -1
    assert "paired by seed" in frozen.change.method


def test_bits_are_sorted_into_families(full: Record) -> None:
    data = bits.data(full)
    assert data is not None
    families = {v.name: v.family for v in data.variants}
    assert families["w4a4t4-nearest"] == "uniform"
    assert families["w4a4t8-stochastic-tuned"] == "mixed"
    assert families["w32a32t2-stochastic"] == "trace"
    assert families["w3a32t32-nearest"] == "weight"
    mixed = next(v for v in data.variants if v.family == "mixed")
    assert bits.tick(mixed) == "4/4/8"
    assert mixed.change is not None
    assert mixed.change.n == 3


def test_importances_keep_the_tail_in_the_caption(full: Record) -> None:
    many = full._replace(importances={f"a.{i}": 1 / 20 for i in range(20)})
    data = importances.data(many)
    assert data is not None
    assert len(data.shares) == 20
    assert "Another 8 paths share 40%" in importances.caption(data)
    assert "The best tenth are 2 trials: this is a hint" in importances.caption(data._replace(trials=8))
    assert "hint" not in importances.caption(data._replace(trials=400))


def test_a_choice_that_is_there_only_below_another_says_in_how_many_trials(full: Record) -> None:
    data = importances.data(full)
    assert data is not None
    emitted = dict(zip(data.paths, zip(data.present, data.conditional, strict=True), strict=True))
    assert emitted["layers.1.rule"] == (data.trials, False)
    assert emitted["layers.1.structure.density"][1] is False
    present, conditional = emitted["layers.1.rule.Hebb.decay"]
    assert conditional
    assert 0 < present < data.trials
    assert f"7%, in {present} of {data.trials}" in importances.draw(data)
    assert "only where the choice took its option" in importances.caption(data)
    one = importances.data(full._replace(importances={f"a{i}": 1 / 13 for i in range(13)}))
    assert one is not None
    assert "Another path has 8%" in importances.caption(one)


def _learned(values: list[list[float]], loss: list[float] | None = None) -> learning_curves.Curve:
    rows = [
        [run.CurvePoint(100.0 * (i + 1), loss[i] if loss else 0.0, y) for i, y in enumerate(seed)] for seed in values
    ]
    result = [
        run.Run("s", run.Stage.FINAL, "fixed", 0, n, run.Outcome.COMPLETE, {}, curve=curve)
        for n, curve in enumerate(rows)
    ]
    return learning_curves.curve(Group("fixed", "fixed", "", result))


def _rising(values: list[list[float]]) -> bool:
    return _learned(values).rising


def test_a_curve_rises_at_its_end_only_by_more_than_its_noise() -> None:
    steady = [0.2 + 0.05 * i for i in range(10)]
    assert _rising([steady, [y + 0.01 for y in steady]])
    assert _rising([steady])
    assert not _rising([[0.7, 0.8, 0.9, 0.95, 0.95, 0.94, 0.96, 0.95, 0.96, 0.955]])
    assert not _rising([[*steady[:8], 0.6, 0.7], [*steady[:8], 0.6, 0.5]]), "one seed rose, the other fell"
    assert not _rising([[0.1, 0.2, 0.3]])


def test_a_loss_that_still_falls_is_told_where_the_score_is_too_noisy_to_rise() -> None:
    noisy = [[0.4, 0.5, 0.6, 0.66, 0.69, 0.71, 0.76, 0.75, 0.75, 0.76]]
    slow, done = [1.7 / (i + 1) for i in range(10)], [1.7, 0.6, 0.2, 0.1, 0.05, 0.04, 0.05, 0.03, 0.05, 0.04]
    lstm, winner = _learned(noisy, slow), _learned(noisy, done)._replace(label="winner")
    assert [(c.rising, c.falling) for c in (lstm, winner)] == [(False, True), (False, False)]
    message = learning_curves.caption(learning_curves.Curves("accuracy", 0.2, [winner, lstm], {}))
    assert (
        " Over the last fifth of training none rises by more than its noise. The training loss, which scatters less, "
        "then still falls for fixed (by 0.043). " in message
    )
    rises = _learned([[0.2 + 0.05 * i for i in range(10)]], slow)._replace(label="dense")
    message = learning_curves.caption(learning_curves.Curves("accuracy", 0.2, [winner, lstm, rises], {}))
    assert "these rise by more than their noise: dense (by 0.100)." in message
    assert "then still falls for fixed (by 0.043), dense (by 0.043)." in message


def test_topology_counts_and_says_what_it_leaves_out(full: Record) -> None:
    data = graphs.data(full)
    assert data is not None
    assert data.name == "winner-0"
    assert data.sizes == [69, 37, 5]
    assert sum(b.edges for b in data.blocks) == len(data.edges) == 1300
    assert [(b.pre, b.post) for b in data.blocks] == [(-1, 0), (-1, 1), (0, 1)]
    assert [b.possible for b in data.blocks] == [69 * 37, 69 * 5, 37 * 5]
    into = sum(e.post[0] == 0 for e in data.edges)
    assert f"240 of {into:,} into layer 0" in graphs.caption(data)
    root = ET.fromstring(graphs.draw(data))
    hover = [t.text or "" for t in root.iter(f"{_SVG}title")]
    assert sum(": weight " in t for t in hover) == sum(data.drawn)
    assert any("plastic" in t and "alpha" in t for t in hover)


def test_topology_with_loops_and_recurrence(tmp_path: Path) -> None:
    nodes = [{"id": f"input.{i}", "layer": -1, "index": i} for i in range(3)]
    nodes += [{"id": f"layers.0.{i}", "layer": 0, "index": i} for i in range(2)]
    pairs = [("input.0", "layers.0.0"), ("layers.0.0", "layers.0.0"), ("layers.0.1", "layers.0.0"), ("gone", "input.0")]
    edges = [{"source": a, "target": b, "weight": 0.0, "alpha": None, "plastic": True} for a, b in pairs]
    record = run.load(synthetic.empty(tmp_path))
    record = record._replace(topologies={"winner-0": {"nodes": nodes, "edges": edges}, "winner-1": {"nodes": []}})
    data = graphs.data(record)
    assert data is not None
    assert len(data.edges) == 3
    assert data.others == ["winner-1"]
    assert ET.fromstring(graphs.draw(data)).tag == f"{_SVG}svg"
    assert graphs.data(record._replace(topologies={"winner-0": {"nodes": [], "edges": []}})) is None


@pytest.mark.parametrize(("inputs", "side"), [(69, 8), (64, 8), (784, 28), (20, 0), (60, 0), (0, 0)])
def test_what_looks_like_an_image(inputs: int, side: int) -> None:
    assert grid(inputs) == side
