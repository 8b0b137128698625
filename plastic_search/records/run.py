"""What crosses from compute to prose: runs, and the folder that holds them.

runs/NAME/
  study.json        the question, the parts it may use and their equations, the versions that asked it
  journal.log       Optuna's record of both searches
  runs.jsonl        one Run a line: one network trained once
  importances.json  what sets the best tenth of the trials apart, once a search has ended
  models/           parameters, as safetensors
  topologies/       learned graphs, as node-link JSON
  episodes/         an episode of each network in its environment, NAME-SEED.json
  spikes/           a test episode of each network with units that fire, NAME-SEED.json
  checkpoints/      trainings that are under way, as safetensors
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.paths import as_path
from plastic_search.core.printable import printable
from plastic_search.records import episodes as played
from plastic_search.records import spikes as fired
from plastic_search.records.episodes import Episode
from plastic_search.records.files import append_lines, read_json, read_lines
from plastic_search.records.schema import (
    COMPARISON,
    SWEEP,
    CaseChoices,
    Graph,
    Spec,
    SweepChoices,
    conform,
    study_shape,
)
from plastic_search.records.spikes import SpikingEpisode

__all__ = [
    "COMPARISON", "SWEEP", "CurrentRuns", "CurvePoint", "Finalist", "Outcome", "Record", "Run", "Stage",
    "append", "file_name", "identity", "is_run", "load", "models", "rounded_network",
]  # fmt: skip

RUNS, STUDY, JOURNAL, IMPORTANCES = "runs.jsonl", "study.json", "journal.log", "importances.json"
TOPOLOGIES, MODELS, CHECKPOINTS = "topologies", "models", "checkpoints"
WIDTHS = (8, 4, 3, 2)  # bits that `quantize` tries by default
PREFERRED = "w4a4t8-stochastic-tuned"  # the quantized network that `export` takes by default, where it exists

_FORMER = {"support": "within", "annealing_fraction": "narrowing", "spontaneous": "unasked", "threshold": "least"}
_RENAMED = {"asked": "command", "holes": "search_parameters"}  # keys of study.json, since 0.1
_AGAIN = "remove it, and `plastic-search run` writes it again"
_ELSEWHERE = "put a copy of it back, or ask the study in another folder with --out FOLDER"


class Stage(StrEnum):
    """What a network was trained or measured for."""

    SEARCH = "search"
    FINAL = "final"
    QUANTIZED = "quantized"
    EXPORTED = "exported"
    SWEEP = "sweep"
    COMPARISON = "comparison"


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"  # stopped early, dominated by finished trials
    DIVERGED = "diverged"  # its loss, or its score, is no longer finite; the note says which
    TIMEOUT = "timeout"  # it took longer than `run --trial-timeout` allows
    INFEASIBLE = "infeasible"  # its network cannot be built


class Finalist(StrEnum):
    """The networks that a study trains anew after its search: the winner, and what it is compared with."""

    WINNER = "winner"
    BEST_TPE = "best_tpe"
    BEST_RANDOM = "best_random"
    DENSE = "dense"
    RANDOM_MASK = "random_mask"
    PRUNED = "pruned"
    FIXED = "fixed"
    FIXED_LSTM = "fixed_lstm"


class CurvePoint(NamedTuple):
    """A network in training, measured after `step` updates; None where something was not measured."""

    step: float
    loss: float
    score: float | None = None  # on the validation split
    connections: float | None = None
    plastic_connections: float | None = None
    units: float | None = None  # of all hidden layers, where structures change it
    fitness: float | None = None  # mean of the candidates of a generation of evolution
    best_fitness: float | None = None  # of its best candidate

    def to_json(self) -> list[float | None]:
        """A list without the Nones at its end."""
        row: list[float | None] = list(self)
        while row[-1] is None:
            row.pop()
        return row


@dataclass(frozen=True)
class Run:
    """One network, trained (or rounded, or exported) once with one seed."""

    study: str  # the study's name
    stage: Stage
    name: str  # the network: tpe or random in a search, a `Finalist` in the final, else a variant or a case
    trial: int  # the search's trial, or -1
    seed: int
    outcome: Outcome
    spec: dict[str, Any]  # NetworkSpec.to_json()
    choices: dict[str, Any] = field(default_factory=dict)  # path -> value: a text, a number, true, false or null
    metrics: dict[str, float] = field(default_factory=dict)  # score, and whatever else was measured
    curve: list[CurvePoint] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)  # seconds, steps, parameters, connections
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def key(self) -> tuple[str, str, int, int]:
        """Unique in a record: a later run of the same key replaces the earlier one."""
        return self.stage, self.name, self.trial if self.stage == Stage.SEARCH else -1, self.seed

    def to_json(self) -> dict[str, Any]:
        """A line of runs.jsonl."""
        return vars(self) | {"curve": [CurvePoint(*point).to_json() for point in self.curve]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Run:
        """The run that `to_json` wrote, in this version or an earlier one."""
        stage, name = _member(Stage, data["stage"]), data["name"]
        if stage == Stage.FINAL and name == "random":  # of earlier versions
            name = Finalist.BEST_RANDOM.value
        curve = [CurvePoint(*row) for row in data.get("curve", ())]
        outcome = _member(Outcome, data["outcome"])
        return cls(**data | {"stage": stage, "name": name, "outcome": outcome, "curve": curve})


_FIELDS = {f.name for f in fields(Run)}


def _member(kind: type[StrEnum], text: str) -> Any:
    """The member of an enum; a text of a later version stays as it is."""
    try:
        return kind(text)
    except ValueError:
        return text


class Record(NamedTuple):
    """The content of a run folder."""

    name: str
    folder: Path
    study: dict[str, Any]  # what study.json holds
    runs: list[Run]
    importances: dict[str, float]
    topologies: dict[str, dict[str, Any]]  # name -> node-link JSON
    episodes: dict[str, Episode] = {}  # noqa: RUF012  name of the file -> content
    spikes: dict[str, SpikingEpisode] = {}  # noqa: RUF012  likewise

    def stage(self, stage: str, name: str | None = None) -> list[Run]:
        """The runs of a stage, or of one of its networks."""
        return [r for r in self.runs if r.stage == stage and name in (None, r.name)]


class _Entry(NamedTuple):
    number: int  # in the order of the file
    run: Run
    identity: str  # of its network, where a later winner may replace it


class CurrentRuns:
    """The runs that count, kept up to date as runs are added: the last of each key, for today's finalists.

    A search that goes on may choose another winner. The finals and quantized networks of the previous one then no
    longer count.
    """

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._stages: dict[str, dict[tuple[str, str, int, int], _Entry]] = {}
        self._finalists: dict[str, str] = {}  # name of a finalist or a case -> identity of its last network
        self._count = 0
        for run in runs:
            self.add(run)

    def add(self, run: Run) -> None:
        """Add a run; the time does not depend on how many there are."""
        replaceable = run.stage in (Stage.FINAL, Stage.QUANTIZED)
        entry = _Entry(self._count, run, identity(run.spec) if replaceable else "")
        if run.stage == Stage.FINAL:
            self._finalists[run.name] = entry.identity
        elif run.stage in (Stage.SWEEP, Stage.COMPARISON) and run.spec:
            self._finalists[run.name] = identity(run.spec)
        entries = self._stages.setdefault(run.stage, {})
        entries.pop(run.key, None)
        entries[run.key] = entry
        self._count += 1

    def stage(self, stage: Stage, name: str | None = None) -> list[Run]:
        """The runs of a stage, or of one of its networks."""
        return [e.run for e in self._entries(stage) if name in (None, e.run.name)]

    def all(self) -> list[Run]:
        """All runs that count, in the order in which they were recorded."""
        entries = (entry for stage in self._stages for entry in self._entries(stage))
        return [entry.run for entry in sorted(entries, key=lambda e: e.number)]

    def _entries(self, stage: str) -> Iterator[_Entry]:
        for entry in self._stages.get(stage, {}).values():
            finalist = entry.run.name if stage != Stage.QUANTIZED else rounded_network(entry.run)
            if not entry.identity or entry.identity == self._finalists.get(finalist):
                yield entry


def rounded_network(run: Run) -> str:
    """The finalist that a quantized run rounds."""
    return str(run.choices.get("network", Finalist.WINNER))


def append(folder: Path | str, runs: list[Run]) -> None:
    """Add runs to the folder's record, in one write that reaches the disk before this returns."""
    append_lines(as_path(folder) / RUNS, (run.to_json() for run in runs))


