"""Surrogate gradients: the functions of their papers, under every transformation of torch, and as an open set."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import discover
from plastic_search.core.space import each, search_parameters
from plastic_search.surrogates import Surrogate
from plastic_search.surrogates.arctan import Arctan
from plastic_search.surrogates.box import Box
from plastic_search.surrogates.fast_sigmoid import FastSigmoid
from plastic_search.surrogates.sigmoid import Sigmoid
from plastic_search.surrogates.triangle import Triangle

PUBLISHED: list[tuple[Surrogate, Callable[[float], float]]] = [
    (FastSigmoid(slope=7.0), lambda x: (1.0 + abs(7.0 * x)) ** -2),
    (Arctan(), lambda x: 1.0 / (1.0 + (math.pi * x) ** 2)),
    (Triangle(slope=2.0, height=0.3), lambda x: 0.3 * max(0.0, 1.0 - abs(x / 0.5))),
    (Sigmoid(slope=4.0), lambda x: 4.0 / (1.0 + math.exp(4.0 * x)) / (1.0 + math.exp(-4.0 * x))),
    (Box(slope=2 / 0.8, height=1 / 0.8), lambda x: 1.0 / 0.8 if abs(x) < 0.4 else 0.0),
]
DISTANCES = [-1.3, -0.5, -0.2, -1e-3, 0.0, 1e-3, 0.3, 0.45, 2.0]


@pytest.mark.parametrize(("surrogate", "derivative"), PUBLISHED, ids=lambda value: type(value).__name__)
def test_the_derivative_is_that_of_the_paper(surrogate: Surrogate, derivative: Callable[[float], float]) -> None:
    x = torch.tensor(DISTANCES, dtype=torch.float64, requires_grad=True)
    y = surrogate.spike(x)
    assert y.tolist() == [float(each > 0) for each in DISTANCES]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([derivative(each) for each in DISTANCES], abs=1e-14)


@pytest.mark.parametrize("surrogate", [surrogate for surrogate, _ in PUBLISHED], ids=lambda part: type(part).__name__)
def test_every_transformation_of_torch_sees_it(surrogate: Surrogate) -> None:
    x = torch.tensor(DISTANCES, dtype=torch.float64)

    def one(distance: Tensor) -> Tensor:
        return surrogate.spike(distance)

    by_row = torch.func.vmap(torch.func.grad(one))(x)
    assert torch.equal(by_row, torch.func.grad(lambda every: one(every).sum())(x))
    assert by_row.any()
    assert torch.equal(torch.func.vmap(one)(x), (x > 0).double())
    assert not torch.func.vmap(torch.func.grad(torch.func.grad(one)))(x).any()


def test_it_is_an_open_set_that_can_be_searched() -> None:
    assert {type(surrogate).__name__ for surrogate, _ in PUBLISHED} <= {*discover(Surrogate)}
    assert len(list(search_parameters(each(Surrogate)))) > len(PUBLISHED)
    with pytest.raises(PlasticSearchError, match=r"Box\.slope must be above 0"):
        Box(slope=0.0)
