"""What parameters start from, by their paths (`blocks.py`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.network.blocks import blocks
from plastic_search.network.pytree import flatten, unflatten
from plastic_search.structures import Shape

if TYPE_CHECKING:
    from plastic_search.network.spec import NetworkSpec

__all__ = ["FanIn", "Full", "Initial", "Normal", "OneToOne", "Uniform", "Values", "draw_initial"]


@dataclass(frozen=True)
class Values(Part):
    """Numbers that parameters start from."""

    @abstractmethod
    def draw(self, size: Sequence[int], shape: Shape, rng: Generator) -> Tensor:
        """A tensor of this size, for a layer of this shape."""


@dataclass(frozen=True)
class Normal(Values):
    """N(0, scale^2)

    Args:
        scale: standard deviation.
    """

    scale: float = 0.01

    def draw(self, size: Sequence[int], shape: Shape, rng: Generator) -> Tensor:
        return self.scale * torch.randn(*size, generator=rng)


@dataclass(frozen=True)
class Uniform(Values):
    """U(low, high)

    Args:
        low, high: the ends of the interval.
    """

    low: float = 0.0
    high: float = 0.01

    def check(self) -> None:
        if self.low > self.high:
            raise PlasticSearchError(f"Uniform.low must be at most high={self.high}, but is {self.low}")

    def draw(self, size: Sequence[int], shape: Shape, rng: Generator) -> Tensor:
        return self.low + (self.high - self.low) * torch.rand(*size, generator=rng)


@dataclass(frozen=True)
class FanIn(Values):
    """U(-gain / sqrt(n), gain / sqrt(n)) with n the number of columns; torch's own `nn.Linear` where gain is 1

    A bias has the n of the layer's inputs.

    Args:
        gain: the largest magnitude where there is one column.
    """

    gain: float = 1.0

    def draw(self, size: Sequence[int], shape: Shape, rng: Generator) -> Tensor:
        columns = size[-1] if len(size) > 2 else shape.pre - shape.recurrent
        return self.gain * max(columns, 1) ** -0.5 * (2.0 * torch.rand(*size, generator=rng) - 1.0)


@dataclass(frozen=True)
class Full(Values):
    """Every number is `value`

    Args:
        value: that number.
    """

    value: float = 0.0

    def draw(self, size: Sequence[int], shape: Shape, rng: Generator) -> Tensor:
        return torch.full(tuple(size), self.value)


@dataclass(frozen=True)
class OneToOne(Values):
    """Unit k receives column k of the block by `value`, and others by 0

    Args:
        value: the weight.
    """

    value: float = 1.0

    def draw(self, size: Sequence[int], shape: Shape, rng: Generator) -> Tensor:
        if len(size) < 2:
            raise PlasticSearchError(f"OneToOne is for a block of units and columns, not for numbers {list(size)}")
        return (self.value * torch.eye(*size[-2:])).expand(tuple(size))


@dataclass(frozen=True)
class Initial(Part):
    """The parameters at `path` start from `values`, in place of those that a layer and its parts draw.

    Args:
        path: of a tensor, of all below it, or of a block of a weight, a bias or alpha: `layers.0.weight.recurrent`.
        values: what they start from.

    Example:
        from plastic_search.network.spec import Layer, NetworkSpec

        spec = NetworkSpec(
            (Layer(8),),
            initial=(Initial("layers.0.weight.input", OneToOne(20.0)), Initial("layers.0.alpha", Uniform(0.0, 0.01))),
            held=("layers.0.weight.input",),
        )
    """

    path: str
    values: Values


def draw_initial(spec: NetworkSpec, shapes: Sequence[Shape], params: list[Any], rng: Generator) -> list[Any]:
    """The layers' parameters with `spec.initial` applied, in its order.

    Raises:
        PlasticSearchError: a path names nothing; the message lists what there is.
    """
    trees = [flatten(each) for each in params]
    for entry in spec.initial:
        for layer, name, where in blocks(entry.path, trees, shapes):
            tensor = trees[layer][name].clone()
            tensor[where] = entry.values.draw(tensor[where].shape, shapes[layer], rng).to(tensor)
            trees[layer][name] = tensor
    return [unflatten(each, tree.values()) for each, tree in zip(params, trees, strict=True)]
