"""A job whose seeds are trained together as a population, with checkpoints, so that it can be stopped at any time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TypedDict, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from plastic_search.core.errors import PlasticSearchError, one_line
from plastic_search.environments import Environment
from plastic_search.experiments.jobs import Advance, Job, check_there, fit, keep, learns, run_of
from plastic_search.experiments.measures import measure, not_finite
from plastic_search.experiments.sharing import processes
from plastic_search.network.contract import build
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.records.files import parse, write_bytes
from plastic_search.records.run import CurvePoint, Outcome, Run
from plastic_search.records.schema import conform
from plastic_search.tasks import Split
from plastic_search.trainers import Evolved, ResumableTrainer, Scored, Shared, Trainer, Training, advance
from plastic_search.training.environment_contract import what_is_not_finite
from plastic_search.training.episodes import play
from plastic_search.training.evaluation import evaluate

__all__ = ["perform_together", "stream_metrics", "trains_together"]

_SECONDS = 120.0  # between two checkpoints
_REPORT = 1.0  # seconds between two reports of progress
_VALIDATED = 500  # episodes of the validation split at each point of a curve, as `perform` takes
_SAMPLE = 16  # episodes that are looked at for what is not finite


def trains_together(trainer: Trainer | None) -> TypeGuard[ResumableTrainer]:
    """Whether all seeds of a network are trained as one population."""
    return isinstance(trainer, ResumableTrainer)


def perform_together(
    job: Job, trainer: ResumableTrainer, cores: int = 1, files: Sequence[Path | str] = ()
) -> Iterator[Advance | list[Run]]:
    """Train all seeds of a job together, from its checkpoint where there is one; a run each comes last.

    Args:
        cores: processes among which the training may share its work.
        files: Python files with the user's own parts, which those load.

    Raises:
        PlasticSearchError: the network does not fit the task, or the checkpoint is damaged.
    """
    fit(job.spec, job.task, trainer)
    build(job.spec, job.task.inputs)
    population = Population([Network(job.spec, job.task.inputs, seed) for seed in job.seeds])
    training = trainer.begin(population, job.task, job.seeds)
    with processes(cores if isinstance(training, Shared) else 1, files) as executor:
        if isinstance(training, Shared):
            training.executor = executor
        yield from _trained(job, trainer, training, population)


def _trained(
    job: Job, trainer: ResumableTrainer, training: Training, population: Population
) -> Iterator[Advance | list[Run]]:
    curves, spent = _restored(job.checkpoint, job.name, len(job.seeds), training)
    began = saved = reported = time.monotonic()
    first = training.step
    every = trainer.between_reports(training)
    while training.step < training.steps:
        losses = advance(trainer, training, min(every, training.steps - training.step), len(job.seeds))
        points = _points(job, training, population, losses)
        for curve, point in zip(curves, points, strict=True):
            curve.append(point)
        if job.checkpoint and time.monotonic() - saved >= _SECONDS:
            saved = time.monotonic()
            check_there(job)
            _save(job.checkpoint, training, curves, spent + saved - began)
        if time.monotonic() - reported >= _REPORT:
            reported = time.monotonic()
            about = _about(job, points, first, training, reported - began)
            yield Advance(training.step, training.steps, about, _unit(training))
    seconds = (spent + time.monotonic() - began) / len(job.seeds)
    yield [
        _run(job, population.member(k), seed, curve, seconds)
        for k, (seed, curve) in enumerate(zip(job.seeds, curves, strict=True))
    ]


def _points(job: Job, training: Training, population: Population, losses: list[float]) -> list[CurvePoint]:
    """A point of each member's curve, with what is known of it now."""
    hidden = [float(sum(units[:-1])) if learns(job.spec) else None for units in population.units()]
    fitness = training.fitness.tolist() if isinstance(training, Evolved) else [(math.nan, math.nan)] * len(losses)
    return [
        CurvePoint(float(training.step), round(loss, 4), score, None, None, units, _known(mean), _known(best))
        for loss, score, units, (mean, best) in zip(
            losses, _scores(job, training, population), hidden, fitness, strict=True
        )
    ]


def _scores(job: Job, training: Training, population: Population) -> list[float | None]:
    """The score of each member: of what evolves for a task, on its validation split; else that in training."""
    if isinstance(training, Evolved) and not isinstance(job.task, Environment):
        nets = [population.member(k) for k in range(len(population))]
        return [_known(evaluate(net, job.task, Split.VALIDATION, _VALIDATED)) for net in nets]
    return list(map(_known, training.scores.tolist())) if isinstance(training, Scored) else [None] * len(population)


