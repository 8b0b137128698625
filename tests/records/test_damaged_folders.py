"""Run folders whose files are damaged: whatever reads them succeeds, or says in one line what is wrong and where."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
import synthetic_comparison
from small import study

from plastic_search.cli import console
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments import export, load, quantize, repair, runner, shrink
from plastic_search.experiments.sweep import Group, Sweep
from plastic_search.experiments.workers import Pool
from plastic_search.export import bundle
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.records import run, table
from plastic_search.report import report, reproduce
from plastic_search.report.figures import _canvas
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.rewired import Rewired

Files = dict[str, bytes]  # by their paths in a folder
Verb = Callable[[Path], object]
SMALL = replace(study(trials=2), seeds=(0,))
SWEEP = Sweep(
    question="How few?",
    axis="share",
    base=replace(NetworkSpec(), layers=(Layer(4), Layer(4, structure=FeedForward(), plastic=Pathway.INPUT))),
    groups=(Group("learned", Gated(support=FeedForward())), Group("random", Rewired(support=FeedForward()))),
    values=(0.5, 0.25),
    task=SMALL.task,
    trainer=SMALL.trainer,
)
HOSTILE = ("", "x", "../x", "a/b", "\x1b[31m\u202e", "\ud800", "complete", "score", "nan", "Oja", "0")
VALUES = (None, True, False, 0, 1, -1, 3, 0.5, 1e308, -1e-320, 2**70, [], {}, [1], ["x"], {"x": 1}, {"kind": "Oja"})
VALUES += (float("nan"), float("-inf"), [[[]]], {"kind": 3}, {"kind": "Layer"}, [None, None], *HOSTILE)


class TrainingReachedError(Exception):
    """A verb came to where networks are trained, or written."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Files]:
    """The files of a study that was run, rounded and exported, of a larger one, of a comparison, and of a sweep."""
    home = tmp_path_factory.mktemp("mutations")
    list(runner.run(SMALL, "small", home / "small", 1))
    winner = run.load(home / "small").stage("final", "winner")[0]
    choices = {"weight": 4, "alpha": 4, "trace": 8, "rounding": "stochastic", "tuned": True}
    rounded = replace(winner, stage=run.Stage.QUANTIZED, name=run.PREFERRED, choices=choices)
    exported = replace(winner, stage=run.Stage.EXPORTED, choices=winner.choices | {"bundle": "bundle"})
    run.append(home / "small", [rounded, exported])
    synthetic.full(home / "study", trials=3, seeds=(0,))
    lines = (home / "study" / run.RUNS).read_text().splitlines(keepends=True)
    (home / "study" / run.RUNS).write_text("".join(line for line in lines if '"quantized"' not in line or "w4" in line))
    synthetic_comparison.comparison(home / "comparison", seeds=(0, 1), axis=True)
    list(runner.run(SWEEP, "few", home / "sweep", 1))
    return [read(home / name) for name in ("small", "study", "comparison", "sweep")]


def read(folder: Path) -> Files:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def written(files: Files, folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def mutated(files: Files, rng: random.Random) -> Files:
    """The files with one of them damaged: mostly one value of its JSON, else some of its bytes."""
    name = rng.choice([name for name in files if name.endswith((".json", ".jsonl"))])
    ended, text = "\n" * name.endswith(".jsonl"), files[name].decode()
    lines = text.splitlines(keepends=True) if ended else [text]
    at = rng.randrange(len(lines))
    if rng.random() < 0.1:
        lines[at] = torn(lines[at], rng)
    else:
        content = json.loads(lines[at])
        for _ in range(rng.choice((1, 1, 1, 2))):
            content = damaged(content, rng)
        lines[at] = json.dumps(content) + ended
    return files | {name: "".join(lines).encode()}


def torn(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    before, after = text[:at], text[at:]
    return rng.choice((before, before + after[1:], f"{before}\x00{after}", before + "[" * 100_000, "", "[]\n"))


def damaged(content: Any, rng: random.Random) -> Any:
    """JSON data in which one value, somewhere, is another one, is gone, is doubled or has another name."""
    places = list(inner(content))
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(HOSTILE)] = holder.pop(key)
        case 2:
            other, name = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        case 3 if isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), holder[key])
        case _:
            holder[key] = rng.choice(VALUES)
    return content


def inner(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in JSON data: its holder and its key."""
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from inner(content[key])


def summarized(folder: Path) -> None:
    record = run.load(folder)
    console.summary_table(record)
    json.dumps(console.summary(record))


def tabled(folder: Path) -> None:
    table.write(table.runs(folder), folder / "t.csv", "csv")
    table.trials(folder)
    table.curves(folder)


def paged(folder: Path) -> None:
    record = run.load(folder)
    report.write(record, folder / "page")
    reproduce.again(record)


def resumed(folder: Path) -> None:
    question = SMALL if (folder / run.JOURNAL).is_file() else SWEEP
    with closing(runner.run(question, "few" if question is SWEEP else "small", folder, 1)) as events:
        list(events)


def rounded(folder: Path) -> None:
    with closing(quantize.quantize(folder, (4,), 1)) as events:
        list(events)


QUICK: list[Verb] = [summarized, tabled, resumed, rounded, repair.repair, export.export, shrink.shrunk, load.load]
VERBS = [*QUICK, *QUICK, *QUICK, paged]


@pytest.fixture
def _nothing_is_trained_or_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise TrainingReachedError

    monkeypatch.setattr(Pool, "each", lambda self, jobs: stop() if jobs else iter(()))
    monkeypatch.setattr(bundle, "write", stop)
    monkeypatch.setattr(shrink, "gains", stop)
    monkeypatch.setattr(_canvas, "render", lambda *_: "")  # nine tenths of a page's time


def refusal(verb: Verb, folder: Path) -> str:
    """The line that a verb ends in; "" where it succeeds, or comes to training."""
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            verb(folder)
    except PlasticSearchError as error:
        return str(error)
    except TrainingReachedError:
        pass
    return ""


@pytest.mark.usefixtures("_nothing_is_trained_or_drawn")
def test_a_damaged_folder_is_read_or_refused_in_one_line(folders: list[Files], mutations: int, tmp_path: Path) -> None:
    """Each damaged folder is loaded, and given to one of the verbs in turn."""
    rng, refused = random.Random(0), 0
    for number in range(mutations):
        files = mutated(folders[number % len(folders)], rng)
        folder = written(files, tmp_path / str(number))
        for verb in (run.load, VERBS[number // len(folders) % len(VERBS)]):
            line = refusal(verb, folder)
            assert "\n" not in line, (number, verb, line)
            refused += verb is run.load and bool(line)
    assert refused > mutations // 2
