"""Carrying out a study: search, then train the winners and their controls. It can be stopped at any time."""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import possible
from plastic_search.experiments import controls
from plastic_search.experiments.events import Event
from plastic_search.experiments.folder import begin
from plastic_search.experiments.jobs import Job, Rival, fit
from plastic_search.experiments.optuna_search import ARMS, Arm, Direction, Proposal, importances, open_journal
from plastic_search.experiments.study import Study
from plastic_search.experiments.workers import Pool
from plastic_search.network.module import Network
from plastic_search.network.spec import NetworkSpec
from plastic_search.records import run as runs
from plastic_search.records.files import made, write_text
from plastic_search.records.run import Record, Run, locked

__all__ = ["best", "run"]

_ROUND = 4  # trials that each search asks for at a time
_FULL = 2000  # episodes behind a validation score


def run(
    study: Study,
    name: str,
    out: Path,
    workers: int = 2,
    files: tuple[Path, ...] = (),
    asked: dict[str, Any] | None = None,
) -> Generator[Event]:
    """Search, then train the winners and their controls; an event after each piece of work.

    Whatever is finished is on disk before its event is told. A study that was stopped goes on where it was.

    Args:
        name: what the study is called in its runs.
        out: the run folder.
        workers: processes.
        files: Python files with the user's own parts.
        asked: the words in which the study was asked, which study.json keeps.

    Raises:
        PlasticSearchError: nothing of the space can be built, or has the outputs that the task wants; a part of the
            user's own fails; or `out` cannot be written, is in use, is torn, or holds another question.
    """
    possible(study.space, lambda spec: fit(spec, study.task), "space")
    with locked(made(out)):
        begin(study, name, out, asked)
        with Pool(workers, list(files)) as pool:
            yield from _search(study, name, out, pool)
            yield from _finals(study, name, out, pool)


def best(record: Record, *arms: str) -> Run | None:
    """The trial that searches are judged by: the fewest connections within one standard error of the best score.

    The one-standard-error rule (Breiman et al. 1984): a smaller network that cannot be told from the best is better.
    """
    scored = [r for arm in arms for r in _trials(record, arm) if r.outcome == "complete"]
    if not scored:
        return None
    top = max(r.metrics["score"] for r in scored)
    error = math.sqrt(max(top * (1.0 - top), 0.0) / _FULL)
    near = [r for r in scored if r.metrics["score"] >= top - error]
    return min(near, key=lambda r: (r.metrics["connections"], -r.metrics["score"], r.trial))


def _trials(record: Record, arm: str) -> list[Run]:
    """One run a trial, its score the mean over the trial's seeds."""
    grouped: dict[int, list[Run]] = {}
    for each in record.stage("search", arm):
        grouped.setdefault(each.trial, []).append(each)
    made = []
    for group in grouped.values():
        last = group[-1]
        scores = [r.metrics["score"] for r in group if "score" in r.metrics]
        mean = {"score": sum(scores) / len(scores)} if scores else {}
        made.append(Run(**{**vars(last), "metrics": last.metrics | mean, "curve": group[0].curve}))
    return made


def _search(study: Study, name: str, out: Path, pool: Pool) -> Generator[Event]:
    storage = open_journal(out / runs.JOURNAL)
    directions: list[Direction] = [o.direction for o in study.objectives]
    arms = [Arm(arm, storage, study.space, directions) for arm in ARMS]
    record = runs.load(out)
    _agree(record, arms)
    while any(arm.done < study.trials for arm in arms):
        asked = {
            arm.name: [_fitting(study, p) for p in arm.propose(min(_ROUND, study.trials - arm.done))]
            for arm in arms
            if arm.done < study.trials
        }
        for arm, proposal in ((arm, p) for arm, proposals in asked.items() for p in proposals if p.spec is None):
            if not _ran(runs.load(out), arm, proposal.number):
                runs.append(out, [_infeasible(name, arm, proposal)])
                yield _search_event(study, runs.load(out), arms)
        record = runs.load(out)
        jobs = [
            _trial_job(study, name, record, arm, proposal)
            for arm, proposals in asked.items()
            for proposal in proposals
            if proposal.spec is not None and not _ran(record, arm, proposal.number)
        ]
        for _, ended in pool.each(jobs):
            runs.append(out, ended)
            yield _search_event(study, runs.load(out), arms)
        for arm in arms:
            _tell(study, out, arm, asked.get(arm.name, []))
    write_text(out / runs.IMPORTANCES, json.dumps(importances(arms)))


def _agree(record: Record, arms: list[Arm]) -> None:
    """Refuse a journal that knows less than the runs do."""
    for arm in arms:
        known = len(arm.trials())
        lost = [r.trial for r in record.stage("search", arm.name) if r.trial >= known]
        if lost:
            raise PlasticSearchError(
                f"{record.folder / runs.JOURNAL} knows {known} {arm.name} trials, but {runs.RUNS} tells of trial "
                f"{max(lost)}: the journal lost its end. Nothing was changed; put the whole journal back, or "
                f"`plastic-search repair {record.folder}` sets the runs that it no longer knows aside"
            )


def _ran(record: Record, arm: str, trial: int) -> bool:
    return any(r.trial == trial for r in record.stage("search", arm))


