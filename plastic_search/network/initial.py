"""How parameters start, and which of them training leaves alone, by their paths.

layers.0.weight              a tensor of a layer
layers.*.modulation          all tensors below a path, of every layer
layers.0.weight.3            of a weight or a bias, one drive of the cell
layers.0.weight.recurrent    of a weight or alpha, the columns of the layer's own output; `input` is all others
layers.0.weight.3.0:64       columns by number, of one drive
layers.0.bias.0:5            of a bias, units by number
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part
from plastic_search.network.pytree import flatten, unflatten
from plastic_search.structures import Shape

if TYPE_CHECKING:
    from plastic_search.network.spec import NetworkSpec

__all__ = [
    "FanIn", "Full", "Initial", "Normal", "OneToOne", "Uniform", "Values", "buffer_names", "draw_initial",
    "held_blocks", "paths_match", "without_gradients",
]  # fmt: skip

_OF_PLASTICITY = ("alpha", "rule", "modulation")
_COLUMNS = re.compile(r"input|recurrent|\d+:\d+")


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


class _Block(NamedTuple):
    """Some numbers of one layer's tensor; `where` is () for all of them."""

    layer: int
    name: str
    where: tuple[slice, ...]


def draw_initial(spec: NetworkSpec, shapes: Sequence[Shape], params: list[Any], rng: Generator) -> list[Any]:
    """The layers' parameters with `spec.initial` applied, in its order.

    Raises:
        PlasticSearchError: a path names nothing; the message lists what there is.
    """
    trees = [flatten(each) for each in params]
    for entry in spec.initial:
        for layer, name, where in _blocks(entry.path, trees, shapes):
            tensor = trees[layer][name].clone()
            tensor[where] = entry.values.draw(tensor[where].shape, shapes[layer], rng).to(tensor)
            trees[layer][name] = tensor
    return [unflatten(each, tree.values()) for each, tree in zip(params, trees, strict=True)]


def buffer_names(spec: NetworkSpec, shapes: Sequence[Shape], params: Sequence[Any]) -> list[set[str]]:
    """For each layer, the names of the tensors that no gradient trains: the structure's own, and those held as a whole.

    Raises:
        PlasticSearchError: a path of `spec.held` names nothing.
    """
    found = [{f"structure.{name}" for name in layer.structure.buffers} for layer in spec.layers]
    trees = [flatten(each) for each in params] if spec.held else []
    for path in spec.held:
        for block in _blocks(path, trees, shapes):
            if not block.where:
                found[block.layer].add(block.name)
    return found


def held_blocks(spec: NetworkSpec, shapes: Sequence[Shape], params: Sequence[Any]) -> dict[tuple[int, str], Tensor]:
    """For each layer and tensor of which only a part is held, whether each number is."""
    found: dict[tuple[int, str], Tensor] = {}
    trees = [flatten(each) for each in params] if spec.held else []
    for path in spec.held:
        for layer, name, where in _blocks(path, trees, shapes):
            if where:
                tensor = trees[layer][name]
                mask = found.setdefault((layer, name), torch.zeros_like(tensor, dtype=torch.bool, requires_grad=False))
                mask[where] = True
    return found


def without_gradients(spec: NetworkSpec, shapes: Sequence[Shape], params: tuple[Any, ...]) -> tuple[Any, ...]:
    """The parameters, with no gradient to those parts of tensors that are held."""
    trees = [flatten(each) for each in params]
    for (layer, name), mask in held_blocks(spec, shapes, params).items():
        tensor = trees[layer][name]
        trees[layer][name] = torch.where(mask, tensor.detach(), tensor)
    return tuple(unflatten(each, tree.values()) for each, tree in zip(params, trees, strict=True))


def paths_match(pattern: str, path: str) -> bool:
    """Whether `path` is, or lies below, `pattern`, of which a step may be `*`."""
    wanted, given = pattern.split("."), path.split(".")
    return len(wanted) <= len(given) and all(a in ("*", b) for a, b in zip(wanted, given, strict=False))


def _blocks(path: str, trees: Sequence[dict[str, Tensor]], shapes: Sequence[Shape]) -> list[_Block]:
    """What a path names; nothing, where it is of plasticity and no layer that it names is plastic."""
    found = list(_found(path, trees, shapes))
    absent = any(
        paths_match(path, f"layers.{i}.{name}") or paths_match(f"layers.{i}.{name}", path)
        for i, shape in enumerate(shapes) if not shape.width for name in _OF_PLASTICITY
    )  # fmt: skip
    if not found and not absent:
        known = [
            f"layers.{i}.{name}" for i, tree in enumerate(trees) for name, tensor in tree.items() if tensor.numel()
        ]
        raise unknown("parameter", path, known, "A weight, a bias and alpha have blocks, as in layers.0.weight.input.")
    return found


def _found(path: str, trees: Sequence[dict[str, Tensor]], shapes: Sequence[Shape]) -> Iterator[_Block]:
    for layer, tree in enumerate(trees):
        for name, tensor in tree.items():
            if not tensor.numel():
                continue
            full = f"layers.{layer}.{name}"
            steps = path.split(".")
            inner = steps[len(full.split(".")) :]
            if not inner and paths_match(path, full):
                yield _Block(layer, name, ())
            elif inner and paths_match(".".join(steps[: -len(inner)]), full):
                where = _where(name, inner, tensor, shapes[layer])
                if where is not None:
                    yield _Block(layer, name, where)


def _where(name: str, block: list[str], tensor: Tensor, shape: Shape) -> tuple[slice, ...] | None:
    """The indices of a block; None where a tensor has no such block."""
    drive, columns = slice(None), slice(None)
    rest = list(block)
    if name in ("weight", "bias") and rest and rest[0].isdecimal() and int(rest[0]) < tensor.shape[0]:
        number = int(rest.pop(0))
        drive = slice(number, number + 1)
    if name in ("weight", "bias", "alpha") and rest and _COLUMNS.fullmatch(rest[0]):
        sources = shape.pre - shape.recurrent
        known = {"input": (0, sources), "recurrent": (sources, shape.pre)}
        if name == "bias" and rest[0] in known:
            return None
        text = rest.pop(0)
        first, stop = known[text] if text in known else map(int, text.split(":"))
        if name == "alpha":  # has the columns of the plastic pathway, if it has any
            first, stop = (min(max(k - shape.plastic.start, 0), shape.width) for k in (first, stop))
        if first >= stop or stop > tensor.shape[-1]:
            return None
        columns = slice(first, stop)
    if rest:
        return None
    return {"weight": (drive, slice(None), columns), "bias": (drive, columns), "alpha": (slice(None), columns)}[name]
