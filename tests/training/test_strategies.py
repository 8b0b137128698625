"""Strategies of evolution: each finds the minimum of a quadratic, and computes what its paper says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import discover
from plastic_search.testing import part_promises
from plastic_search.trainers import Trainer
from plastic_search.trainers.evolution import Evolution
from plastic_search.training.strategies import Entries, Strategy, ranks
from plastic_search.training.strategies.cma_es import CMAES
from plastic_search.training.strategies.open_es import OpenES, Shaping
from plastic_search.training.strategies.snes import SNES

ENTRIES = (Entries((2, 5), None), Entries((4,), torch.tensor([1, 3])))  # 12 numbers


def fittest(strategy: Strategy, generations: int, candidates: int = 40) -> Tensor:
    """Where a strategy ends that begins at 0 and looks for 0.0, 0.1, ..., 1.1."""
    target, rng = torch.arange(12) / 10, torch.Generator().manual_seed(0)
    state = strategy.begin(torch.zeros(12), candidates)
    for _ in range(generations):
        drawn = strategy.draw(state, candidates, ENTRIES, rng)
        assert drawn.shape == (candidates, 12)
        state = strategy.update(state, drawn, -(drawn - target).square().sum(1))
    return state.mean - target


@pytest.mark.parametrize(
    "strategy",
    [
        OpenES(sigma=0.1, learning_rate=0.05),
        OpenES(sigma=0.1, learning_rate=0.05, shaping=Shaping.FITNESS),
        OpenES(sigma=0.1, learning_rate=0.05, low_rank=1),
        SNES(sigma=0.3),
        CMAES(sigma=0.3),
    ],
    ids=repr,
)
def test_a_strategy_finds_the_minimum_of_a_quadratic(strategy: Strategy) -> None:
    if isinstance(strategy, CMAES):
        pytest.importorskip("cmaes")
    assert fittest(strategy, 120).abs().max() < 0.1


def test_the_gradient_is_that_of_salimans_and_the_step_is_adams() -> None:
    strategy, rng = OpenES(sigma=0.2, learning_rate=0.03, decay=0.5), torch.Generator().manual_seed(1)
    mean = torch.randn(12, generator=rng, dtype=torch.double)
    state = strategy.begin(mean, 6)
    drawn = strategy.draw(state, 6, ENTRIES, rng)
    eps = ((drawn - mean) / 0.2).numpy()
    np.testing.assert_allclose(eps[:3], -eps[3:])
    fitness = torch.tensor([3.0, -1.0, 7.0, -math.inf, 2.0, 2.0])
    shaped = np.array([4, 1, 5, 0, 2.5, 2.5]) / 5 - 0.5 - 0.5 * (drawn.numpy() ** 2).mean(1)
    utility = (shaped - shaped.mean()) / (shaped.std() + 1e-8)
    gradient = sum(u * e for u, e in zip(utility, eps, strict=True)) / (6 * 0.2)
    np.testing.assert_allclose(strategy.gradient(state, drawn, fitness).numpy(), gradient, atol=1e-10)
    after = strategy.update(state, drawn, fitness)
    assert_close(after.mean, mean + 0.03 * torch.from_numpy(np.sign(gradient)), atol=1e-4, rtol=0)  # Adam's first


def test_a_low_rank_perturbation_is_the_product_of_two_matrices() -> None:
    strategy, mean = OpenES(sigma=0.5, low_rank=2), torch.zeros(6 * 8)
    drawn = strategy.draw(strategy.begin(mean, 4), 4, (Entries((1, 6, 8), None),), torch.Generator().manual_seed(2))
    rng = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 1, 6, 2, generator=rng), torch.randn(2, 1, 8, 2, generator=rng)
    x = torch.randn(5, 8)
    for k in range(2):
        shared = 0.5 / math.sqrt(2) * (x @ b[k, 0]) @ a[k, 0].T  # what is added to the product that all share
        assert_close(x @ drawn[k].view(6, 8).T, shared)
        assert_close(drawn[k], -drawn[k + 2])


def test_natural_evolution_is_that_of_schaul() -> None:
    strategy, rng = SNES(sigma=0.3), torch.Generator().manual_seed(3)
    state = strategy.begin(torch.ones(12, dtype=torch.double), 4)
    drawn = strategy.draw(state, 4, ENTRIES, rng)
    after = strategy.update(state, drawn, torch.tensor([1.0, 4.0, 2.0, -math.inf]))
    z = ((drawn - 1) / 0.3).numpy()
    raw = [max(0.0, math.log(3) - math.log(rank)) for rank in (3, 1, 2, 4)]
    u = np.array(raw) / sum(raw) - 0.25
    rate = (3 + math.log(12)) / (5 * math.sqrt(12))
    np.testing.assert_allclose(after.mean.numpy(), 1 + 0.3 * u @ z)
    np.testing.assert_allclose(after.sigma.numpy(), 0.3 * np.exp(rate / 2 * u @ (z**2 - 1)))


def test_equal_candidates_have_equal_ranks() -> None:
    assert ranks(torch.tensor([5.0, 1.0, 5.0, -math.inf])).tolist() == [2.5, 1.0, 2.5, 0.0]


def test_a_square_matrix_of_many_numbers_is_refused() -> None:
    with pytest.raises(
        PlasticSearchError, match="at most 1,000 numbers, but 1,001 are evolved; choose fewer by Evolut"
    ):
        CMAES().begin(torch.zeros(1001), 8)


def test_strategies_are_parts_that_their_trainer_keeps_in_json() -> None:
    for name, kind in discover(Strategy).items():
        part_promises(kind)
        trainer = Evolution(kind(), paths=("layers.*.alpha",))  # type: ignore[call-arg]
        assert Trainer.from_json(json.loads(json.dumps(trainer.to_json()))) == trainer, name
    assert set(discover(Strategy)) == {"CMAES", "OpenES", "SNES"}