def _known(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _unit(training: Training) -> str:
    return "generation" if isinstance(training, Evolved) else "step"


def _about(job: Job, points: list[CurvePoint], first: int, training: Training, seconds: float) -> str:
    """`, reward 3.21, about 120 s left`; of an evolution also `, fitness 3.21, best 5.4`.

    Args:
        points: the last of each curve.
        first: the update that the training began with, so many `seconds` ago.
    """
    found = ""
    for name, column in ((job.task.score_name, "score"), ("fitness", "fitness"), ("best", "best_fitness")):
        known = [value for point in points if (value := getattr(point, column)) is not None]
        found += f", {name} {sum(known) / len(known):.3g}" if known else ""
    left = seconds * (training.steps - training.step) / max(1, training.step - first)
    return f"{found}, about {left:.0f} s left"


def _cause(job: Job, seed: int) -> str:
    """`, after a reward of ... that is not a finite number`, where the network met one before it was trained."""
    if not isinstance(job.task, Environment):
        return ""
    rng = torch.Generator().manual_seed(seed)
    found = what_is_not_finite(job.task, play(Network(job.spec, job.task.inputs, seed), job.task, _SAMPLE, rng))
    return f", after the {found}" if found else ""


def _run(job: Job, net: Network, seed: int, curve: list[CurvePoint], seconds: float) -> Run:
    finite, steps = list(takewhile(lambda point: math.isfinite(point.loss), curve)), int(curve[-1].step)
    note, metrics = "", dict[str, float]()
    if len(finite) < len(curve):
        note = f"the loss is not finite at step {curve[len(finite)].step:.0f}{_cause(job, seed)}"
    else:
        metrics = measure(job.measures, net, job.task)
        note = not_finite(metrics, job.task)
    if note:
        outcome = Outcome.DIVERGED
        return run_of(job, net, seed, outcome, metrics={}, curve=finite, seconds=seconds, steps=steps, note=note)
    metrics |= stream_metrics(curve)
    if "test" in metrics:
        metrics["score"] = metrics["test"]
    metrics["connections"] = float(net.connections())
    metrics["plastic_connections"] = float(net.plastic_connections())
    note = keep(job, net, seed)
    outcome = Outcome.COMPLETE
    return run_of(job, net, seed, outcome, metrics=metrics, curve=curve, seconds=seconds, steps=steps, note=note)


def stream_metrics(curve: list[CurvePoint]) -> dict[str, float]:
    """The mean running loss over the last twentieth of training, and the units at its end, on the way, and at most."""
    steps = curve[-1].step
    last = [point.loss for point in curve if point.step > 0.95 * steps]
    found = {"loss": sum(last) / len(last)}
    units = [(point.step, point.units) for point in curve if point.units is not None]
    if units:
        for name, share in (("units", 1.0), ("units_third", 1 / 3), ("units_two_thirds", 2 / 3)):
            found[name] = [count for step, count in units if step <= share * steps or step == units[0][0]][-1]
        found["units_largest"] = max(count for _, count in units)
    return found


class _About(TypedDict):
    """What a checkpoint holds beside tensors."""

    curves: list[list[CurvePoint]]  # one a seed
    seconds: float


def _restored(path: Path | None, name: str, seeds: int, training: Training) -> tuple[list[list[CurvePoint]], float]:
    """The curves so far, one a seed, and the seconds that were spent; `training` goes on from the last checkpoint.

    Raises:
        PlasticSearchError: the checkpoint is damaged.
    """
    if path is None or not path.is_file():
        return [[] for _ in range(seeds)], 0.0
    try:
        with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
            about = parse(file.metadata()["about"])
        conform(about, _About, str(path), "")
        curves = [[CurvePoint(*row) for row in rows] for _, rows in zip(range(seeds), about["curves"], strict=True)]
        training.restore(tensors)
    except (SafetensorError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PlasticSearchError(f"{path} is damaged ({one_line(error)}); remove it, and {name} begins anew") from None
    return curves, float(about["seconds"])


def _save(path: Path, training: Training, curves: list[list[CurvePoint]], seconds: float) -> None:
    about = {"curves": [[point.to_json() for point in curve] for curve in curves], "seconds": seconds}
    write_bytes(path, save(training.saved(), {"about": json.dumps(about)}))
