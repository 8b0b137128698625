"""Evolution of networks that change themselves (Schmidgall 2020, arXiv 2006.05832): no gradient, only fitness.

A generation is a population of candidates, run as one batch. On a task their fitness is minus the loss, or the score;
in an environment it is the sum of an episode's rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.environments import Environment
from plastic_search.network.population import Population
from plastic_search.tasks import Task
from plastic_search.trainers import ResumableTrainer, Trainer, check_fits, one_seed_each
from plastic_search.training.evolving import EvolutionTraining, Generation
from plastic_search.training.fitness import Fitness
from plastic_search.training.strategies import Strategy
from plastic_search.training.strategies.open_es import OpenES


@dataclass(frozen=True)
class Evolution(ResumableTrainer):
    """theta' = strategy(theta, fitness of candidates drawn around theta)

    The loss that is reported is minus the mean fitness of the candidates, a running mean with weight 0.1 on the last
    generation. What remains at the end is the strategy's mean.

    Args:
        strategy: how candidates are drawn, and what follows: `OpenES`, `SNES` or `CMAES` of `training.strategies`.
        generations: number of updates.
        candidates: in each generation, an even number.
        episodes: of each candidate; candidate k of the first half and of the second half meet the same ones.
        paths: of the parameters that are evolved, of which a step may be `*`: `layers.*.alpha`. () is all of them.
        fitness: of a task, minus the loss, or the score.
        chunk: candidates that are run as one batch, an even number; 0 is all. Chunks may be run by other processes.
        inner: trains the parameters that are not evolved, in each candidate before its fitness is measured; their mean
            is where the next generation begins. None leaves them as they are.
        reports: how many times progress is reported, evenly over the generations.

    Example:
        from plastic_search.training.strategies.open_es import OpenES

        everything = Evolution(OpenES(sigma=0.02, decay=0.01), generations=1000, candidates=192, episodes=5)
        rule = Evolution(paths=("layers.*.rule", "layers.*.alpha"), inner=Gradient(steps=5))
    """

    strategy: Strategy = OpenES()
    generations: int = 200
    candidates: int = 64
    episodes: int = 16
    paths: tuple[str, ...] = ()
    fitness: Fitness = Fitness.LOSS
    chunk: int = 0
    inner: Trainer | None = None
    reports: int = 10

    def check(self) -> None:
        positive(self, "generations", "candidates", "episodes", "reports")
        for name in ("candidates", "chunk"):
            if (value := getattr(self, name)) % 2 or value < 0:
                raise PlasticSearchError(
                    f"Evolution.{name} must be an even number, since half meets half, but is {value}"
                )
        if self.inner is not None and not self.paths:
            raise PlasticSearchError("Evolution.inner trains what is not evolved, so paths must choose what is")

    def outputs(self, task: Task | Environment) -> int:
        return task.actions if isinstance(task, Environment) else task.outputs

    def begin(
        self, population: Population, task: Task | Environment, seeds: Sequence[int], executor: Executor | None = None
    ) -> EvolutionTraining:
        """A training of `population` at generation 0.

        Args:
            seeds: one a member.
            executor: runs chunks of candidates, such as a `ProcessPoolExecutor` for environments that are slow; None
                runs them here. The result is the same, however many workers it has. Processes that know the user's own
                parts need `initializer=load_parts, initargs=([file],)`.

        Raises:
            PlasticSearchError: there is not one seed for each member, the network does not fit the task, a path names
                nothing, a structure learns, or there are more numbers than the strategy can work with.
        """
        one_seed_each(population, seeds)
        check_fits(self, population, task, more=isinstance(task, Environment))  # such as the value of an actor-critic
        each = Generation(self.strategy, self.candidates, self.episodes, self.paths, self.fitness, self.chunk)

        def learn(candidates: Population, seed: int) -> None:
            for _ in self.inner.train_together(candidates, task, (seed,) * len(candidates)):  # type: ignore
                pass

        training = learn if self.inner is not None else None
        return EvolutionTraining(population, task, seeds, self.generations, each, training, executor)
