"""Evolution: of some parameters or all, on tasks and in environments; it can be interrupted, and survives NaN."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.environments import Environment, Moment
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.abcd import ABCD
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.evolution import Evolution
from plastic_search.trainers.gradient import Gradient
from plastic_search.training.episodes import play
from plastic_search.training.evolving import LostCandidates
from plastic_search.training.fitness import Fitness, worth_of
from plastic_search.training.strategies import Strategy
from plastic_search.training.strategies.cma_es import CMAES
from plastic_search.training.strategies.open_es import OpenES
from plastic_search.training.strategies.snes import SNES

pytestmark = pytest.mark.usefixtures("quick_code")

PLAIN = NetworkSpec((Layer(3, Linear(), structure=FeedForward()),))
PLASTIC = NetworkSpec((Layer(5, rule=ABCD(), plastic=Pathway.BOTH), Layer(4, Linear(), structure=FeedForward())))
RECALL = PatternCompletion(bits=4, patterns=1, present=1, delay=0)


@pytest.fixture(scope="module")
def follow() -> Iterator[Environment]:
    @dataclass(frozen=True)
    class Follow(Environment):
        """a cue of 3 at each of 4 steps; its number is rewarded, and the third reward ends an episode"""

        inputs, actions, steps = 3, 3, 4  # type: ignore[assignment]

        def reset(self, batch: int, rng: Generator) -> tuple[Any, Moment]:
            cue = torch.randint(3, (batch,), generator=rng)
            return (cue, torch.zeros(batch)), Moment(functional.one_hot(cue, 3).float(), torch.zeros(batch))

        def step(self, state: Any, actions: Tensor, rng: Generator) -> tuple[Any, Moment]:
            reward = (actions == state[0]).float()
            (cue, _), moment = self.reset(len(actions), rng)
            total = state[1] + reward
            return (cue, total), Moment(moment.observation, reward, done=total >= 3)

    yield Follow()
    Part.kinds.pop("Follow")


def population(spec: NetworkSpec = PLASTIC, inputs: int = RECALL.inputs, members: int = 2) -> Population:
    return Population([Network(spec, inputs, seed) for seed in range(members)])


@pytest.mark.parametrize("strategy", [OpenES(0.2, 0.2), SNES(0.5), CMAES(0.5)], ids=repr)
def test_rewards_of_an_environment_are_maximised(follow: Environment, strategy: Strategy) -> None:
    if isinstance(strategy, CMAES):
        pytest.importorskip("cmaes")
    evolved = population(PLAIN, 3)
    training = Evolution(strategy, generations=40, candidates=20, episodes=20).begin(evolved, follow, (0, 1))
    before = worth_of(evolved, follow, 500, 0).fitness
    training.advance(40)
    after = worth_of(evolved, follow, 500, 0).fitness
    assert (before < 2).all()  # 4 / 3 by chance
    assert (after > 2.4).all()
    assert (after <= 3).all()  # nothing is counted after an episode's end


@pytest.mark.parametrize("fitness", Fitness)
def test_a_task_is_learned(fitness: Fitness) -> None:
    net = Network(PLASTIC, RECALL.inputs)
    trainer = Evolution(OpenES(0.1, 0.1), generations=60, candidates=20, episodes=32, fitness=fitness, reports=3)
    losses = [progress.loss for progress in trainer.train(net, RECALL, 0)]
    assert len(losses) == 3
    assert losses[-1] < losses[0] - 0.05


def test_members_of_a_pair_meet_the_same_episodes(follow: Environment) -> None:
    twice = Population([Network(PLAIN, 3, seed) for seed in (0, 1, 0, 1)])
    first, second = worth_of(twice, follow, 60, 3).fitness.chunk(2)
    assert torch.equal(first, second)
    assert first[0] != first[1]


def test_what_no_path_names_stays_as_it_was() -> None:
    evolved = population()
    before = {name: t.clone() for name, t in evolved.state_dict().items()}
    paths = ("layers.*.alpha", "layers.0.rule", "layers.1.weight.0.0:2")
    Evolution(generations=3, candidates=4, episodes=2, paths=paths).begin(evolved, RECALL, (0, 1)).advance(3)
    moved = {name for name, t in evolved.state_dict().items() if not torch.equal(t, before[name])}
    assert moved == {"layers.0.alpha", "layers.1.weight"} | {name for name in before if "rule" in name}
    weight, old = evolved.get_parameter("layers.1.weight"), before["layers.1.weight"]
    assert torch.equal(weight[..., 2:], old[..., 2:])
    assert (weight[..., :2] != old[..., :2]).all()


@pytest.mark.parametrize("strategy", [OpenES(low_rank=1), SNES(), CMAES()], ids=repr)
def test_evolution_goes_on_where_it_was_interrupted(strategy: Strategy) -> None:
    if isinstance(strategy, CMAES):
        pytest.importorskip("cmaes")
    trainer = Evolution(strategy, generations=5, candidates=4, episodes=2)
    whole = population()
    straight = trainer.begin(whole, RECALL, (7, 8))
    straight.advance(5)
    first = trainer.begin(population(), RECALL, (7, 8))
    first.advance(2)
    resumed = trainer.begin(population(), RECALL, (7, 8))
    resumed.restore(first.saved())
    resumed.advance(3)
    for name, value in straight.saved().items():
        assert torch.equal(resumed.saved()[name], value), name
    alone = population().member(1)
    list(trainer.train(alone, RECALL, 8))
    for name, value in alone.state_dict().items():
        assert torch.equal(whole.state_dict()[name][1], value), name


def test_worker_processes_do_not_change_the_result(follow: Environment) -> None:
    trainer = Evolution(generations=2, candidates=6, episodes=3, chunk=4)
    found = []
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(3) as three:
        for executor in (None, one, three):
            evolved = population(PLAIN, 3)
            training = trainer.begin(evolved, follow, (0, 1), executor)
            training.advance(2)
            found.append(training.saved())
    for other in found[1:]:
        assert all(torch.equal(value, other[name]) for name, value in found[0].items())


@pytest.fixture(scope="module")
def fragile() -> Iterator[Any]:
    @dataclass(frozen=True)
    class Brittle(PatternCompletion):
        """a loss that is NaN where the mean output is above `most`"""

        most: float = 0.0

        def loss(self, outputs: Tensor, episodes: Any) -> Tensor:
            mean = outputs.mean()
            return mean.square() + (0.0 if mean <= self.most else torch.nan)

    yield lambda most: Brittle(bits=4, patterns=1, present=1, delay=0, most=most)
    Part.kinds.pop("Brittle")


def test_a_candidate_without_a_finite_fitness_ranks_last(fragile: Any) -> None:
    evolved = population(members=1)
    training = Evolution(OpenES(0.3), generations=20, candidates=8, episodes=4).begin(evolved, fragile(0.05), (0,))
    with pytest.warns(LostCandidates, match=r"member 0, generation \d+: the fitness of \d of 8 candidates is not fin"):
        training.advance(20)
    assert 0 < training.lost[0] < 160
    assert training.running.isfinite().all()
    assert all(t.isfinite().all() for t in evolved.state_dict().values())


def test_a_member_of_which_no_candidate_is_left_is_lost(fragile: Any) -> None:
    evolved = population()
    before = {name: t.clone() for name, t in evolved.state_dict().items()}
    trainer = Evolution(generations=4, candidates=4, episodes=2, reports=4)
    with pytest.warns(LostCandidates, match="4 of 4 candidates is not finite; which ends the evolution of this memb"):
        progress = list(trainer.train_together(evolved, fragile(-1e9), (0, 1)))
    assert len(progress) == 4
    assert all(each.loss != each.loss for each in progress[-1])
    assert all(torch.equal(t, before[name]) for name, t in evolved.state_dict().items() if t.numel())


def test_the_rule_is_evolved_and_the_weights_are_trained() -> None:
    evolved = population()
    before = {name: t.clone() for name, t in evolved.state_dict().items()}
    inner = Gradient(steps=2, batch=2, reports=1)
    trainer = Evolution(generations=2, candidates=4, episodes=2, paths=("layers.*.rule",), inner=inner)
    training = trainer.begin(evolved, RECALL, (0, 1))
    training.advance(1)
    (state, *_), vector = training._states, training._vector
    assert torch.equal(vector.read(evolved)[0], state.mean)  # the rule is the strategy's, not the optimiser's
    assert all(not torch.equal(t, before[name]) for name, t in evolved.state_dict().items() if t.numel())


def test_what_cannot_be_evolved_is_refused() -> None:
    gated = NetworkSpec((Layer(4, Linear(), structure=Gated()),))
    four = NetworkSpec((Layer(4, Linear(), structure=FeedForward()),))
    cases = (
        (Evolution(), gated, "layers.0.structure is Gated, which learns by gradients"),
        (Evolution(paths=("layers.0.alfa",)), PLASTIC, "no parameter is called 'layers.0.alfa'"),
        (Evolution(paths=("layers.0.alpha",)), four, "nothing is left to evolve"),
        (Evolution(paths=("layers.0.weight.recurrent",), inner=Gradient()), PLASTIC, "paths must name whole tensors"),
    )
    for trainer, spec, message in cases:
        with pytest.raises(PlasticSearchError, match=message):
            trainer.begin(population(spec), RECALL, (0, 1))
    wide = Population([Network(PLASTIC, RECALL.inputs + 1, seed) for seed in range(2)])
    with pytest.raises(PlasticSearchError, match=r"Evolution and .* want a network of"):
        Evolution().begin(wide, RECALL, (0, 1))
    with pytest.raises(
        PlasticSearchError, match=r"Evolution\.candidates must be an even number, since half meets half"
    ):
        Evolution(candidates=5)
    with pytest.raises(PlasticSearchError, match="paths must choose what is"):
        Evolution(inner=Gradient())


def test_a_candidate_meets_clears_as_it_would_alone(follow: Environment) -> None:
    """In the episodes that say so, at steps of their own, cells are cleared; the fitness is that of `play`."""
    sometimes = type("Sometimes", (type(follow),), {"step": _clearing(type(follow))})
    try:
        one = Network(NetworkSpec((Layer(5, plastic=Pathway.BOTH), Layer(follow.actions))), follow.inputs)
        found = worth_of(Population([one, one]), sometimes(), 60, seed=3).fitness
        alone = play(one, sometimes(), 60, torch.Generator().manual_seed(3)).rewards.sum(0).mean()
        torch.testing.assert_close(found, alone.expand(2))
        assert not found.isclose(worth_of(Population([one, one]), follow, 60, seed=3).fitness).any()
    finally:
        del Part.kinds["Sometimes"]


def _clearing(kind: type[Environment]) -> Any:
    def step(self: Any, state: Any, actions: Tensor, rng: torch.Generator) -> Any:
        state, moment = kind.step(self, state, actions, rng)
        return state, replace(moment, clear=torch.arange(len(actions)) % 3 > 0)

    return step
