"""A study: which network of a search space does a task best, within a budget?"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Literal

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, discover, equation, open_set
from plastic_search.core.space import Choice, search_parameters
from plastic_search.environments import Environment
from plastic_search.network.spec import NetworkSpec
from plastic_search.tasks import Task
from plastic_search.trainers import Trainer
from plastic_search.trainers.gradient import Gradient

__all__ = ["Objective", "Study"]


class Objective(Enum):
    """What a search looks for."""

    SCORE = "score"  # larger is better
    CONNECTIONS = "connections"  # fewer is better

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "maximize" if self is Objective.SCORE else "minimize"


@dataclass(frozen=True)
class Study(Part):
    """space x task x trainer x budget x seeds x objectives

    Args:
        question: what the study asks, in one sentence.
        space: a spec with search parameters.
        task: what the networks are trained for.
        trainer: how each trial is trained.
        finalist: how the winners and their controls are trained, anew and for longer.
        fine_tuning: how a network is trained on after its numbers have been rounded.
        objectives: what the search looks for; the first one chooses the winner.
        feasibility_threshold: the share of the way from chance (0) to a perfect score (1) that a network must reach
            before its size counts.
        trials: number of trials of each search, the learning one and the random one, over all restarts.
        trial_seeds: seeds of each trial.
        seeds: seeds of each finalist.
    """

    renamed: ClassVar[dict[str, str]] = {"worth": "feasibility_threshold"}

    question: str
    space: NetworkSpec
    task: Task | Environment
    trainer: Trainer = Gradient(steps=500)
    finalist: Trainer = Gradient(steps=2000)
    fine_tuning: Trainer = Gradient(steps=200, learning_rate=3e-3, cooldown_fraction=1.0)
    objectives: tuple[Objective, ...] = (Objective.SCORE, Objective.CONNECTIONS)
    feasibility_threshold: float = 0.9
    trials: int = 24
    trial_seeds: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0, 1, 2)

    def check(self) -> None:
        if self.trials < 1 or not self.trial_seeds or not self.seeds:
            raise PlasticSearchError("a study needs at least one trial, one trial seed and one seed")
        for name, seeds in (("trial_seeds", self.trial_seeds), ("seeds", self.seeds)):
            if len(set(seeds)) < len(seeds):
                raise PlasticSearchError(
                    f"{name} must all differ, but are {list(seeds)}: a seed that is run twice is no evidence"
                )
        if not 0.0 <= self.feasibility_threshold <= 1.0:
            raise PlasticSearchError(
                f"Study.feasibility_threshold is a share, 0 to 1, but is {self.feasibility_threshold}"
            )
        if self.objectives[:1] != (Objective.SCORE,):
            raise PlasticSearchError("the first objective of a study must be 'score', which chooses the winner")
        if isinstance(self.task, Environment) and len(self.objectives) > 1:
            raise PlasticSearchError(
                f"{type(self.task).__name__} is an environment, in which there is no perfect score that networks could "
                "come near to before their size counts; set objectives=(Objective.SCORE,)"
            )
        open_elsewhere = [
            a for f in ("task", "trainer", "finalist", "fine_tuning") for a, _ in search_parameters(getattr(self, f), f)
        ]
        if open_elsewhere:
            raise PlasticSearchError(
                f"a study has search parameters in its space alone, but {open_elsewhere[0]} is one too"
            )

    def about(self) -> dict[str, Any]:
        """What study.json holds for a study alone."""
        return {
            "schema": "plastic_search/study/1",
            "trainer": self.finalist.to_json(),
            "trial_seeds": list(self.trial_seeds),
            "objectives": [o.value for o in self.objectives],
            "parts": _parts(),
            "search_parameters": {path: _parameter(parameter) for path, parameter in search_parameters(self.space)},
        }


def _parts() -> dict[str, dict[str, str]]:
    """Every part of which a network can consist, with its equation and its source."""
    parts = {}
    for axis in ("cells", "surrogates", "rules", "modulations", "structures", "precisions"):
        for name, kind in discover(open_set(axis)).items():
            source = (sys.modules[kind.__module__].__doc__ or "").strip().split("\n")[0]
            parts[name] = {"axis": axis.removesuffix("s"), "equation": equation(kind), "source": source}
    return parts


def _parameter(parameter: Part) -> dict[str, Any]:
    if isinstance(parameter, Choice):
        return {"kind": "Choice", "options": list(parameter.labels)}
    return parameter.to_json()
