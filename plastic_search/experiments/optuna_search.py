"""Two searches of one space, TPE and random, in rounds. One of the two modules that import Optuna.

A round is proposed whole, trained in any order, and its results are reported in the order of the proposals; the
sampler's seed is a function of the number of trials that have ended. So the same study makes the same trials however
many workers there are and however often it is killed, and a trial that was running when the power went is finished.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)  # fmt: skip
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import SearchParameter
from plastic_search.core.paths import as_path
from plastic_search.core.space import Choice, IntegerRange, RealRange, fill, search_parameters
from plastic_search.network.spec import NetworkSpec
from plastic_search.records.files import read_lines

__all__ = ["ARMS", "RANDOM", "TPE", "Arm", "Direction", "Proposal", "importances", "open_journal"]

Direction = Literal["maximize", "minimize"]

ARMS = TPE, RANDOM = "tpe", "random"
_STARTUP = 10  # random trials before TPE models anything


class Proposal(NamedTuple):
    """One trial to be run."""

    number: int
    spec: NetworkSpec | None  # None: this combination cannot be built
    choices: dict[str, Any]  # path -> value
    note: str  # why not, where `spec` is None


def open_journal(path: Path | str) -> JournalStorage:
    """Optuna's record, which grows by whole lines.

    Raises:
        PlasticSearchError: a line is torn.
    """
    path = as_path(path)
    for _ in read_lines(path):
        pass
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return JournalStorage(JournalFileBackend(str(path)))


class Arm:
    """One search: `tpe` learns from its trials, `random` does not.

    Args:
        name: of `ARMS`.
        storage: what `open_journal` returned.
        space: a spec with search parameters.
        directions: "maximize" or "minimize", one an objective.
    """

    def __init__(self, name: str, storage: JournalStorage, space: NetworkSpec, directions: Sequence[Direction]) -> None:
        self.name, self._space = name, space
        self._study = optuna.create_study(
            study_name=name, storage=storage, directions=list(directions), load_if_exists=True
        )
        trials = self.trials()
        self.ended = {t.number for t in trials if t.state.is_finished()}
        self._interrupted = [t for t in trials if t.state is TrialState.RUNNING]  # left by an earlier start
        self._running: dict[int, Trial] = {}

    def trials(self) -> list[FrozenTrial]:
        """Every trial so far."""
        return self._study.get_trials(deepcopy=False)

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

    def propose(self, count: int) -> list[Proposal]:
        """`count` trials to be run; those that an earlier start left running come first."""
        self._study.sampler = self._sampler()
        resumed, self._interrupted = self._interrupted[:count], self._interrupted[count:]
        # There is no public way to take up a running trial again.
        trials = [Trial(self._study, t._trial_id) for t in resumed]
        trials += [self._study.ask() for _ in range(count - len(resumed))]
        self._running |= {trial.number: trial for trial in trials}
        return [self._filled(trial) for trial in trials]

    def tell(self, number: int, values: Sequence[float] | None, constraint_violation: float | None) -> None:
        """Report how a proposal ended.

        Args:
            values: of its objectives; None where it was pruned or could not be built.
            constraint_violation: how far its score is below the feasibility threshold, negative where it is above;
                None where it could not be built.
        """
        trial = self._running.pop(number)
        self.ended.add(number)
        if constraint_violation is None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        if not trial.constraints:  # an earlier start may have been killed between this line and the next
            trial.set_constraint("score", constraint_violation)
        if values is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, list(values))

    def _sampler(self) -> optuna.samplers.BaseSampler:
        seed = zlib.crc32(f"{self.name}:{len(self.ended)}".encode())
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
