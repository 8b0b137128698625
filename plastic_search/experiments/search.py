"""Carrying out a study: search, then train the winners and their controls."""

from __future__ import annotations

import math
from collections.abc import Generator, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments import controls
from plastic_search.experiments.events import Event, ended
from plastic_search.experiments.folder import spec_of
from plastic_search.experiments.jobs import Job, Measure, Rival, fit
from plastic_search.experiments.journal import ARMS, RANDOM, Direction, Expected, open_journal
from plastic_search.experiments.optuna_search import ROUND, Arm, Proposal, importances
from plastic_search.experiments.study import Study
from plastic_search.experiments.workers import Ended, Pool
from plastic_search.network.spec import NetworkSpec
from plastic_search.records import run as files
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import Finalist, Outcome, Run, Stage
from plastic_search.records.table import used
from plastic_search.tasks import Task

__all__ = ["best", "carry_out", "expected"]

_EPISODES = 2000  # behind a validation score
_ABLATIONS = (Measure.FROZEN, Measure.SHUFFLED)  # of a network that has a trace


class _Runs(Protocol):
    """A run folder that is open, or a record of one."""

    def stage(self, stage: Stage, name: str | None = None) -> list[Run]: ...


def carry_out(study: Study, folder: RunFolder, pool: Pool) -> Generator[Event]:
    """Search, then train the winners and their controls; an event after each piece of work.

    Whatever is finished is on disk before its event. A study that was stopped goes on where it was.

    Raises:
        PlasticSearchError: the journal is torn or lost its end, or no trial came to its end.
    """
    yield from _Search(study, folder).rounds(pool)
    yield from _finals(study, folder, pool)


def expected(directions: Sequence[Direction], runs: Iterable[Run]) -> Expected:
    """What the journal of a study with these runs must agree with.

    Args:
        directions: one an objective.
    """
    choices = {(run.name, run.trial): run.choices for run in runs if run.stage == Stage.SEARCH}
    return Expected(directions, choices)


def best(runs: _Runs, *arms: str) -> Run | None:
    """The trial that searches are judged by: the fewest connections within one standard error of the best score.

    The one-standard-error rule (Breiman et al. 1984): a smaller network that cannot be told from the best is better.
    """
    trials = (trial for arm in arms for trial in _Trials(runs.stage(Stage.SEARCH, arm)).means())
    scored = [trial for trial in trials if trial.outcome is Outcome.COMPLETE]
    if not scored:
        return None
    top = max(r.metrics["score"] for r in scored)
    error = math.sqrt(max(top * (1.0 - top), 0.0) / _EPISODES)
    near = [r for r in scored if r.metrics["score"] >= top - error]
    return min(near, key=lambda r: (r.metrics["connections"], -r.metrics["score"], r.trial))


class _Trials:
    """The recorded trials of one search, each of which may have several seeds."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs: dict[int, list[Run]] = {}
        by_trial: dict[int, list[Run]] = {}
        for run in runs:
            by_trial.setdefault(run.trial, []).append(run)
        for group in by_trial.values():
            self.add(group)

    def __contains__(self, number: int) -> bool:
        return number in self._runs

    @property
    def numbers(self) -> list[int]:
        return list(self._runs)

    def add(self, runs: list[Run]) -> None:
        """Add all runs of a trial."""
        self._runs[runs[0].trial] = runs

    def rivals(self, before: int) -> tuple[Rival, ...]:
        """The complete ones of the trials before a number."""
        means = [mean for mean in self.means() if mean.trial < before and mean.outcome is Outcome.COMPLETE]
        return tuple(Rival(int(mean.metrics["connections"]), mean.curve) for mean in means)

    def mean(self, number: int) -> Run:
        """The last run of a trial, its score the mean over the trial's seeds."""
        group = self._runs[number]
        scores = [r.metrics["score"] for r in group if "score" in r.metrics]
        mean = {"score": sum(scores) / len(scores)} if scores else {}
        return replace(group[-1], metrics=group[-1].metrics | mean, curve=group[0].curve)

    def means(self) -> list[Run]:
        return [self.mean(number) for number in self._runs]

    def used(self) -> dict[int, dict[str, Any]]:
        """The choices that each trial's network uses."""
        return {run.trial: used(run.choices, run.spec) for run in self.means()}


