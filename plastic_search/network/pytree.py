"""Trees of tensors: nested NamedTuples, as parts use them for parameters and states. The only use of torch's pytree.

    leaves(tree)  <->  unflatten(like, leaves)        flatten(tree) -> {path: tensor}        map_tensors(function, tree)

Tuples, which are nearly all there is, are walked by hand: each forward pass does so, and torch is five times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from plastic_search.core.errors import PlasticSearchError

__all__ = ["Bag", "flatten", "leaves", "map_pairs", "map_tensors", "node", "unflatten"]


class Bag(nn.Module):
    """The parameters of one layer, by their paths in its tree (`rule.both`); nn.ParameterDict allows no dots.

    Args:
        tree: nested NamedTuples of tensors, which are copied.
        buffers: paths of the tensors that no gradient trains.
    """

    def __init__(self, tree: Any, buffers: Collection[str] = ()) -> None:
        super().__init__()
        tensors = flatten(tree)
        self._like = map_tensors(lambda tensor: tensor.new_empty(0), tree)  # how they are nested, without their values
        self._names = {path: path.replace(".", "__") for path in tensors}
        for path, tensor in tensors.items():
            if path in buffers:
                self.register_buffer(self._names[path], tensor.clone())
            else:
                self.register_parameter(self._names[path], nn.Parameter(tensor.clone()))

    def tensor(self, path: str) -> Tensor:
        return getattr(self, self._names[path])

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its path."""
        return {path: getattr(self, name) for path, name in self._names.items()}

    def tree(self) -> Any:
        """The tensors, nested as they were given."""
        return unflatten(self._like, self.tensors().values())


def flatten(tree: Any, path: str = "") -> dict[str, Tensor]:
    """Every tensor of a tree by its path, in the order of `leaves`: `rule.both`.

    Args:
        tree: nested NamedTuples.
        path: where the tree itself lies in a larger one.

    Raises:
        PlasticSearchError: something in it is neither a NamedTuple nor a tensor, and so has no name.
    """
    if isinstance(tree, Tensor):
        return {path: tree}
    if tree is None or tree == ():
        return {}
    if not hasattr(tree, "_asdict"):
        raise PlasticSearchError(
            f"{path} is a {type(tree).__name__}; parameters and state of a part must be a NamedTuple of tensors, "
            "so that every one of them has a name"
        )
    flat: dict[str, Tensor] = {}
    for name, child in tree._asdict().items():
        flat |= flatten(child, f"{path}.{name}" if path else name)
    return flat


def leaves(tree: Any) -> list[Any]:
    """The tensors of a tree, and anything else in it but None, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if tree is None:
        return []
    if isinstance(tree, tuple):
        return [leaf for child in tree for leaf in leaves(child)]
    return pytree.tree_leaves(tree)


def unflatten(like: Any, values: Iterable[Any]) -> Any:
    """A tree nested as `like` is, whose leaves are the next of `values`: the inverse of `leaves`."""
    rest = iter(values)
    if isinstance(like, Tensor):
        return next(rest)
    if like is None:
        return None
    if isinstance(like, tuple):
        return _tuple(like, [unflatten(child, rest) for child in like])
    return pytree.tree_map(lambda _: next(rest), like)


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """A tree with `function` applied to each tensor, and all else as it is."""
    if isinstance(tree, Tensor):
        return function(tree)
    return _tuple(tree, [map_tensors(function, child) for child in tree]) if isinstance(tree, tuple) else tree


def map_pairs(function: Callable[[Tensor, Tensor], Any], one: Any, other: Any) -> Any:
    """`map_tensors` of two trees that are nested alike."""
    if isinstance(one, Tensor):
        return function(one, other)
    pairs = zip(one, other, strict=True) if isinstance(one, tuple) else ()
    return _tuple(one, [map_pairs(function, *pair) for pair in pairs]) if isinstance(one, tuple) else other


def node(kind: type[tuple[Any, ...]]) -> None:
    """Make torch see through a subclass of tuple: `torch.func`, `torch.export`."""
    pytree.register_pytree_node(
        kind, lambda value: (list(value), None), lambda children, _: kind(children), serialized_type_name=kind.__name__
    )


def _tuple(like: Any, children: list[Any]) -> Any:
    return type(like)(*children) if hasattr(like, "_fields") else type(like)(children)
