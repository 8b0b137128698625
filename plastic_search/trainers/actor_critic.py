"""Advantage actor-critic over whole episodes, as in Miconi et al. 2019 (Backpropamine, arXiv 2002.10585)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.environments import Environment
from plastic_search.network.population import Population
from plastic_search.tasks import Task
from plastic_search.trainers import ResumableTrainer, check_fits, one_seed_each
from plastic_search.training.environment_contract import check_environment
from plastic_search.training.optimisers import Adam, Optimiser, ParameterGroup
from plastic_search.training.policy_gradient import PolicyGradientTraining, PolicyLoss


@dataclass(frozen=True)
class ActorCritic(ResumableTrainer):
    """loss = mean(-log pi(a) (R - V) + value (R - V)^2 + concentration sum_a pi(a)^2), R_t = r_t + gamma R_{t+1}

    A network has one output for each action, the logits, and one more, the value V. Returns run to the end of the
    episode, without a bootstrap; with `smoothing` below 1, R - V is the generalised advantage (Schulman et al. 2016).
    V is that of the episode itself; the programs released with the paper take that of the batch's first episode for
    all. The first term is multiplied by `Moment.weight`; the first and the last are averaged over the moments whose
    weight is not 0, the second over all moments before an episode's end. So where all weights are 1, as in the paper,
    each is divided by the number of steps; where most actions have no effect, they do not dilute those that have one.

    Args:
        steps: number of updates.
        learning_rate: the optimiser's step size.
        batch: episodes in each update.
        gamma: discount of rewards by step.
        smoothing: lambda of generalised advantages, 0 to 1; 1 is Monte-Carlo.
        value: factor of the squared error of the value.
        concentration: factor of the sum of squared action probabilities, which stands in for an entropy bonus.
        trace_penalty: factor of the mean squared trace at the end of an episode (1e-4 in Miconi and Kay 2025).
        clip: largest norm of the whole gradient; a longer one is scaled down to it.
        burn_in: updates at the start that change nothing (101 in the released programs).
        reports: how many times progress is reported, evenly over the updates.
        optimiser: how an update follows from a gradient: `Adam`, `AdamW`, `SGD` or `ShiftAdaMax` of
            `training.optimisers`.
        groups: parameters, by path, whose learning rate or gradient is multiplied by a factor.

    Example:
        from plastic_search.training.optimisers import Adam

        trainer = ActorCritic(steps=20_000, learning_rate=1e-4, clip=4.0, optimiser=Adam(epsilon=1e-4))
    """

    steps: int = 10_000
    learning_rate: float = 1e-3
    batch: int = 30
    gamma: float = 0.9
    smoothing: float = 1.0
    value: float = 0.1
    concentration: float = 0.03
    trace_penalty: float = 0.0
    clip: float = 2.0
    burn_in: int = 0
    reports: int = 100
    optimiser: Optimiser = Adam(epsilon=1e-6)
    groups: tuple[ParameterGroup, ...] = ()

    def check(self) -> None:
        positive(self, "steps", "learning_rate", "batch", "clip", "reports")
        for name in ("gamma", "smoothing"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise PlasticSearchError(f"ActorCritic.{name} lies from 0 to 1, but is {getattr(self, name)}")
        for name in ("value", "concentration", "trace_penalty", "burn_in"):
            if getattr(self, name) < 0:
                raise PlasticSearchError(f"ActorCritic.{name} must be 0 or more, but is {getattr(self, name)}")

    def outputs(self, task: Task | Environment) -> int:
        environment = _environment(task)
        return environment.actions + 1  # the last is the value

    def begin(self, population: Population, task: Task | Environment, seeds: Sequence[int]) -> PolicyGradientTraining:
        one_seed_each(population, seeds)
        environment = _environment(task)
        check_fits(self, population, environment)
        return PolicyGradientTraining(
            population,
            environment,
            seeds,
            loss=PolicyLoss(self.gamma, self.smoothing, self.value, self.concentration, self.trace_penalty),
            steps=self.steps,
            batch=self.batch,
            burn_in=self.burn_in,
            clip=self.clip,
            learning_rate=self.learning_rate,
            optimiser=self.optimiser,
            groups=self.groups,
        )


def _environment(task: Task | Environment) -> Environment:
    """`task`, if it is an environment with a choice of actions."""
    name = type(task).__name__
    if not isinstance(task, Environment):
        raise PlasticSearchError(
            f"ActorCritic learns from the rewards of an environment, but {name} is a task; use Gradient"
        )
    check_environment(task)
    if task.continuous:
        raise PlasticSearchError(
            f"ActorCritic chooses one of several actions, but those of {name} are continuous; use Evolution"
        )
    return task
