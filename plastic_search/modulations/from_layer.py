"""Modulation by another layer: the outputs of a small modulatory layer are fanned out to the neurons of this one.

Modulatory neurons as a population of their own: Soltoggio et al. 2008 (Artificial Life XI), whose modulatory neurons
multiply the plasticity of the neurons that they project to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import Modulation, Observation, Rate


class FromLayerParams(NamedTuple):
    fan: Tensor  # [post, signals], f
    base: Tensor  # [post], c


@dataclass(frozen=True)
class FromLayer(Modulation):
    """H' = bound(H + rate dH), rate_j = sum_k f_jk m_k + c_j, m the new output of an earlier layer

    Args:
        back: how many layers back that layer lies: 1 is the layer before this one, and in the first layer the network's
            input. No connection to it is needed.
        signals: how many of its units modulate, from the first on.
        rate: f and c at the start of training.

    Raises:
        PlasticSearchError: `back` or `signals` is below 1; a network is built in which the layer lies before the
            network's input, or has fewer units.

    Example:
        from plastic_search.network.spec import Layer, NetworkSpec, Pathway

        small = Layer(units=2)
        plastic = Layer(32, modulation=FromLayer(back=1, signals=2), plastic=Pathway.BOTH, skip=(1,))
        spec = NetworkSpec((small, plastic))  # `plastic` receives `small` and the network's input
    """

    back: int = 1
    signals: int = 1
    rate: float = 0.1

    def check(self) -> None:
        if self.back < 1 or self.signals < 1:
            raise PlasticSearchError(
                f"FromLayer reads at least 1 unit of an earlier layer, but got back={self.back}, signals={self.signals}"
            )

    @property
    def source(self) -> int | None:
        return self.back

    def check_inputs(self, columns: int, source: int) -> None:
        if self.signals > source:
            raise PlasticSearchError(f"FromLayer reads {self.signals} units of a layer that has {source}")

    def params(self, post: int, pre: int, rng: Generator) -> FromLayerParams:
        base = torch.full((post,), self.rate)
        return FromLayerParams(base.unsqueeze(-1).repeat(1, self.signals), base)

    def step(self, params: FromLayerParams, state: tuple[()], seen: Observation) -> tuple[Rate, tuple[()]]:
        assert seen.source is not None
        return Rate(seen.source[:, : self.signals] @ params.fan.T + params.base), state