class _Search:
    """Both searches of a study, with all that is recorded of them."""

    def __init__(self, study: Study, folder: RunFolder) -> None:
        wanted = expected([each.direction for each in study.objectives], folder.stage(Stage.SEARCH))
        storage = open_journal(folder.path / files.JOURNAL, wanted)
        self.study, self.folder = study, folder
        self.arms = [Arm(arm, storage, study.space, wanted.directions) for arm in ARMS]
        self.trials = {arm.name: _Trials(folder.stage(Stage.SEARCH, arm.name)) for arm in self.arms}
        self._check()
        # Trials that ended but are not recorded: their lines were lost, and set aside by `repair`.
        lost = sum(number not in self.trials[arm.name] for arm in self.arms for number in arm.ended)
        self._done = sum(len(each.numbers) for each in self.trials.values()) + lost
        complete = (r for r in folder.stage(Stage.SEARCH) if r.outcome is Outcome.COMPLETE)
        self._best = max((r.metrics["score"] for r in complete), default=None)

    def _check(self) -> None:
        """Refuse a journal of another space, or one that knows less than the runs do."""
        for arm in self.arms:
            arm.check()
            known = len(arm.trials())
            lost = [number for number in self.trials[arm.name].numbers if number >= known]
            if lost:
                path = self.folder.path
                raise PlasticSearchError(
                    f"{path / files.JOURNAL} knows {known} {arm.name} trials, but {files.RUNS} records trial "
                    f"{max(lost)}: the journal lost its end. Nothing was changed; put the whole journal back, or "
                    f"`plastic-search repair {path}` sets the runs that it no longer knows aside"
                )

    def record(self, runs: list[Run]) -> Event:
        """Record all runs of a trial."""
        self.folder.append(*runs)
        last = runs[-1]
        self.trials[last.name].add(runs)
        self._done += 1
        scores = [r.metrics["score"] for r in runs if r.outcome is Outcome.COMPLETE]
        self._best = max((s for s in (self._best, *scores) if s is not None), default=None)
        score = f", score {last.metrics['score']:.3f}" if "score" in last.metrics else ""
        text = f"{last.name} {last.trial}: {last.outcome}{score}"
        return Event(Stage.SEARCH, self._done, 2 * self.study.trials, self._best, text)

    def rounds(self, pool: Pool) -> Generator[Event]:
        """Propose, train and report in rounds until both searches have all their trials."""
        while open_arms := [arm for arm in self.arms if len(arm.ended) < self.study.trials]:
            proposals = [(arm, self._fitting(p)) for arm in open_arms for p in arm.propose(self.study.trials)]
            left = [(arm, p) for arm, p in proposals if p.number not in self.trials[arm.name]]
            for arm, proposal in left:
                if proposal.spec is None:
                    yield self.record([self._infeasible(arm, proposal)])
            jobs = [self._job(arm, p, p.spec) for arm, p in left if p.spec is not None]
            for result in pool.each(jobs):
                if isinstance(result, Ended):
                    yield self.record(result.runs)
            for arm, proposal in proposals:
                self._tell(arm, proposal)
        trials = [t for arm in self.arms for t in arm.restricted(self.trials[arm.name].used())]
        self.folder.write(files.IMPORTANCES, importances(trials))

    def _fitting(self, proposal: Proposal) -> Proposal:
        """The proposal, without its network where that has another number of outputs than the task."""
        try:
            if proposal.spec is not None:
                fit(proposal.spec, self.study.task, self.study.trainer)
        except PlasticSearchError as error:
            return proposal._replace(spec=None, note=str(error))
        return proposal

    def _infeasible(self, arm: Arm, proposal: Proposal) -> Run:
        return Run(
            study=self.folder.name,
            stage=Stage.SEARCH,
            name=arm.name,
            trial=proposal.number,
            seed=-1,
            outcome=Outcome.INFEASIBLE,
            spec={},
            choices=proposal.choices,
            note=proposal.note,
        )

    def _job(self, arm: Arm, proposal: Proposal, spec: NetworkSpec) -> Job:
        return Job(
            study=self.folder.name,
            stage=Stage.SEARCH,
            name=arm.name,
            trial=proposal.number,
            seeds=self.study.trial_seeds,
            spec=spec,
            task=self.study.task,
            trainer=self.study.trainer,
            choices=proposal.choices,
            measures=(Measure.VALIDATION,),
            rivals=self.trials[arm.name].rivals(proposal.number - proposal.number % ROUND),
        )

    def _tell(self, arm: Arm, proposal: Proposal) -> None:
        if proposal.spec is None:
            arm.tell(proposal.number, None, None)
            return
        run, task = self.trials[arm.name].mean(proposal.number), self.study.task
        threshold = -math.inf  # in an environment, where the score alone is looked for
        if isinstance(task, Task):
            threshold = task.chance + self.study.feasibility_threshold * (1.0 - task.chance)
        values = [run.metrics.get(o.value, 0.0) for o in self.study.objectives]
        violation = max(threshold - run.metrics.get("score", 0.0), -1.0)
        arm.tell(proposal.number, None if run.outcome is Outcome.PRUNED else values, violation)


