"""Many networks of one shape, run and trained as one: seeds, trials of equal size, an evolution's generation.

What small networks cost is mostly the overhead of calls, which a population pays once for all of its members.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network import step as law
from plastic_search.network.kernels import reference
from plastic_search.network.kernels.dispatch import sequences
from plastic_search.network.module import Network
from plastic_search.network.pytree import Bag, leaves, unflatten
from plastic_search.network.state import State, same_shapes
from plastic_search.network.step import LayerParams, Ready

__all__ = ["Population"]


class Population(nn.Module):
    """`y, state = population(x, state=None)`: each member does what it would do alone, but all do it at once.

    Its parameters are those of its members under the same names, with an axis over members before all others. What is
    elementwise in them, as Adam is, treats members as if each were trained alone.

    Args:
        members: networks of one spec and one number of inputs. Their parameters are copied; `member` gives them back.

    Raises:
        PlasticSearchError: there is no member, or one is of another shape than the first.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        first = _networks(members)[0]
        for k, other in enumerate(members):
            if (one := next(other.parameters())).dtype != (like := next(first.parameters())).dtype:
                raise PlasticSearchError(
                    f"member {k} is of {one.dtype}, member 0 of {like.dtype}; `.to(dtype)` changes it"
                )
            for what in ("spec", "inputs", "kernel"):
                if getattr(other, what) != getattr(first, what):
                    raise PlasticSearchError(
                        f"the members of a population must be alike, but {what} of member {k} is "
                        f"{getattr(other, what)}, of member 0 {getattr(first, what)}"
                    )
        self.spec, self.inputs, self.shapes, self.kernel = first.spec, first.inputs, first.shapes, first.kernel
        self._at_once: bool | None = None  # whether members are resolved at once; not known yet
        bags = zip(*(member.bags() for member in members), strict=True)
        self.layers = nn.ModuleList(
            Bag(_stacked([bag.tree() for bag in same]), {f"structure.{name}" for name in layer.structure.buffers})
            for layer, same in zip(first.spec.layers, bags, strict=True)
        )

    def __len__(self) -> int:
        """How many members there are."""
        return len(next(self.parameters()))

    def bags(self) -> list[Bag]:
        """The parameters of each layer."""
        return list(self.layers)  # type: ignore[arg-type]

    def member(self, k: int) -> Network:
        """A network of its own with the parameters that member `k` has now.

        Raises:
            PlasticSearchError: there is no such member.
        """
        if type(k) is not int or not -len(self) <= k < len(self):
            raise PlasticSearchError(f"there is no member {k!r}; known: 0 to {len(self) - 1}")
        net = Network(self.spec, self.inputs, kernel=self.kernel).to(next(self.parameters()))
        net.load_state_dict({name: value[k] for name, value in self.state_dict().items()})
        return net

    def units(self) -> list[tuple[int, ...]]:
        """How many units of each layer exist, for each member."""
        return [self.member(k).units() for k in range(len(self))]

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run whole episodes of every member.

        Args:
            x: [member, time, batch, inputs]; or [time, batch, inputs], which every member hears.
            state: where the episodes go on from, as an earlier call gave it; None starts them.

        Returns:
            The outputs [member, time, batch, outputs], and the state after the last step, whose tensors have an axis
            over members before all others.

        Raises:
            PlasticSearchError: `x` or `state` has the wrong shape; the message names both.
        """
        x = self._heard(x)
        ready = self._resolve()
        if state is None:
            return sequences(self.spec, self.shapes, ready, None, x, self.kernel)
        each = zip(self.spec.layers, self.shapes, ready, strict=True)
        fresh: State = tuple(reference.start(self.spec, *own, x) for own in each)
        return sequences(self.spec, self.shapes, ready, same_shapes(state, fresh), x, self.kernel)

    def _resolve(self) -> tuple[Ready, ...]:
        """The members' parameters as one episode uses them, each member's by the law; at once where that may be."""
        if self._at_once is None:
            self._at_once = self._alike()
        return self._resolved() if self._at_once else self._resolved_singly()

    @torch.no_grad()
    def _alike(self) -> bool:
        """Whether the law can do all members at once. It cannot where a structure looks at numbers: `int(sum)`."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                together = leaves(self._resolved())
            except Exception:
                return False
        singly = leaves(self._resolved_singly())
        return len(together) == len(singly) and all(map(torch.equal, together, singly))

    def _resolved(self) -> tuple[Ready, ...]:
        params = tuple(bag.tree() for bag in self.bags())
        return reference.of_members(lambda own: law.resolve(self.spec, self.shapes, own), (params,))

    def _resolved_singly(self) -> tuple[Ready, ...]:
        members = zip(*(_unstacked(bag.tree()) for bag in self.bags()), strict=True)
        return _stacked([law.resolve(self.spec, self.shapes, params) for params in members])

    def _heard(self, x: Tensor) -> Tensor:
        """`x` with an axis over members."""
        like = next(self.parameters())
        many = x if isinstance(x, Tensor) and x.dim() == 4 else None
        if isinstance(x, Tensor) and x.dim() == 3:
            many = x.expand(len(self), *x.shape)
        wanted = (len(self), self.inputs, like.dtype)
        if many is None or not many.shape[1] or (len(many), many.shape[3], many.dtype) != wanted:
            given = f"{list(x.shape)} of {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise PlasticSearchError(
                f"x must be [member, time, batch, inputs] with {len(self)} members, at least one step and "
                f"inputs={self.inputs}, or the same without members, of {like.dtype}; but is {given}"
            )
        if x.device != like.device:
            raise PlasticSearchError(f"x must be on {like.device}, as the population is, but is on {x.device}")
        return many


def _stacked(trees: Sequence[Any]) -> Any:
    """One tree whose tensors have an axis over members before all others."""
    return unflatten(trees[0], (torch.stack(same) for same in zip(*map(leaves, trees), strict=True)))


def _unstacked(tree: LayerParams) -> list[LayerParams]:
    """The tree of each member: the inverse of `_stacked`."""
    return [unflatten(tree, own) for own in zip(*(tensor.unbind() for tensor in leaves(tree)), strict=True)]


def _networks(members: Any) -> Sequence[Network]:
    """`members`, if they are networks."""
    odd = [m for m in members if not isinstance(m, Network)] if isinstance(members, (list, tuple)) else [members]
    if odd:
        raise PlasticSearchError(f"a population is made of a list of networks, but there is a {type(odd[0]).__name__}")
    if not members:
        raise PlasticSearchError("a population needs at least one network")
    return members
