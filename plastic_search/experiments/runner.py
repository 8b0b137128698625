"""Working on a question of any kind until it is answered. It can be stopped at any time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from plastic_search.core.paths import as_paths
from plastic_search.core.space import fillings, possible
from plastic_search.environments import Environment
from plastic_search.experiments import search
from plastic_search.experiments.comparison import Comparison, Training
from plastic_search.experiments.events import Event, ended
from plastic_search.experiments.folder import begin, opened
from plastic_search.experiments.jobs import Job, Measure, fit
from plastic_search.experiments.population import trains_together
from plastic_search.experiments.study import Study
from plastic_search.experiments.sweep import Sweep
from plastic_search.experiments.workers import Pool, Progressed
from plastic_search.network.validity import warn_of_doubts
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import CHECKPOINTS, TOPOLOGIES, Outcome, Run, file_name

__all__ = ["run"]

_SOME = 100  # networks of a space that are looked at for rules that are not valid in them


def run(
    question: Study | Sweep | Comparison,
    name: str,
    out: Path | str,
    workers: int = 2,
    files: Sequence[Path | str] = (),
    command: dict[str, Any] | None = None,
    trial_timeout: float | None = None,
) -> Generator[Event]:
    """Carry out a study, a sweep or a comparison; an event after each piece of work.

    Whatever is finished is on disk before its event. A question whose work was stopped goes on where it was.

    Args:
        name: what the question is called in its runs.
        out: the run folder.
        workers: processes.
        files: Python files with the user's own parts.
        command: the words that were typed, which study.json keeps.
        trial_timeout: seconds after which the training of a network is ended, its outcome then `timeout`; None for no
            limit.

    Warns:
        DoubtfulRule: a rule is not valid in a network of the question.

    Raises:
        PlasticSearchError: nothing of the space can be built, or a network does not fit its task; a part of the
            user's own fails; or `out` cannot be written, is in use, is torn, or holds another question.
    """
    if isinstance(question, Study):
        possible(question.space, lambda spec: fit(spec, question.task, question.trainer), "space")
        for spec in fillings(question.space, _SOME):
            warn_of_doubts(spec)
    else:
        for each in question.trainings():
            fit(each.spec, each.task, each.trainer)
            warn_of_doubts(each.spec)
    paths = as_paths(files)
    with opened(out) as folder:
        begin(folder, question, name, command)
        with Pool(workers, paths, trial_timeout) as pool:
            work = search.carry_out if isinstance(question, Study) else _compare
            yield from work(question, folder, pool)  # type: ignore[arg-type]


def _compare(question: Sweep | Comparison, folder: RunFolder, pool: Pool) -> Generator[Event]:
    """Train every case with every seed."""
    recorded, main = folder.stage(question.stage), question.metrics[0]
    outcomes = {(r.name, r.seed): r.outcome for r in recorded}
    jobs = _jobs(question, folder)
    left = [job for job in jobs if not job.is_done(outcomes)]
    total = sum(len(job.seeds) for job in jobs)
    done = total - sum(len(job.seeds) for job in left)
    scores = _scores(recorded)
    for result in pool.each(left):
        if isinstance(result, Progressed):
            yield Event(question.stage, done, total, max(scores, default=None), f"{result.title}: {result.advance}")
            continue
        job, runs = result
        folder.append(*runs)
        if job.checkpoint:
            job.checkpoint.unlink(missing_ok=True)
        done += len(job.seeds)
        scores += _scores(runs)
        yield Event(question.stage, done, total, max(scores, default=None), *ended(job.title, runs, main.name))


def _scores(runs: list[Run]) -> list[float]:
    return [run.metrics["score"] for run in runs if run.outcome is Outcome.COMPLETE and "score" in run.metrics]


def _jobs(question: Sweep | Comparison, folder: RunFolder) -> list[Job]:
    """One job for each case and seed, or for each case where its seeds are trained together."""
    jobs, trainings = [], question.trainings()
    for seed in question.seeds:
        for number, training in enumerate(trainings):
            if not trains_together(training.trainer):
                jobs.append(_job(question, folder, number, training, (seed,)))
            elif seed == question.seeds[0]:
                jobs.append(_job(question, folder, number, training, question.seeds))
    return jobs


def _job(
    question: Sweep | Comparison, folder: RunFolder, number: int, training: Training, seeds: tuple[int, ...]
) -> Job:
    case = training.case
    wanted = {metric.name for metric in question.metrics}
    wanted |= {"validation", "test"} if "score" in wanted else set()
    if isinstance(training.task, Environment):  # whose pages show all of them
        wanted |= {*Measure} - {Measure.BITS}
    checkpoint = folder.path / CHECKPOINTS / f"{file_name(case.name)}-{seeds[0]}.safetensors"
    return Job(
        study=folder.name,
        stage=question.stage,
        name=case.name,
        trial=number,
        seeds=seeds,
        spec=training.spec,
        task=training.task,
        trainer=training.trainer,
        tuning=training.tuning,
        choices={"group": case.group, "at": case.at},
        measures=tuple(each for each in Measure if each.value in wanted),
        save=folder.models(case.name, training.spec.to_json()) if training.keep else None,
        graph=folder.path / TOPOLOGIES if training.graph else None,
        checkpoint=checkpoint if trains_together(training.trainer) else None,
    )
