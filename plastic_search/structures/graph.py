"""The connections of a given graph, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.errors import PlasticSearchError
from plastic_search.structures import Gates, Shape, Structure
from plastic_search.structures.dense import Dense


@dataclass(frozen=True)
class Graph(Structure):
    """exists = 1 on `fixed` and `plastic`, plastic = 1 on `plastic`; each edge is (post, pre)"""

    fixed: tuple[tuple[int, int], ...] = ()
    plastic: tuple[tuple[int, int], ...] = ()
    within: Structure = Dense()  # which says whether there is a recurrent block at all

    @property
    def recurrent(self) -> bool:
        return self.within.recurrent

    def gates(self, params: tuple[()], shape: Shape, like: Tensor) -> Gates:
        exists, plastic = like.new_zeros(shape.post, shape.pre), like.new_zeros(shape.post, shape.pre)
        for edges, gate in ((self.fixed + self.plastic, exists), (self.plastic, plastic)):
            for post, pre in edges:
                if not (0 <= post < shape.post and 0 <= pre < shape.pre):
                    raise PlasticSearchError(
                        f"edge ({post}, {pre}) leaves the layer, which has {shape.post} units hearing {shape.pre}"
                    )
                gate[post, pre] = 1.0
        stray = [e for e in self.plastic if not shape.plastic.start <= e[1] < shape.plastic.stop]
        if stray:
            raise PlasticSearchError(
                f"edge {stray[0]} is plastic, but the layer's plastic pathway takes in only "
                f"columns {shape.plastic.start} to {shape.plastic.stop - 1}"
            )
        return Gates(exists, plastic[:, shape.plastic])
