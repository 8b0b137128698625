"""One piece of a study's work, told in plain JSON so that any process can do it: train a network, measure it."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.diagnostics import attributed, validate_parts
from plastic_search.network.module import Network
from plastic_search.network.spec import NetworkSpec, Pathway
from plastic_search.records.files import write_text
from plastic_search.records.provenance import versions
from plastic_search.records.run import Run
from plastic_search.tasks import Split, Task
from plastic_search.topology import conversion
from plastic_search.trainers import Trainer
from plastic_search.training.evaluation import evaluate, frozen, shuffled

__all__ = [
    "Job",
    "Rival",
    "fit",
    "learns",
    "load_parameters",
    "perform",
]

_LOOK = 500  # validation episodes at each progress
_FULL = 2000  # episodes of a final figure
_AGAIN = "remove it, and the command that trained it (`plastic-search run`, or `quantize`) trains it again"


class Rival(NamedTuple):
    """A finished trial of the same search, for pruning."""

    connections: int
    curve: list[list[float]]  # [step, loss, score]


class Job(NamedTuple):
    """A network to train and measure."""

    study: str
    stage: str
    name: str
    trial: int
    seeds: tuple[int, ...]
    spec: dict[str, Any]
    task: dict[str, Any]
    trainer: dict[str, Any] | None  # None: measure only
    choices: dict[str, Any]
    measures: tuple[str, ...]  # of validation, test, frozen, shuffled
    rivals: tuple[Rival, ...] = ()
    begin: str = ""  # a folder with parameters to start from, as SEED.safetensors; "" draws them
    save: str = ""  # a folder for the parameters; "" keeps none
    graph: str = ""  # a folder for the topology; "" keeps none
    note: str = ""
    tuning: dict[str, Any] | None = None  # how it is trained on once its gates are hard; None: not at all

    @property
    def title(self) -> str:
        """`tpe trial 3`, or `winner, seed 0`."""
        return f"{self.name} trial {self.trial}" if self.stage == "search" else f"{self.name}, seed {self.seeds[0]}"

    @property
    def files(self) -> list[Path]:
        """What a complete run leaves behind, beside its line."""
        saved = [Path(self.save) / f"{seed}.safetensors" for seed in self.seeds if self.save]
        return saved + [graph_file(self, seed) for seed in self.seeds if self.graph]


def perform(job: Job) -> list[Run]:
    """Do a job: one run a seed. A run that is pruned is the last.

    Raises:
        PlasticSearchError: it cannot be done; the message says which job, whose the fault is, and where.
    """
    torch.set_num_threads(1)
    made = []
    try:
        for seed in job.seeds:
            made.append(_one(job, seed))
            if made[-1].outcome != "complete":
                break
    except Exception as error:  # a part of the user's own may raise anything, and not all of it crosses processes
        raise attributed(error, job.title) from error
    return made


def _one(job: Job, seed: int) -> Run:
    began = time.perf_counter()
    task, spec = Task.from_json(job.task), NetworkSpec.from_json(job.spec)
    fit(spec, task)
    net = Network(spec, task.inputs, seed)
    validate_parts(net)
    if job.begin:
        load_parameters(net, Path(job.begin) / f"{seed}.safetensors")
    outcome, curve, steps = _train(job, net, task, seed)
    stages = {}
    if outcome == "complete" and curve and learns(spec):
        stages = {"soft": curve[-1][2], "hard": round(evaluate(net, task, Split.VALIDATION, _LOOK), 6)}
    if outcome == "complete" and job.tuning is not None:
        outcome, more, further = _train(job._replace(trainer=job.tuning, rivals=()), net, task, seed)
        curve += [[steps + row[0], *row[1:]] for row in more]
        steps += further
        stages |= {"tuned": curve[-1][2]}
    metrics = {} if outcome == "diverged" else _measure(job.measures if outcome == "complete" else (), net, task)
    metrics |= stages
    if curve and "validation" not in metrics:
        metrics["validation"] = curve[-1][2]
    metrics["connections"] = float(net.connections())
    metrics["plastic_connections"] = float(net.plastic_connections())
    if "test" in metrics or "validation" in metrics:
        metrics["score"] = metrics.get("test", metrics.get("validation", 0.0))
    if outcome == "complete":
        _keep(job, net, seed)
    costs = {
        "seconds": round(time.perf_counter() - began, 3),
        "steps": float(steps),
        "parameters": float(net.count()),
        "connections": float(net.connections()),
    }
    return Run(
        job.study, job.stage, job.name, job.trial, seed, outcome, spec.to_json(), job.choices, metrics, curve, costs,
        versions(), job.note,
    )  # fmt: skip


def _train(job: Job, net: Network, task: Task, seed: int) -> tuple[str, list[list[float]], int]:
    """The outcome, the curve, and how many updates were made."""
    curve: list[list[float]] = []
    if job.trainer is None:
        return "complete", curve, 0
    size, step = net.connections(), 0
    for progress in Trainer.from_json(job.trainer).train(net, task, seed):
        step = progress.step
        if not math.isfinite(progress.loss):
            return "diverged", curve, step
        score = evaluate(net, task, Split.VALIDATION, _LOOK)
        curve.append(
            [
                float(step),
                round(progress.loss, 6),
                round(score, 6),
                float(net.connections()),
                float(net.plastic_connections()),
            ]
        )
        if step < progress.steps and _beaten(score, size, step, job.rivals):
            return "pruned", curve, step
    return "complete", curve, step


def _beaten(score: float, connections: int, step: int, rivals: tuple[Rival, ...]) -> bool:
    """Whether three finished trials had, at this step, a better score with no more connections.

    A plain median rule would stop small networks for being small; this one only stops what is dominated.
    """
    better = 0
    for rival in rivals:
        then = next((row[2] for row in rival.curve if row[0] >= step), None)
        better += then is not None and then > score and rival.connections <= connections
    return better >= 3


def _measure(measures: tuple[str, ...], net: Network, task: Task) -> dict[str, float]:
    made: dict[str, float] = {}
    plastic = any(layer.plastic is not Pathway.NONE for layer in net.spec.layers)
    query_step = task.episodes(1, Split.TRAIN, torch.Generator().manual_seed(0)).query_step
    ways = {
        "validation": lambda: evaluate(net, task, Split.VALIDATION, _FULL),
        "test": lambda: evaluate(net, task, Split.TEST, _FULL),
        "frozen": lambda: evaluate(net, task, Split.TEST, _FULL, frozen) if plastic else None,
        "shuffled": lambda: evaluate(net, task, Split.TEST, _FULL, shuffled(query_step)) if plastic else None,
    }
    for name in measures:
        value = ways[name]()
        if value is not None:
            made[name] = round(value, 6)
    return made


def _keep(job: Job, net: Network, seed: int) -> None:
    if job.save:
        path = Path(job.save) / f"{seed}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        save_file({n: p.detach().contiguous() for n, p in net.state_dict().items()}, temporary)
        temporary.replace(path)
    if job.graph:
        data = conversion.to_json(conversion.to_graph(net))
        write_text(graph_file(job, seed), json.dumps(data))


def graph_file(job: Job, seed: int) -> Path:
    """Where the graph of a seed lies."""
    return Path(job.graph) / f"{job.name.replace(' ', '-')}-{seed}.json"


def learns(spec: NetworkSpec) -> bool:
    """Whether training changes the connections of a network."""
    return any(layer.structure.learns for layer in spec.layers)


def fit(spec: NetworkSpec, task: Task) -> None:
    """Refuse a network that does not say as many numbers as the task wants to hear."""
    units = spec.layers[-1].units
    if units != task.outputs:
        raise PlasticSearchError(
            f"the last layer has units={units}, but {type(task).__name__} wants {task.outputs} outputs"
        )


def load_parameters(net: Network, path: Path) -> None:
    """Fill `net` with the parameters in a safetensors file.

    Raises:
        PlasticSearchError: the file is missing or damaged, or is of another network.
    """
    if not path.is_file():
        raise PlasticSearchError(f"there are no parameters at {path}; the command that trained them makes them again")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise PlasticSearchError(f"{path} is damaged ({error}); {_AGAIN}") from None
    wanted = {n: list(p.shape) for n, p in net.state_dict().items()}
    given = {n: list(t.shape) for n, t in tensors.items()}
    if wanted != given:
        odd = next(n for n in wanted | given if wanted.get(n) != given.get(n))
        raise PlasticSearchError(
            f"{path} is of another network: {odd} should be {wanted.get(odd)}, is {given.get(odd)}; {_AGAIN}"
        )
    net.load_state_dict(tensors)
