"""How long do a forward and a backward pass of a layer that fires take, beside a plain PyTorch loop of the same?

Batch 32, 100 steps, 256 inputs of which a tenth fire, 256 units without recurrence. The loop is as one writes it
in torch: fixed intrinsic numbers, one matrix product for all steps, a surrogate gradient as an autograd.Function. The
layers also train time constant, threshold and resistance of each unit. All start from the same weights.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plastic_search.cells.lif import LIF
from plastic_search.experiments.bench.side_by_side import SideBySide
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward


def _inputs() -> Tensor:
    return (torch.rand(100, 32, 256, generator=torch.Generator().manual_seed(0)) < 0.1).float()


def _network(plastic: Pathway = Pathway.NONE) -> Network:
    layer = Layer(256, LIF(), Oja(), structure=FeedForward(), plastic=plastic)
    net = Network(NetworkSpec((layer,)), 256, seed=0)
    with torch.no_grad():
        net.layers[0].get_parameter("weight").mul_(3.0)
    return net


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (distance,) = ctx.saved_tensors
        return grad / (1.0 + 10.0 * distance.abs()) ** 2


def _loop(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    drives, spikes = x @ weight.T + bias, []
    v = torch.zeros_like(drives[0])
    for drive in drives:
        v = 0.8 * v + drive
        y = _Spike.apply(v - 1.0)
        v = v - y.detach() * v
        spikes.append(y)
    return torch.stack(spikes)


def plain_loop() -> Callable[[], None]:
    """A loop over time in torch, with fixed intrinsic numbers."""
    x, params = _inputs(), _network().parts()[0]
    weight, bias = (each[0].detach().clone().requires_grad_() for each in (params.weight, params.bias))
    return lambda: _loop(x, weight, bias).mean().backward()


def static() -> Callable[[], None]:
    """`LIF`, whose spikes are those of the loop but for ties, with trained intrinsic numbers."""
    x, net = _inputs(), _network()
    params = net.parts()[0]
    with torch.no_grad():
        differ = float((net(x)[0] != _loop(x, params.weight[0], params.bias[0])).float().mean())
    if differ > 1e-4:
        raise ValueError(f"{differ:.1e} of the spikes are not those of the loop")
    return lambda: net(x)[0].mean().backward()


def plastic() -> Callable[[], None]:
    """The same with Oja's rule at every synapse."""
    x, net = _inputs(), _network(Pathway.INPUT)
    return lambda: net(x)[0].mean().backward()


def matrix_products() -> Callable[[], None]:
    """The products of weights and inputs alone, forward and backward, which all others take too."""
    x, weight = _inputs(), _network().parts()[0].weight[0].detach().clone().requires_grad_()
    return lambda: (x @ weight.T).mean().backward()


BENCHMARK = SideBySide(
    question="How much faster than a plain PyTorch loop is a layer of units that fire?",
    contenders=(plain_loop, static, plastic, matrix_products),
)
