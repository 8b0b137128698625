"""Binary feed-forward networks as torch modules (Hubara et al. 2016, arXiv 1602.02830; 2018).

In training, weights are real numbers within [-1, 1] that a product reads as -1 or 1; the gradients of what is read
change them. A layer is `BinaryLinear`, a batch norm and `Sign`. Nothing here is plastic, or a part of a `NetworkSpec`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Generator, Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.kernels.cpu.binary import binary_product, pack
from plastic_search.network.quantization import power_of_two, round_activity, saturating
from plastic_search.precisions import Format

__all__ = ["BinaryLinear", "PackedLinear", "ShiftBatchNorm", "Sign", "binarize", "binarize_stochastically", "packed"]

Binarize = Callable[[Tensor], Tensor]
_BIT = Format(1)


def binarize(x: Tensor) -> Tensor:
    """-1 below 0, else 1; the gradient is 1 within [-1, 1], and 0 beyond, where it is cancelled (eq. 1 and 4)."""
    return round_activity(x, _BIT)


def binarize_stochastically(x: Tensor, rng: Generator | None = None) -> Tensor:
    """1 with probability clip((x + 1) / 2, 0, 1), else -1; its gradient is that of `binarize` (eq. 2)."""
    noise = torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    return saturating(x, torch.where(noise < (x.detach() + 1) / 2, 1.0, -1.0).to(x.dtype))


class Sign(nn.Module):
    """Activity of -1 and 1; in evaluation, deterministically.

    Args:
        training: how activity is rounded in training: `binarize`, `binarize_stochastically`.
    """

    def __init__(self, training: Binarize = binarize) -> None:
        super().__init__()
        self.in_training = training

    def forward(self, x: Tensor) -> Tensor:
        return self.in_training(x) if self.training else binarize(x)


class BinaryLinear(nn.Module):
    """y = sign(W) x, without a bias: the batch norm that follows has one.

    Args:
        inputs, outputs: sizes; x is [batch, inputs], y [batch, outputs].
        training: how weights are rounded in training, and their gradient: `binarize`, `binarize_stochastically`.
    """

    def __init__(self, inputs: int, outputs: int, training: Binarize = binarize) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-1.0, 1.0))  # within [-1, 1]
        self.in_training = training

    @property
    def rate(self) -> float:
        """The factor of the learning rate, a power of two: the inverse of the deviation of Glorot and Bengio (2010)."""
        outputs, inputs = self.weight.shape
        return float(power_of_two(torch.tensor(((inputs + outputs) / 1.5) ** 0.5)))

    @torch.no_grad()
    def clip(self) -> None:
        """Back into [-1, 1], after each update: a weight beyond would have no gradient, and no effect."""
        self.weight.clamp_(-1.0, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.in_training(self.weight) if self.training else binarize(self.weight))


class ShiftBatchNorm(nn.Module):
    """y = AP2(gamma) C AP2(1 / sqrt(var + epsilon)) + beta, C = x - mean(x), var = mean(C AP2(C)): products are shifts

    AP2(z) is the power of two nearest to z (`power_of_two`), whose gradient is straight-through.

    Args:
        units: x and y are [batch, units].
        epsilon: is added to the variance.
        momentum: share of a batch in the running mean and variance, which evaluation uses.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, units: int, epsilon: float = 1e-5, momentum: float = 0.125) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("variance", torch.ones(units))
        self.epsilon, self.momentum = epsilon, momentum

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(0) if self.training else self.mean
        centred = x - mean
        variance = (centred * power_of_two(centred)).mean(0) if self.training else self.variance
        if self.training:
            self.mean.lerp_(mean.detach(), self.momentum)
            self.variance.lerp_(variance.detach(), self.momentum)
        normal = centred * power_of_two(torch.rsqrt(variance + self.epsilon))
        return power_of_two(self.gamma) * normal + self.beta


class PackedLinear(nn.Module):
    """y = sign(W) x for x of -1 and 1, by XNOR and popcount, on the CPU and without gradients

    Args:
        weight: [outputs, inputs]; 1/32 of its memory is kept.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.signs = pack(weight)

    def forward(self, x: Tensor) -> Tensor:
        return binary_product(pack(x), self.signs).to(x.dtype)


def packed(net: nn.Sequential) -> nn.Sequential:
    """A copy for inference, whose `BinaryLinear` after a `Sign` are computed from packed signs: equal in every bit.

    The first layer receives data that are no signs, and stays as it is; batch norms are those of evaluation.

    Raises:
        PlasticSearchError: no `BinaryLinear` follows a `Sign`.
    """
    layers: list[nn.Module] = list(deepcopy(net).eval())
    signs = [isinstance(each, Sign) for each in layers]
    found = {
        i: PackedLinear(each.weight)
        for i, each in enumerate(layers)
        if i and signs[i - 1] and isinstance(each, BinaryLinear)
    }
    if not found:
        raise PlasticSearchError("packed takes an nn.Sequential in which a BinaryLinear follows a Sign; there is none")
    return nn.Sequential(*(found.get(i, each) for i, each in enumerate(layers))).eval()
