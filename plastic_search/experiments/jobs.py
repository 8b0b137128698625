"""One piece of work that any process can do: train one network with some seeds, and measure it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, one_line
from plastic_search.environments import Environment
from plastic_search.experiments.episode import record_episode
from plastic_search.experiments.firing import fires, record_firing
from plastic_search.experiments.parameters import save_parameters
from plastic_search.network.module import Network
from plastic_search.network.spec import NetworkSpec
from plastic_search.records import episodes, spikes
from plastic_search.records.files import write_text
from plastic_search.records.folder import is_locked, removed
from plastic_search.records.provenance import versions
from plastic_search.records.run import CurvePoint, Outcome, Run, Stage, file_name
from plastic_search.structures import LearnedStructure
from plastic_search.tasks import Task
from plastic_search.topology.conversion import to_graph
from plastic_search.topology.files import to_json
from plastic_search.trainers import Trainer
from plastic_search.training.contract import check_sizes
from plastic_search.training.environment_contract import check_environment

__all__ = [
    "Advance",
    "Job",
    "Measure",
    "Rival",
    "fit",
    "keep",
    "learns",
    "run_of",
    "timed_out",
]


class Measure(StrEnum):
    """What is measured once a network is trained."""

    VALIDATION = "validation"
    TEST = "test"
    FROZEN = "frozen"  # test, with every trace held at zero
    SHUFFLED = "shuffled"  # test, with the entries of each trace exchanged
    CLAMPED = "clamped"  # test, with the plasticity rate held at its mean; in environments alone
    BITS = "bits"  # bytes, operations and energy, and what rounding does to changes of the trace


class Rival(NamedTuple):
    """A finished trial of the same search, for pruning."""

    connections: int
    curve: list[CurvePoint]


class Advance(NamedTuple):
    """How far a long job has come."""

    step: int
    steps: int
    about: str = ""  # what it has reached so far, and the time that is left, in a few words
    unit: str = "step"  # what is counted

    def __str__(self) -> str:
        return f"{self.unit} {self.step} of {self.steps}{self.about}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A network to train and measure, with one or several seeds."""

    study: str
    stage: Stage
    name: str
    trial: int = -1
    seeds: tuple[int, ...]
    spec: NetworkSpec
    task: Task | Environment
    trainer: Trainer | None  # None: measure only
    tuning: Trainer | None = None  # how it is trained on once its gates are hard; None: not at all
    choices: dict[str, Any] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    rivals: tuple[Rival, ...] = ()
    begin: Path | None = None  # a folder with parameters to start from, as SEED.safetensors; None draws them
    save: Path | None = None  # a folder for the parameters
    graph: Path | None = None  # a folder for the topology
    checkpoint: Path | None = None  # a file for a long training that is under way
    note: str = ""

    @property
    def title(self) -> str:
        """`tpe trial 3`, `winner, seed 0`, or `growing, 20 seeds`."""
        if self.stage is Stage.SEARCH:
            return f"{self.name} trial {self.trial}"
        count = len(self.seeds)
        return f"{self.name}, seed {self.seeds[0]}" if count == 1 else f"{self.name}, {count} seeds"

    @property
    def files(self) -> list[Path]:
        """What a complete run leaves behind, beside its line."""
        models = [self.save / f"{seed}.safetensors" for seed in self.seeds] if self.save else []
        return models + ([_graph_file(self.graph, self.name, seed) for seed in self.seeds] if self.graph else [])

    def is_done(self, outcomes: dict[tuple[str, int], Outcome]) -> bool:
        """Whether nothing is left to do: its runs are recorded, and a complete run's files exist.

        Args:
            outcomes: by name and seed, of the runs of the job's stage.
        """
        ended = [outcomes.get((self.name, seed)) for seed in self.seeds]
        return None not in ended and (Outcome.COMPLETE not in ended or all(file.is_file() for file in self.files))


