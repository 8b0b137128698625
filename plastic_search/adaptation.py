"""What structures do while a network is trained: what they add to the loss, and what they change between updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from plastic_search.network import Network
from plastic_search.parameters import nest
from plastic_search.population import Population
from plastic_search.spec import NetworkSpec
from plastic_search.step import LayerParams
from plastic_search.structures import Site, Structure

__all__ = ["Adaptation"]


class Adaptation:
    """The structures of a network, or of each member of a population, in training.

    Args:
        net: what is trained.
        seeds: of what the structures draw; one a member.
        steps: how many updates there will be.
    """

    def __init__(self, net: Network | Population, seeds: Sequence[int], steps: int) -> None:
        self._spec, self._shapes, self._like, self._steps = net.spec, net.shapes, net.like, steps
        self._bags, self._many = net.bags(), isinstance(net, Population)
        self._rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        kinds = [type(layer.structure) for layer in net.spec.layers]
        self._adapting = [i for i, kind in enumerate(kinds) if kind.adapt is not Structure.adapt]
        self._constrained = [i for i, kind in enumerate(kinds) if kind.constraint is not Structure.constraint]

    def constraint(self) -> Tensor | float:
        """What is added to the loss, summed over layers: one number, or one a member."""
        made: Tensor | float = 0.0
        for i in self._constrained:
            terms = [self._constraint(i, member) for member in range(len(self._rngs))]
            made = made + (torch.stack(terms) if self._many else terms[0])
        return made

    def _constraint(self, i: int, member: int) -> Tensor:
        own = self._layer(i, member).structure
        term = self._spec.layers[i].structure.constraint(own, self._shapes[i])
        return self._layer(i, member).weight.new_zeros(()) if term is None else term

    @torch.no_grad()
    def after(self, step: int) -> None:
        """Let every structure change what it wants to, after `step` updates; to be called with 0 before the first."""
        for i in self._adapting:
            structure = self._spec.layers[i].structure
            for member, rng in enumerate(self._rngs):
                own = self._layer(i, member)
                grads = nest({"structure": self._like[i].structure}, self._grads(i, member))["structure"]
                outgoing = tuple(self._outgoing(i, member))
                site = Site(
                    self._shapes[i], own.structure, grads, own.weight, own.bias, own.alpha, outgoing, step, self._steps
                )  # fmt: skip
                structure.adapt(site, rng)

    def _layer(self, i: int, member: int) -> LayerParams:
        flat = self._bags[i].tensors()
        if self._many:
            flat = {name: tensor[member] for name, tensor in flat.items()}
        return LayerParams(**nest(self._like[i]._asdict(), flat))

    def _grads(self, i: int, member: int) -> dict[str, Any]:
        flat = {name: tensor.grad for name, tensor in self._bags[i].tensors().items()}
        return {name: g[member] if self._many and g is not None else g for name, g in flat.items()}

    def _outgoing(self, i: int, member: int) -> list[Tensor]:
        """The columns of every weight that hears layer `i`."""
        made, shape = [], self._shapes[i]
        if shape.own:
            made.append(self._layer(i, member).weight[..., shape.pre - shape.own :])
        for k in range(i + 1, len(self._shapes)):
            for at in _hearing(self._spec, self._shapes[0].pre - self._shapes[0].own, i, k):
                made.append(self._layer(k, member).weight[..., at : at + shape.post])
        return made


def _hearing(spec: NetworkSpec, inputs: int, sender: int, listener: int) -> list[int]:
    """At which columns layer `listener` begins to hear layer `sender`; layer -1 is the input."""
    made, at, layer = [], 0, spec.layers[listener]
    for back in (0, *layer.skip):
        source = listener - 1 - back
        if source == sender:
            made.append(at)
        at += inputs if source < 0 else spec.layers[source].units
    return made
