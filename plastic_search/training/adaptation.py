"""Structures in training: the terms that they add to the loss, and how they change between updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.pytree import map_tensors
from plastic_search.structures import Structure, TrainingContext, Weights

__all__ = ["Adaptation"]

Moment = Callable[[Tensor], Tensor | None]  # of a parameter's gradient, as the optimiser keeps it; None before it does


class Adaptation:
    """The structures of a network, or of each member of a population, in training.

    Args:
        net: the network or population that is trained.
        seeds: seeds of the structures' generators, one for each member.
        steps: number of updates of the whole training.

    Raises:
        PlasticSearchError: a structure needs all outgoing weights of its layer, and a layer receives a selection of it.

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
        self._spec, self._shapes, self._steps = net.spec, net.shapes, steps
        self._bags, self._many = net.bags(), isinstance(net, Population)
        self.rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        own = [layer.structure for layer in net.spec.layers]
        self._constrained = [i for i, each in enumerate(own) if type(each).constraint is not Structure.constraint]
        with torch.no_grad():
            self._contexts = {i: self._context(i) for i, each in enumerate(own) if each.learns}

    def constraint(self) -> Tensor | float:
        """The term to add to the loss, summed over layers: [], or [member] for a population."""
        total: Tensor | float = 0.0
        for i in self._constrained:
            terms = [self._constraint(i, member) for member in range(len(self.rngs))]
            total = total + (torch.stack(terms) if self._many else terms[0])
        return total

    def _constraint(self, i: int, member: int) -> Tensor:
        params = self._bags[i].tree().structure
        if self._many:
            params = map_tensors(lambda p: p[member], params)
        term = self._spec.layers[i].structure.constraint(params, self._shapes[i])
        return self._bags[i].tensor("weight").new_zeros(()) if term is None else term

    @torch.no_grad()
    def after(self, step: int, means: Moment | None = None, squares: Moment | None = None) -> None:
        """Let every structure adapt after `step` updates; to be called with 0 before the first.

        Args:
            means, squares: return the optimiser's running mean of the gradient of a parameter, and of its square. A
                structure receives them once there is one for every weight, and may change them in place; they must be
                the same tensors each time.
        """
        pools: dict[Any, list[tuple[Structure, TrainingContext]]] = {}
        for i in self._contexts:
            now, structure = self._now(i, step, means, squares), self._spec.layers[i].structure
            if self._lifted(i):
                structure.adapt_all(now, self.rngs)
            else:
                structure.adapt(now, self.rngs[0])
            if structure.pool is not None:
                pools.setdefault(structure.pool, []).append((structure, now))
        for pool in pools.values():
            for k in range(len(self.rngs)):
                pool[0][0].adapt_pool([(own, context.member(k) if self._many else context) for own, context in pool])

    def _now(self, i: int, step: int, means: Moment | None, squares: Moment | None) -> TrainingContext:
        """Layer `i` after `step` updates."""
        context = self._contexts[i]
        grads = map_tensors(lambda p: None if p.grad is None else self._all(i, p.grad), self._bags[i].tree().structure)
        if context.means is None and means is not None:
            context = context._replace(means=_whole(self._weights(i, means)))
        if context.squares is None and squares is not None:
            context = context._replace(squares=_whole(self._weights(i, squares)))
        self._contexts[i] = context
        return context._replace(grads=grads, step=step)

    def _context(self, i: int) -> TrainingContext:
        """Layer `i` with the tensors that stay the same throughout training."""
        own = map_tensors(lambda p: self._all(i, p), self._bags[i].tree())
        weight, bias, outgoing = self._weights(i, lambda p: p)
        return TrainingContext(self._shapes[i], own.structure, None, weight, bias, own.alpha, outgoing, 0, self._steps)

    def _lifted(self, i: int) -> bool:
        """Whether tensors have an axis over members; a single network goes without, which is faster, if it can."""
        return self._many or type(self._spec.layers[i].structure).adapt_all is not Structure.adapt_all

    def _all(self, i: int, tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(0) if self._lifted(i) and not self._many else tensor

    def _weights(self, i: int, of: Moment) -> Weights:
        """What `of` returns for the weights of layer `i`, and for the columns of weights that receive its output."""

        def tensor(k: int, name: str, columns: slice = slice(None)) -> Any:
            found = of(self._bags[k].get_parameter(name))
            return None if found is None else self._all(i, found)[..., columns]

        structure, outgoing = self._spec.layers[i].structure, []
        for k in range(i, len(self._shapes)):
            for source in self._shapes[k].sources:
                if source.layer != i:
                    continue
                if source.complete:
                    outgoing.append(tensor(k, "weight", source.columns))
                elif structure.outward:
                    raise PlasticSearchError(
                        f"layers.{k} receives a selection of the outputs of layers.{i}, whose "
                        f"{type(structure).__name__} needs the weights of all of them; let it receive all"
                    )
        return Weights(tensor(i, "weight"), tensor(i, "bias"), tuple(outgoing))


def _whole(weights: Weights) -> Weights | None:
    """`weights`, if none is missing."""
    return None if any(t is None for t in (*weights[:2], *weights.outgoing)) else weights
