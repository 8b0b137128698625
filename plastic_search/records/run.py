"""What crosses from compute to prose: runs, and the folder that holds them.

runs/NAME/
  study.json        the question, the parts it may use and their equations, the versions that asked it
  journal.log       Optuna's record of both searches
  runs.jsonl        one Run a line: one network trained once
  importances.json  what sets the best tenth of the trials apart, once a search has ended
  models/           parameters, as safetensors
  topologies/       learned graphs, as node-link JSON
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.records.files import _opened, _torn, read_json, read_lines, unwritable

__all__ = [
    "Record", "Run", "append", "identity", "is_run", "load", "locked",
]  # fmt: skip

SWEEP = "plastic_search/sweep/1"  # the schema of a sweep's study.json
RUNS, STUDY, JOURNAL, IMPORTANCES, TOPOLOGIES, MODELS = (
    "runs.jsonl",
    "study.json",
    "journal.log",
    "importances.json",
    "topologies",
    "models",
)


@dataclass(frozen=True)
class Run:
    """One network, trained (or rounded, or exported) once with one seed."""

    study: str  # the study's name
    stage: str  # search, final, quantized, exported
    name: str  # which of the stage's networks: tpe and random in a search; winner, best_tpe, dense, ... in the final
    trial: int  # the search's trial, or -1
    seed: int
    outcome: str  # complete, pruned, diverged, infeasible
    spec: dict[str, Any]  # NetworkSpec.to_json()
    choices: dict[str, Any] = field(default_factory=dict)  # address -> the value that stood there
    metrics: dict[str, float] = field(default_factory=dict)  # score, and whatever else was measured
    curve: list[list[float]] = field(default_factory=list)  # [step, loss, validation score, connections, plastic ones]
    costs: dict[str, float] = field(default_factory=dict)  # seconds, steps, parameters, connections
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What no two runs of a study share."""
        return self.stage, self.name, self.trial, self.seed


class Record(NamedTuple):
    """All that a run folder says."""

    name: str
    folder: Path
    study: dict[str, Any]  # what study.json holds
    runs: list[Run]
    importances: dict[str, float]
    topologies: dict[str, dict[str, Any]]  # name -> node-link JSON

    def stage(self, stage: str, name: str | None = None) -> list[Run]:
        """The runs of a stage, or of one of its networks."""
        return [r for r in self.runs if r.stage == stage and name in (None, r.name)]


def append(folder: Path, runs: list[Run]) -> None:
    """Add runs to the folder's record, in one write that reaches the disk before this returns."""
    lines = "".join(json.dumps(asdict(run), allow_nan=False) + "\n" for run in runs)
    with _opened(folder / RUNS) as file:
        os.write(file.fileno(), lines.encode())
        os.fsync(file.fileno())


def load(folder: Path) -> Record:
    """Read a run folder.

    Raises:
        PlasticSearchError: there is none, or a file of it is torn or not ours; the message says which line.
    """
    if folder.is_file():
        raise PlasticSearchError(f"{folder} is a file, not a run folder")
    if not (folder / STUDY).is_file():
        raise PlasticSearchError(f"{folder} holds no study: it has no {STUDY}. `plastic-search run STUDY` makes one")
    study = read_json(folder / STUDY, "put a copy of it back, or ask the study in another folder with --out FOLDER")
    for name in ("name", "question", "study", "trials"):
        if name not in study:
            raise PlasticSearchError(
                f"{folder / STUDY} is not a study of ours: it lacks {name!r}; put a copy of it back, or ask the study "
                "in another folder with --out FOLDER"
            )
    known = {f.name for f in fields(Run)}
    runs = []
    for number, data in enumerate(read_lines(folder / RUNS), start=1):
        for name in data:
            if name not in known:
                raise unknown("field of a run", name, known, f"It stands in {folder / RUNS}, line {number}.")
        if not is_run(data):
            raise _torn(folder / RUNS, number)
        runs.append(Run(**data))
    runs = _current(runs)
    again = "remove it, and `plastic-search run` writes it again"
    importances = read_json(folder / IMPORTANCES, again) if (folder / IMPORTANCES).is_file() else {}
    topologies = {p.stem: read_json(p, again) for p in sorted((folder / TOPOLOGIES).glob("*.json"))}
    return Record(str(study["name"]), folder, study, runs, importances, topologies)


def identity(spec: dict[str, Any]) -> str:
    """Eight characters that tell one network spec from another, whatever its precision."""
    text = json.dumps(spec.get("layers"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def models(folder: Path, name: str, spec: dict[str, Any]) -> Path:
    """Where the parameters of a network lie, a file a seed."""
    return folder / MODELS / f"{name.replace(' ', '-')}-{identity(spec)}"


def _current(runs: list[Run]) -> list[Run]:
    """The runs that still count: a search that goes on may find another winner, whose followers replace the old."""
    latest = {(r.stage, r.name, r.trial if r.stage == "search" else -1, r.seed): r for r in runs}
    now = {r.name: identity(r.spec) for r in runs if r.stage == "final"}
    kept = set(map(id, latest.values()))
    stale = {id(r) for r in runs if r.stage == "final" and identity(r.spec) != now[r.name]}
    stale |= {id(r) for r in runs if r.stage == "quantized" and identity(r.spec) != now.get("winner", "")}
    return [r for r in runs if id(r) in kept - stale]


def is_run(data: dict[str, Any]) -> bool:
    """Whether a JSON object has the fields of a run, and none besides."""
    needed = {f.name for f in fields(Run) if f.default is MISSING and f.default_factory is MISSING}
    return needed <= data.keys() <= {f.name for f in fields(Run)}


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Only one process works in a run folder at a time; the folder must be there."""
    if not out.is_dir():
        load(out)  # tells that there is no study
    try:
        file = (out / ".lock").open("a")
    except OSError as error:
        raise unwritable(out, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PlasticSearchError(f"another process is at work in {out}; wait for it, or choose --out") from None
        yield
