"""How long do a forward and a backward pass of a layer that fires take, in snnTorch, norse, SpikingJelly and here?

A feed-forward layer of leaky integrate-and-fire units without a synaptic current: v' = 0.8 v + drive, a spike above 1,
reset to 0 without a derivative, the derivative of FastSigmoid(slope=1), of inputs of which a tenth fire. Each is as its
library's documentation has it, a loop over time of its unit; the drives of all steps are one matrix product for all.
All start from the same weights and compute the same spikes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plastic_search.cells.lif import LIF
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.bench.across_sizes import AcrossSizes, Size, Work
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.surrogates.fast_sigmoid import FastSigmoid


def _inputs(size: Size) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return (torch.rand(size.time, size.batch, size.inputs, generator=rng) < 0.1).float()


def _network(size: Size, plastic: Pathway = Pathway.NONE) -> Network:
    cell = LIF(membrane=5.0, resistance=5.0, surrogate=FastSigmoid(1.0))
    layer = Layer(size.units, cell, Oja(), structure=FeedForward(), plastic=plastic)
    net = Network(NetworkSpec((layer,)), size.inputs, seed=0)
    with torch.no_grad():
        net.layers[0].get_parameter("weight").mul_(3.0)
    return net


def _ours(size: Size, plastic: Pathway) -> Work:
    x, net = _inputs(size), _network(size, plastic)
    return Work(lambda: net(x)[0], net.layers[0].get_parameter("weight"))


def _loop(size: Size, run: Callable[[Tensor], Tensor]) -> Work:
    """A matrix product for the drives of all steps, and `run` for the units."""
    x, (params,) = _inputs(size), _network(size).parts()
    weight, bias = (each[0].detach().clone().requires_grad_() for each in (params.weight, params.bias))
    return Work(lambda: run(x @ weight.T + bias), weight)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (distance,) = ctx.saved_tensors
        return grad / (1.0 + distance.abs()) ** 2


def _step(v: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
    v = 0.8 * v + drive
    y = _Spike.apply(v - 1.0)
    return v - y.detach() * v, y


def _over_time(step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], drives: Tensor) -> Tensor:
    v, spikes = torch.zeros_like(drives[0]), []
    for drive in drives:
        v, y = step(v, drive)
        spikes.append(y)
    return torch.stack(spikes)


def static(size: Size) -> Work:
    """A layer of `LIF`, which trains time constant, threshold and resistance of each unit besides the weights."""
    return _ours(size, Pathway.NONE)


def snntorch(size: Size) -> Work:
    """A loop over time of snnTorch's `Leaky`."""
    try:
        from snntorch import Leaky, surrogate
    except ImportError:
        raise PlasticSearchError("snntorch is not installed; python -m pip install snntorch") from None
    unit = Leaky(beta=0.8, spike_grad=surrogate.fast_sigmoid(slope=1), reset_mechanism="zero")

    def run(drives: Tensor) -> Tensor:
        v, spikes = unit.reset_mem(), []
        for drive in drives:
            y, v = unit(drive, v)
            spikes.append(y)
        return torch.stack(spikes)

    return _loop(size, run)


def norse(size: Size) -> Work:
    """A loop over time of norse's `LIFBoxCell`, whose reset is given without a derivative."""
    try:
        from norse.torch import LIFBoxCell  # pyright: ignore[reportMissingImports]
        from norse.torch.functional.lif_box import LIFBoxParameters  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise PlasticSearchError("norse is not installed; python -m pip install --no-deps norse nir nirtorch") from None

    def reset(y: Tensor, v: Tensor, to: Tensor, threshold: Tensor) -> Tensor:
        return (1 - y.detach()) * v + y.detach() * to

    unit = LIFBoxCell(LIFBoxParameters(tau_mem_inv=torch.tensor(200.0), alpha=torch.tensor(1.0), reset_method=reset))

    def run(drives: Tensor) -> Tensor:
        state, spikes = None, []
        for drive in 5.0 * drives:  # it divides them by tau, 5 steps of a thousandth
            y, state = unit(drive, state)
            spikes.append(y)
        return torch.stack(spikes)

    return _loop(size, run)


def spikingjelly(size: Size) -> Work:
    """SpikingJelly's `LIFNode` in its multi-step mode; its surrogate is half of the others'."""
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate  # pyright: ignore[reportMissingImports]
    except ImportError:
        message = "spikingjelly is not installed; python -m pip install --no-deps spikingjelly loguru"
        raise PlasticSearchError(message) from None
    derivative = surrogate.SoftSign(1.0)
    unit = neuron.LIFNode(5.0, False, detach_reset=True, step_mode="m", surrogate_function=derivative)

    def run(drives: Tensor) -> Tensor:
        functional.reset_net(unit)
        return unit(drives)

    return _loop(size, run)


def plain_loop(size: Size) -> Work:
    """A loop over time in torch, with a surrogate gradient as an autograd.Function."""
    return _loop(size, lambda drives: _over_time(_step, drives))


def compiled_loop(size: Size) -> Work:
    """The same loop, whose step is compiled by torch.compile."""
    torch.compiler.reset()  # how often a function is compiled anew is limited
    step = torch.compile(_step, fullgraph=True, dynamic=False)
    return _loop(size, lambda drives: _over_time(step, drives))


def plastic(size: Size) -> Work:
    """The first one with a trace at every synapse, which follows Oja's rule."""
    return _ours(size, Pathway.INPUT)


def matrix_products(size: Size) -> Work:
    """The products of weights and inputs alone, which all of them take too."""
    return _loop(size, lambda drives: drives.flatten(0, 1))


BENCHMARK = AcrossSizes(
    question="How much time and memory does a layer of units that fire take, forward and backward?",
    about="""A feed-forward layer of leaky integrate-and-fire units, v' = 0.8 v + drive, which fire above 1 and are
    reset to 0. The derivative of a spike is that of a fast sigmoid of slope 1, and none is taken of the reset. A tenth
    of the inputs fires in each step. Weights and biases are trained, and start the same; the drives of all steps are
    one matrix product. So all compute the same spikes, and derivatives of the weights in the same direction, but for
    the plastic layer, whose traces change what its units receive.""",
    contenders=(
        static, snntorch, norse, spikingjelly, plain_loop, compiled_loop, plastic, matrix_products,
    ),
    sizes=(
        Size(batch=32, time=100, inputs=8, units=256),
        Size(batch=32, time=100, inputs=256, units=256),
        Size(batch=16, time=500, inputs=128, units=512),
        Size(batch=16, time=500, inputs=128, units=1024),
        Size(batch=16, time=500, inputs=128, units=4096),
    ),
    packages=("snntorch", "norse", "spikingjelly"),
    rounds=3,
)  # fmt: skip
