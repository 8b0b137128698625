"""Runs sequences on which something is imposed.

Episodes do not act on one another, so one that begins in mid-sequence is an episode of its own: a batch is cut into
episodes, which are laid side by side, the longest first, and run. So none costs more steps than it has.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastic_search.network.controls import Controls, shuffled
from plastic_search.network.interventions import Interventions
from plastic_search.network.kernels import reference
from plastic_search.network.kernels.dispatch import sequences
from plastic_search.network.pytree import leaves, map_tensors, unflatten
from plastic_search.network.spec import NetworkSpec
from plastic_search.network.state import State
from plastic_search.network.step import Ready
from plastic_search.precisions import Role
from plastic_search.structures import Shape

__all__ = ["run"]

_WORTH_A_CALL = 2500  # steps of episodes, for whose memory a call of its own is less work
_CACHED = 16 * 2**20  # bytes of traces that a cache holds


def run(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: State | None, x: Tensor,
    kernel: str | None, given: Interventions,
) -> tuple[Tensor, State]:  # fmt: skip
    """`dispatch.sequences` with interventions.

    Raises:
        PlasticSearchError: an intervention has the wrong shape or type, or an impossible value.
    """
    run: Callable[..., tuple[Tensor, State]] = _run
    compiler: Any = torch.compiler
    if compiler.is_dynamo_compiling() and not compiler.is_exporting():
        run = compiler.disable(run)  # what is compiled already is left to run as it is
    return run(spec, shapes, ready, state, x, kernel, given)


def _run(
    spec: NetworkSpec, shapes: tuple[Shape, ...], ready: tuple[Ready, ...], state: State | None, x: Tensor,
    kernel: str | None, given: Interventions,
) -> tuple[Tensor, State]:  # fmt: skip
    intervened = any(each is not None for each in given)
    if intervened:
        given = given.checked(x)
    if x.is_meta or not intervened:  # on the meta device there are shapes alone, which stay
        return sequences(spec, shapes, ready, state, x, kernel)
    runner = _Runner(
        run=lambda state, x, controls: sequences(spec, shapes, ready, state, x, kernel, controls),
        start=lambda x: State(reference.start(spec, *own, x) for own in zip(spec.layers, shapes, ready, strict=True)),
        rounded=spec.precision.format(Role.TRACE) is not None,
        trace=sum(shape.post * shape.width for shape in shapes) * x.element_size() * (len(x) if x.dim() == 4 else 1),
    )
    return runner(x, state, given)


class _Runner(NamedTuple):
    """Runs a network over whole sequences."""

    run: Callable[[State | None, Tensor, Controls], tuple[Tensor, State]]  # from state and inputs to outputs and state
    start: Callable[[Tensor], State]  # from inputs to the state at the start of each episode
    rounded: bool  # whether that has noise, which differs from episode to episode
    trace: int  # bytes of the traces of one episode

    def __call__(self, x: Tensor, state: State | None, given: Interventions) -> tuple[Tensor, State]:
        """Run sequences on which something is imposed.

        Args:
            x: [time, batch, inputs], or [member, time, batch, inputs].
            state: that from which the episodes continue; None starts new ones.
            given: `Interventions.checked`.

        Returns:
            The outputs [..., time, batch, outputs], and the state after the last step of each episode.
        """
        if given.shuffle is None or bool((given.shuffle < 0).all()):
            return self._between_shuffles(x, state, given)
        batch, dim = x.shape[-2], x.dim() - 3
        few = max(2 * torch.get_num_threads(), _CACHED // max(1, self.trace))
        if self.rounded or few >= batch:
            return self._with_shuffles(x, state, given)
        runs = []
        for begin in range(0, batch, few):
            own = slice(begin, begin + few)
            begun = None if state is None else _selected(state, np.arange(batch)[own], dim)
            runs.append(self._with_shuffles(x[..., own, :], begun, given.of_episodes(own)))
        return torch.cat([y for y, _ in runs], -2), _joined([last for _, last in runs], dim)

    def _with_shuffles(self, x: Tensor, state: State | None, given: Interventions) -> tuple[Tensor, State]:
        """Few episodes, whose traces stay in a cache from one shuffle to the next."""
        seeds, outputs = cast(Tensor, given.shuffle).tolist(), []
        cuts = [t for t, seed in enumerate(seeds) if seed >= 0 and t > 0]
        now = self.start(x) if state is None else state
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
        episodes = _Episodes.of(given, *x.shape[-3:-1])
        if state is None and not self.rounded:
            pool = None
        else:
            fresh = self.start(x) if state is None or episodes.anew.any() else None
            pool = _joined([each for each in (state, fresh) if each is not None], x.dim() - 3)
        parts = episodes.parts()
        runs = [self._part(part, x, pool, state is not None, given) for part in parts]
        y = _gathered([y for y, _ in runs], parts, x.shape[-3:-1])
        return y, _selected(_joined([last for _, last in runs], x.dim() - 3), episodes.final(), x.dim() - 3)

    def _part(
        self, own: _Episodes, x: Tensor, pool: State | None, both: bool, given: Interventions
    ) -> tuple[Tensor, State]:
        """Some of the episodes, each from its state in `pool`: those of all columns, and, if `both`, fresh ones."""
        first = own.column + x.shape[-2] * both * own.anew
        begun = None if pool is None else _selected(pool, first, x.dim() - 3)
        return self.run(begun, own.taken(x), own.controls(given))


class _Episodes(NamedTuple):
    """The episodes of a batch of sequences, the longest first."""

    column: NDArray[np.int64]  # of the batch, in which it lies
    begin: NDArray[np.int64]  # its first step
    steps: NDArray[np.int64]  # how many it has
    anew: NDArray[np.bool_]  # whether it begins in the state of the start
    places: NDArray[np.int64]  # [time, episode], its steps in [time * batch]; -1 where it has ended

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
        column, begin, steps = column[order], begin[order], steps[order]
        step = np.arange(max(1, steps.max(initial=0)))[:, None]
        places = np.where(step < steps, (begin + step) * batch + column, -1)
        return cls(column, begin, steps, reset[begin, column] | (begin > 0), places)

    def parts(self) -> list[_Episodes]:
        """Parts of episodes of similar lengths, so that little memory is kept for steps that nobody runs."""
        parts, first, longest = [], 0, len(self.places)
        for k, steps in enumerate(self.steps.tolist()):
            if k > first and (longest - steps) * (len(self.steps) - k) >= _WORTH_A_CALL and 4 * steps < 3 * longest:
                parts.append(self._between(first, k))
                first, longest = k, max(1, steps)
        return [*parts, self._between(first, len(self.steps))]

    def _between(self, first: int, last: int) -> _Episodes:
        column, begin, steps, anew, places = self
        here = slice(first, last)
        longest = max(1, steps[here].max(initial=0))
        return _Episodes(column[here], begin[here], steps[here], anew[here], places[:longest, here])

    def taken(self, values: Tensor) -> Tensor:
        """Of [..., time, batch, features], the steps of each episode; after its end its last one, and 0 if it has none.

        What a step returns after an end is dropped, and so is its derivative, unless that is not finite, as at a root
        of 0: so no episode runs on other inputs than its own.
        """
        last = self.places[np.maximum(self.steps - 1, 0), np.arange(len(self.steps))]
        places = torch.from_numpy(np.where(self.places < 0, last, self.places)).to(values.device)
        taken = values.flatten(-3, -2).index_select(-2, places.clamp_min(0).flatten()).unflatten(-2, places.shape)
        return taken.masked_fill((places < 0).unsqueeze(-1), 0) if bool((self.steps == 0).any()) else taken

    @property
    def _ends_early(self) -> bool:
        return bool((self.steps < len(self.places)).any())

    def controls(self, given: Interventions) -> Controls:
        """What is imposed on each step of each episode."""
        ended = torch.from_numpy(self.places < 0) if self._ends_early else None
        steps = (None if each is None else self.taken(each.unsqueeze(-1)).squeeze(-1) for each in given[2:5])
        return Interventions(None, None, *steps).controls(ended)

    def final(self) -> NDArray[np.int64]:
        """The last episode of each column."""
        order = np.lexsort((self.begin, self.column))
        return order[np.diff(self.column[order], append=-1) != 0]


def _gathered(outputs: list[Tensor], parts: list[_Episodes], shape: torch.Size) -> Tensor:
    """From the outputs of each part's episodes to [..., time, batch, outputs]; 0 where there is none."""
    places = np.concatenate([part.places.flatten() for part in parts])
    found = np.full(shape.numel(), -1)
    found[places[places >= 0]] = np.flatnonzero(places >= 0)
    flat = [y.flatten(-3, -2) for y in outputs]
    index = torch.from_numpy(found).to(flat[0].device)
    taken = (torch.cat(flat, -2) if len(flat) > 1 else flat[0]).index_select(-2, index.clamp_min(0))
    taken = taken.masked_fill((index < 0).unsqueeze(-1), 0) if (found < 0).any() else taken
    return taken.unflatten(-2, shape)


def _joined(states: list[State], dim: int) -> State:
    """Some states side by side; `dim` is the axis over the batch."""
    if len(states) == 1:
        return states[0]
    return unflatten(states[0], (torch.cat(same, dim) for same in zip(*map(leaves, states), strict=True)))


def _selected(state: Any, episodes: NDArray[np.int64], dim: int) -> State:
    def of(tensor: Tensor) -> Tensor:
        return tensor.index_select(dim, torch.from_numpy(episodes).to(tensor.device))

    return map_tensors(of, state)
