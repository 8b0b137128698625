"""What structures do while a network is trained: what they add to the loss, and what they change between updates."""

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

Memory = Callable[[Tensor], Tensor | None]


class Adaptation:
    """The structures of a network, or of each member of a population, in training.

    Args:
        net: what is trained.
        seeds: of what the structures draw; one a member.
        steps: how many updates there will be.
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
        """What is added to the loss, summed over layers: one number, or one a member."""
        made: Tensor | float = 0.0
        for i in self._constrained:
            terms = [self._constraint(i, member) for member in range(len(self.rngs))]
            made = made + (torch.stack(terms) if self._many else terms[0])
        return made

    def _constraint(self, i: int, member: int) -> Tensor:
        params = self._bags[i].tree().structure
        if self._many:
            params = map_tensors(lambda p: p[member], params)
        term = self._spec.layers[i].structure.constraint(params, self._shapes[i])
        return self._bags[i].tensor("weight").new_zeros(()) if term is None else term

    @torch.no_grad()
    def after(self, step: int, means: Memory | None = None, squares: Memory | None = None) -> None:
        """Let every structure change what it wants to, after `step` updates; to be called with 0 before the first.

        Args:
            means, squares: give what the optimiser remembers of a parameter's gradient and of its square, to be
                changed in place; a structure is told of it where it is there for every weight. It must be the same
                tensors each time.
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

    def _now(self, i: int, step: int, means: Memory | None, squares: Memory | None) -> TrainingContext:
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
        """Layer `i` with all that stays the same tensors while training goes on."""
        own = map_tensors(lambda p: self._all(i, p), self._bags[i].tree())
        weight, bias, outgoing = self._weights(i, lambda p: p)
        return TrainingContext(self._shapes[i], own.structure, None, weight, bias, own.alpha, outgoing, 0, self._steps)

    def _lifted(self, i: int) -> bool:
        """Whether a structure is shown all members at once; one that is alone is shown as it is, which is faster."""
        return self._many or type(self._spec.layers[i].structure).adapt_all is not Structure.adapt_all

    def _all(self, i: int, tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(0) if self._lifted(i) and not self._many else tensor

    def _weights(self, i: int, of: Memory) -> Weights:
        """What `of` gives for the weights of layer `i`, and for the columns of every weight that hears it."""

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
    """The weights, if there is something for each."""
    return None if any(t is None for t in (*weights[:2], *weights.outgoing)) else weights
