"""How much faster is a generation of walking ants in two processes than in one?"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor

from plastic_search.cells.linear import Linear
from plastic_search.environments.crippled_ant import CrippledAnt
from plastic_search.experiments.bench.side_by_side import SideBySide
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.trainers.evolution import Evolution
from plastic_search.training.strategies.open_es import OpenES


def _generation(executor: Executor | None) -> Callable[[], None]:
    """Evolution of a plastic network: 32 candidates in chunks of 4, each up to 300 steps of Ant-v5."""
    spec = NetworkSpec((Layer(32, structure=FeedForward()), Layer(8, Linear(), plastic=Pathway.INPUT)))
    ant = CrippledAnt(steps=300)
    trainer = Evolution(OpenES(sigma=0.02), generations=1000, candidates=32, episodes=1, chunk=4)
    population = Population([Network(spec, ant.inputs)])
    training = trainer.begin(population, ant, (0,), executor)
    return lambda: training.advance(1)


def one_process() -> Callable[[], None]:
    """A generation of at most 9,600 steps of MuJoCo."""
    return _generation(None)


def two_processes() -> Callable[[], None]:
    """The same, its chunks shared by two processes."""
    return _generation(ProcessPoolExecutor(2, multiprocessing.get_context("spawn")))


BENCHMARK = SideBySide(
    question="How much faster is a generation of walking ants in two processes than in one?",
    contenders=(one_process, two_processes),
    rounds=7,
)
