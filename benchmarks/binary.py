"""How much faster than a float product is the product of two matrices of -1 and 1, 2048 x 2048 each, on one thread?"""

from collections.abc import Callable

import torch
from torch import Tensor

from plastic_search.experiments.bench.side_by_side import SideBySide
from plastic_search.network.kernels.cpu.binary import binary_product, pack


def _matrices() -> tuple[Tensor, Tensor]:
    """Both, in floats."""
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 2048, 2048, generator=rng).sign()
    return a, b


def float_product() -> Callable[[], Tensor]:
    """torch.mm in float32."""
    a, b = _matrices()
    b = b.T.contiguous()
    return lambda: torch.mm(a, b)


def packed_signs() -> Callable[[], Tensor]:
    """`binary_product` of matrices that are packed, which equals that of floats."""
    a, b = _matrices()
    left, right = pack(a), pack(b)
    if not torch.equal(binary_product(left, right).float(), torch.mm(a, b.T)):
        raise ValueError("the product of packed signs is not that of floats")
    return lambda: binary_product(left, right)


def packed_in_between() -> Callable[[], Tensor]:
    """The same, with one of the matrices packed each time, as activity is."""
    a, b = _matrices()
    right = pack(b)
    return lambda: binary_product(pack(a), right)


BENCHMARK = SideBySide(
    question="How much faster than a float product is that of two matrices of -1 and 1 (2048 x 2048, one thread)?",
    contenders=(float_product, packed_signs, packed_in_between),
)
