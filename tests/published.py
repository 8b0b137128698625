"""A published network as a spec, beside the same network in NumPy, from the equations of its paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastic_search.core import loading
from plastic_search.core.space import override
from plastic_search.network.blocks import held_blocks
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.network.spec import NetworkSpec

Array = NDArray[np.float64]
Params = list[dict[str, Array]]  # of each layer, by path: `modulation.bias`
Forward = Callable[[Params, Array], tuple[Array, list[Array]]]  # to outputs, and the plastic layers' last traces

STEPS, BATCH = 50, 2
CLOSE = 1e-10  # of outputs and traces, in float64
GRADIENT = 1e-7  # of derivatives, beside the larger of 1 and their size; central differences are not much closer
_STEP = 1e-6
_TRIED = 4  # numbers of each parameter whose derivative is compared


def published(name: str, **smaller: str) -> NetworkSpec:
    """The spec of a file, with some values changed by their path, in which dots are written __."""
    spec: NetworkSpec = loading.value("search_spaces", f"published_{name}")
    for path, value in smaller.items():
        spec = override(spec, path.replace("__", "."), value)
    return spec


def randomised(spec: NetworkSpec, inputs: int, seed: int = 0) -> Network:
    """A float64 network with large random numbers in all that is trained, so that traces matter."""
    net, rng = Network(spec, inputs, seed).double(), torch.Generator().manual_seed(seed)
    held = held_blocks(spec, net.shapes, net.parts())
    with torch.no_grad():
        for i, bag in enumerate(net.bags()):
            for name, p in bag.tensors().items():
                if p.requires_grad:
                    fan = p.shape[-1] if name in ("weight", "alpha") else 4
                    drawn = 0.8 * max(fan, 4) ** -0.5 * torch.randn(p.shape, generator=rng, dtype=torch.float64)
                    drawn = 0.3 + 0.2 * drawn if name in ("modulation.rate", "modulation.eligibility") else drawn
                    p.copy_(torch.where(held[i, name], p, drawn) if (i, name) in held else drawn)
    return net


def numbers(net: Network) -> Params:
    """The parameters as NumPy arrays."""
    return [{name: t.detach().numpy().copy() for name, t in bag.tensors().items()} for bag in net.bags()]


def differences(net: Network, x: Tensor, forward: Forward, plastic: tuple[int, ...] = (0,)) -> dict[str, float]:
    """The largest differences of a network from its NumPy form over an episode: outputs, traces, gradients.

    Args:
        x: [time, batch, inputs].
        plastic: the plastic layers.
    """
    wanted, traces = forward(numbers(net), x.numpy())
    last = {f"layers.{i}.trace": trace for i, trace in zip(plastic, traces, strict=True)}
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    worst = {"outputs": 0.0, "traces": 0.0, "gradients": 0.0}
    for kernel in ("reference", "cpu"):
        net.kernel = kernel
        net.zero_grad()
        y, state = net(x)
        (y * weights).sum().backward()
        worst["outputs"] = max(worst["outputs"], _largest(y, wanted))
        for i, trace in zip(plastic, traces, strict=True):
            worst["traces"] = max(worst["traces"], _largest(state[i].trace, trace))
        worst["gradients"] = max(worst["gradients"], _gradients(net, x.numpy(), forward, weights.numpy()))
    inside, _ = record(net, x[:7], list(last))  # on the way, too
    _, early = forward(numbers(net), x[:7].numpy())
    for name, trace in zip(last, early, strict=True):
        worst["traces"] = max(worst["traces"], _largest(inside[name][-1], trace))
    return worst


def _gradients(net: Network, x: Array, forward: Forward, weights: Array) -> float:
    """The largest difference between derivatives and central differences, beside the larger of 1 and their size."""
    rng, worst = np.random.default_rng(1), 0.0
    held = held_blocks(net.spec, net.shapes, net.parts())
    for i, bag in enumerate(net.bags()):
        for name, p in bag.tensors().items():
            if p.grad is None or not p.numel():
                continue
            params = numbers(net)
            flat, grad = params[i][name].reshape(-1), p.grad.numpy().reshape(-1)
            kept = held[i, name].numpy().reshape(-1) if (i, name) in held else np.zeros(flat.size, bool)
            assert not grad[kept].any()
            for k in rng.choice(np.flatnonzero(~kept), min(_TRIED, int((~kept).sum())), replace=False):
                was, sums = flat[k], []
                for step in (_STEP, -_STEP):
                    flat[k] = was + step
                    sums.append(float((forward(params, x)[0] * weights).sum()))
                flat[k] = was
                slope = (sums[0] - sums[1]) / (2 * _STEP)
                worst = max(worst, abs(slope - grad[k]) / max(1.0, abs(slope)))
    return worst


def agree(name: str, net: Network, x: Tensor, forward: Forward, plastic: tuple[int, ...] = (0,)) -> None:
    """Hold a network against its NumPy form, and print by how much they differ (`pytest -s`)."""
    found: Any = differences(net, x, forward, plastic)
    print(f"{name}: " + ", ".join(f"{what} {size:.1e}" for what, size in found.items()))
    assert found["outputs"] < CLOSE, found
    assert found["traces"] < CLOSE, found
    assert found["gradients"] < GRADIENT, found


def _largest(ours: Tensor | None, wanted: Array) -> float:
    assert ours is not None
    assert np.abs(wanted).max() > 1e-3  # else nothing is shown
    return float(np.abs(ours.detach().numpy() - wanted).max())


def episode(inputs: int, scale: float = 1.0, steps: int = STEPS, batch: int = BATCH) -> Tensor:
    """Random inputs [time, batch, inputs]."""
    return scale * torch.randn(steps, batch, inputs, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))
