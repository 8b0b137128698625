"""How long does a generation of evolution take, beside its candidates one at a time?"""

from collections.abc import Callable

import torch
from torch import Tensor

from plastic_search.cells.linear import Linear
from plastic_search.environments.cue_reward import CueReward
from plastic_search.experiments.bench.side_by_side import SideBySide
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.trainers.evolution import Evolution
from plastic_search.training.strategies.open_es import OpenES


def _settings() -> tuple[NetworkSpec, CueReward, Evolution]:
    """A network of 10,307 parameters, an environment, and evolution with 256 candidates of one episode each."""
    spec = NetworkSpec((Layer(64, plastic=Pathway.RECURRENT), Layer(2, Linear(), structure=FeedForward())))
    environment = CueReward(steps=48, lead=0, blanks=0)
    return spec, environment, Evolution(OpenES(0.02), generations=1000, candidates=256, episodes=1)


def one_at_a_time() -> Callable[[], Tensor]:
    """Every candidate is a network of its own in an environment of its own, by the kernel for single steps."""
    spec, environment, trainer = _settings()
    net = Network(spec, environment.inputs)
    vector, rng = torch.nn.utils.parameters_to_vector(net.parameters()).detach(), torch.Generator().manual_seed(0)

    def generation() -> Tensor:
        noise = torch.randn(trainer.candidates // 2, len(vector), generator=rng)
        drawn = torch.cat([vector + 0.02 * noise, vector - 0.02 * noise])
        fitness = torch.zeros(len(drawn))
        for k, candidate in enumerate(drawn):
            torch.nn.utils.vector_to_parameters(candidate, net.parameters())
            state, moment = environment.reset(trainer.episodes, rng)
            rollout = Rollout(net, trainer.episodes)
            for _ in range(environment.steps):
                actions = rollout.step(moment.observation).softmax(1).multinomial(1, generator=rng).squeeze(1)
                state, moment = environment.step(state, actions, rng)
                fitness[k] += moment.reward.mean()
        ranks = fitness.argsort().argsort().float() / (len(drawn) - 1) - 0.5
        return vector.add_(ranks @ (drawn - vector), alpha=1e-3)

    return generation


def together() -> Callable[[], None]:
    """All candidates are one batch, as `Evolution` runs them."""
    spec, environment, trainer = _settings()
    population = Population([Network(spec, environment.inputs)])
    training = trainer.begin(population, environment, (0,))
    return lambda: training.advance(1)


BENCHMARK = SideBySide(
    question="How much faster is a generation of 256 candidates of 10,307 parameters as one batch than one at a time?",
    contenders=(one_at_a_time, together),
)