def _finals(study: Study, folder: RunFolder, pool: Pool) -> Generator[Event]:
    jobs = _final_jobs(study, folder)
    specs = {job.name: job.spec for job in jobs}
    same = [r for r in folder.stage(Stage.FINAL) if spec_of(folder, r) == specs.get(r.name)]
    outcomes = {(r.name, r.seed): r.outcome for r in same}
    left = [job for job in jobs if not job.is_done(outcomes)]
    done = len(jobs) - len(left)
    if notice := _replaced(folder, specs):
        yield Event(Stage.FINAL, done, len(jobs), None, "another winner", notice)
    for result in pool.each(left):
        if not isinstance(result, Ended):
            continue
        done += 1
        folder.append(*result.runs)
        winners = folder.stage(Stage.FINAL, Finalist.WINNER)
        best_score = max((r.metrics["score"] for r in winners if r.outcome is Outcome.COMPLETE), default=None)
        text, notice = ended(result.job.title, result.runs, "score", "test score")
        yield Event(Stage.FINAL, done, len(jobs), best_score, text, notice)


def _replaced(folder: RunFolder, specs: dict[str, NetworkSpec]) -> str:
    """What is no longer shown once these finalists are trained; "" where nothing is lost."""
    now = {name: files.identity(spec.to_json()) for name, spec in specs.items()}
    rounded = folder.stage(Stage.QUANTIZED)
    lost = sum(now.get(files.rounded_network(run)) != files.identity(run.spec) for run in rounded)
    many = "s are" if lost > 1 else " is"
    text = (
        f"the search has another winner now: {lost} quantized run{many} of a network before it, and no longer shown; "
        f"the lines stay in {files.RUNS}, and `plastic-search quantize {folder.path}` rounds the new one"
    )
    return text if lost else ""


def _final_jobs(study: Study, folder: RunFolder) -> list[Job]:
    """The winner of both searches, the best of the search that lost, and what the winner must be compared with.

    A network that stands for several of these is trained once; study.json keeps which they are, under `same`.
    """
    winner = best(folder, *ARMS)
    if winner is None:
        notes = [f": {run.outcome}, {run.note}" for run in folder.stage(Stage.SEARCH) if run.note]
        raise PlasticSearchError(
            f"no trial of {folder.path} came to its end, so there is no winner{notes[-1] if notes else ''}; "
            f"see all notes in {files.RUNS}"
        )
    other = best(folder, *(arm for arm in ARMS if arm != winner.name))
    spec, inputs = spec_of(folder, winner), study.task.inputs
    variants = {Finalist.WINNER: (winner, spec)}
    if other is not None:
        name = Finalist.BEST_RANDOM if other.name == RANDOM else Finalist.BEST_TPE
        variants[name] = (other, spec_of(folder, other))
    variants |= {name: (winner, control) for name, control in controls.controls(spec, inputs).items()}
    first: dict[Hashable, Finalist] = {}
    of = {name: first.setdefault(controls.identity(each, inputs), name) for name, (_, each) in variants.items()}
    same = {name.value: stands.value for name, stands in of.items() if stands is not name}
    about = {key: value for key, value in folder.study.items() if key != "same"}
    folder.describe(about | {"same": same} if same else about)
    return [
        Job(
            study=folder.name,
            stage=Stage.FINAL,
            name=name.value,
            trial=source.trial,
            seeds=(seed,),
            spec=network,
            task=study.task,
            trainer=study.finalist,
            choices=source.choices,
            measures=(Measure.VALIDATION, Measure.TEST, *(_ABLATIONS if controls.is_plastic(network, inputs) else ())),
            save=folder.models(name, network.to_json()),
            graph=folder.path / files.TOPOLOGIES if name is Finalist.WINNER else None,
            note=f"{source.name} trial {source.trial}",
        )
        for seed in study.seeds
        for name, (source, network) in variants.items()
        if of[name] is name
    ]
