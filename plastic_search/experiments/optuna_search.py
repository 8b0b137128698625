"""Two searches of one space, TPE and random, in rounds.

A round is so many trials by number: 0 to 3, 4 to 7, and so on. It is drawn whole, by a sampler whose seed is a function
of the search and of the round's first number, and which sees the trials before the round and no others. Each trial is
then recorded in one write. So trial n is a function of the space, n and the results of earlier rounds alone: the same
study makes the same trials however many workers there are, however often and wherever it is killed, and whether its
number of trials was raised on the way or not. A trial that was running when the power went is finished.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)  # fmt: skip
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import SearchParameter
from plastic_search.core.space import Choice, IntegerRange, RealRange, fill, search_parameters
from plastic_search.experiments.journal import RANDOM, Direction
from plastic_search.network.spec import NetworkSpec

__all__ = ["ROUND", "Arm", "Proposal", "importances", "in_memory"]

ROUND = 4  # trials that are drawn together, and know nothing of one another's results
_STARTUP = 10  # random trials before TPE models anything


def in_memory() -> BaseStorage:
    """A storage for searches that can be drawn again from what is recorded elsewhere."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return InMemoryStorage()


class Proposal(NamedTuple):
    """One trial to be run."""

    number: int
    spec: NetworkSpec | None  # None: this combination cannot be built
    choices: dict[str, Any]  # path -> value
    note: str  # why not, where `spec` is None


class Arm:
    """One search: `tpe` learns from its trials, `random` does not.

    Args:
        name: of `ARMS`.
        storage: what `open_journal` returned, or `in_memory`.
        space: a spec with search parameters.
        directions: "maximize" or "minimize", one an objective.
    """

    def __init__(self, name: str, storage: BaseStorage, space: NetworkSpec, directions: Sequence[Direction]) -> None:
        self.name, self._space, self._storage, self._directions = name, space, storage, list(directions)
        if name in optuna.get_all_study_names(storage):  # `load_if_exists` would add a line at each start
            self._study = optuna.load_study(study_name=name, storage=storage)
        else:
            self._study = optuna.create_study(study_name=name, storage=storage, directions=self._directions)
        self.ended = {t.number for t in self.trials() if t.state.is_finished()}

    @property
    def begin(self) -> int:
        """The number of the first trial of the round that is under way."""
        first = next(n for n in range(len(self.ended) + 1) if n not in self.ended)
        return first - first % ROUND

    def trials(self) -> list[FrozenTrial]:
        """Every trial so far."""
        return self._study.get_trials(deepcopy=False)

    def restricted(self, paths: Mapping[int, Collection[str]]) -> list[FrozenTrial]:
        """Every complete trial, with its values at the given paths alone."""
        complete = [trial for trial in self.trials() if trial.state is TrialState.COMPLETE]
        return [_restricted(trial, paths.get(trial.number, trial.params)) for trial in complete]

    def check(self) -> None:
        """Refuse a journal whose trials were drawn from another space.

        Raises:
            PlasticSearchError: a search parameter had another kind, or other options, when a trial was proposed.
        """
        space = {path: _distribution(parameter) for path, parameter in search_parameters(self._space)}
        for trial in self.trials():
            for path, distribution in trial.distributions.items():
                try:
                    check_distribution_compatibility(distribution, space.get(path, distribution))
                except ValueError:
                    raise PlasticSearchError(
                        f"the journal holds trials of another space ({self.name} trial {trial.number} chose {path} "
                        f"from {distribution}, the study from {space[path]}); choose another folder with --out"
                    ) from None

    def propose(self, total: int) -> list[Proposal]:
        """The trials of the round under way that have not ended, up to `total` in all; they are recorded as running."""
        begin = self.begin
        proposals = []
        for number, (trial, proposal) in enumerate(self._round(begin), begin):
            if number < total and number not in self.ended:
                self._record(number, trial)
                proposals.append(proposal)
        return proposals

    def tell(self, number: int, values: Sequence[float] | None, constraint_violation: float | None) -> None:
        """Report how a proposal ended.

        Args:
            values: of its objectives; None where it was pruned or could not be built.
            constraint_violation: how far its score is below the feasibility threshold, negative where it is above;
                None where it could not be built.
        """
        # There is no public way to take up a running trial again.
        trial = Trial(self._study, self.trials()[number]._trial_id)
        if constraint_violation is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            if not trial.constraints:  # an earlier start may have been killed between this line and the next
                trial.set_constraint("score", constraint_violation)
            if values is None:
                self._study.tell(trial, state=TrialState.PRUNED)
            else:
                self._study.tell(trial, list(values))
        self.ended.add(number)

    def _round(self, begin: int) -> list[tuple[Trial, Proposal]]:
        """The round whose first trial is `begin`, drawn in memory."""
        known = [trial.params for trial in self.trials()[begin : begin + ROUND]]
        drawn = self._drawn(begin, [])
        if all(params.items() <= trial.params.items() for params, (trial, _) in zip(known, drawn, strict=False)):
            return drawn
        return self._drawn(begin, known)  # of version 0.1, or drawn by another version of Optuna: what is there stays

    def _drawn(self, begin: int, fixed: list[dict[str, Any]]) -> list[tuple[Trial, Proposal]]:
        """A round whose first trials have values that are fixed."""
        memory = optuna.create_study(directions=self._directions, sampler=self._sampler(begin))
        memory.add_trials(self.trials()[:begin])
        for params in fixed:
            memory.enqueue_trial(params)
        return [(trial, self._filled(trial)) for trial in [memory.ask() for _ in range(ROUND)]]

    def _record(self, number: int, drawn: Trial) -> None:
        """Write a trial to the journal whole; or the values that it lacks there, which version 0.1 wrote one by one."""
        known = self.trials()
        if number == len(known):
            params, distributions = drawn.params, drawn.distributions
            self._study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=distributions))
            return
        for path, distribution in drawn.distributions.items():
            if path not in known[number].params:
                value = distribution.to_internal_repr(drawn.params[path])
                self._storage.set_trial_param(known[number]._trial_id, path, value, distribution)

    def _sampler(self, begin: int) -> optuna.samplers.BaseSampler:
        seed = zlib.crc32(f"{self.name}:{begin}".encode())
        if self.name == RANDOM:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `group`, which a space with choices inside choices needs, is experimental
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=_STARTUP, multivariate=True, group=True, constant_liar=True
            )

    def _filled(self, trial: Trial) -> Proposal:
        try:
            spec, note = fill(self._space, trial), ""
        except PlasticSearchError as error:
            spec, note = None, str(error)
        return Proposal(trial.number, spec, dict(trial.params), note)


