"""What structures do while a network is trained: what they add to the loss, and what they change between updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.pytree import Bag, formed
from plastic_search.network.spec import NetworkSpec
from plastic_search.structures import LearnedStructure, TrainingContext, Weights

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
        self._spec, self._shapes, self._like, self._steps = net.spec, net.shapes, net.like, steps
        self._inputs = net.inputs
        self._bags, self._many = net.bags(), isinstance(net, Population)
        self.rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        structures = enumerate(layer.structure for layer in net.spec.layers)
        self._learned = {i: each for i, each in structures if isinstance(each, LearnedStructure)}
        with torch.no_grad():
            self._contexts = {i: self._context(i) for i in self._learned}
        self._tuned = [_of_structure(bag) for bag in self._bags]

    def constraint(self) -> Tensor | float:
        """What is added to the loss, summed over layers: one number, or one a member."""
        total: Tensor | float = 0.0
        for i, structure in self._learned.items():
            tuned = self._tuned[i]
            members = zip(*(p.unbind() for p in tuned), strict=True) if self._many else [tuned]
            params = (formed(self._like[i].structure, iter(own)) for own in members)
            terms = [structure.constraint(own, self._shapes[i]) for own in params]
            if any(term is not None for term in terms):
                zero = self._bags[i].tensor("weight").new_zeros(())
                stacked = torch.stack([zero if term is None else term for term in terms])
                total = total + (stacked if self._many else stacked[0])
        return total

    @torch.no_grad()
    def after(self, step: int, means: Memory | None = None, squares: Memory | None = None) -> None:
        """Let every structure change what it wants to, after `step` updates; to be called with 0 before the first.

        Args:
            means, squares: give what the optimiser remembers of a parameter's gradient and of its square, to be
                changed in place; a structure is told of it where it is there for every weight. It must be the same
                tensors each time.
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

    def _now(self, i: int, step: int, means: Memory | None, squares: Memory | None) -> TrainingContext:
        """Layer `i` after `step` updates."""
        context = self._contexts[i]
        found = [tensor.grad for tensor in self._tuned[i]]
        grads = formed(self._like[i].structure, iter([None if g is None else self._all(g) for g in found]))
        if context.means is None and means is not None:
            context = context._replace(means=_whole(self._weights(i, means)))
        if context.squares is None and squares is not None:
            context = context._replace(squares=_whole(self._weights(i, squares)))
        self._contexts[i] = context
        return context._replace(grads=grads, step=step)

    def _context(self, i: int) -> TrainingContext:
        """Layer `i` with all that stays the same tensors while training goes on."""
        own = formed(self._like[i], iter([self._all(p) for p in self._bags[i].tensors().values()]))
        weight, bias, outgoing = self._weights(i, lambda p: p)
        return TrainingContext(self._shapes[i], own.structure, None, weight, bias, own.alpha, outgoing, 0, self._steps)

    def _all(self, tensor: Tensor) -> Tensor:
        """A parameter, or its gradient, with an axis over members, also where there is one network alone."""
        return tensor if self._many else tensor.unsqueeze(0)

    def _weights(self, i: int, of: Memory) -> Weights:
        """What `of` gives for the weights of layer `i`, and for the columns of every weight that hears it."""
        shape = self._shapes[i]

        def made(k: int, name: str, at: int = 0, width: int | None = None) -> Any:
            found = of(self._bags[k].get_parameter(name))
            return None if found is None else self._all(found)[..., at : None if width is None else at + width]

        out = [made(i, "weight", shape.pre - shape.recurrent, shape.recurrent)] if shape.recurrent else []
        for k in range(i + 1, len(self._shapes)):
            if self._spec.layers[k].structure.selection is not None and _hearing(self._spec, self._inputs, i, k):
                if not self._learned[i].uses_outgoing:
                    continue
                name = type(self._learned[i]).__name__
                raise PlasticSearchError(
                    f"layers.{k} hears a selection of layers.{i}, whose {name} asks all that hear it; let it hear all"
                )
            out += [made(k, "weight", at, shape.post) for at in _hearing(self._spec, self._inputs, i, k)]
        return Weights(made(i, "weight"), made(i, "bias"), tuple(out))


def _of_structure(bag: Bag) -> list[Tensor]:
    return [tensor for name, tensor in bag.tensors().items() if name.startswith("structure.")]


def _whole(weights: Weights) -> Weights | None:
    """The weights, if there is something for each."""
    return None if any(t is None for t in (*weights[:2], *weights.outgoing)) else weights


def _hearing(spec: NetworkSpec, inputs: int, sender: int, listener: int) -> list[int]:
    """At which columns layer `listener` begins to hear layer `sender`; layer -1 is the input."""
    made, at, layer = [], 0, spec.layers[listener]
    for back in (0, *layer.skip):
        source = listener - 1 - back
        if source == sender:
            made.append(at)
        at += inputs if source < 0 else spec.layers[source].units
    return made
