"""A job whose seeds are trained together as a population, with checkpoints, so that it can be stopped at any time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.jobs import Advance, Job, fit, keep, measure, run_of
from plastic_search.network.diagnostics import look
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.records.files import replacing
from plastic_search.records.run import CurvePoint, Outcome, Run
from plastic_search.trainers import Trainer
from plastic_search.trainers.windowed import Windowed
from plastic_search.training.streaming import Course

__all__ = ["perform_together", "trains_together"]

_SECONDS = 120.0  # between two checkpoints
_REPORT = 1.0  # seconds between two reports of progress


def trains_together(trainer: Trainer | None) -> TypeGuard[Windowed]:
    """Whether all seeds of a network are trained as one population."""
    return isinstance(trainer, Windowed)


def perform_together(job: Job, trainer: Windowed) -> Iterator[Advance | list[Run]]:
    """Train all seeds of a job together; a run each comes last. A checkpoint that is found is gone on from.

    Raises:
        PlasticSearchError: the network does not fit the task, or the checkpoint is damaged.
    """
    fit(job.spec, job.task)
    nets = [Network(job.spec, job.task.inputs, seed) for seed in job.seeds]
    look(nets[0])
    population = Population(nets)
    course = trainer.course(population, job.task, job.seeds)
    curves, spent = _restored(job, course)
    began = saved = reported = time.monotonic()
    every = max(1, trainer.steps // trainer.reports)
    while course.step < trainer.steps:
        course.advance(min(every, trainer.steps - course.step))
        for curve, loss, units in zip(curves, course.running.tolist(), course.units(), strict=True):
            curve.append(CurvePoint(step=float(course.step), loss=round(loss, 4), units=float(sum(units[:-1]))))
        if job.checkpoint and time.monotonic() - saved >= _SECONDS:
            saved = time.monotonic()
            _save(job.checkpoint, course, curves, spent + saved - began)
        if time.monotonic() - reported >= _REPORT:
            reported = time.monotonic()
            yield Advance(course.step, trainer.steps)
    seconds = (spent + time.monotonic() - began) / len(job.seeds)
    yield [
        _run(job, population.member(k), seed, curve, seconds, trainer.steps)
        for k, (seed, curve) in enumerate(zip(job.seeds, curves, strict=True))
    ]


def _run(job: Job, net: Network, seed: int, curve: list[CurvePoint], seconds: float, steps: int) -> Run:
    if not all(math.isfinite(point.loss) for point in curve):
        return run_of(job, net, seed, Outcome.DIVERGED, metrics={}, curve=curve, seconds=seconds, steps=steps)
    metrics = measure(job.measures, net, job.task) | stream_metrics(curve)
    if "test" in metrics:
        metrics["score"] = metrics["test"]
    metrics["connections"] = float(net.connections())
    metrics["plastic_connections"] = float(net.plastic_connections())
    keep(job, net, seed)
    return run_of(job, net, seed, Outcome.COMPLETE, metrics=metrics, curve=curve, seconds=seconds, steps=steps)


def stream_metrics(curve: list[CurvePoint]) -> dict[str, float]:
    """The mean running loss over the last twentieth of training, and the units at its end, on the way, and at most."""
    steps = curve[-1].step
    last = [point.loss for point in curve if point.step > 0.95 * steps]
    units = {"units": 1.0, "units_third": 1 / 3, "units_two_thirds": 2 / 3}
    found = {"loss": sum(last) / len(last)} | {name: _units(curve, at * steps) for name, at in units.items()}
    return found | {"units_largest": max(point.units or 0.0 for point in curve)}


def _units(curve: list[CurvePoint], step: float) -> float:
    """The units at the last point up to a step; at the first point where there is none."""
    return [point.units or 0.0 for point in curve if point.step <= step or point is curve[0]][-1]


def _restored(job: Job, course: Course) -> tuple[list[list[CurvePoint]], float]:
    """The curves so far, one a seed, and the seconds that were spent; `course` goes on from the last checkpoint."""
    path = job.checkpoint
    if path is None or not path.is_file():
        return [[] for _ in job.seeds], 0.0
    try:
        with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
            about = json.loads(file.metadata()["about"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PlasticSearchError(f"{path} is damaged ({error}); remove it, and {job.name} begins anew") from None
    course.restore(tensors)
    return [[CurvePoint(*row) for row in rows] for rows in about["curves"]], float(about["seconds"])


def _save(path: Path, course: Course, curves: list[list[CurvePoint]], seconds: float) -> None:
    about = {"curves": [[point.to_json() for point in curve] for curve in curves], "seconds": seconds}
    with replacing(path) as temporary:
        save_file(course.saved(), temporary, {"about": json.dumps(about, allow_nan=False)})
