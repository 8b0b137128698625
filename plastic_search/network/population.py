"""Many networks of equal shape, run and trained at once: seeds, trials of equal size, a generation of an evolution.

Small networks spend most of their time in the overhead of calls, which a population has once for all of its members.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.blocks import buffer_names
from plastic_search.network.episodes import run
from plastic_search.network.interventions import Given, Interventions
from plastic_search.network.kernels import reference
from plastic_search.network.module import Network
from plastic_search.network.numbers import check_numbers
from plastic_search.network.pytree import Bag, leaves, unflatten
from plastic_search.network.state import State, checked_batch, describe, same_shapes
from plastic_search.network.step import LayerParams, LayerState, Ready, resolve
from plastic_search.network.watch import Watch

__all__ = ["Population"]


class Population(nn.Module):
    """Networks that run together: `y, state = population(x, state=None)`. Each computes what it would compute alone.

    The parameters have the names that they have in a member, and an axis over members before all others. An optimiser
    that is elementwise, such as Adam, therefore trains each member as if it were alone.

    Args:
        members: networks of equal spec and input size. Their parameters are copied; `member` returns them.

    Raises:
        PlasticSearchError: there is no member, or one differs from the first in spec, inputs, kernel or dtype.

    Example:
        spec = NetworkSpec((Layer(16, plastic=Pathway.BOTH), Layer(2)))
        population = Population([Network(spec, inputs=3, seed=seed) for seed in range(4)])
        y, state = population(torch.randn(10, 8, 3))  # every member receives the same [time, batch, inputs]
        assert y.shape == (4, 10, 8, 2)  # [member, time, batch, outputs]
        best = population.member(2)  # a Network
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
        self.watch = Watch(first.spec)
        self._numbers: torch.dtype | None = None  # the type for which the settings were checked
        self._at_once: bool | None = None  # whether members can be resolved at once; None until tried
        bags = zip(*(member.bags() for member in members), strict=True)
        buffers = buffer_names(first.spec, first.shapes, first.parts())
        self.layers = nn.ModuleList(
            Bag(_stacked([bag.tree() for bag in same]), names) for same, names in zip(bags, buffers, strict=True)
        )

    def __len__(self) -> int:
        """Number of members."""
        return len(next(self.parameters()))

    def bags(self) -> list[Bag]:
        """The parameters of each layer."""
        return list(self.layers)  # type: ignore[arg-type]

    def member(self, k: int) -> Network:
        """A network with a copy of the parameters that member `k` has now.

        Raises:
            PlasticSearchError: there is no such member.
        """
        if type(k) is not int or not -len(self) <= k < len(self):
            raise PlasticSearchError(f"there is no member {k!r}; known: 0 to {len(self) - 1}")
        net = Network(self.spec, self.inputs, kernel=self.kernel).to(next(self.parameters()))
        net.load_state_dict({name: value[k] for name, value in self.state_dict().items()})
        return net

    def units(self) -> list[tuple[int, ...]]:
        """Number of units of each layer that exist, for each member."""
        return [self.member(k).units() for k in range(len(self))]

    def forward(
        self, x: Tensor, state: tuple[LayerState, ...] | None = None, **interventions: Unpack[Given]
    ) -> tuple[Tensor, State]:
        """Run whole episodes of every member.

        Args:
            x: [member, time, batch, inputs]; or [time, batch, inputs], which every member receives.
            state: the state from which the episodes continue, as an earlier call returned it; None starts new ones.
            interventions: as those of `Network`, for all members alike.

        Returns:
            The outputs [member, time, batch, outputs], and the state after the last step, whose tensors have an axis
            over members before all others.

        Raises:
            PlasticSearchError: an argument has the wrong shape; the message names both.
        """
        x = self._checked(x)
        ready = self.resolve()
        begun = None
        if state is not None:
            each = zip(self.spec.layers, self.shapes, ready, strict=True)
            begun = same_shapes(state, State(reference.start(self.spec, *own, x) for own in each))
        given = Interventions.of(interventions)
        return run(self.spec, self.shapes, ready, begun, x, self.kernel, given)

    def initial_state(self, batch: int) -> State:
        """The state at the start of `batch` episodes of each member: [member, batch, ...] in every tensor.

        Raises:
            PlasticSearchError: `batch` is not a whole number from 0.
        """
        like = next(self.parameters())
        x = self._checked(like.new_empty(len(self), 1, checked_batch(batch), self.inputs))
        each = zip(self.spec.layers, self.shapes, self.resolve(), strict=True)
        return State(reference.start(self.spec, *own, x) for own in each)

    def resolve(self) -> tuple[Ready, ...]:
        """Each member's parameters as an episode uses them, at once if the structure allows it."""
        if self._at_once is None:
            self._at_once = self._alike()
        ready = self._resolved_together() if self._at_once else self._resolved_singly()
        self.watch.look(self.bags(), ready)
        return ready

    @torch.no_grad()
    def _alike(self) -> bool:
        """Whether `resolve` can be vectorised over members, which fails if a structure reads values: `int(sum)`."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                together = leaves(self._resolved_together())
            except Exception:
                return False
        singly = leaves(self._resolved_singly())
        return len(together) == len(singly) and all(map(torch.equal, together, singly))

    def _resolved_together(self) -> tuple[Ready, ...]:
        params = tuple(bag.tree() for bag in self.bags())
        return reference.of_members(lambda own: resolve(self.spec, self.shapes, own), (params,))

    def _resolved_singly(self) -> tuple[Ready, ...]:
        members = zip(*(_unstacked(bag.tree()) for bag in self.bags()), strict=True)
        return _stacked([resolve(self.spec, self.shapes, params) for params in members])

    def _checked(self, x: Tensor) -> Tensor:
        """`x` with an axis over members, if it fits."""
        like = next(self.parameters())
        many = x if isinstance(x, Tensor) and x.dim() == 4 else None
        if isinstance(x, Tensor) and x.dim() == 3:
            many = x.expand(len(self), *x.shape)
        expected = (len(self), self.inputs, like.dtype)
        if many is None or not many.shape[1] or (len(many), many.shape[3], many.dtype) != expected:
            raise PlasticSearchError(
                f"x must be [member, time, batch, inputs] with {len(self)} members, at least one step and "
                f"inputs={self.inputs}, or the same without members, of {like.dtype}; but is {describe(x)}"
            )
        if x.device != like.device:
            raise PlasticSearchError(f"x must be on {like.device}, as the population is, but is on {x.device}")
        if self._numbers is not x.dtype:
            check_numbers(self.spec, x.dtype)
            self._numbers = x.dtype
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
        raise PlasticSearchError(f"a population is made of a list of networks, but got a {type(odd[0]).__name__}")
    if not members:
        raise PlasticSearchError("a population needs at least one network")
    return members
