"""A trained network that is to be rounded, and the jobs that round it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.environments import Environment
from plastic_search.experiments.comparison import Comparison
from plastic_search.experiments.controls import is_plastic
from plastic_search.experiments.events import how_it_ended
from plastic_search.experiments.export import best_case, parameters_of
from plastic_search.experiments.folder import open_question, spec_of
from plastic_search.experiments.jobs import Job, Measure
from plastic_search.experiments.study import Study
from plastic_search.experiments.sweep import Sweep
from plastic_search.experiments.variants import Variant
from plastic_search.network.spec import NetworkSpec
from plastic_search.precisions import Role, Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import Finalist, Outcome, Run, Stage
from plastic_search.tasks import Task
from plastic_search.trainers import Trainer

__all__ = ["Trained", "rounding_job", "trained"]


class Trained(NamedTuple):
    """A trained network, and what it was trained for."""

    run: Run  # of one of its seeds
    spec: NetworkSpec
    seeds: list[int]  # of which there are parameters
    task: Task | Environment
    tuning: Trainer | None  # how it is trained on; None where the question does not say

    @property
    def plastic(self) -> bool:
        """Whether any connection has a trace."""
        return is_plastic(self.spec, self.task.inputs)


def trained(folder: RunFolder, name: str) -> Trained:
    """The network of the question in a folder that a name stands for; "" is the winner, or the best case.

    Raises:
        PlasticSearchError: there is no such network yet, or none of its seeds came to its end.
    """
    question = open_question(folder)
    run = _finalist(folder, name) if isinstance(question, Study) else _case(folder, name)
    task, tuning = _plan(question, run)
    return Trained(run, spec_of(folder, run), _seeds(folder, run, question.seeds), task, tuning)


def _plan(question: Study | Sweep | Comparison, source: Run) -> tuple[Task | Environment, Trainer | None]:
    """What a network was trained for, and how it is trained on."""
    if isinstance(question, Study):
        return question.task, question.fine_tuning
    training = next(each for each in question.trainings() if each.case.name == source.name)
    return training.task, training.tuning


def _case(folder: RunFolder, name: str) -> Run:
    """A run of a case of a comparison or a sweep, whose parameters were kept."""
    runs = [*folder.stage(Stage.COMPARISON), *folder.stage(Stage.SWEEP)]
    kept = {run.name: run for run in runs if parameters_of(folder, run) is not None}
    if not kept:
        raise PlasticSearchError(f"{folder.path} has no trained network yet; `plastic-search run` makes them")
    name = name or best_case(folder)
    if name not in kept:
        raise unknown("case with parameters", name, kept)
    return kept[name]


def _finalist(folder: RunFolder, name: str) -> Run:
    """A run of the finalist that a name stands for."""
    name = name or Finalist.WINNER
    finals = {run.name: run for run in folder.stage(Stage.FINAL)}
    if Finalist.WINNER not in finals:
        raise PlasticSearchError(f"{folder.path} has no winner yet; `plastic-search run` finds one")
    same = folder.study.get("same", {})
    if same.get(name, name) not in finals:
        raise unknown("finalist", name, [*finals, *same])
    return finals[same.get(name, name)]


def _seeds(folder: RunFolder, source: Run, seeds: Sequence[int]) -> list[int]:
    """The seeds of which a finalist has parameters."""
    runs = folder.stage(source.stage, source.name)
    complete = {run.seed for run in runs if run.outcome is Outcome.COMPLETE}
    if not complete:
        raise PlasticSearchError(
            f"{folder.path} has no {source.name} that can be quantized, none came to its end "
            f"({how_it_ended(runs[0])}); choose another finalist with --name"
        )
    return [seed for seed in seeds if seed in complete]


def rounding_job(
    folder: RunFolder, net: Trained, variant: Variant, seed: int, asked: dict[str, Any] | None = None
) -> Job:
    """The job that rounds a network, and where its variant says so trains it on.

    Args:
        asked: what its run records among its choices besides, such as the command's options.
    """
    precision, source = variant.precision, net.run
    winner = source.name == Finalist.WINNER
    name = variant.name if winner else f"{source.name}-{variant.name}"
    formats = {role: precision.format(role) for role in Role}
    choices: dict[str, Any] = {role.value: form.bits if form else None for role, form in formats.items()}
    if choices[Role.ACTIVITY.value] is None:  # as in records of before there was such a role
        del choices[Role.ACTIVITY.value]
    choices["rounding"] = (precision.rounding if isinstance(precision, Integer) else Rounding.NEAREST).value
    if (trace := formats[Role.TRACE]) is not None and trace.remainder:
        choices["remainder"] = trace.remainder
    choices |= {"tuned": variant.tuned} | (asked or {}) | ({} if winner else {"network": source.name})
    return Job(
        study=folder.name,
        stage=Stage.QUANTIZED,
        name=name,
        trial=source.trial,
        seeds=(seed,),
        spec=replace(net.spec, precision=precision),
        task=net.task,
        trainer=net.tuning if variant.tuned else None,
        choices=choices,
        measures=(Measure.VALIDATION, Measure.TEST, Measure.BITS),
        begin=folder.models(source.name, source.spec),
        save=folder.models(name, source.spec) if variant.tuned else None,
    )
