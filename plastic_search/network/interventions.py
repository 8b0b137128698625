"""Interventions as data: episodes of different lengths, episodes that begin in mid-sequence, traces frozen or shuffled.

Episodes do not act on one another, so one that begins in mid-sequence is an episode of its own: a batch is cut into
episodes, which are laid side by side, the longest first, and run. So none costs more steps than it has.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.network.controls import Controls, chosen, shuffled
from plastic_search.network.kernels import reference
from plastic_search.network.kernels.dispatch import sequences
from plastic_search.network.pytree import map_pairs, map_tensors
from plastic_search.network.spec import NetworkSpec
from plastic_search.network.state import State, describe
from plastic_search.network.step import LayerState, Ready
from plastic_search.precisions import Role
from plastic_search.structures import Shape

__all__ = ["Given", "Interventions", "run"]


class Given(TypedDict, total=False):
    """`Interventions` as arguments of a call."""

    lengths: Tensor | None
    reset: Tensor | None
    freeze: Tensor | None
    clamp: Tensor | None
    shuffle: Tensor | None


class Interventions(NamedTuple):
    """What is imposed on a batch of sequences; None: nothing. Of a population, on all members alike.

    Args:
        lengths: integers [batch], the steps that each episode has. Outputs after its end are 0, its final state is that
            at its end, and what the inputs hold after it makes no difference.
        reset: truth values [time, batch]: an episode begins at this step, in the state of `initial_state`.
        freeze: truth values [time, batch] or [time]: in this step the trace and the eligibility trace stay as they are.
        clamp: numbers [time, batch] or [time]: in this step they take the place of the rates by which the modulations
            multiply what is written (`Rate.write`); NaN leaves the rates as they are. No gradient flows to them.
        shuffle: integers [time]: before this step the entries of each layer's trace are permuted among its synapses, by
            a permutation of this seed, the same in all episodes; -1 leaves the traces as they are.
    """

    lengths: Tensor | None = None
    reset: Tensor | None = None
    freeze: Tensor | None = None
    clamp: Tensor | None = None
    shuffle: Tensor | None = None

    @classmethod
    def of(cls, given: Given) -> Interventions:
        """Those among the arguments of a call.

        Raises:
            PlasticSearchError: an argument is none of them.
        """
        for name in given.keys() - {*cls._fields}:
            more = "`edit` is replaced by these." if name == "edit" else ""
            raise unknown("intervention", name, cls._fields, more)
        return cls(**given)

    def checked(self, x: Tensor) -> Interventions:
        """The same on the device of `x` [..., time, batch, inputs], by step and episode.

        Raises:
            PlasticSearchError: one has the wrong shape or type, or a value that is impossible; one line says which.
        """
        times, batch = x.shape[-3:-1]
        _check("lengths", self.lengths, ((batch,),), "[batch]", _INTEGERS)
        _check("reset", self.reset, ((times, batch),), "[time, batch]", _BOOL)
        both, either = ((times, batch), (times,)), "[time, batch] or [time]"
        _check("freeze", self.freeze, both, either, _BOOL)
        _check("clamp", self.clamp, both, either, _FLOATS)
        _check("shuffle", self.shuffle, ((times,),), "[time]", _INTEGERS)
        if self.lengths is not None and not bool(((self.lengths >= 0) & (self.lengths <= times)).all()):
            raise PlasticSearchError(
                f"lengths must be from 0 to {times}, the steps of x, but are {_some(self.lengths)}"
            )
        if self.shuffle is not None and not bool((self.shuffle >= -1).all()):
            raise PlasticSearchError(f"shuffle must be seeds from 0, or -1 for none, but is {_some(self.shuffle)}")
        if self.clamp is not None and self.clamp.requires_grad:
            raise PlasticSearchError("clamp is data, to which no gradient flows; give clamp.detach()")
        each = (None if value is None else value.to(x.device) for value in self)
        lengths, reset, freeze, clamp, shuffle = each
        clamp = None if clamp is None else _of_episodes(clamp, batch).to(x.dtype)
        return Interventions(lengths, reset, _of_episodes(freeze, batch), clamp, shuffle)

    def between(self, first: int, last: int) -> Interventions:
        """Those of some of the steps, but for shuffles, which come between such runs of steps."""
        lengths = None if self.lengths is None else (self.lengths - first).clamp(0, last - first)
        reset, freeze, clamp = (None if each is None else each[first:last] for each in self[1:4])
        return Interventions(lengths, reset, freeze, clamp)

    def state_before(self, time: int, state: tuple[LayerState, ...], fresh: State) -> tuple[LayerState, ...]:
        """From the state after one step of `checked` interventions to that before the next, the definition of both.

        Args:
            fresh: the state at the start of an episode.
        """
        going_on = None if self.lengths is None else self.lengths > time
        if self.reset is not None:
            begins = self.reset[time] if going_on is None else self.reset[time] & going_on
            state = chosen(begins, fresh, tuple(state))
        seed = -1 if self.shuffle is None else int(self.shuffle[time])
        return tuple(state) if seed < 0 else shuffled(state, seed, going_on)

    def controls(self, ended: Tensor | None = None) -> Controls:
        """What is imposed on each step; `ended` [time, batch]."""
        frozen = self.freeze if ended is None or self.freeze is None else ended | self.freeze
        frozen = ended if self.freeze is None else frozen
        clamped = None if self.clamp is None else ~self.clamp.isnan()
        rate = None if self.clamp is None else self.clamp.nan_to_num(0.0)
        return Controls(*(None if each is None else each.unsqueeze(-1) for each in (ended, frozen, clamped, rate)))

    def ended(self, times: int) -> Tensor | None:
        """Which episodes are over at which step [time, batch]."""
        if self.lengths is None:
            return None
        return torch.arange(times, device=self.lengths.device).unsqueeze(1) >= self.lengths


_BOOL, _INTEGERS = (torch.bool,), (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def _check(
    name: str, value: Tensor | None, shapes: tuple[tuple[int, ...], ...], axes: str, types: tuple[torch.dtype, ...]
) -> None:
    if value is None:
        return
    if not isinstance(value, Tensor) or tuple(value.shape) not in shapes or value.dtype not in types:
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        raise PlasticSearchError(f"{name} must be {axes} = {wanted} of {types[0]}, but is {describe(value)}")


def _some(values: Tensor) -> str:
    listed = values.tolist()
    return ", ".join(map(str, listed[:8])) + ", ..." * (len(listed) > 8)


def _of_episodes(value: Tensor | None, batch: int) -> Tensor | None:
    """What is imposed on all episodes of a batch alike, as [time, batch]."""
    return value.unsqueeze(1).expand(-1, batch) if value is not None and value.dim() == 1 else value


def run(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: State | None, x: Tensor,
    kernel: str | None, given: Interventions,
) -> tuple[Tensor, State]:  # fmt: skip
    """`dispatch.sequences` with interventions.

    Raises:
        PlasticSearchError: an intervention has the wrong shape or type, or an impossible value.
    """
    if all(each is None for each in given):
        return sequences(spec, shapes, ready, state, x, kernel)
    run: Callable[..., tuple[Tensor, State]] = _run
    compiler: Any = torch.compiler
    if compiler.is_dynamo_compiling() and not compiler.is_exporting():
        run = compiler.disable(run)
    return run(spec, shapes, ready, state, x, kernel, given)


def _run(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: State | None, x: Tensor,
    kernel: str | None, given: Interventions,
) -> tuple[Tensor, State]:  # fmt: skip
    runner = _Runner(
        run=lambda state, x, controls: sequences(spec, shapes, ready, state, x, kernel, controls),
        start=lambda: State(reference.start(spec, *own, x) for own in zip(spec.layers, shapes, ready, strict=True)),
        rounded=spec.precision.format(Role.TRACE) is not None,
    )
    return runner(x, state, given.checked(x))


class _Runner(NamedTuple):
    """Runs a network over whole sequences."""

    run: Callable[[State | None, Tensor, Controls], tuple[Tensor, State]]  # from state and inputs to outputs and state
    start: Callable[[], State]  # the state at the start of each episode of the batch
    rounded: bool  # whether that has noise, which differs from episode to episode

    def __call__(self, x: Tensor, state: State | None, given: Interventions) -> tuple[Tensor, State]:
        """Run sequences on which something is imposed.

        Args:
            x: [time, batch, inputs], or [member, time, batch, inputs].
            state: that from which the episodes continue; None starts new ones.
            given: `Interventions.checked`.

        Returns:
            The outputs [..., time, batch, outputs], and the state after the last step of each episode.
        """
        if given.shuffle is None:
            return self._between_shuffles(x, state, given)
        seeds, outputs = given.shuffle.tolist(), []
        cuts = [t for t, seed in enumerate(seeds) if seed >= 0 and t > 0]
        now = self.start() if state is None else state
        for first, last in pairwise([0, *cuts, len(seeds)]):
            if seeds[first] >= 0:
                going_on = None if given.lengths is None else given.lengths > first
                now = State(shuffled(now, seeds[first], going_on))
            y, now = self._between_shuffles(x[..., first:last, :, :], now, given.between(first, last))
            outputs.append(y)
        return torch.cat(outputs, -3), now

    def _between_shuffles(self, x: Tensor, state: State | None, given: Interventions) -> tuple[Tensor, State]:
        if given.lengths is None and given.reset is None:
            return self.run(state, x, given.controls())
        times, batch = x.shape[-3:-1]
        own = _Episodes.of(given, times, batch)
        if state is None and not self.rounded:
            first = None
        else:
            fresh = self.start() if state is None or own.anew.any() else None
            first = own.states(state, fresh, x.dim() - 3)
        y, last = self.run(first, own.taken(x), own.controls(given))
        return own.outputs(y, times, batch), own.last(last, x.dim() - 3)


class _Episodes(NamedTuple):
    """The episodes of a batch of sequences, the longest first."""

    column: NDArray[np.int64]  # of the batch, in which it lies
    begin: NDArray[np.int64]  # its first step
    steps: NDArray[np.int64]  # how many it has
    anew: NDArray[np.bool_]  # whether it begins in the state of the start

    @classmethod
    def of(cls, given: Interventions, times: int, batch: int) -> _Episodes:
        ends = np.full(batch, times) if given.lengths is None else given.lengths.cpu().numpy().astype(np.int64)
        reset = np.zeros((times, batch), bool) if given.reset is None else given.reset.cpu().numpy()
        reset = reset & (np.arange(times)[:, None] < ends)
        begins = reset.copy()
        begins[0] = True  # also where an episode has no step
        column, begin = np.nonzero(begins.T)
        following = np.append(begin[1:], 0)
        steps = np.where(following > 0, following, ends[column]) - begin
        order = np.argsort(-steps, kind="stable")
        return cls(*(each[order] for each in (column, begin, steps, reset[begin, column] | (begin > 0))))

    @property
    def longest(self) -> int:
        """How many steps are run."""
        return max(1, int(self.steps.max(initial=0)))

    def places(self, batch: int) -> NDArray[np.int64]:
        """For each step of each episode [time, episode] its place in [time * batch]; -1 where it has ended."""
        step = np.arange(self.longest)[:, None]
        return np.where(step < self.steps, (self.begin + step) * batch + self.column, -1)

    def taken(self, values: Tensor) -> Tensor:
        """Of [..., time, batch, features], the steps of each episode; 0 after its end."""
        places = torch.from_numpy(self.places(values.shape[-2])).to(values.device)
        taken = values.flatten(-3, -2).index_select(-2, places.clamp_min(0).flatten()).unflatten(-2, places.shape)
        return torch.where((places >= 0).unsqueeze(-1), taken, taken.new_zeros(()))

    def controls(self, given: Interventions) -> Controls:
        """What is imposed on each step of each episode."""
        ended = None
        if (self.steps < self.longest).any():
            ended = torch.from_numpy(np.arange(self.longest)[:, None] >= self.steps)
        freeze, clamp = (None if each is None else self.taken(each.unsqueeze(-1)).squeeze(-1) for each in given[2:4])
        return Interventions(freeze=freeze, clamp=clamp).controls(ended)

    def outputs(self, y: Tensor, times: int, batch: int) -> Tensor:
        """From the outputs of each episode to [..., time, batch, outputs]; 0 where there is none."""
        places = self.places(batch).flatten()
        found = np.full(times * batch, -1)
        found[places[places >= 0]] = np.flatnonzero(places >= 0)
        index = torch.from_numpy(found).to(y.device)
        taken = y.flatten(-3, -2).index_select(-2, index.clamp_min(0))
        return torch.where((index >= 0).unsqueeze(-1), taken, y.new_zeros(())).unflatten(-2, (times, batch))

    def states(self, state: State | None, fresh: State | None, dim: int) -> State:
        """The state in which each episode begins; `dim` is the axis over the batch."""
        whole = fresh if state is None else state
        if state is not None and fresh is not None:
            whole = map_pairs(lambda a, b: torch.cat([a, b], dim), state, fresh)
        batch = int(self.column.max(initial=-1)) + 1
        both = batch * (state is not None) * self.anew
        return _selected(whole, self.column + both, dim)

    def last(self, state: State, dim: int) -> State:
        """From the state after each episode, that after the last one of each column."""
        order = np.lexsort((self.begin, self.column))
        final = np.diff(self.column[order], append=-1) != 0
        return _selected(state, order[final], dim)


def _selected(state: Any, episodes: NDArray[np.int64], dim: int) -> State:
    def of(tensor: Tensor) -> Tensor:
        return tensor.index_select(dim, torch.from_numpy(episodes).to(tensor.device))

    return map_tensors(of, state)