def run_of(
    job: Job, net: Network, seed: int, outcome: Outcome, *, metrics: dict[str, float], curve: list[CurvePoint],
    seconds: float, steps: int, note: str = "",
) -> Run:  # fmt: skip
    """A job's run with one seed, as it is recorded.

    Args:
        note: why it is not complete, or a remark; it follows the job's own.
    """
    costs = {
        "seconds": round(seconds, 3),
        "steps": float(steps),
        "parameters": float(net.count()),
        "connections": float(net.connections()),
    }
    return Run(
        study=job.study,
        stage=job.stage,
        name=job.name,
        trial=job.trial,
        seed=seed,
        outcome=outcome,
        spec=job.spec.to_json(),
        choices=job.choices,
        metrics=metrics,
        curve=curve,
        costs=costs,
        versions=versions(),
        note="; ".join(each for each in (job.note, note) if each),
    )


def timed_out(job: Job, seconds: float, where: str) -> list[Run]:
    """The runs of a job that was ended after so many seconds, one a seed.

    Args:
        where: the user-defined part that was at work; "" where that is not known.
    """
    note = f"it took longer than the {seconds:g} s of --trial-timeout{f', and was in {where}' if where else ''}"
    return [
        Run(
            study=job.study,
            stage=job.stage,
            name=job.name,
            trial=job.trial,
            seed=seed,
            outcome=Outcome.TIMEOUT,
            spec=job.spec.to_json(),
            choices=job.choices,
            costs={"seconds": round(seconds, 3)},
            versions=versions(),
            note="; ".join(each for each in (job.note, note) if each),
        )
        for seed in job.seeds
    ]


def keep(job: Job, net: Network, seed: int) -> str:
    """Write the parameters and the topology, where the job wants them, and an episode of what acts or fires.

    Returns:
        A remark for the run: why there is no episode; "" where there is nothing to say.

    Raises:
        PlasticSearchError: they cannot be written, or the run folder was removed.
    """
    check_there(job)
    if job.save:
        save_parameters(net, job.save / f"{seed}.safetensors")
    if job.graph:
        data = to_json(to_graph(net))
        write_text(_graph_file(job.graph, job.name, seed), json.dumps(data))
    return _episode(job, net, seed)


def _episode(job: Job, net: Network, seed: int) -> str:
    """Record an episode of a network whose parameters are kept; where it fails, nothing that was trained is lost."""
    if not job.save or job.stage is Stage.QUANTIZED:
        return ""
    acted = fired = None
    try:
        if isinstance(job.task, Environment):
            acted = record_episode(net, job.task, name=job.name, seed=seed)
        elif fires(net):
            fired = record_firing(net, job.task, name=job.name, seed=seed)
    except Exception as error:
        return f"no episode was recorded: {one_line(error)}"
    folder, file = job.save.parent.parent, f"{file_name(job.name)}-{seed}"
    if acted:
        episodes.write(folder, acted, file)
    if fired:
        spikes.write(folder, fired, file)
    return ""


def check_there(job: Job) -> None:
    """Refuse to make the run folder of a job anew, if it was removed meanwhile."""
    inside = [job.save and job.save.parent, job.graph, job.checkpoint and job.checkpoint.parent]
    for each in inside:
        if each and not is_locked(each.parent):
            raise removed(each.parent)


def _graph_file(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{file_name(name)}-{seed}.json"


def learns(spec: NetworkSpec) -> bool:
    """Whether training changes the connections of a network."""
    return any(isinstance(layer.structure, LearnedStructure) for layer in spec.layers)


def fit(spec: NetworkSpec, task: Task | Environment, trainer: Trainer | None) -> None:
    """Refuse a network whose output size is not that which a trainer wants for a task or an environment.

    Args:
        trainer: None where a network is measured only.
    """
    units, name = spec.layers[-1].units, type(task).__name__
    if isinstance(task, Environment):
        check_environment(task)
        if trainer is None and units < task.actions:
            raise PlasticSearchError(f"the last layer has units={units}, but {name} has {task.actions} actions")
        if trainer is not None and units != (wanted := trainer.outputs(task)):
            raise PlasticSearchError(
                f"the last layer has units={units}, but {type(trainer).__name__} in {name} wants {wanted} outputs, "
                f"of which {task.actions} are the actions"
            )
        return
    check_sizes(task)
    wanted = task.outputs if trainer is None else trainer.outputs(task)
    if units != wanted:
        raise PlasticSearchError(f"the last layer has units={units}, but {name} wants {wanted} outputs")
