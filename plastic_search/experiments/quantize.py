"""A network in few bits: weight, alpha and trace at 8, 4, 3 and 2, together and alone, before and after fine-tuning.

What fine-tuning gives is not what rounding costs: the network is trained on in float too, for as long.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.paths import as_paths
from plastic_search.environments import Environment
from plastic_search.experiments.comparison import Comparison
from plastic_search.experiments.controls import is_plastic
from plastic_search.experiments.events import Event, ended, how_it_ended
from plastic_search.experiments.export import best_case, parameters_of
from plastic_search.experiments.folder import open_question, spec_of
from plastic_search.experiments.jobs import Job, Measure
from plastic_search.experiments.study import Study
from plastic_search.experiments.sweep import Sweep
from plastic_search.experiments.workers import Ended, Pool
from plastic_search.precisions import Role, Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import WIDTHS, Finalist, Outcome, Run, Stage
from plastic_search.tasks import Task
from plastic_search.trainers import Trainer

__all__ = ["Variant", "quantize", "variants"]

_FLOAT = 32  # how a float role is written in a name
_FEW = 4  # bits of a trace, in which rounding to nearest loses many changes


class Variant(NamedTuple):
    """One way of rounding a network."""

    precision: Integer | Floating
    tuned: bool  # trained on with its rounding in place

    @property
    def name(self) -> str:
        """`w4a4t8-stochastic-tuned`: bits of weight, alpha and trace, the trace's rounding, whether fine-tuned.

        `w4a4t8y4-stochastic` has activity in 4 bits too.
        """
        p = self.precision
        if isinstance(p, Floating):  # trained on as long as the others, to compare them with
            return f"w{_FLOAT}a{_FLOAT}t{_FLOAT}" + "-tuned" * self.tuned
        bits = f"w{p.weight or _FLOAT}a{p.alpha or _FLOAT}t{p.trace or _FLOAT}"
        bits += "" if p.activity is None else f"y{p.activity}"
        return "-".join([bits, p.rounding.value] + ["tuned"] * self.tuned)


def variants(
    bits: tuple[int, ...] = WIDTHS, plastic: bool = True, activity_bits: tuple[int, ...] = ()
) -> list[Variant]:
    """All roles at each width, each role alone, and 4-bit weight and alpha with an 8-bit trace; float, trained on.

    The trace is rounded to nearest and stochastically; alone, and in 4 bits or fewer, with error feedback too.

    Args:
        plastic: whether there are alphas and a trace; without them the weight alone is rounded.
        activity_bits: widths of activity, each alone, and beside 4-bit weight and alpha with an 8-bit trace.
    """
    found = [Variant(Floating(), tuned=True)]
    for tuned in (False, True):
        for rounding in (Rounding.NEAREST, Rounding.STOCHASTIC) if plastic else ():
            widths = [(b, b, b) for b in bits] + [(4, 4, 8)] + [(None, None, b) for b in bits]
            found += [Variant(Integer(*each, rounding), tuned) for each in widths]
            found += [Variant(Integer(4, 4, 8, rounding, b), tuned) for b in activity_bits]
        few = [b for b in bits if b <= _FEW and plastic]
        found += [Variant(Integer(None, None, b, Rounding.FEEDBACK), tuned) for b in few]
        alone = [(b, None, None) for b in bits] + [(None, b, None) for b in bits if plastic]
        found += [Variant(Integer(*each, Rounding.NEAREST), tuned) for each in alone]
        with_weight = () if plastic else (4,)
        active = [(w, b) for w in (None, *with_weight) for b in activity_bits]
        found += [Variant(Integer(w, None, None, Rounding.NEAREST, b), tuned) for w, b in active]
    return list({v.name: v for v in found}.values())


def quantize(
    out: Path | str,
    bits: tuple[int, ...] = WIDTHS,
    workers: int = 2,
    files: Sequence[Path | str] = (),
    name: str = "",
    activity_bits: tuple[int, ...] = (),
) -> Generator[Event]:
    """Round a network of the question in `out` in every way of `variants`; an event after each.

    A study says how a network is trained on once it is rounded, `fine_tuning`, and a comparison may, by `tuning`; where
    it does not, networks are rounded only.

    Args:
        name: `winner`, another finalist, or a case of a comparison, whose runs are then called after it:
            `fixed-w4a32t32-nearest`. "" is the winner, or the case of the highest mean score.
        activity_bits: widths of activity to try too.

    Raises:
        PlasticSearchError: there is no such network yet.
    """
    with RunFolder.open(out) as folder, Pool(workers, as_paths(files)) as pool:
        question = open_question(folder)
        source = _finalist(folder, name) if isinstance(question, Study) else _case(folder, name)
        plan = _plan(question, source)
        plastic = is_plastic(spec_of(folder, source), plan.task.inputs)
        outcomes = {(r.name, r.seed): r.outcome for r in folder.stage(Stage.QUANTIZED)}
        seeds = _trained(folder, source, question.seeds)
        every = [v for v in variants(bits, plastic, activity_bits) if not v.tuned or plan.tuning is not None]
        jobs = [_job(plan, folder, source, v, seed) for v in every for seed in seeds]
        left = [job for job in jobs if not job.is_done(outcomes)]
        results = (result for result in pool.each(left) if isinstance(result, Ended))
        for count, (job, runs) in enumerate(results, start=len(jobs) - len(left) + 1):
            folder.append(*runs)
            yield Event(Stage.QUANTIZED, count, len(jobs), None, *ended(job.title, runs, "score"))


class _Plan(NamedTuple):
    """What a network was trained for, and how it is trained on."""

    task: Task | Environment
    tuning: Trainer | None


def _plan(question: Study | Sweep | Comparison, source: Run) -> _Plan:
    if isinstance(question, Study):
        return _Plan(question.task, question.fine_tuning)
    training = next(each for each in question.trainings() if each.case.name == source.name)
    return _Plan(training.task, training.tuning)


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


def _trained(folder: RunFolder, source: Run, seeds: Sequence[int]) -> list[int]:
    """The seeds of which a finalist has parameters."""
    runs = folder.stage(source.stage, source.name)
    complete = {run.seed for run in runs if run.outcome is Outcome.COMPLETE}
    if not complete:
        raise PlasticSearchError(
            f"{folder.path} has no {source.name} that can be quantized, none came to its end "
            f"({how_it_ended(runs[0])}); choose another finalist with --name"
        )
    return [seed for seed in seeds if seed in complete]


def _job(plan: _Plan, folder: RunFolder, source: Run, variant: Variant, seed: int) -> Job:
    precision, winner = variant.precision, source.name == Finalist.WINNER
    name = variant.name if winner else f"{source.name}-{variant.name}"
    formats = {role: precision.format(role) for role in Role}
    choices: dict[str, Any] = {role.value: form.bits if form else None for role, form in formats.items()}
    if choices[Role.ACTIVITY.value] is None:  # as in records of before there was such a role
        del choices[Role.ACTIVITY.value]
    choices["rounding"] = (precision.rounding if isinstance(precision, Integer) else Rounding.NEAREST).value
    if (trace := formats[Role.TRACE]) is not None and trace.remainder:
        choices["remainder"] = trace.remainder
    return Job(
        study=folder.name,
        stage=Stage.QUANTIZED,
        name=name,
        trial=source.trial,
        seeds=(seed,),
        spec=replace(spec_of(folder, source), precision=precision),
        task=plan.task,
        trainer=plan.tuning if variant.tuned else None,
        choices=choices | {"tuned": variant.tuned} | ({} if winner else {"network": source.name}),
        measures=(Measure.TEST,),
        begin=folder.models(source.name, source.spec),
        save=folder.models(name, source.spec) if variant.tuned else None,
    )
