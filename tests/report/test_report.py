"""The page and its twin: whole, in part, with nothing, and with names that would be markup."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import synthetic

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.records import run
from plastic_search.records.run import Record
from plastic_search.report.report import Report, write
from plastic_search.report.verdicts import verdicts

_VOID = {"meta", "wbr", "br", "img", "link", "input", "base"}
_ROUNDED = re.compile(r"(?<![\d.])\d\.\d{3}(?!\d)")
_ROOT = Path(__file__).parents[2]
_FEW = Report(synthetic.STUDY, figures=("controls",))


class _Page(HTMLParser):
    """Every element, every attribute, and whether what opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def check(self) -> None:
        """Nothing that runs, nothing that loads."""
        assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form", "i", "b-"} & set(self.tags)
        for name, value in self.attributes:
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href"):
                assert str(value).startswith("#")
            if name in ("style", "clip-path", "fill"):
                assert "url(" not in str(value) or "url(#" in str(value)


def _written(record: Record, out: Path, report: Report | None = None) -> tuple[_Page, dict[str, Any]]:
    path = write(record, out, report)
    assert path == out / "report.html"
    page = _Page(path.read_text())
    page.check()
    twin = json.loads((out / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    return page, twin


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return _at_home(run.load(synthetic.full(tmp_path_factory.mktemp("full"))))


def _at_home(record: Record) -> Record:
    """As seen from where its command was given."""
    return record._replace(folder=Path("runs/digit_recall"))


def test_a_whole_study(full: Record, tmp_path: Path) -> None:
    page, twin = _written(full, tmp_path)
    assert twin["missing"] == []
    assert len(twin["figures"]) == 8
    assert page.tags.count("svg") == 8
    assert (tmp_path / "report.html").stat().st_size < 600_000
    text = " ".join(page.text)
    assert full.study["question"] in text
    for section in ("Search against random", "Leaderboard", "Learned topology", "Controls", "Export", "Provenance"):
        assert section in text
    assert "dH = post (x) pre" in text
    assert "plastic-search quantize runs/digit_recall" in text
    assert "python runs/digit_recall/bundle/runner.py" in text
    assert str(tmp_path.parent) not in (tmp_path / "report.html").read_text()
    assert str(tmp_path.parent) not in (tmp_path / "report.json").read_text()


def test_the_same_record_makes_the_same_bytes(full: Record, tmp_path: Path) -> None:
    result = [write(full, tmp_path / name) for name in ("a", "b")]
    assert result[0].read_bytes() == result[1].read_bytes()
    assert (tmp_path / "a/report.json").read_bytes() == (tmp_path / "b/report.json").read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["report.html", "report.json"]


def test_the_answers_of_a_whole_study(full: Record) -> None:
    result = {v.key: v for v in verdicts(full)}
    assert result["plasticity"].answer == "yes"
    assert "above the best network without it (fixed LSTM)" in result["plasticity"].head
    assert result["search"].answer == "unclear"
    assert "was not shown to beat random search" in result["search"].head
    assert result["search"].comparisons[0].probability is not None
    assert result["structure"].answer == "yes"
    assert result["structure"].head.endswith(" below the dense network, so surely no more than 0.02 is lost.")
    assert result["export"].answer == "yes"


@pytest.mark.parametrize(
    ("fixed", "frozen", "answer"),
    [(0.2, 0.2, "yes"), (0.99, 0.2, "no"), (0.93, 0.2, "unclear"), (0.2, 0.93, "unclear")],
)
def test_plasticity_must_beat_both_controls(tmp_path: Path, fixed: float, frozen: float, answer: str) -> None:
    synthetic.study(tmp_path)
    noise = (-0.01, 0.0, 0.01)
    result = [_final("winner", s, 0.93 + d, frozen + d * (-1) ** s) for s, d in enumerate(noise)]
    result += [_final("fixed", s, fixed + d) for s, d in enumerate(noise)]
    run.append(tmp_path, result)
    assert verdicts(run.load(tmp_path))[0].answer == answer


def test_a_control_that_only_guesses_is_called_so(tmp_path: Path) -> None:
    synthetic.study(tmp_path)
    run.append(tmp_path, [_final("winner", s, 0.9 + s / 100, 0.2) for s in range(3)])
    run.append(tmp_path, [_final("fixed", s, 0.19 + s / 100) for s in range(3)])
    assert "fixed, no better than chance, is" in verdicts(run.load(tmp_path))[0].evidence


def test_a_winner_without_a_trace_is_an_answer(tmp_path: Path) -> None:
    synthetic.study(tmp_path)
    run.append(tmp_path, [_final("winner", s, 0.9 + s / 100) for s in range(3)])
    result = verdicts(run.load(tmp_path))[0]
    assert result.answer == "no"
    assert "without plasticity" in result.head


def test_a_search_that_lost_is_told_plainly(tmp_path: Path) -> None:
    synthetic.study(tmp_path)
    tried = [
        run.Run(
            "s",
            run.Stage.SEARCH,
            arm,
            0,
            0,
            run.Outcome.COMPLETE,
            {"arm": arm},
            {},
            {"score": score, "connections": 9.0},
        )
        for arm, score in (("tpe", 0.8), ("random", 0.9))
    ]
    ended = [_final("winner", s, 0.9 + s / 1000, 0.2, {"arm": "random"}) for s in range(3)]
    ended += [_final("best_tpe", s, 0.8 + s / 1000, 0.2, {"arm": "tpe"}) for s in range(3)]
    run.append(tmp_path, tried + ended)
    result = verdicts(run.load(tmp_path))[1]
    assert result.answer == "no"
    assert result.head.startswith("TPE did worse than random search: 0.100")


def _final(
    name: str, seed: int, score: float, frozen: float | None = None, spec: dict[str, Any] | None = None
) -> run.Run:
    metrics = {"score": score} | ({"frozen": frozen} if frozen is not None else {})
    return run.Run("s", run.Stage.FINAL, name, 0, seed, run.Outcome.COMPLETE, spec or {"name": name}, {}, metrics)


def test_a_study_run_in_part_says_what_would_fill_it(tmp_path: Path) -> None:
    page, twin = _written(_at_home(run.load(synthetic.partly(tmp_path / "runs"))), tmp_path)
    commands = {m["section"]: m["command"] for m in twin["missing"]}
    assert commands["bits"] == "plastic-search quantize runs/digit_recall"
    assert commands["export"] == "plastic-search export runs/digit_recall"
    assert commands["controls"] == "plastic-search run digit_recall"
    assert "search" not in commands
    assert page.text.count("plastic-search quantize runs/digit_recall") == 1
    assert twin["leaderboard"]["complete"] > 0
    assert not any(r["winner"] for r in twin["leaderboard"]["rows"])
    assert "9 of 24" in page.text


def test_too_few_trials_are_not_asked_for_again_in_vain(full: Record, tmp_path: Path) -> None:
    few = [r for r in full.runs if r.stage != "search" or r.trial < 2]
    record = full._replace(runs=few, importances={}, study=full.study | {"trials": 2})
    page, twin = _written(record, tmp_path, _FEW)
    (missing,) = [m for m in twin["missing"] if m["section"] == "importances"]
    assert missing["note"].startswith("The search has ended with 4 complete trials. That is too few to tell")
    assert missing["note"] in page.text
    page, twin = _written(record._replace(study=full.study), tmp_path, _FEW)
    assert [m["note"] for m in twin["missing"]] == [""], "more trials are planned, and the command makes them"


def test_an_empty_study(tmp_path: Path) -> None:
    page, twin = _written(run.load(synthetic.empty(tmp_path / "runs")), tmp_path)
    assert twin["figures"] == []
    assert {v["answer"] for v in twin["answer"]["verdicts"]} == {"unknown"}
    assert len(twin["missing"]) == 9
    assert "svg" not in page.tags


def test_trials_that_all_failed(tmp_path: Path) -> None:
    synthetic.study(tmp_path, chance=None)
    result = [
        run.Run("s", run.Stage.SEARCH, "tpe", n, -1, outcome, {}, {})  # type: ignore[arg-type]
        for n, outcome in enumerate(("infeasible", "diverged", "odd"))
    ]
    run.append(tmp_path, result)
    _, twin = _written(run.load(tmp_path), tmp_path)
    assert twin["search"][0]["outcomes"] == {"complete": 0, "pruned": 0, "infeasible": 1, "diverged": 1, "odd": 1}
    assert twin["leaderboard"] is None


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    page, twin = _written(run.load(synthetic.full(tmp_path / "runs", seeds=(3,))), tmp_path)
    assert all(row["score"]["low"] is None for row in twin["controls"])
    assert "one seed: no interval" in " ".join(page.text)
    assert {v["answer"] for v in twin["answer"]["verdicts"] if v["key"] != "export"} == {"unclear"}


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    report = Report(synthetic.HOSTILE, title="</title><script>", answer="<b-old>{{ 7 * 7 }}</b-old>\n\n&amp;")
    page, twin = _written(synthetic.hostile(tmp_path / "runs"), tmp_path, report)
    text = "".join(page.text)
    assert synthetic.HOSTILE in text
    assert "<b-old>{{ 7 * 7 }}</b-old>" in text
    assert twin["name"] == synthetic.HOSTILE
    assert page.tags.count("html") == page.tags.count("style") == 1
    assert "plastic-search run '<script>alert(1)</script>'" in text


def test_numbers_that_are_none_are_never_written(full: Record, tmp_path: Path) -> None:
    broken = [run.Run(**{**vars(r), "metrics": r.metrics | {"score": math.nan, "frozen": math.inf}}) for r in full.runs]
    _, twin = _written(full._replace(runs=broken, importances={"a": math.nan, "b": 1.0}), tmp_path)
    assert all(row["score"] is None for row in twin["controls"])
    assert twin["controls"][0]["unscored"] == 3


def test_the_author_chooses_figures_and_words(full: Record, tmp_path: Path) -> None:
    report = Report("digit_recall", title="One look", answer="First.\n\nSecond.", figures=("controls", "pareto"))
    page, twin = _written(full, tmp_path, report)
    assert [f["name"] for f in twin["figures"]] == ["pareto", "controls"]
    assert {"First.", "Second.", "One look"} <= set(page.text)
    assert Part.from_json(report.to_json()) == report
    with pytest.raises(PlasticSearchError, match="Did you mean 'pareto'"):
        write(full, tmp_path, Report("digit_recall", figures=("paretto",)))
    with pytest.raises(PlasticSearchError, match="about 'other'"):
        write(full, tmp_path, Report("other"))


def _numbers(value: Any) -> set[str]:
    """Every number in a twin as a page may round it, and those in its sentences."""
    if isinstance(value, dict | list):
        return {n for v in (value.values() if isinstance(value, dict) else value) for n in _numbers(v)}
    if isinstance(value, float):
        return {f"{abs(value):.3f}"}
    return set(_ROUNDED.findall(str(value)))


def test_every_number_on_the_page_is_in_its_twin(full: Record, tmp_path: Path) -> None:
    page, twin = _written(full, tmp_path)
    shown = set(_ROUNDED.findall(" ".join(page.text[page.text.index(full.study["question"]) :])))
    assert len(shown) > 100
    assert shown <= _numbers(twin)


def test_what_the_twin_holds(full: Record, tmp_path: Path) -> None:
    _, twin = _written(full, tmp_path)
    assert twin["topology"]["connections"] == 1300
    assert twin["topology"]["share"] == pytest.approx(1300 / 3083)
    assert len(twin["leaderboard"]["rows"]) == 15
    assert [r["rank"] for r in twin["leaderboard"]["rows"]] == list(range(1, 16))
    assert sum(r["winner"] for r in twin["leaderboard"]["rows"]) == 1
    assert len(twin["bits"]["rows"]) == 26
    assert twin["export"][0]["parity"] == pytest.approx(1.19e-7)
    assert [e["used"] for e in twin["equations"]] == sorted((e["used"] for e in twin["equations"]), reverse=True)


def _bundle(record: Record, name: str, bundle: str, stepwise: float, stage: str = "quantized", **more: float) -> Record:
    """The record with one more bundle, of a network of a stage."""
    source, old = record.stage(stage, name)[0], record.stage("exported")[0]
    metrics = old.metrics | {"stepwise": stepwise} | more
    fields = {"stage": run.Stage.EXPORTED, "metrics": metrics, "choices": source.choices | {"bundle": bundle}}
    return record._replace(runs=[*record.runs, run.Run(**{**vars(source), **fields})])


def test_of_several_bundles_tile_and_sentence_are_about_the_winners_last(full: Record, tmp_path: Path) -> None:
    record = _bundle(full, "winner", "float", 7.7e-7, stage="final")
    record = _bundle(record, "dense", "dense", 9.9e-7, stage="final")
    page, twin = _written(record, tmp_path, _FEW)
    text = " ".join(page.text)
    tile = page.text[page.text.index("7.7e-07") + 1]
    assert tile == "largest difference between a step of the export (winner) and of the reference"
    assert "Exported (winner, seed 0), each of 200 steps from the same state is within 7.7e-07 of the reference" in text
    assert [(e["name"], e["main"]) for e in twin["export"]] == [
        ("w4a4t8-stochastic-tuned", False), ("winner", True), ("dense", False),
    ]  # fmt: skip
    assert {"2.4e-07", "9.9e-07"} <= set(page.text), "the others are listed"


def test_of_two_bundles_in_one_folder_the_later_one_is_there(full: Record, tmp_path: Path) -> None:
    page, twin = _written(_bundle(full, "winner", "bundle", 7.7e-7, stage="final"), tmp_path, _FEW)
    assert [e["name"] for e in twin["export"]] == ["winner"]
    assert "2.4e-07" not in " ".join(page.text)


def test_what_is_deployed_stands_before_the_size_of_the_whole_bundle(full: Record, tmp_path: Path) -> None:
    page, _ = _written(full, tmp_path, _FEW)
    assert "47.1 KiB in all" in page.text, "an older record does not say more"
    page, _ = _written(_bundle(full, "winner", "bundle", 1e-7, "final", deployed_bytes=2048.0), tmp_path, _FEW)
    assert page.text[page.text.index("2.0 KiB") + 1] == "47.1 KiB in all"


def test_a_page_may_be_named(full: Record, tmp_path: Path) -> None:
    path = write(full, tmp_path / "new" / "mine.html", _FEW)
    assert path == tmp_path / "new" / "mine.html"
    assert sorted(p.name for p in path.parent.iterdir()) == ["mine.html", "mine.json"]
    assert "<code>mine.json</code>" in path.read_text()
    (tmp_path / "folder.html").mkdir()
    assert write(full, tmp_path / "folder.html", _FEW) == tmp_path / "folder.html" / "report.html"


def test_parts_that_only_plasticity_uses_are_left_out_where_there_is_none(full: Record, tmp_path: Path) -> None:
    idle = {"kind": "Layer", "plastic": "none", "cell": {"kind": "RNN"}, "rule": {"kind": "Oja"}}
    record = full._replace(runs=[run.Run(**{**vars(r), "spec": idle}) for r in full.runs])
    _, twin = _written(record, tmp_path)
    assert [e["name"] for e in twin["equations"]] == ["RNN"]


@pytest.mark.parametrize("make", [synthetic.full, synthetic.partly, synthetic.empty])
def test_the_twin_satisfies_its_schema(make: Any, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed; it is in the dev extra")
    schema = json.loads((_ROOT / "docs/reference/report.schema.json").read_text())
    _, twin = _written(run.load(make(tmp_path / "runs")), tmp_path)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(twin)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(twin | {"unheard_of": 1})


def test_the_schema_describes_what_is_written(full: Record, tmp_path: Path) -> None:
    """Even where jsonschema is not installed: the fields at the top agree."""
    schema = json.loads((_ROOT / "docs/reference/report.schema.json").read_text())
    _, twin = _written(full, tmp_path)
    assert list(schema["properties"]) == list(twin)
    assert schema["properties"]["schema"]["const"] == twin["schema"]
