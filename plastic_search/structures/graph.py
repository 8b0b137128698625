"""The connections of a given graph, and no others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.structures import Gates, LearnedStructure, Shape, Structure
from plastic_search.structures.dense import Dense

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Graph(Structure):
    """exists = 1 on `fixed` and `plastic`, plastic = 1 on `plastic`; each edge is (post, pre)

    Args:
        fixed: connections that carry no trace, as (unit of the layer, column of `pre`), both from 0.
        plastic: those that carry one, likewise.
        support: defines whether there is a recurrent block, and which inputs are selected.
        units: of the layer that the graph was made for; None accepts any.
        inputs: of that layer: the column at which the recurrent block begins; None accepts any.
        weights: initial weight of each connection within the recurrent block, those of `fixed` first; () draws them.
    """

    fixed: tuple[tuple[int, int], ...] = ()
    plastic: tuple[tuple[int, int], ...] = ()
    support: Structure = Dense()
    units: int | None = None
    inputs: int | None = None
    weights: tuple[float, ...] = ()

    @property
    def recurrent(self) -> bool:
        return self.support.recurrent

    @property
    def selection(self) -> tuple[int, ...] | None:
        return self.support.selection

    def check(self) -> None:
        if isinstance(self.support, LearnedStructure):
            raise PlasticSearchError(f"Graph.support wants a structure that learns nothing, but got {self.support}")
        fixed, plastic = Counter(self.fixed), Counter(self.plastic)
        for edge, times in (fixed + plastic).items():
            if times > 1:
                where = "in both `fixed` and `plastic`" if fixed[edge] and plastic[edge] else "twice"
                raise PlasticSearchError(f"edge {edge} of a Graph is named {where}; name each (post, pre) once")
            if min(edge) < 0:
                raise PlasticSearchError(f"edge {edge} of a Graph must be (post, pre), both from 0")
        for name, value, least in (("units", self.units, 1), ("inputs", self.inputs, 0)):
            if value is not None and value < least:
                raise PlasticSearchError(f"Graph.{name} must be from {least}, but is {value}")
        if self.weights and self.inputs is None:
            raise PlasticSearchError(
                "Graph.weights are of the recurrent block, so Graph.inputs must state where it begins"
            )
        if self.weights and len(self.weights) != len(self._block):
            raise PlasticSearchError(
                f"Graph.weights wants a weight for each of the {len(self._block)} connections within the recurrent "
                f"block, but got {len(self.weights)}"
            )
        for edge, weight in zip(self._block, self.weights, strict=False):
            if not abs(weight) <= _LARGEST:
                raise PlasticSearchError(f"edge {edge} of a Graph would begin with the weight {weight:g}, no float32")

    @property
    def _block(self) -> list[tuple[int, int]]:
        """The connections within the recurrent block, where `inputs` is known."""
        return [edge for edge in self.fixed + self.plastic if edge[1] >= (self.inputs or 0)]

    def initial(self, weight: Tensor, shape: Shape) -> Tensor:
        if not self.weights:
            return weight
        post, pre = torch.tensor(self._block, device=weight.device).T
        return weight.index_put((post, pre), torch.tensor(self.weights, dtype=weight.dtype, device=weight.device))

    def gates(self, params: tuple[()], shape: Shape, like: Tensor) -> Gates:
        self.check_shape(shape)  # again, for a graph within another structure
        self._refuse_strays(shape)
        indices, first = torch.from_numpy(self._indices(shape.pre)).to(like.device), len(self.fixed)
        exists = like.new_zeros(shape.post * shape.pre).index_fill_(0, indices, 1.0).view(shape.post, shape.pre)
        if not first:
            return Gates(exists, exists[:, shape.plastic])
        if not self.plastic:
            return Gates(exists, like.new_zeros(shape.post, shape.width))
        plastic = like.new_zeros(shape.post * shape.pre).index_fill_(0, indices[first:], 1.0)
        return Gates(exists, plastic.view(shape.post, shape.pre)[:, shape.plastic])

    def _indices(self, width: int) -> Any:
        """The flat index of each edge in a matrix of `width` columns, plastic edges last.

        Cached, since every episode needs it; as an array, since a tensor might be created under a FakeTensorMode.
        """
        if width not in self._cache:
            indices = [post * width + pre for post, pre in self.fixed + self.plastic]
            self._cache[width] = np.array(indices, np.int64)
        return self._cache[width]

    @cached_property
    def _cache(self) -> dict[int, Any]:
        """The result of `_indices` for each width."""
        return {}

    @cached_property
    def _reach(self) -> tuple[int, int, int, int]:
        """The largest post and pre, and the least and largest pre of plastic edges."""
        both, pres = self.fixed + self.plastic, [pre for _, pre in self.plastic]
        far = max((post for post, _ in both), default=-1), max((pre for _, pre in both), default=-1)
        return *far, min(pres, default=0), max(pres, default=-1)

    def check_shape(self, shape: Shape) -> None:
        first = shape.pre - shape.recurrent
        if self.inputs not in (None, first):
            begins = "recurrent block begins at column" if self.recurrent else "units receive inputs up to column"
            raise PlasticSearchError(
                f"the graph's {begins} {self.inputs}, but the layer receives {first} inputs; make the structure anew "
                f"with inputs={first}"
            )
        if self.units not in (None, shape.post):
            raise PlasticSearchError(
                f"the graph has {self.units} units, but the layer has {shape.post}; give the layer "
                f"units={self.units}, or add nodes to the graph"
            )

    def _refuse_strays(self, shape: Shape) -> None:
        """Raise for an edge that a layer of this shape cannot have."""
        post, pre, first, last = self._reach
        if post >= shape.post or pre >= shape.pre:
            stray = next(e for e in self.fixed + self.plastic if e[0] >= shape.post or e[1] >= shape.pre)
            raise PlasticSearchError(
                f"edge {stray} leaves the layer, which has {shape.post} units with {shape.pre} inputs each; "
                "an edge is (post, pre)"
            )
        if not self.plastic or shape.plastic.start <= first <= last < shape.plastic.stop:
            return
        stray = next(e for e in self.plastic if not shape.plastic.start <= e[1] < shape.plastic.stop)
        takes = f"has only the columns {shape.plastic.start} to {shape.plastic.stop - 1}"
        empty = not shape.width
        raise PlasticSearchError(
            f"edge {stray} is plastic, but the layer's plastic pathway {'is empty' if empty else takes}; "
            "name it among `fixed`, or give the layer another `plastic`"
        )
