"""Doing a job: train a network with each of its seeds, or with all of them together."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from plastic_search.experiments.jobs import Advance, Job, Rival, fit, keep, learns, measure, run_of
from plastic_search.experiments.parameters import load_parameters
from plastic_search.experiments.population import perform_together, trains_together
from plastic_search.network.diagnostics import attributed, validate_parts
from plastic_search.network.module import Network
from plastic_search.records.run import CurvePoint, Outcome, Run
from plastic_search.tasks import Split
from plastic_search.training.evaluation import evaluate

__all__ = ["perform"]

_EPISODES = 500  # of the validation split, at each point of a curve


def perform(job: Job) -> Iterator[Advance | list[Run]]:
    """Do a job: its runs come last, one a seed. A run that is not complete is the last.

    Raises:
        PlasticSearchError: it cannot be done; the message says which job, whose the fault is, and where.
    """
    torch.set_num_threads(1)  # what is this small is slowed down by a second one
    try:
        if trains_together(job.trainer):
            yield from perform_together(job, job.trainer)
        else:
            yield _one_by_one(job)
    except Exception as error:  # a part of the user's own may raise anything, and not all of it crosses processes
        raise attributed(error, job.title) from error


def _one_by_one(job: Job) -> list[Run]:
    runs: list[Run] = []
    for seed in job.seeds:
        runs.append(_one(job, seed))
        if runs[-1].outcome is not Outcome.COMPLETE:
            break
    return runs


class _Training(NamedTuple):
    """How a training ended."""

    outcome: Outcome
    curve: list[CurvePoint]
    steps: int


def _one(job: Job, seed: int) -> Run:
    began = time.perf_counter()
    fit(job.spec, job.task)
    net = Network(job.spec, job.task.inputs, seed)
    validate_parts(net)
    if job.begin:
        load_parameters(net, job.begin / f"{seed}.safetensors")
    outcome, curve, steps = _train(job, net, seed)
    stages: dict[str, float | None] = {}
    if outcome is Outcome.COMPLETE and curve and learns(job.spec):
        hard = round(evaluate(net, job.task, Split.VALIDATION, _EPISODES), 6)
        stages = {"soft": curve[-1].score, "hard": hard}
    if outcome is Outcome.COMPLETE and job.tuning is not None:
        outcome, more, further = _train(replace(job, trainer=job.tuning, rivals=()), net, seed)
        curve += [point._replace(step=steps + point.step) for point in more]
        steps += further
        stages |= {"tuned": curve[-1].score}
    metrics: dict[str, Any] = {}
    if outcome is not Outcome.DIVERGED:
        metrics = measure(job.measures if outcome is Outcome.COMPLETE else (), net, job.task)
    metrics |= stages
    if curve and "validation" not in metrics:
        metrics["validation"] = curve[-1].score
    metrics["connections"] = float(net.connections())
    metrics["plastic_connections"] = float(net.plastic_connections())
    if "test" in metrics or "validation" in metrics:
        metrics["score"] = metrics.get("test", metrics.get("validation", 0.0))
    if outcome is Outcome.COMPLETE:
        keep(job, net, seed)
    seconds = time.perf_counter() - began
    return run_of(job, net, seed, outcome, metrics=metrics, curve=curve, seconds=seconds, steps=steps)


def _train(job: Job, net: Network, seed: int) -> _Training:
    curve: list[CurvePoint] = []
    if job.trainer is None:
        return _Training(Outcome.COMPLETE, curve, 0)
    size, step = net.connections(), 0
    for progress in job.trainer.train(net, job.task, seed):
        step = progress.step
        if not math.isfinite(progress.loss):
            return _Training(Outcome.DIVERGED, curve, step)
        score = evaluate(net, job.task, Split.VALIDATION, _EPISODES)
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
