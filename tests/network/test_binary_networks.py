"""Binary networks: values and gradients by the formulas of Hubara et al. (2016), and packed inference in every bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.binary import (
    BinaryLinear,
    ShiftBatchNorm,
    Sign,
    binarize,
    binarize_stochastically,
    packed,
)
from plastic_search.training.optimisers import ShiftAdaMax


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rounded", [binarize, binarize_stochastically])
def test_the_gradient_is_cancelled_beyond_1(rounded: Callable[[Tensor], Tensor]) -> None:
    x = torch.tensor([-1.5, -1.0, -0.25, 0.0, 0.5, 1.0, 1.5], requires_grad=True)
    y = rounded(x)
    (y * torch.arange(1.0, 8.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]
    assert set(y.tolist()) <= {-1.0, 1.0}
    assert (y[:2].tolist(), y[-2:].tolist()) == ([-1.0, -1.0], [1.0, 1.0])  # certain at -1 and 1, and beyond


def test_signs_are_deterministic_or_right_on_average() -> None:
    assert binarize(torch.tensor([-0.1, -0.0, 0.0, 0.1])).tolist() == [-1.0, 1.0, 1.0, 1.0]
    x = torch.tensor([-0.8, -0.2, 0.0, 0.6]).expand(20_000, 4)
    mean = binarize_stochastically(x, torch.Generator().manual_seed(0)).mean(0)
    assert (mean - x[0]).abs().max() < 4 / 20_000**0.5  # four deviations at most
    layer = Sign(binarize_stochastically)
    assert layer(x).unique(dim=0).shape[0] > 1
    assert torch.equal(layer.eval()(x), binarize(x))


def test_a_layer_reads_signs_and_keeps_real_weights() -> None:
    layer = BinaryLinear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.5, 1.5], [-2.0, 0.0, 0.1]]))
    x = torch.tensor([[1.0, 2.0, 4.0]])
    y = layer(x)
    assert y.tolist() == [[3.0, 5.0]]
    y.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[1.0, 2.0, 0.0], [0.0, 2.0, 4.0]]
    layer.clip()
    assert layer.weight.tolist()[0] == [0.5, -0.5, 1.0]
    assert layer.rate == 2.0  # sqrt(5 / 1.5) = 1.83
    assert BinaryLinear(784, 256).rate == 32.0  # 26.3


def ap2(x: Tensor) -> Tensor:
    return x.sign() * 2.0 ** torch.log2(x.abs()).round()


def test_a_shift_based_batch_norm_multiplies_by_powers_of_two() -> None:
    norm, x = ShiftBatchNorm(3), 3 * noise(50, 3) + 1
    with torch.no_grad():
        norm.gamma.copy_(torch.tensor([0.7, -1.5, 2.0]))
        norm.beta.copy_(torch.tensor([0.0, 1.0, -1.0]))
    centred = x - x.mean(0)
    variance = (centred * ap2(centred)).mean(0)
    wanted = torch.tensor([0.5, -2.0, 2.0]) * centred * ap2((variance + 1e-5) ** -0.5) + norm.beta
    torch.testing.assert_close(norm(x), wanted)
    torch.testing.assert_close(norm.mean, 0.125 * x.mean(0))
    torch.testing.assert_close(norm.variance, 0.875 + 0.125 * variance)
    norm.eval()
    centred = x - norm.mean
    wanted = torch.tensor([0.5, -2.0, 2.0]) * centred * ap2((norm.variance + 1e-5) ** -0.5) + norm.beta
    torch.testing.assert_close(norm(x), wanted)
    # straight-through: the gradient is that of the numbers that are rounded
    one = torch.full((1, 3), 2.0, requires_grad=True)
    norm(one).sum().backward()
    assert one.grad is not None
    torch.testing.assert_close(one.grad[0], torch.tensor([0.5, -2.0, 2.0]) * ap2((norm.variance + 1e-5) ** -0.5))
    torch.testing.assert_close(norm.gamma.grad, (2.0 - norm.mean) * ap2((norm.variance + 1e-5) ** -0.5))


def test_shift_based_adamax_by_hand() -> None:
    p = nn.Parameter(torch.tensor([1.0, -1.0, 0.5]))
    optimiser = ShiftAdaMax(beta1=0.75, beta2=0.5).begin([{"params": [p]}], 0.1)
    mean = largest = torch.zeros(3)
    for step, grad in enumerate((torch.tensor([0.3, -3.0, 0.0]), torch.tensor([0.05, 1.0, 2.0])), start=1):
        p.grad, before = grad.clone(), p.detach().clone()
        optimiser.step()
        mean, largest = 0.75 * mean + 0.25 * grad, torch.maximum(0.5 * largest, grad.abs())
        rate = {1: 0.5, 2: 0.25}[step]  # of 0.1 / 0.25 = 0.4 and 0.1 / 0.4375 = 0.229
        torch.testing.assert_close(p.detach(), before - rate * mean / (ap2(largest).nan_to_num() + 2.0**-27))
    with pytest.raises(PlasticSearchError, match=r"ShiftAdaMax\.beta1 is a share, from 0 to below 1, but is 1"):
        ShiftAdaMax(beta1=1.0)


def test_packed_inference_is_equal_in_every_bit() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        BinaryLinear(20, 67), nn.BatchNorm1d(67), Sign(), BinaryLinear(67, 33), ShiftBatchNorm(33), Sign(),
        BinaryLinear(33, 5), nn.BatchNorm1d(5),
    )  # fmt: skip
    for seed in range(3):
        net(noise(16, 20, seed=seed))  # running means
    x = noise(9, 20, seed=9)
    fast = packed(net)
    assert torch.equal(fast(x), net.eval()(x))
    assert not any(isinstance(each, BinaryLinear) for each in list(fast)[1:])
    with pytest.raises(PlasticSearchError, match="a BinaryLinear follows a Sign; there is none"):
        packed(nn.Sequential(BinaryLinear(3, 3)))
