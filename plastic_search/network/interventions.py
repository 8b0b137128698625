"""Interventions as data: episodes that end early or begin in mid-sequence, traces that are frozen or shuffled."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.network.controls import Controls, chosen, shuffled
from plastic_search.network.state import State, describe
from plastic_search.network.step import LayerState

__all__ = ["Given", "Interventions"]


class Given(TypedDict, total=False):
    """`Interventions` as arguments of a call."""

    lengths: Tensor | None
    reset: Tensor | None
    clear: Tensor | None
    freeze: Tensor | None
    clamp: Tensor | None
    shuffle: Tensor | None


class Interventions(NamedTuple):
    """What is imposed on a batch of sequences; None: nothing. Of a population, on all members alike.

    Args:
        lengths: integers [batch], the steps that each episode has. Outputs after its end are 0, its final state is that
            at its end, and what the inputs hold after it makes no difference.
        reset: truth values [time, batch] or [time]: an episode begins at this step, in the state of `initial_state`.
        clear: truth values [time, batch] or [time]: before this step outputs, states of cells and eligibility traces
            are set to 0, while traces and the states of rules and modulations stay (Miconi and Kay 2025).
        freeze: truth values [time, batch] or [time]: in this step the trace and the eligibility trace stay as they are.
        clamp: numbers [time, batch] or [time]: in this step they take the place of the rates by which the modulations
            multiply what is written (`Rate.write`); NaN leaves the rates as they are. No gradient flows to them.
        shuffle: integers [time]: before this step the entries of each layer's trace are permuted among its synapses, by
            a permutation of this seed, the same in all episodes; -1 leaves the traces as they are.
    """

    lengths: Tensor | None = None
    reset: Tensor | None = None
    clear: Tensor | None = None
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
        return cls(**given) if given else _NONE

    def checked(self, x: Tensor) -> Interventions:
        """The same on the device of `x` [..., time, batch, inputs], by step and episode.

        Of tensors on torch's meta device, which have no values, shapes and types alone are checked.

        Raises:
            PlasticSearchError: one has the wrong shape or type, or a value that is impossible; one line says which.
        """
        times, batch = x.shape[-3:-1]
        _check("lengths", self.lengths, ((batch,),), "[batch]", _INTEGERS)
        both, either = ((times, batch), (times,)), "[time, batch] or [time]"
        _check("reset", self.reset, both, either, _BOOL)
        _check("clear", self.clear, both, either, _BOOL)
        _check("freeze", self.freeze, both, either, _BOOL)
        _check("clamp", self.clamp, both, either, _FLOATS)
        _check("shuffle", self.shuffle, ((times,),), "[time]", _INTEGERS)
        empty = [name for name, value in self._asdict().items() if value is not None and value.is_meta]
        if empty and not x.is_meta:
            raise PlasticSearchError(f"{empty[0]} is on the meta device and has no values, while x is on {x.device}")
        self._replace(**dict.fromkeys(empty))._check_values(times)
        if self.clamp is not None and self.clamp.requires_grad:
            raise PlasticSearchError("clamp is data, to which no gradient flows; give clamp.detach()")
        lengths, *steps, clamp, shuffle = (None if each is None else each.to(x.device) for each in self)
        clamp = None if clamp is None else clamp.to(x.dtype)
        every = (_of_episodes(value, batch) for value in (*steps, clamp))
        return Interventions(lengths, *every)._replace(shuffle=shuffle)

    def _check_values(self, times: int) -> None:
        if self.lengths is not None and not bool(((self.lengths >= 0) & (self.lengths <= times)).all()):
            raise PlasticSearchError(
                f"lengths must be from 0 to {times}, the steps of x, but are {_some(self.lengths)}"
            )
        if self.shuffle is not None and not bool((self.shuffle >= -1).all()):
            raise PlasticSearchError(f"shuffle must be seeds from 0, or -1 for none, but is {_some(self.shuffle)}")
        if self.clamp is not None and bool(self.clamp.isinf().any()):
            raise PlasticSearchError(
                "clamp must be finite rates, or NaN where the modulation sets the rate; it has inf"
            )

    def between(self, first: int, last: int) -> Interventions:
        """Those of some of the steps, but for shuffles, which come between such runs of steps."""
        lengths = None if self.lengths is None else (self.lengths - first).clamp(0, last - first)
        return Interventions(lengths, *(None if each is None else each[first:last] for each in self[1:5]))

    def of_episodes(self, which: slice) -> Interventions:
        """Those of some episodes, of `checked` interventions."""
        lengths, *others, shuffle = self
        steps = (None if each is None else each[:, which] for each in others)
        return Interventions(None if lengths is None else lengths[which], *steps)._replace(shuffle=shuffle)

    def state_before(self, time: int, state: tuple[LayerState, ...], fresh: State) -> tuple[LayerState, ...]:
        """From the state after one step of `checked` interventions to that before the next, the definition of both.

        What `controls` imposes comes after it, as a part of the step.

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
        clear = self.clear if ended is None or self.clear is None else self.clear & ~ended
        every = (ended, frozen, clamped, rate, clear)
        return Controls(*(None if each is None else each.unsqueeze(-1) for each in every))

    def ended(self, times: int) -> Tensor | None:
        """Which episodes are over at which step [time, batch]."""
        if self.lengths is None:
            return None
        return torch.arange(times, device=self.lengths.device).unsqueeze(1) >= self.lengths


_NONE = Interventions()
_BOOL, _INTEGERS = (torch.bool,), (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


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
