"""A tensor that stands for the inputs that a modulation sees, while it is found out whether it reads them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from plastic_search.network.kernels.tracing.ir import UnsupportedError

__all__ = ["READS_INPUTS", "unread"]

READS_INPUTS = "its modulation reads what the layer receives"


class _Unread(Tensor):
    """Whatever is done with it is refused. What reads it is captured anew, for the number of columns that there are."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise UnsupportedError(READS_INPUTS)


def unread(like: Tensor) -> Tensor:
    """Such a tensor, of `like`'s type."""
    return torch.zeros(0, dtype=like.dtype).as_subclass(_Unread)
