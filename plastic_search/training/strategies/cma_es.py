"""Covariance matrix adaptation (Hansen 2016, arXiv 1604.00772), by the library `cmaes`. For small networks only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.loading import optional
from plastic_search.core.part import positive
from plastic_search.core.space import real
from plastic_search.training.strategies import Entries, Strategy

__all__ = ["CMAES", "CMAESState"]

_MOST = 1000  # numbers: a generation multiplies square matrices of this size, once a candidate


class CMAESState(NamedTuple):
    """In double precision."""

    mean: Tensor  # [numbers]
    sigma: Tensor  # []
    covariance: Tensor  # [numbers, numbers], of candidates, divided by sigma^2
    path: Tensor  # [numbers], the evolution path of the covariance
    sigma_path: Tensor  # [numbers], that of sigma
    generation: Tensor  # [], how many updates were made


@dataclass(frozen=True)
class CMAES(Strategy):
    """candidates from N(mean, sigma^2 C), where mean, sigma and C follow the better half of them

    Args:
        sigma: standard deviation at first.
    """

    sigma: float = 0.1

    @classmethod
    def space(cls) -> CMAES:
        return cls(sigma=real(0.01, 1.0, log=True))

    def check(self) -> None:
        positive(self, "sigma")

    def begin(self, mean: Tensor, candidates: int) -> CMAESState:
        if len(mean) > _MOST:
            raise PlasticSearchError(
                f"CMAES keeps a square matrix and is for at most {_MOST:,} numbers, but {len(mean):,} are evolved; "
                "choose fewer by Evolution.paths, or use SNES or OpenES"
            )
        mean = mean.double()
        zeros = torch.zeros_like(mean)
        sigma = torch.tensor(self.sigma, dtype=torch.double)
        eye = torch.eye(len(mean), dtype=torch.double)
        return CMAESState(mean, sigma, eye, zeros, zeros, torch.zeros((), dtype=torch.long))

    def draw(self, state: CMAESState, candidates: int, entries: Sequence[Entries], rng: Generator) -> Tensor:
        search = _search(state, candidates)
        search.reseed_rng(int(torch.randint(2**32, (), generator=rng)))
        return torch.stack([torch.from_numpy(search.ask()) for _ in range(candidates)])

    def update(self, state: CMAESState, drawn: Tensor, fitness: Tensor) -> CMAESState:
        search = _search(state, len(drawn))
        search.tell([(x.numpy(), -f) for x, f in zip(drawn, fitness.tolist(), strict=True)])
        found = (search.mean, search._sigma, search._C, search._pc, search._p_sigma)
        mean, sigma, covariance, path, sigma_path = (torch.as_tensor(each, dtype=torch.double) for each in found)
        return CMAESState(mean, sigma, covariance, path, sigma_path, state.generation + 1)


def _search(state: CMAESState, candidates: int) -> Any:
    """The library's object in this state.

    Raises:
        PlasticSearchError: the library is not installed.
    """
    library = optional("cmaes", "CMAES needs cmaes", "evolution")
    mean, sigma, covariance, path, sigma_path, generation = (each.numpy().copy() for each in state)
    search = library.CMA(mean, float(sigma), cov=covariance, population_size=candidates)
    search._pc, search._p_sigma, search._g = path, sigma_path, int(generation)
    return search
