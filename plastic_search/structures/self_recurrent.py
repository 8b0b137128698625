"""Every unit receives all sources and, of its own layer, only itself (the self-recurrence of ScSr-SNN)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from plastic_search.structures import Gates, Shape, Structure


@dataclass(frozen=True)
class SelfRecurrent(Structure):
    """exists = 1 on the sources, identity on the recurrent block"""

    def gates(self, params: tuple[()], shape: Shape, like: Tensor) -> Gates:
        exists = like.new_ones(shape.post, shape.pre)
        exists[:, shape.pre - shape.recurrent :] = torch.eye(shape.post, dtype=like.dtype, device=like.device)
        return Gates(exists, exists[:, shape.plastic])
