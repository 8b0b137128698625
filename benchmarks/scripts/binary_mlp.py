"""What does each ingredient of a binary network give (Hubara et al. 2016)? A perceptron on Fashion-MNIST.

Run it as a file: `OMP_NUM_THREADS=1 python benchmarks/scripts/binary_mlp.py [case ...]`; without cases, it runs all.
Three hidden layers, 50,000 images for training, the error on the 10,000 of the test after the last epoch.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plastic_search.network.binary import (
    BinaryLinear,
    ShiftBatchNorm,
    Sign,
    binarize,
    binarize_stochastically,
    packed,
)
from plastic_search.tasks import Split
from plastic_search.tasks.fashion_currents import FashionCurrents
from plastic_search.training.optimisers import Adam, Optimiser, ShiftAdaMax

HIDDEN, DEPTH, EPOCHS, BATCH, SEEDS = 256, 3, 3, 200, (0, 1, 2)
ADAM, ADAMAX = 3e-3, 2.0**-8  # learning rates of the first epoch


def unsaturated(x: Tensor) -> Tensor:
    """As `binarize`, but its gradient is 1 everywhere."""
    return torch.where(x < 0, -1.0, 1.0) + (x - x.detach())


class Scaled(nn.Module):
    """In place of a batch norm: y = x / sqrt(inputs) + bias"""

    def __init__(self, units: int, inputs: int) -> None:
        super().__init__()
        self.bias, self.inputs = nn.Parameter(torch.zeros(units)), inputs

    def forward(self, x: Tensor) -> Tensor:
        return x / self.inputs**0.5 + self.bias


def float_linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs, bias=False)


class Case(NamedTuple):
    """A way of building and training the network."""

    linear: Callable[[int, int], nn.Module] = BinaryLinear
    norm: Callable[[int, int], nn.Module] = lambda units, inputs: nn.BatchNorm1d(units, 1e-4, 0.1)
    activity: Callable[[], nn.Module] = Sign
    optimiser: Optimiser = Adam()
    clip: bool = True
    master: bool = True  # whether real numbers are kept of the weights in training


def shifted(units: int, inputs: int) -> nn.Module:
    return ShiftBatchNorm(units)


BINARY = Case()
CASES = {
    "float": Case(linear=float_linear, activity=nn.ReLU),
    "float, hard tanh": Case(linear=float_linear, activity=nn.Hardtanh),
    "binary": BINARY,
    "stochastic activity": BINARY._replace(activity=partial(Sign, binarize_stochastically)),
    "stochastic weights": BINARY._replace(linear=partial(BinaryLinear, training=binarize_stochastically)),
    "shift-based batch norm": BINARY._replace(norm=shifted),
    "shift-based AdaMax": BINARY._replace(optimiser=ShiftAdaMax()),
    "both shift-based": BINARY._replace(norm=shifted, optimiser=ShiftAdaMax()),
    "no batch norm": BINARY._replace(norm=lambda units, inputs: Scaled(units, inputs)),
    "no saturation of activity": BINARY._replace(activity=partial(Sign, unsaturated)),
    "no saturation, no clipping": BINARY._replace(
        linear=partial(BinaryLinear, training=unsaturated), activity=partial(Sign, unsaturated), clip=False
    ),
    "no clipping of weights": BINARY._replace(clip=False),
    "no real-valued weights": BINARY._replace(master=False),
}


def built(case: Case) -> nn.Sequential:
    sizes = [28 * 28, *[HIDDEN] * DEPTH, 10]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [case.linear(inputs, outputs), case.norm(outputs, inputs), case.activity()]
    return nn.Sequential(*layers[:-1])


def images(split: Split, count: int) -> tuple[Tensor, Tensor]:
    """Pixels from -1 to 1 [count, 784], and kinds as -1 and 1 [count, 10]."""
    episodes = FashionCurrents(steps=1).episodes(count, split, torch.Generator().manual_seed(0))
    return 2 * episodes.inputs[0] - 1, 2 * nn.functional.one_hot(episodes.targets, 10).float() - 1


@torch.no_grad()
def error(net: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """The share of wrong answers, in percent; of a binary network, as packed signs give them."""
    outputs = net.eval()(x)
    if isinstance(net[0], BinaryLinear) and not torch.equal(packed(net)(x), outputs):
        raise ValueError("packed inference differs from that of floats")
    return 100 * (outputs.argmax(1) != y.argmax(1)).float().mean().item()


def train(case: Case, seed: int, x: Tensor, y: Tensor) -> nn.Sequential:
    torch.manual_seed(seed)
    net = built(case)
    binary = [each for each in net if isinstance(each, BinaryLinear)]
    first = ADAMAX if isinstance(case.optimiser, ShiftAdaMax) else ADAM if binary else ADAM / 3
    own = {each.weight: each.rate for each in binary}
    optimiser = case.optimiser.begin([{"params": [p], "lr": first * own.get(p, 1.0)} for p in net.parameters()], first)
    halving = torch.optim.lr_scheduler.StepLR(optimiser, 1, 0.5)
    for _ in range(EPOCHS):
        net.train()
        for rows in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            (1 - y[rows] * net(x[rows])).relu().square().mean().backward()
            optimiser.step()
            for each in binary if case.clip else ():
                each.clip()
            for each in () if case.master else binary:
                each.weight.data.copy_(binarize(each.weight))
        halving.step()
    return net


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    x, y = images(Split.TRAIN, 50_000)
    test = images(Split.TEST, 10_000)
    for name in names or CASES:
        began = time.process_time()
        found = [error(train(CASES[name], seed, x, y), *test) for seed in SEEDS]
        spread = f"{min(found):.2f} to {max(found):.2f}"
        took = time.process_time() - began
        print(f"{name:28}{statistics.mean(found):8.2f} %   ({spread}; {took:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
