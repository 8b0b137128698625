"""Evolution in progress: one generation after another, which can be interrupted between any two.

Every member of the population is evolved for itself: candidates are drawn around it, and are members of another
population, which is run as one batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Environment
from plastic_search.network.population import Population
from plastic_search.network.pytree import flatten, unflatten
from plastic_search.structures import LearnedStructure
from plastic_search.tasks import Task
from plastic_search.training.fitness import Fitness, Worth, in_chunks, worth_of
from plastic_search.training.generators import generator_states, set_generators
from plastic_search.training.strategies import Strategy
from plastic_search.training.vectors import ParameterVector

__all__ = ["EvolutionTraining", "Generation", "LostCandidates"]

_SHARE = 0.1  # of the last generation in the running mean of the loss

Learn = Callable[[Population, int], None]  # trains all members in place, with one seed


class LostCandidates(UserWarning):
    """The fitness of some candidates was not finite."""


class Generation(NamedTuple):
    """What a generation consists of."""

    strategy: Strategy
    candidates: int  # an even number
    episodes: int  # of each candidate
    paths: tuple[str, ...]  # of the parameters that are evolved; () for all
    fitness: Fitness
    chunk: int  # candidates that are run as one batch; 0 for all


class EvolutionTraining:
    """A `Training` (see `trainers`) of every member of a population.

    Args:
        population: is trained in place; its members are the means of the strategy.
        seeds: one a member.
        steps: generations in all.
        learn: trains the parameters that are not evolved, in each candidate; None leaves them as they are.
        executor: runs chunks of candidates in other processes.

    Raises:
        PlasticSearchError: the paths name nothing, or a structure learns.
    """

    def __init__(
        self, population: Population, task: Task | Environment, seeds: Sequence[int], steps: int, each: Generation,
        learn: Learn | None = None, executor: Executor | None = None,
    ) -> None:  # fmt: skip
        _check_structures(population)
        self._population, self._task, self._each, self._learn = population, task, each, learn
        self.executor = executor
        self.step, self.steps = 0, steps  # generations so far, and in all
        self._vector = ParameterVector(population, each.paths)
        if learn is not None and not self._vector.whole:
            raise PlasticSearchError("where `inner` trains what is not evolved, paths must name whole tensors")
        self._rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._states = [each.strategy.begin(mean, each.candidates) for mean in self._vector.read(population)]
        self._candidates = Population([population.member(0)] * each.candidates)
        for tensor in self._vector.tensors(self._candidates):
            tensor.requires_grad_(False)  # so that `learn` leaves them alone
        self.running = torch.zeros(len(seeds))  # [member], a running mean of the candidates' mean loss
        self.fitness = torch.full((len(seeds), 2), math.nan)  # the last candidates' mean, and that of the best
        self.scores = torch.full((len(seeds),), math.nan)  # [member], the last candidates' mean in an environment
        self.lost = torch.zeros(len(seeds), dtype=torch.long)  # [member], candidates whose fitness was not finite

    def advance(self, count: int) -> None:
        """Run `count` more generations."""
        for _ in range(count):
            for k in range(len(self._states)):
                if not math.isnan(self.running[k]):  # else it was lost
                    self._generation(k)
            self.step += 1

    def saved(self) -> dict[str, Tensor]:
        """Copies of parameters, the strategy's states, random generators, `running`, `lost` and `step`."""
        tensors = {f"parameters.{name}": t.detach() for name, t in self._population.state_dict().items()}
        for k, state in enumerate(self._states):
            tensors |= flatten(state, f"strategy.{k}")
        tensors["rngs"] = generator_states(self._rngs)
        tensors |= {"running": self.running, "lost": self.lost, "at": torch.tensor(self.step)}
        return {name: value.contiguous().clone() for name, value in tensors.items()}

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `saved` returned, in a training that was begun with the same arguments."""
        for name, tensor in self._population.state_dict().items():
            tensor.copy_(saved[f"parameters.{name}"])
        for k, state in enumerate(self._states):
            self._states[k] = unflatten(state, (saved[path].clone() for path in flatten(state, f"strategy.{k}")))
        set_generators(self._rngs, saved["rngs"])
        self.running.copy_(saved["running"])
        self.lost.copy_(saved["lost"])
        self.step = int(saved["at"])

    def _generation(self, k: int) -> None:
        """Draw candidates around member `k`, run them, and move it."""
        strategy, rng = self._each.strategy, self._rngs[k]
        drawn = strategy.draw(self._states[k], self._each.candidates, self._vector.entries, rng)
        seed, own = torch.randint(2**62, (2,), generator=rng).tolist()
        self._place(k, drawn)
        if self._learn is not None:
            self._learn(self._candidates, own)
        worth = self._worth(seed)
        fitness = worth.fitness
        finite = fitness.isfinite()
        self._note(k, worth, finite)
        if not finite.any():
            return
        known = fitness.masked_fill(~finite, -math.inf)
        self._states[k] = state = strategy.update(self._states[k], drawn, known)
        self._keep(k, state, finite)

    @torch.no_grad()
    def _place(self, k: int, drawn: Tensor) -> None:
        """Let the candidates be member `k`, with the numbers that were drawn."""
        base = self._population.state_dict()
        for name, tensor in self._candidates.state_dict().items():
            tensor.copy_(base[name][k].expand_as(tensor))
        self._vector.write(self._candidates, drawn)

    def _worth(self, seed: int) -> Worth:
        each = self._each
        what = (self._candidates, self._task, each.episodes, seed, each.fitness)
        if each.chunk:
            return in_chunks(*what, each.chunk, self.executor)
        return Worth(*(each.double() for each in worth_of(*what)))

    def _note(self, k: int, worth: Worth, finite: Tensor) -> None:
        """Let `running`, `fitness`, `scores` and `lost` follow."""
        fitness = worth.fitness
        lost, every = int((~finite).sum()), len(fitness)
        if lost and (not self.lost[k] or lost == every):
            one = "which ends the evolution of this member" if lost == every else "they rank last"
            warnings.warn(
                f"member {k}, generation {self.step + 1}: the fitness of {lost} of {every} candidates is not finite; "
                f"{one} (a smaller sigma, a bound of the trace or a decay may help)",
                LostCandidates,
                stacklevel=4,
            )
        self.lost[k] += lost
        loss = -fitness[finite].mean()  # nan of none
        self.fitness[k, 0] = -loss
        self.fitness[k, 1] = fitness[finite].max() if lost < every else math.nan
        self.scores[k] = worth.scores.nanmean()
        self.running[k] = loss if not self.step else self.running[k] + _SHARE * (loss - self.running[k])

    @torch.no_grad()
    def _keep(self, k: int, state: Any, finite: Tensor) -> None:
        """Let member `k` have the mean, and of what the candidates learned their mean."""
        if self._learn is not None:
            learned = dict(self._candidates.named_parameters())
            for name, tensor in self._population.named_parameters():
                tensor[k] = learned[name][finite].mean(0)
        self._vector.write(self._population, state.mean.unsqueeze(0), slice(k, k + 1))


def _check_structures(population: Population) -> None:
    for i, layer in enumerate(population.spec.layers):
        if isinstance(layer.structure, LearnedStructure):
            raise PlasticSearchError(
                f"layers.{i}.structure is {type(layer.structure).__name__}, which learns by gradients between updates; "
                "train it by Gradient, or evolve a network whose structure is fixed"
            )
