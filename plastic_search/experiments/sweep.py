"""A sweep: networks that differ in one thing, each trained alike with several seeds. It can be stopped at any time."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part, field_types
from plastic_search.experiments.events import Event
from plastic_search.experiments.folder import begin, open_study, same_parts
from plastic_search.experiments.jobs import Job, fit
from plastic_search.experiments.study import Study
from plastic_search.experiments.workers import Pool
from plastic_search.network.spec import NetworkSpec
from plastic_search.records import run as runs
from plastic_search.records.files import made
from plastic_search.records.run import locked
from plastic_search.structures import Structure
from plastic_search.tasks import Task
from plastic_search.trainers import Trainer
from plastic_search.trainers.gradient import Gradient

__all__ = ["Case", "Group", "Sweep", "run"]

STAGE = "sweep"


@dataclass(frozen=True)
class Group(Part):
    """networks of one kind: the base with this structure in it

    Args:
        name: what they are called.
        structure: its field that the sweep goes along is set to each place in turn.
    """

    name: str
    structure: Structure


class Case(NamedTuple):
    """One network of a sweep: its group, and where on the axis it stands."""

    group: str
    at: float
    spec: NetworkSpec

    @property
    def name(self) -> str:
        """What its runs are called."""
        return f"{self.group} {self.at:g}"


@dataclass(frozen=True)
class Sweep(Part):
    """base, and base with each group's structure at each place, x task x trainer x seeds

    Args:
        question: what it asks, in one sentence.
        axis: what the places are, in a few words.
        base: the network that all others are measured against.
        base_name: what it is called.
        groups: what is put into it; the first is ours, the others are there to be compared with it.
        places: the values that `field` takes in every group's structure.
        field: of the structures; the base counts as 1.
        layers: which layers get the structure; () is all.
        budget: the metric that must come to a place times that of the base; "" for none.
        task: what they are asked to do.
        trainer: how each is trained.
        tuning: how each is trained on after its gates have been made hard; None leaves that out.
        seeds: of each case.
    """

    question: str
    axis: str
    base: NetworkSpec
    groups: tuple[Group, ...]
    places: tuple[float, ...]
    task: Task
    base_name: str = "dense"
    field: str = "density"
    layers: tuple[int, ...] = ()
    budget: str = "connections"
    trainer: Trainer = Gradient(steps=1500)
    tuning: Trainer | None = None
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every network: the base, and then group by group at each place."""
        pairs = [(group, place) for place in self.places for group in self.groups]
        return (Case(self.base_name, 1.0, self.base), *(self._case(*pair) for pair in pairs))

    @property
    def trials(self) -> int:
        """How many cases there are."""
        return 1 + len(self.groups) * len(self.places)

    def check(self) -> None:
        names = [self.base_name, *(group.name for group in self.groups)]
        for what, values in (("seeds", self.seeds), ("places", self.places), ("names of groups", names)):
            if not values or len(set(values)) < len(values):
                raise PlasticSearchError(f"a sweep's {what} must all differ, and be there, but are {list(values)}")
        if self.budget not in ("", "connections", "plastic_connections"):
            raise PlasticSearchError(f"budget must be connections, plastic_connections or '', but is {self.budget!r}")
        for group in self.groups:
            known = field_types(type(group.structure))
            if self.field not in known:
                raise unknown(f"field of {type(group.structure).__name__}", self.field, known)
        if any(not 0 <= i < len(self.base.layers) for i in self.layers):
            raise PlasticSearchError(f"layers are 0 to {len(self.base.layers) - 1}, but got {list(self.layers)}")

    def about(self) -> dict[str, Any]:
        """What study.json tells of a sweep alone."""
        return {
            "schema": runs.SWEEP,
            "axis": self.axis,
            "ours": self.groups[0].name,
            "reference": self.base_name,
            "budget": self.budget,
        }

    def _case(self, group: Group, place: float) -> Case:
        whole = field_types(type(group.structure))[self.field] is int and place == int(place)
        structure = replace(group.structure, **{self.field: int(place) if whole else place})
        chosen = self.layers or range(len(self.base.layers))
        layers = [
            replace(each, structure=structure) if i in chosen else each for i, each in enumerate(self.base.layers)
        ]
        return Case(group.name, place, replace(self.base, layers=tuple(layers)))


def run(
    sweep: Sweep,
    name: str,
    out: Path,
    workers: int = 2,
    files: tuple[Path, ...] = (),
    asked: dict[str, Any] | None = None,
) -> Generator[Event]:
    """Train every case with every seed; an event after each run. What is finished is on disk before its event.

    Args:
        name: what the sweep is called in its runs.
        out: the run folder.
        workers: processes.
        files: Python files with the user's own parts.
        asked: the words in which it was asked, which study.json keeps.

    Raises:
        PlasticSearchError: a network does not fit the task; or `out` cannot be written, is in use, is torn, or holds
            another question.
    """
    for case in sweep.cases:
        fit(case.spec, sweep.task)
    with locked(made(out)):
        begin(sweep, name, out, asked)
        record = runs.load(out)
        done = {(r.name, r.seed) for r in record.stage(STAGE)}
        pairs = [(i, case, seed) for seed in sweep.seeds for i, case in enumerate(sweep.cases)]
        wanted = [_job(sweep, name, out, *pair) for pair in pairs]
        kept = [j for j in wanted if (j.name, j.seeds[0]) in done and all(f.is_file() for f in j.files)]
        jobs = [job for job in wanted if job not in kept]
        scores = [r.metrics["score"] for r in record.stage(STAGE, None) if "score" in r.metrics]
        with Pool(workers, list(files)) as pool:
            for count, (job, ended) in enumerate(pool.each(jobs), start=len(wanted) - len(jobs) + 1):
                runs.append(out, ended)
                scores += [r.metrics["score"] for r in ended if "score" in r.metrics]
                told = f"{job.title}: score {ended[-1].metrics.get('score', 0.0):.3f}"
                yield Event(STAGE, count, len(wanted), max(scores, default=None), told)


def _job(sweep: Sweep, name: str, out: Path, i: int, case: Case, seed: int) -> Job:
    ours = case.group == sweep.groups[0].name
    return Job(
        name,
        STAGE,
        case.name,
        i,
        (seed,),
        case.spec.to_json(),
        sweep.task.to_json(),
        sweep.trainer.to_json(),
        {"group": case.group, "at": case.at},
        ("validation", "test"),
        save=str(runs.models(out, case.name, case.spec.to_json())) if ours else "",
        graph=str(out / runs.TOPOLOGIES) if ours else "",
        tuning=sweep.tuning.to_json() if sweep.tuning else None,
    )


def open_run(folder: Path) -> tuple[Study | Sweep, runs.Record]:
    """The study or the sweep that a run folder holds, and its record.

    Raises:
        PlasticSearchError: the folder is no whole one, or a part of the user's own is unknown, or was changed.
    """
    record = runs.load(folder)
    if record.study["study"].get("kind") != Sweep.__name__:
        return open_study(folder)
    sweep = Sweep.from_json(record.study["study"])
    same_parts(folder, record)
    return sweep, record
