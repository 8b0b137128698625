"""Doing a job: train a network with each of its seeds, or with all of them together."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from plastic_search.core.errors import is_stop
from plastic_search.core.loading import contained
from plastic_search.experiments.jobs import (
    Advance,
    Job,
    Measure,
    Rival,
    fit,
    keep,
    learns,
    run_of,
)
from plastic_search.experiments.measures import measure, not_finite
from plastic_search.experiments.parameters import load_parameters
from plastic_search.experiments.population import perform_together, trains_together
from plastic_search.network.contract import build
from plastic_search.network.diagnostics import attributed, is_users
from plastic_search.network.module import Network
from plastic_search.records.run import CurvePoint, Outcome, Run
from plastic_search.tasks import Split
from plastic_search.trainers import progress_of
from plastic_search.training.evaluation import evaluate

__all__ = ["perform"]

_EPISODES = 500  # of the validation split, at each point of a curve


def perform(job: Job, cores: int = 1, files: Sequence[Path | str] = ()) -> Iterator[Advance | list[Run]]:
    """Do a job: its runs come last, one a seed. A run that is not complete is the last.

    Args:
        cores: processes among which a training may share its work.
        files: Python files with the user's own parts, which those load.

    Raises:
        PlasticSearchError: it cannot be done; the message says which job, whose the fault is, and where. Whatever a
            part raises becomes one, SystemExit and GeneratorExit too.
    """
    torch.set_num_threads(1)  # what is this small is slowed down by a second one
    results = _results(job, cores, files)
    while True:
        try:
            with contained():
                result = next(results, None)
        except (
            BaseException
        ) as error:  # a part of the user's own may raise anything, and not all of it crosses processes
            if is_stop(error) or not (isinstance(error, Exception) or is_users(error)):
                raise
            raise attributed(error, job.title) from error
        if result is None:
            return
        yield result


def _results(job: Job, cores: int, files: Sequence[Path | str]) -> Iterator[Advance | list[Run]]:
    if trains_together(job.trainer):
        yield from perform_together(job, job.trainer, cores, files)
        return
    runs: list[Run] = []
    for seed in job.seeds:
        runs.append(_one(job, seed))
        if runs[-1].outcome is not Outcome.COMPLETE:
            break
    yield runs


class _Training(NamedTuple):
    """How a training ended."""

    outcome: Outcome
    curve: list[CurvePoint]
    steps: int
    note: str = ""  # why it did not come to its end


def _one(job: Job, seed: int) -> Run:
    began = time.perf_counter()
    fit(job.spec, job.task, job.trainer)
    net = build(job.spec, job.task.inputs, seed)
    if job.begin:
        load_parameters(net, job.begin / f"{seed}.safetensors")
    ended, stages = _stages(job, net, seed)
    metrics: dict[str, Any] = {}
    if ended.outcome is Outcome.COMPLETE:
        metrics = measure(job.measures, net, job.task)
        if note := not_finite(metrics, job.task):
            ended, metrics = ended._replace(outcome=Outcome.DIVERGED, note=note), {}
    outcome, curve = ended.outcome, ended.curve
    metrics |= stages
    if curve and "validation" not in metrics:
        metrics["validation"] = curve[-1].score
    metrics["connections"] = float(net.connections())
    metrics["plastic_connections"] = float(net.plastic_connections())
    judged = "test" if Measure.TEST in job.measures else "validation"  # one does not stand for the other
    if judged in metrics:
        metrics["score"] = metrics[judged]
    note = keep(job, net, seed) if outcome is Outcome.COMPLETE else ended.note
    seconds = time.perf_counter() - began
    return run_of(job, net, seed, outcome, metrics=metrics, curve=curve, seconds=seconds, steps=ended.steps, note=note)


def _stages(job: Job, net: Network, seed: int) -> tuple[_Training, dict[str, float | None]]:
    """Train a network, and where its gates have been made hard, train it on; its scores in between."""
    ended, stages = _train(job, net, seed), dict[str, float | None]()
    if ended.outcome is Outcome.COMPLETE and ended.curve and learns(job.spec):
        hard = round(evaluate(net, job.task, Split.VALIDATION, _EPISODES), 6)
        stages = {"soft": ended.curve[-1].score, "hard": hard}
        if not math.isfinite(hard):
            note = not_finite({"validation": hard}, job.task)
            return ended._replace(outcome=Outcome.DIVERGED, note=f"{note} once its gates are hard"), {}
    if ended.outcome is Outcome.COMPLETE and job.tuning is not None:
        more = _train(replace(job, trainer=job.tuning, rivals=()), net, seed)
        curve = ended.curve + [point._replace(step=ended.steps + point.step) for point in more.curve]
        ended = more._replace(curve=curve, steps=ended.steps + more.steps)
        stages |= {"tuned": curve[-1].score}
    return ended, stages


def _train(job: Job, net: Network, seed: int) -> _Training:
    curve: list[CurvePoint] = []
    if job.trainer is None:
        return _Training(Outcome.COMPLETE, curve, 0)
    size, step = net.connections(), 0
    for progress in progress_of(job.trainer, net, job.task, seed):
        step = progress.step
        if not math.isfinite(progress.loss):
            return _Training(Outcome.DIVERGED, curve, step, f"the loss is not finite at step {step}")
        score = evaluate(net, job.task, Split.VALIDATION, _EPISODES)
        if note := not_finite({"validation": score}, job.task):
            return _Training(Outcome.DIVERGED, curve, step, f"{note} at step {step}")
        point = CurvePoint(
            step=float(step),
            loss=round(progress.loss, 6),
            score=round(score, 6),
            connections=float(net.connections()),
            plastic_connections=float(net.plastic_connections()),
        )
        curve.append(point)
        if step < progress.steps and _dominated(score, size, step, job.rivals):
            return _Training(Outcome.PRUNED, curve, step)
    return _Training(Outcome.COMPLETE, curve, step)


def _dominated(score: float, connections: int, step: int, rivals: tuple[Rival, ...]) -> bool:
    """Whether three finished trials had, at this step, a better score with no more connections.

    A plain median rule would stop small networks for being small; this one only stops what is dominated.
    """
    better = 0
    for rival in rivals:
        then = next((point.score for point in rival.curve if point.step >= step), None)
        better += then is not None and then > score and rival.connections <= connections
    return better >= 3
