"""The best bits within a budget of bytes: a search over bits of weight, alpha and trace and the trace's rounding.

TPE and random search, equally many trials of each, judge networks that are rounded only, by their validation score;
the best few of both are trained on with their rounding in place. Searches live in memory: trial n is a function of the
network, the budget and what was recorded before it, so a search that was stopped is drawn again, and goes on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_paths
from plastic_search.core.space import choice, integer
from plastic_search.experiments.events import Event, ended
from plastic_search.experiments.jobs import Job
from plastic_search.experiments.journal import ARMS
from plastic_search.experiments.optuna_search import ROUND, Arm, in_memory
from plastic_search.experiments.parameters import load_parameters
from plastic_search.experiments.rounded import Trained, rounding_job, trained
from plastic_search.experiments.variants import Variant, written
from plastic_search.experiments.workers import Ended, Pool
from plastic_search.network.footprint import Numbers, count_numbers
from plastic_search.network.module import Network
from plastic_search.precisions import Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import Outcome, Run, Stage

__all__ = ["TRIALS", "Chosen", "search_bits"]

TRIALS = 16  # of each search, by default
_LEAST, _MOST = 2, 8  # bits of a role
_TUNED = 3  # how many of the best are trained on
_DRAWN = 20  # proposals, for each trial wanted, after which a search ends: most do not fit a small budget


class Chosen(NamedTuple):
    """What a search within a budget found.

    Args:
        name: of the network, as `export --name` takes it.
        bits: as `quantize --bits` takes it.
        tuned: whether it was trained on.
        bytes: of its weights, alphas and trace; of the seed with most.
        weight, alpha, trace: bytes of each.
        score, validation: means over seeds, on the test split and on the validation split, by which it was chosen.
        in_float: the mean test score of the network as it was.
        found: the best validation score of each search, of networks that are rounded only.
        measured, fitting: how many combinations were measured, and how many of all fit the budget.
    """

    name: str
    bits: str
    tuned: bool
    bytes: int
    weight: int
    alpha: int
    trace: int
    score: float
    validation: float
    in_float: float | None
    found: dict[str, float]
    measured: int
    fitting: int


def search_bits(
    out: Path | str,
    budget: int,
    trials: int = TRIALS,
    workers: int = 2,
    files: Sequence[Path | str] = (),
    name: str = "",
) -> Generator[Event, None, Chosen]:
    """Search the bits of a network of the question in `out` that score best within a budget; an event after each run.

    Args:
        budget: bytes of weights, alphas and the trace of one episode (`network.footprint`).
        trials: combinations that each search measures; where fewer fit, all are.
        name: as `quantize` takes it.

    Returns:
        The best by validation score, whether trained on or not; of equal scores that of fewer bytes.

    Raises:
        PlasticSearchError: nothing fits the budget, and the message says what the least needs; or there is no such
            network yet.
    """
    with RunFolder.open(out) as folder, Pool(workers, as_paths(files)) as pool:
        search = _Search(folder, pool, trained(folder, name), budget)
        search.check()
        yield from search.measured(trials)
        yield from search.tuned()
        return search.chosen()


class _Search:
    """The combinations of one network that fit a budget, and what was measured of them."""

    def __init__(self, folder: RunFolder, pool: Pool, net: Trained, budget: int) -> None:
        self._folder, self._pool, self._net, self._budget = folder, pool, net, budget
        self._numbers = _numbers(folder, net)
        roles = range(_LEAST, _MOST + 1)
        every = [Integer(w, None, None, Rounding.NEAREST) for w in roles]
        if net.plastic:
            every = [Integer(w, a, t, way) for w in roles for a in roles for t in roles for way in Rounding]
        self._every = {written(each): each for each in every}
        self._fitting = {text: each for text, each in self._every.items() if self._bytes(each) <= budget}
        self._found: dict[str, float] = {}  # the best of each search
        self._done = self._total = 0

    def _bytes(self, precision: Integer) -> int:
        return max(each.footprint(precision).bytes for each in self._numbers)

    def check(self) -> None:
        """Refuse a budget that nothing fits."""
        if not self._fitting:
            least = min(self._every.values(), key=self._bytes)
            in_float = max(each.footprint(Floating()).bytes for each in self._numbers)
            raise PlasticSearchError(
                f"nothing fits {self._budget:,} bytes: {self._net.run.name} needs {self._bytes(least):,} at least, "
                f"with {written(least)} (float: {in_float:,}); give a larger --budget, or take a smaller network"
            )

    def measured(self, trials: int) -> Iterator[Event]:
        """Round only, as the searches propose; or all that fit, where these are no more than the trials."""
        if len(self._fitting) <= trials:
            self._total = len(self._fitting) * len(self._net.seeds)
            yield from self._run([Variant(each, tuned=False) for each in self._fitting.values()])
            return
        self._total = len(ARMS) * trials * len(self._net.seeds)
        for name in ARMS:
            yield from self._searched(name, trials)

    def _searched(self, name: str, trials: int) -> Iterator[Event]:
        arm, seen = Arm(name, in_memory(), self._space(), ["maximize"]), dict[str, float]()
        while len(seen) < trials and len(arm.ended) < _DRAWN * trials:
            proposals = arm.propose(len(arm.ended) + ROUND)
            ways = {p.number: p.spec.precision for p in proposals if p.spec and isinstance(p.spec.precision, Integer)}
            fitting = {written(each): each for each in ways.values() if written(each) in self._fitting}
            new = [text for text in fitting if text not in seen][: trials - len(seen)]
            yield from self._run([Variant(fitting[text], tuned=False) for text in new])
            seen |= {text: self._validation(Variant(fitting[text], tuned=False)) for text in new}
            for number in {p.number for p in proposals} - ways.keys():
                arm.tell(number, None, None)
            for number, each in ways.items():
                over = self._bytes(each) / self._budget - 1.0
                score = seen.get(written(each))
                arm.tell(number, None if score is None else [score], over if score is None else min(over, 0.0))
        if seen:
            self._found[name] = max(seen.values())

    def _space(self) -> Any:
        """The network with search parameters for bits, each from 2 to the most that fit beside 2 of the others."""
        roles = ("weight", "alpha", "trace") if self._net.plastic else ("weight",)
        fitting = [each for each in self._fitting.values() if each.rounding is Rounding.NEAREST]
        bits = {role: integer(_LEAST, max(getattr(each, role) for each in fitting)) for role in roles}
        return replace(self._net.spec, precision=_precision(**bits, rounding=choice(*Rounding)))

    def tuned(self) -> Iterator[Event]:
        """Train the best few on, and the float network as long."""
        if self._net.tuning is None:
            return
        ranked = sorted((v for v in self._variants(tuned=False)), key=self._rank)[:_TUNED]
        self._total += (1 + len(ranked)) * len(self._net.seeds)
        yield from self._run([Variant(Floating(), tuned=True), *(v._replace(tuned=True) for v in ranked)])

    def chosen(self) -> Chosen:
        """The best of all that was measured."""
        every = [*self._variants(tuned=False), *self._variants(tuned=True)]
        if not every:
            raise PlasticSearchError(f"no network of {self._folder.path} within the budget came to its end")
        best = min(every, key=self._rank)
        runs = self._runs(best)
        precision = best.precision
        assert isinstance(precision, Integer)
        taken = max((each.footprint(precision) for each in self._numbers), key=lambda each: each.bytes)
        source = self._folder.stage(self._net.run.stage, self._net.run.name)
        return Chosen(
            runs[0].name, written(precision), best.tuned, taken.bytes, taken.weight, taken.alpha, taken.trace,
            _mean([run.metrics["test"] for run in runs]), self._validation(best),
            _mean([run.metrics["score"] for run in source if "score" in run.metrics]),
            self._found, len(self._variants(tuned=False)), len(self._fitting),
        )  # fmt: skip

    def _variants(self, tuned: bool) -> list[Variant]:
        """Those within the budget that were measured with every seed."""
        every = [Variant(each, tuned) for each in self._fitting.values()]
        return [each for each in every if len(self._runs(each)) == len(self._net.seeds)]

    def _rank(self, variant: Variant) -> tuple[float, int]:
        assert isinstance(variant.precision, Integer)
        return -self._validation(variant), self._bytes(variant.precision)

    def _validation(self, variant: Variant) -> float:
        """The mean over seeds; below every score where one did not come to its end."""
        runs = self._runs(variant)
        return _mean([run.metrics["validation"] for run in runs]) if len(runs) == len(self._net.seeds) else -1e9

    def _runs(self, variant: Variant) -> list[Run]:
        """The complete runs of a variant that have a validation score, one a seed."""
        known = self._known()
        jobs = [self._job(variant, seed) for seed in self._net.seeds]
        return [known[key] for job in jobs if (key := (job.name, job.seeds[0])) in known]

    def _known(self) -> dict[tuple[str, int], Run]:
        runs = self._folder.stage(Stage.QUANTIZED)
        return {
            (r.name, r.seed): r
            for r in runs
            if r.outcome is Outcome.COMPLETE and {"validation", "test"} <= {*r.metrics}
        }

    def _job(self, variant: Variant, seed: int) -> Job:
        job = rounding_job(self._folder, self._net, variant, seed)
        before = next((r for r in self._folder.stage(Stage.QUANTIZED, job.name) if r.seed == seed), None)
        asked = {"budget": self._budget} if isinstance(variant.precision, Integer) else {}
        if before is not None:  # measured anew: by what command it was made first stays
            asked = {key: before.choices[key] for key in ("bits", "budget") if key in before.choices}
        return replace(job, choices=job.choices | asked)

    def _run(self, variants: list[Variant]) -> Iterator[Event]:
        jobs = [self._job(each, seed) for each in variants for seed in self._net.seeds]
        ended_before = {(r.name, r.seed): r for r in self._folder.stage(Stage.QUANTIZED)}
        left = [job for job in jobs if not self._is_done(job, ended_before.get((job.name, job.seeds[0])))]
        self._done += len(jobs) - len(left)
        for result in self._pool.each(left):
            if isinstance(result, Ended):
                self._folder.append(*result.runs)
                self._done += 1
                yield Event(
                    Stage.QUANTIZED, self._done, self._total, None,
                    *ended(result.job.title, result.runs, "validation", "validation score"),
                )  # fmt: skip

    def _is_done(self, job: Job, run: Run | None) -> bool:
        """Whether a job's run is recorded, with the score by which it is judged."""
        if run is None or not job.is_done({(run.name, run.seed): run.outcome}):
            return False
        return run.outcome is not Outcome.COMPLETE or "validation" in run.metrics


def _precision(weight: Any, alpha: Any = None, trace: Any = None, rounding: Any = Rounding.NEAREST) -> Integer:
    return Integer(weight, alpha, trace, rounding if trace is not None else Rounding.NEAREST)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _numbers(folder: RunFolder, net: Trained) -> list[Numbers]:
    """What each trained network has; a structure that learns may keep other connections with each seed."""
    found = []
    for seed in net.seeds:
        each = Network(net.spec, net.task.inputs, seed)
        load_parameters(each, folder.models(net.run.name, net.run.spec) / f"{seed}.safetensors")
        found.append(count_numbers(each))
    return found