def _fitting(study: Study, proposal: Proposal) -> Proposal:
    """The proposal, without its network where that has not as many outputs as the task wants."""
    try:
        if proposal.spec is not None:
            fit(proposal.spec, study.task)
    except PlasticSearchError as error:
        return proposal._replace(spec=None, note=str(error))
    return proposal


def _infeasible(name: str, arm: str, proposal: Proposal) -> Run:
    choices, note = proposal.choices, proposal.note
    return Run(name, "search", arm, proposal.number, -1, "infeasible", {}, choices, note=note)


def _trial_job(study: Study, name: str, record: Record, arm: str, proposal: Proposal) -> Job:
    if proposal.spec is None:
        raise PlasticSearchError(f"{arm} trial {proposal.number} cannot be built: {proposal.note}")
    rivals = tuple(
        Rival(int(r.metrics["connections"]), r.curve) for r in _trials(record, arm) if r.outcome == "complete"
    )
    return Job(
        name, "search", arm, proposal.number, study.trial_seeds, proposal.spec.to_json(), study.task.to_json(),
        study.trainer.to_json(), proposal.choices, ("validation",), rivals,
    )  # fmt: skip


def _search_event(study: Study, record: Record, arms: list[Arm]) -> Event:
    """The last run of the record, and how many trials have ended: those with a run, be they told to Optuna or not."""
    recorded = {(r.name, r.trial) for r in record.stage("search")}
    done = len(recorded.union(*(((arm.name, number) for number in arm.ended) for arm in arms)))
    scores = [r.metrics["score"] for r in record.stage("search") if r.outcome == "complete"]
    last = record.runs[-1]
    score = f", score {last.metrics['score']:.3f}" if "score" in last.metrics else ""
    return Event(
        "search", done, 2 * study.trials, max(scores, default=None), f"{last.name} {last.trial}: {last.outcome}{score}"
    )


def _tell(study: Study, out: Path, arm: Arm, proposals: list[Proposal]) -> None:
    ended = {r.trial: r for r in _trials(runs.load(out), arm.name)}
    for proposal in proposals:
        if proposal.spec is None:
            arm.tell(proposal.number, None, None)
            continue
        run = ended[proposal.number]
        values = [run.metrics.get(o.value, 0.0) for o in study.objectives]
        feasibility_threshold = study.task.chance + study.feasibility_threshold * (1.0 - study.task.chance)
        constraint_violation = feasibility_threshold - run.metrics.get("score", 0.0)
        arm.tell(proposal.number, None if run.outcome == "pruned" else values, constraint_violation)


def _finals(study: Study, name: str, out: Path, pool: Pool) -> Generator[Event]:
    record = runs.load(out)
    done = [(r.name, r.seed, r.spec) for r in record.stage("final")]
    kept = [(r.name, r.seed) for r in record.stage("final") if r.outcome == "complete"]
    wanted = _final_jobs(study, name, record, out)
    jobs = [
        job
        for job in wanted
        if (job.name, job.seeds[0], job.spec) not in done
        or ((job.name, job.seeds[0]) in kept and not all(f.is_file() for f in job.files))
    ]
    for count, (job, ended) in enumerate(pool.each(jobs), start=len(wanted) - len(jobs) + 1):
        runs.append(out, ended)
        scores = [r.metrics["score"] for r in runs.load(out).stage("final", "winner") if "score" in r.metrics]
        told = f"{job.name}, seed {job.seeds[0]}: test score {ended[-1].metrics.get('score', 0.0):.3f}"
        yield Event("final", count, len(wanted), max(scores, default=None), told)


def _masked(spec: NetworkSpec) -> dict[str, NetworkSpec]:
    """The winner with as many connections, not chosen by its gates."""
    return {"random_mask": controls.random_mask(spec), "pruned": controls.pruned(spec)}


def _final_jobs(study: Study, name: str, record: Record, out: Path) -> list[Job]:
    """The winner of both searches, the best of the search that lost, and what the winner must be compared with."""
    winner = best(record, *ARMS)
    if winner is None:
        raise PlasticSearchError(
            f"no trial of {out} came to its end, so there is no winner; see the notes in {runs.RUNS}"
        )
    loser = best(record, *(arm for arm in ARMS if arm != winner.name))
    spec, inputs = NetworkSpec.from_json(winner.spec), study.task.inputs
    count = Network(spec, inputs).count()
    variants = {"winner": (winner, spec)}
    if loser is not None:
        variants[f"best_{loser.name}"] = (loser, NetworkSpec.from_json(loser.spec))
    variants |= {
        "dense": (winner, controls.dense(spec)),
        **{name: (winner, made) for name, made in _masked(spec).items() if made != spec},
        "fixed": (winner, controls.fixed(spec, inputs, count)),
        "fixed_lstm": (winner, controls.fixed_lstm(spec, inputs, count)),
    }
    return [
        Job(
            name,
            "final",
            variant,
            source.trial,
            (seed,),
            network.to_json(),
            study.task.to_json(),
            study.finalist.to_json(),
            source.choices,
            ("validation", "test", "frozen", "shuffled"),
            save=str(runs.models(out, variant, network.to_json())),
            graph=str(out / runs.TOPOLOGIES) if variant == "winner" else "",
            note=f"{source.name} trial {source.trial}",
        )
        for seed in study.seeds
        for variant, (source, network) in variants.items()
    ]
