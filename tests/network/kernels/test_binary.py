"""Products of packed signs equal those of torch at any size."""

from __future__ import annotations

import pytest
import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.kernels.cpu.binary import Signs, binary_product, pack, unpack

# rows, columns, size: around a word, around as many words as a byte counts, and more columns than a panel holds
SIZES = [(1, 1, 1), (3, 5, 63), (4, 8, 64), (7, 9, 65), (5, 9, 64 * 31), (2, 3, 64 * 31 + 1), (5, 65, 4500), (2, 3, 0)]


@pytest.mark.parametrize(("rows", "columns", "size"), SIZES)
def test_products_are_exact(rows: int, columns: int, size: int) -> None:
    rng = torch.Generator().manual_seed(size)
    a, b = torch.randn(rows, size, generator=rng), torch.randn(columns, size, generator=rng)
    a[0], b[0] = 1.0, -1.0  # every number unlike: the largest counts
    found = binary_product(pack(a), pack(b))
    assert found.dtype == torch.int32
    one, other = (torch.where(x < 0, -1.0, 1.0).double() for x in (a, b))
    assert torch.equal(found.double(), one @ other.T)


def test_signs_are_packed_and_unpacked() -> None:
    x = torch.tensor([[0.0, -0.0, 0.5, -0.5] + [1.0] * 61, [-1.0] * 65])
    signs = pack(x)
    assert signs.words.tolist() == [[-9, 1], [0, 0]]  # all bits but that of number 3
    assert torch.equal(unpack(signs), torch.where(x < 0, -1.0, 1.0))
    assert torch.equal(unpack(pack(torch.ones(2, 64))), torch.ones(2, 64))


def test_what_has_no_product_is_refused() -> None:
    with pytest.raises(PlasticSearchError, match="these have 3 and 4"):
        binary_product(pack(torch.ones(1, 3)), pack(torch.ones(1, 4)))
    with pytest.raises(PlasticSearchError, match=r"matrix \[rows, size\], but got a tensor of shape \(3,\)"):
        pack(torch.ones(3))
    with pytest.raises(PlasticSearchError, match="1 words of 64 hold no rows of 65"):
        binary_product(Signs(torch.zeros(1, 1, dtype=torch.int64), 65), pack(torch.ones(1, 65)))