def _restricted(trial: FrozenTrial, paths: Collection[str]) -> FrozenTrial:
    values = {path: value for path, value in trial.params.items() if path in paths}
    distributions = {path: trial.distributions[path] for path in values}
    return create_trial(values=trial.values, params=values, distributions=distributions)


def _distribution(parameter: SearchParameter) -> BaseDistribution:
    """What Optuna draws a search parameter from."""
    match parameter:
        case Choice():
            return CategoricalDistribution(parameter.labels)
        case IntegerRange(low, high, log):
            return IntDistribution(low, high, log)
        case RealRange(low, high, log):
            return FloatDistribution(low, high, log)
    raise PlasticSearchError(f"no search draws a {type(parameter).__name__}")


def importances(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """How far each path's values in the best tenth of the trials differ from those in all of them.

    As shares of the sum (PED-ANOVA, Watanabe et al. 2023). Optuna takes a low target for a good one.
    """
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    if len(complete) < 4:
        return {}
    directions: list[Direction] = ["maximize"] * len(complete[0].values)  # of no matter: the target decides
    pooled = optuna.create_study(directions=directions)
    pooled.add_trials(complete)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PED-ANOVA warns of paths that too few trials share
        try:
            shares = optuna.importance.get_param_importances(pooled, target=lambda t: -t.values[0])
        except (ValueError, RuntimeError):
            return {}
    return {path: round(float(share), 6) for path, share in shares.items()}
