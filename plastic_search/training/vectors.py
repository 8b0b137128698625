"""Some of a population's parameters, chosen by path, as one vector for each member."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.blocks import blocks, held_blocks
from plastic_search.network.population import Population
from plastic_search.network.pytree import map_tensors
from plastic_search.training.strategies import Entries

__all__ = ["ParameterVector"]


class ParameterVector:
    """Reads and writes the parameters at some paths; those that are held are never among them.

    Args:
        population: of the spec whose parameters are meant; it is not kept.
        paths: of tensors or of blocks of them, of which a step may be `*`: `layers.*.alpha`. () chooses all.

    Raises:
        PlasticSearchError: a path names nothing, or all that they name is held.

    Example:
        spec = NetworkSpec((Layer(8, plastic=Pathway.BOTH), Layer(2)))
        population = Population([Network(spec, inputs=3, seed=seed) for seed in range(4)])
        alphas = ParameterVector(population, ("layers.*.alpha",))
        vectors = alphas.read(population)  # [member, numbers]
        alphas.write(population, vectors + 0.1 * torch.randn_like(vectors))
    """

    def __init__(self, population: Population, paths: Sequence[str] = ()) -> None:
        trees = [
            {name: t[0] for name, t in bag.tensors().items() if isinstance(t, Parameter)} for bag in population.bags()
        ]
        masks = {
            (i, name): torch.full(t.shape, not paths) for i, tree in enumerate(trees) for name, t in tree.items()
        }  # fmt: skip
        for path in paths:
            for layer, name, where in blocks(path, trees, population.shapes):
                masks[layer, name][where] = True
        first = tuple(map_tensors(lambda t: t[0], bag.tree()) for bag in population.bags())
        for place, held in held_blocks(population.spec, population.shapes, first).items():
            masks[place] &= ~held.cpu()
        self._places, self.entries = [], list[Entries]()
        for place, mask in masks.items():
            if mask.any():
                self._places.append(place)
                chosen = None if mask.all() else mask.flatten().nonzero().squeeze(1)
                self.entries.append(Entries(tuple(mask.shape), chosen))
        if not self.entries:
            raise PlasticSearchError(f"nothing is left to evolve: paths={tuple(paths)} name what is absent or held")

    def tensors(self, population: Population) -> list[Parameter]:
        """The parameters of `population` that have some of the numbers, [member, ...] each."""
        return [population.bags()[layer].tensor(name) for layer, name in self._places]  # type: ignore[misc]

    @property
    def whole(self) -> bool:
        """Whether all numbers of these tensors are chosen."""
        return all(each.chosen is None for each in self.entries)

    def read(self, population: Population) -> Tensor:
        """A copy of the numbers [member, numbers]."""
        flat = [t.detach().flatten(1) for t in self.tensors(population)]
        own = zip(flat, self.entries, strict=True)
        return torch.cat([t if each.chosen is None else t[:, each.chosen] for t, each in own], 1)

    @torch.no_grad()
    def write(self, population: Population, vectors: Tensor, members: slice = slice(None)) -> None:
        """Set the numbers of some members.

        Args:
            vectors: [member, numbers].
            members: which.
        """
        first = 0
        for tensor, (_, chosen) in zip(self.tensors(population), self.entries, strict=True):
            flat = tensor.view(len(tensor), -1)[members]
            count = flat.shape[1] if chosen is None else len(chosen)
            values = vectors[:, first : first + count].to(tensor)
            first += count
            if chosen is None:
                flat.copy_(values)
            else:
                flat[:, chosen] = values
