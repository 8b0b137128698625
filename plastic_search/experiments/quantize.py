"""The winner in few bits: every role at 8, 4, 3 and 2, together and alone, before and after fine-tuning.

What fine-tuning gives is not what rounding costs: the winner is trained on in float too, for as long.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.events import Event
from plastic_search.experiments.folder import open_study
from plastic_search.experiments.jobs import Job
from plastic_search.experiments.study import Study
from plastic_search.experiments.workers import Pool
from plastic_search.network.spec import NetworkSpec
from plastic_search.precisions import Role, Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.records import run
from plastic_search.records.run import locked

__all__ = ["BITS", "Variant", "quantize", "variants"]

BITS = (8, 4, 3, 2)
_FLOAT = 32  # how a float role is written in a name


class Variant(NamedTuple):
    """One way of rounding a network."""

    precision: Integer | Floating
    tuned: bool  # trained on with its rounding in place

    @property
    def name(self) -> str:
        """`w4a4t8-stochastic-tuned`: bits of weight, alpha and trace, the trace's rounding, whether fine-tuned."""
        p = self.precision
        if isinstance(p, Floating):  # trained on as long as the others, to compare them with
            return f"w{_FLOAT}a{_FLOAT}t{_FLOAT}" + "-tuned" * self.tuned
        bits = f"w{p.weight or _FLOAT}a{p.alpha or _FLOAT}t{p.trace or _FLOAT}"
        return "-".join([bits, p.rounding.value] + ["tuned"] * self.tuned)


def variants(bits: tuple[int, ...] = BITS) -> list[Variant]:
    """All roles at each width, each role alone, and 4-bit weight and alpha with an 8-bit trace; float, trained on."""
    made = [Variant(Floating(), tuned=True)]
    for tuned in (False, True):
        for rounding in Rounding:
            widths = [(b, b, b) for b in bits] + [(4, 4, 8)] + [(None, None, b) for b in bits]
            made += [Variant(Integer(*each, rounding), tuned) for each in widths]
        alone = [(b, None, None) for b in bits] + [(None, b, None) for b in bits]
        made += [Variant(Integer(*each, Rounding.NEAREST), tuned) for each in alone]
    return list({v.name: v for v in made}.values())


def quantize(
    out: Path, bits: tuple[int, ...] = BITS, workers: int = 2, files: tuple[Path, ...] = ()
) -> Generator[Event]:
    """Round the winner of the study in `out` in every way of `variants`; an event after each network.

    Raises:
        PlasticSearchError: the study has no winner yet.
    """
    with locked(out):
        study, record = open_study(out)
        winners = record.stage("final", "winner")
        if not winners:
            raise PlasticSearchError(f"{out} has no winner yet; `plastic-search run` finds one")
        done = {(r.name, r.seed): r.outcome for r in record.stage("quantized")}
        jobs = [_job(study, record.name, out, winners[-1], v, seed) for v in variants(bits) for seed in study.seeds]
        left = [job for job in jobs if not _kept(job, done.get((job.name, job.seeds[0])))]
        with Pool(workers, list(files)) as pool:
            for count, (job, made) in enumerate(pool.each(left), start=len(jobs) - len(left) + 1):
                run.append(out, made)
                score = made[-1].metrics.get("score", 0.0)
                yield Event("quantized", count, len(jobs), None, f"{job.name}, seed {job.seeds[0]}: {score:.3f}")


def _kept(job: Job, outcome: str | None) -> bool:
    """Whether a job needs no doing: its run is recorded, and what it leaves behind is there."""
    return outcome is not None and (outcome != "complete" or all(f.is_file() for f in job.files))


def _job(study: Study, name: str, out: Path, winner: run.Run, variant: Variant, seed: int) -> Job:
    p, models, identity = variant.precision, out / run.MODELS, run.identity(winner.spec)
    spec = replace(NetworkSpec.from_json(winner.spec), precision=p)
    choices: dict[str, Any] = {role.value: form.bits if (form := p.format(role)) else None for role in Role}
    choices["rounding"] = (p.rounding if isinstance(p, Integer) else Rounding.NEAREST).value
    return Job(
        name, "quantized", variant.name, winner.trial, (seed,), spec.to_json(), study.task.to_json(),
        study.fine_tuning.to_json() if variant.tuned else None, choices | {"tuned": variant.tuned}, ("test",),
        begin=str(models / f"winner-{identity}"),
        save=str(models / f"{variant.name}-{identity}") if variant.tuned else "",
    )  # fmt: skip