def load(folder: Path | str) -> Record:
    """Read a run folder.

    Raises:
        PlasticSearchError: there is none, or a file of it is torn or not ours; the message says which line.
    """
    folder = as_path(folder)
    study, runs = read_study(folder), CurrentRuns(read_runs(folder))
    importances = _read(folder / IMPORTANCES, dict[str, float]) if (folder / IMPORTANCES).is_file() else {}
    topologies = {p.stem: _read_graph(p) for p in sorted((folder / TOPOLOGIES).glob("*.json"))}
    episodes = played.read_all(folder), fired.read_all(folder)
    return Record(study["name"], folder, study, runs.all(), importances, topologies, *episodes)


def _read(path: Path, kind: Any) -> dict[str, Any]:
    data = read_json(path, _AGAIN)
    conform(data, kind, str(path), _AGAIN)
    return data


def _read_graph(path: Path) -> dict[str, Any]:
    graph = _read(path, Graph)
    count = len(graph["nodes"])
    for i, node in enumerate(graph["nodes"]):
        for name, least in (("layer", -1), ("index", 0)):
            if not least <= node.get(name, 0) <= count:
                raise PlasticSearchError(
                    f"{path}: nodes.{i}.{name} must be from {least} to the {count} nodes that there are, "
                    f"but is {node[name]}; {_AGAIN}"
                )
    return graph


