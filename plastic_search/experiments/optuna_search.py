"""Two searches of one space, TPE and random, asked and told in rounds. One of the two modules that import Optuna.

A round is asked whole, trained in any order, and told in the order in which it was asked; the sampler's seed is a
function of the number of trials that are done. So the same study makes the same trials however many workers there
are and however often it is killed, and a trial that was running when the power went is finished, not forgotten.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import fill
from plastic_search.network.spec import NetworkSpec
from plastic_search.records.files import read_lines

__all__ = ["ARMS", "Arm", "Direction", "Proposal", "importances", "open_journal"]

Direction = Literal["maximize", "minimize"]

ARMS = ("tpe", "random")
_STARTUP = 10  # random trials before TPE models anything


class Proposal(NamedTuple):
    """One trial to be run."""

    number: int
    spec: NetworkSpec | None  # None: this combination cannot be built
    choices: dict[str, Any]  # address -> value
    note: str  # why not, where `spec` is None


def open_journal(path: Path) -> JournalStorage:
    """Optuna's record, which grows by whole lines.

    Raises:
        PlasticSearchError: a line is torn.
    """
    read_lines(path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return JournalStorage(JournalFileBackend(str(path)))


class Arm:
    """One search: `tpe` learns from its trials, `random` does not.

    Args:
        name: of `ARMS`.
        storage: what `open_journal` returned.
        space: a spec with holes.
        directions: "maximize" or "minimize", one an objective.
    """

    def __init__(self, name: str, storage: JournalStorage, space: NetworkSpec, directions: Sequence[Direction]) -> None:
        self.name, self._space = name, space
        self._study = optuna.create_study(
            study_name=name, storage=storage, directions=list(directions), load_if_exists=True
        )

    @property
    def done(self) -> int:
        """How many trials have ended, over all starts."""
        return len(self.ended)

    @property
    def ended(self) -> set[int]:
        """The numbers of the trials that have ended."""
        return {t.number for t in self._trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}

    def propose(self, count: int) -> list[Proposal]:
        """`count` trials to be run; those that an earlier start left running come first."""
        self._study.sampler = self._sampler()
        left = self._trials(TrialState.RUNNING)[:count]
        trials = [optuna.trial.Trial(self._study, t._trial_id) for t in left]
        trials += [self._study.ask() for _ in range(count - len(left))]
        return [self._filled(trial) for trial in trials]

    def tell(self, number: int, values: Sequence[float] | None, constraint_violation: float | None) -> None:
        """How a proposal ended.

        Args:
            values: of its objectives; None where it was pruned or could not be built.
            shortfall: by how much its score misses what makes a network worth comparing by size, negative where it
                does not miss it; None where it could not be built.
        """
        if constraint_violation is None:
            self._study.tell(number, state=TrialState.FAIL)
            return
        trial = next(t for t in self._trials(TrialState.RUNNING) if t.number == number)
        if not trial.constraints:  # an earlier start may have been killed between this line and the next
            optuna.trial.Trial(self._study, trial._trial_id).set_constraint("score", constraint_violation)
        if values is None:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, list(values))

    def trials(self) -> list[FrozenTrial]:
        """Every trial so far."""
        return self._study.get_trials(deepcopy=False)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states)

    def _sampler(self) -> optuna.samplers.BaseSampler:
        seed = zlib.crc32(f"{self.name}:{self.done}".encode())
        if self.name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `group`, which a space with choices inside choices needs, is experimental
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=_STARTUP, multivariate=True, group=True, constant_liar=True
            )

    def _filled(self, trial: optuna.trial.Trial) -> Proposal:
        try:
            spec, note = fill(self._space, trial), ""
        except PlasticSearchError as error:
            spec, note = None, str(error)
        except ValueError as error:
            if "CategoricalDistribution" not in str(error) and "distribution" not in str(error).lower():
                raise
            raise PlasticSearchError(
                f"the journal holds trials of another space ({error}); choose another folder with --out"
            ) from None
        return Proposal(trial.number, spec, dict(trial.params), note)


def importances(arms: Sequence[Arm]) -> dict[str, float]:
    """How far each address's values in the best tenth of the trials differ from those in all of them.

    As shares of the sum (PED-ANOVA, Watanabe et al. 2023). Optuna takes a low target for a good one.
    """
    complete = [t for arm in arms for t in arm.trials() if t.state is TrialState.COMPLETE]
    if len(complete) < 4:
        return {}
    directions: list[Direction] = ["maximize"] * len(complete[0].values)  # of no matter: the target decides
    pooled = optuna.create_study(directions=directions)
    pooled.add_trials(complete)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PED-ANOVA warns of addresses that too few trials share
        try:
            made = optuna.importance.get_param_importances(pooled, target=lambda t: -t.values[0])
        except (ValueError, RuntimeError):
            return {}
    return {address: round(float(share), 6) for address, share in made.items()}
