"""Structures that learn, between the updates of the network or population that they are part of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.pytree import map_tensors
from plastic_search.network.state import describe
from plastic_search.structures import LearnedStructure, TrainingContext, Weights

__all__ = ["Adaptation"]

Moment = Callable[[Tensor], Tensor | None]  # of a parameter's gradient, as the optimiser keeps it; None before it does


class Adaptation:
    """Adapts the learned structures of a network, or of each member of a population, during training.

    Args:
        net: the network or population that is trained.
        seeds: of the structures' random draws; one per member, and one for a network.
        steps: the number of updates that training will have.

    Raises:
        PlasticSearchError: an argument is of the wrong type, or there is not one seed for each member; or a structure
            needs all outgoing weights of its layer, and a layer receives a selection of it.

    Example:
        from plastic_search.structures.grown import Grown

        net = Network(NetworkSpec((Layer(8, structure=Grown(start=2)), Layer(2))), inputs=3)
        optimiser, adaptation = torch.optim.Adam(net.parameters()), Adaptation(net, seeds=(0,), steps=20)
        adaptation.after(0)
        for step in range(1, 21):
            y, _ = net(torch.randn(5, 4, 3))
            optimiser.zero_grad()
            (y.square().mean() + adaptation.constraint()).backward()
            optimiser.step()
            adaptation.after(step)
    """

    def __init__(self, net: Network | Population, seeds: Sequence[int], steps: int) -> None:
        _require(net, seeds, steps)
        self._shapes, self._steps = net.shapes, steps
        self._bags, self._many = net.bags(), isinstance(net, Population)
        self.rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        structures = enumerate(layer.structure for layer in net.spec.layers)
        self._learned = {i: each for i, each in structures if isinstance(each, LearnedStructure)}
        self._params = {i: self._bags[i].tree().structure for i in self._learned}
        net.watch.end()
        with torch.no_grad():
            self._contexts = {i: self._context(i) for i in self._learned}

    def constraint(self) -> Tensor | float:
        """The penalty that is added to the loss, summed over layers: one number, or one per member."""
        total: Tensor | float = 0.0
        for i, structure in self._learned.items():
            terms = [structure.constraint(own, self._shapes[i]) for own in self._members(i)]
            if any(term is not None for term in terms):
                zero = self._bags[i].tensor("weight").new_zeros(())
                stacked = torch.stack([zero if term is None else term for term in terms])
                total = total + (stacked if self._many else stacked[0])
        return total

    def _members(self, i: int) -> list[Any]:
        """The parameters of layer `i`'s structure, per member."""
        if not self._many:
            return [self._params[i]]
        return [map_tensors(lambda p, k=k: p[k], self._params[i]) for k in range(len(self.rngs))]

    @torch.no_grad()
    def after(self, step: int, means: Moment | None = None, squares: Moment | None = None) -> None:
        """Let every structure adapt, after `step` updates; to be called with 0 before the first.

        Args:
            means, squares: return the optimiser's running means of a parameter's gradient and of its square, which
                may be changed in place; passed on where they exist for every weight. They must return the same
                tensors in every call.

        Raises:
            PlasticSearchError: the network's parameters are no longer the tensors that they were.
        """
        pools: dict[Any, list[tuple[LearnedStructure, TrainingContext]]] = {}
        for i, structure in self._learned.items():
            now = self._now(i, step, means, squares)
            structure.adapt_all(now, self.rngs)
            if structure.pool is not None:
                pools.setdefault(structure.pool, []).append((structure, now))
        for pool in pools.values():
            for k in range(len(self.rngs)):
                pool[0][0].adapt_pool([(own, context.member(k)) for own, context in pool])

    def _now(self, i: int, step: int, means: Moment | None, squares: Moment | None) -> TrainingContext:
        """Layer `i` after `step` updates."""
        context, weight = self._contexts[i], self._bags[i].tensor("weight")
        if context.weight.data_ptr() != weight.data_ptr():
            raise PlasticSearchError(
                "the network's parameters were moved or replaced after the Adaptation was made, as by `net.to(...)`; "
                "make it after that"
            )
        grads = map_tensors(lambda p: None if p.grad is None else self._stacked(p.grad), self._params[i])
        if context.means is None and means is not None:
            context = context._replace(means=_complete(self._weights(i, _of_trained(means))))
        if context.squares is None and squares is not None:
            context = context._replace(squares=_complete(self._weights(i, _of_trained(squares))))
        self._contexts[i] = context
        return context._replace(grads=grads, step=step)

    def _context(self, i: int) -> TrainingContext:
        """Layer `i` with the tensors that stay the same during training."""
        own = map_tensors(self._stacked, self._bags[i].tree())
        weight, bias, outgoing = self._weights(i, lambda p: p)
        return TrainingContext(self._shapes[i], own.structure, None, weight, bias, own.alpha, outgoing, 0, self._steps)

    def _stacked(self, tensor: Tensor) -> Tensor:
        """A parameter, or its gradient, with a leading axis over members, also for a single network."""
        return tensor if self._many else tensor.unsqueeze(0)

    def _weights(self, i: int, of: Moment) -> Weights:
        """`of` applied to the weights of layer `i`, to its biases, and to the columns of weights on its outputs."""

        def tensor(k: int, name: str, columns: slice = slice(None)) -> Any:
            found = of(self._bags[k].tensor(name))
            return None if found is None else self._stacked(found)[..., columns]

        outgoing = []
        for k in range(i, len(self._shapes)):
            for source in self._shapes[k].sources:
                if source.layer != i:
                    continue
                if source.complete:
                    outgoing.append(tensor(k, "weight", source.columns))
                elif self._learned[i].uses_outgoing:
                    raise PlasticSearchError(
                        f"layers.{k} receives a selection of the outputs of layers.{i}, whose "
                        f"{type(self._learned[i]).__name__} needs the weights of all of them; let it receive all"
                    )
        return Weights(tensor(i, "weight"), tensor(i, "bias"), tuple(outgoing))


def _of_trained(moment: Moment) -> Moment:
    """Of a tensor that no gradient trains, the optimiser keeps nothing, and is not asked."""
    return lambda tensor: moment(tensor) if isinstance(tensor, nn.Parameter) else None


def _complete(weights: Weights) -> Weights | None:
    """The weights, if none is missing."""
    return None if any(t is None for t in (*weights[:2], *weights.outgoing)) else weights


def _require(net: Any, seeds: Any, steps: Any) -> None:
    """Refuse arguments of the wrong type or number."""
    if not isinstance(net, Network | Population):
        raise PlasticSearchError(f"net must be a Network or a Population, but is {describe(net)}")
    members = len(net) if isinstance(net, Population) else 1
    whole = isinstance(seeds, Sequence) and all(isinstance(seed, int) for seed in seeds)
    if not whole or len(seeds) != members:
        wanted = f"a list of {members} whole numbers, one for each member" if members > 1 else "one whole number, (0,)"
        raise PlasticSearchError(f"seeds must be {wanted}, but is {seeds!r}")
    if type(steps) is not int or steps < 0:
        raise PlasticSearchError(f"steps must be the number of updates, a whole number from 0, but is {steps!r}")