def read_study(folder: Path | str) -> dict[str, Any]:
    """The content of study.json, under today's keys.

    Raises:
        PlasticSearchError: there is none, or it is damaged.
    """
    folder = as_path(folder)
    if folder.is_file():
        raise PlasticSearchError(f"{folder} is a file, not a run folder")
    if not (folder / STUDY).is_file():
        raise PlasticSearchError(f"{folder} holds no study: it has no {STUDY}. `plastic-search run STUDY` makes one")
    study = read_json(folder / STUDY, _ELSEWHERE)
    study = {_RENAMED.get(key, key): value for key, value in study.items()}
    conform(study, study_shape(study.get("schema")), str(folder / STUDY), _ELSEWHERE)
    return study


def read_runs(folder: Path | str) -> Iterator[Run]:
    """Every run that was recorded, replaced ones too.

    Raises:
        PlasticSearchError: a line is torn, or is no run.
    """
    folder = as_path(folder)
    for number, data in enumerate(read_lines(folder / RUNS), start=1):
        for name in data.keys() - _FIELDS:
            raise unknown("field of a run", name, _FIELDS, f"It stands in {folder / RUNS}, line {number}.")
        _check_run(data, f"{folder / RUNS}, line {number}", f"`plastic-search repair {folder}` sets the line aside")
        yield Run.from_json(data)


def is_run(data: dict[str, Any]) -> bool:
    """Whether a JSON object is a run: it has the fields of one and none besides, each of its type."""
    try:
        _check_run(data, "", "")
    except PlasticSearchError:
        return False
    return True


def _check_run(data: dict[str, Any], where: str, remedy: str) -> None:
    conform(data, Run, where, remedy)
    conform(data["spec"], Spec, where, remedy, "spec")
    conform(data.get("choices", {}), dict[str, str | float | bool | None], where, remedy, "choices")
    kind = SweepChoices if data["stage"] == Stage.SWEEP else CaseChoices
    conform(data.get("choices", {}), kind, where, remedy, "choices")
    name = data["name"]  # which is part of the names of files
    if name in ("", ".", "..") or "/" in name or printable(name, keep="") != name:
        raise PlasticSearchError(f"{where}: name must be a name for files too, but is {name!r}; {remedy}")


def identity(spec: dict[str, Any]) -> str:
    """Eight characters that distinguish network specs, whatever their precision and the version that wrote them."""
    layers = json.loads(json.dumps(spec.get("layers")), object_hook=_former_names)
    text = json.dumps(layers, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _former_names(data: dict[str, Any]) -> dict[str, Any]:
    """Fields under the names that they had in version 0.1, by which the folders of models are called."""
    return {_FORMER.get(name, name): value for name, value in data.items()}


def file_name(name: str) -> str:
    """A network's name in the names of its files: `learned-0.2` for `learned 0.2`."""
    return name.replace(" ", "-")


def models(folder: Path | str, name: str, spec: dict[str, Any]) -> Path:
    """The folder of a network's parameters, a file a seed."""
    return as_path(folder) / MODELS / f"{file_name(name)}-{identity(spec)}"
