"""Nests of tensors, as parts make them, and the flat names under which they are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from plastic_search.core.errors import PlasticSearchError

__all__ = ["Bag", "flatten", "formed", "leaves", "nest"]


class Bag(nn.Module):
    """One layer's parameters under dotted names (`rule.both`), which nn.ParameterDict does not take.

    Args:
        held: the names of those that no gradient tunes.
    """

    def __init__(self, tensors: dict[str, Tensor], held: Collection[str] = ()) -> None:
        super().__init__()
        self._names = {name: name.replace(".", "__") for name in tensors}
        for name, tensor in tensors.items():
            if name in held:
                self.register_buffer(self._names[name], tensor.clone())
            else:
                self.register_parameter(self._names[name], nn.Parameter(tensor.clone()))

    def tensor(self, name: str) -> Tensor:
        return getattr(self, self._names[name])

    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, own) for name, own in self._names.items()}


def flatten(values: dict[str, Any], at: str = "") -> dict[str, Tensor]:
    """Every tensor of a nest of named tuples under its address: `rule.both`.

    Raises:
        PlasticSearchError: something else is in it.
    """
    flat: dict[str, Tensor] = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            flat[at + name] = value
        elif hasattr(value, "_asdict"):
            flat |= flatten(value._asdict(), f"{at}{name}.")
        elif value not in (None, ()):
            raise PlasticSearchError(
                f"{at}{name} is a {type(value).__name__}; what a part learns or remembers must be a NamedTuple of "
                "tensors, so that every one of them has a name"
            )
    return flat


def nest(like: dict[str, Any], flat: dict[str, Tensor], at: str = "") -> dict[str, Any]:
    """The nest whose tensors are `flat`, formed as `like` is: the inverse of `flatten`."""
    made: dict[str, Any] = {}
    for name, value in like.items():
        if isinstance(value, Tensor):
            made[name] = flat[at + name]
        elif hasattr(value, "_asdict"):
            made[name] = type(value)(**nest(value._asdict(), flat, f"{at}{name}."))
        else:
            made[name] = value
    return made


def leaves(nest: Any) -> list[Any]:
    """The tensors of a nest, in the order of `flatten`."""
    if isinstance(nest, Tensor):
        return [nest]
    if nest is None:
        return []
    if isinstance(nest, tuple):
        return [leaf for each in nest for leaf in leaves(each)]
    return pytree.tree_leaves(nest)


def formed(like: Any, given: Iterator[Any]) -> Any:
    """The next of what is `given`, nested as `like` is: the inverse of `leaves`."""
    if isinstance(like, Tensor):
        return next(given)
    if like is None:
        return None
    if isinstance(like, tuple):
        made = [formed(each, given) for each in like]
        return type(like)(*made) if hasattr(like, "_fields") else tuple(made)
    return pytree.tree_map(lambda _: next(given), like)
