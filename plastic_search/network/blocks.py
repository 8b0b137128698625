"""Parameters, and blocks of them, by their paths.

layers.0.weight              a tensor of a layer
layers.*.modulation          all tensors below a path, of every layer
layers.0.weight.3            of a weight or a bias, one drive of the cell
layers.0.weight.recurrent    of a weight or alpha, the columns of the layer's own output; `input` is all others
layers.0.weight.3.0:64       columns by number, of one drive
layers.0.bias.0:5            of a bias, units by number
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import unknown
from plastic_search.network.pytree import flatten, unflatten
from plastic_search.structures import Shape

if TYPE_CHECKING:
    from plastic_search.network.spec import NetworkSpec

__all__ = ["Block", "blocks", "buffer_names", "held_blocks", "paths_match", "without_gradients"]

_OF_PLASTICITY = ("alpha", "rule", "modulation")
_COLUMNS = re.compile(r"input|recurrent|\d+:\d+")


class Block(NamedTuple):
    """Some numbers of one layer's tensor; `where` is () for all of them."""

    layer: int
    name: str
    where: tuple[slice, ...]


def buffer_names(spec: NetworkSpec, shapes: Sequence[Shape], params: Sequence[Any]) -> list[set[str]]:
    """For each layer, the names of the tensors that no gradient trains: the structure's own, and those held as a whole.

    Raises:
        PlasticSearchError: a path of `spec.held` names nothing.
    """
    found = [{f"structure.{name}" for name in layer.structure.buffers} for layer in spec.layers]
    trees = [flatten(each) for each in params] if spec.held else []
    for path in spec.held:
        for block in blocks(path, trees, shapes):
            if not block.where:
                found[block.layer].add(block.name)
    return found


def held_blocks(spec: NetworkSpec, shapes: Sequence[Shape], params: Sequence[Any]) -> dict[tuple[int, str], Tensor]:
    """For each layer and tensor of which only a part is held, whether each number is."""
    found: dict[tuple[int, str], Tensor] = {}
    trees = [flatten(each) for each in params] if spec.held else []
    for path in spec.held:
        for layer, name, where in blocks(path, trees, shapes):
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


def blocks(path: str, trees: Sequence[dict[str, Tensor]], shapes: Sequence[Shape]) -> list[Block]:
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


def _found(path: str, trees: Sequence[dict[str, Tensor]], shapes: Sequence[Shape]) -> Iterator[Block]:
    for layer, tree in enumerate(trees):
        for name, tensor in tree.items():
            if not tensor.numel():
                continue
            full = f"layers.{layer}.{name}"
            steps = path.split(".")
            inner = steps[len(full.split(".")) :]
            if not inner and paths_match(path, full):
                yield Block(layer, name, ())
            elif inner and paths_match(".".join(steps[: -len(inner)]), full):
                where = _where(name, inner, tensor, shapes[layer])
                if where is not None:
                    yield Block(layer, name, where)


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
