"""Transitive inference: learn a hidden order of cues from neighbours, then compare any two (Miconi and Kay 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.environments import Environment, Moment, Played, Weighted
from plastic_search.environments._trials import distinct, numbers, share

_GO, _BIAS, _TIME, _REWARD, _ACTION, _COLUMNS = 0, 1, 2, 3, 5, 7  # after both cues; 4 is not used, as in the paper
_LEAD, _TRIAL = 2, 4  # steps: blank ones before the trials of a list, and those of a trial
_SIMILAR = 0.66  # the most bits, as a share, in which two cues of a list agree
_AT_ONCE, _ATTEMPTS = 16, 200  # cues drawn at once, and how often, to find one that is not too similar to others


class _State(NamedTuple):
    """Tables of all steps [steps + 1, batch, ...]; the last row belongs to the moment after the last action."""

    time: int
    observations: Tensor  # but for rewards and actions, which `step` fills in
    payoff: Tensor  # of action 1; that of action 0 is its negative; 0 but at Go steps
    trials: Tensor  # number of the trial at Go steps, else -1
    weights: Tensor
    clear: Tensor
    distance: Tensor  # of the two cues in the order, at the Go steps of test trials, else 0
    across: Tensor  # whether they are of different halves that were learned apart, at the same steps


@dataclass(frozen=True)
class TransitiveInference(Environment):
    """reward 1 where action 1 at the Go step says truly that the first cue comes before the second, else -1

    A list is a hidden order of new random cues. In its training trials the two cues are neighbours, in its test trials
    any two. A trial has four steps: both cues, Go, at which the action counts, and two blank steps, in the first of
    which reward and action are seen; before it outputs and states of cells and eligibility traces are set to 0.
    With `joining`, the halves of the order are learned one after the other, half of the training trials each, and
    `joining` trials of the last cue of the first half with the first of the second link them.
    Receives the bits of both cues, Go, a bias of 1, time / steps, the last reward, an unused 0, the last answer.

    The paper draws the number of cues for a whole batch, here each list draws its own. Its main version keeps the
    traces over three lists: `lists=3`. One of linking: `joining=4, cues=(8, 8)`.

    Args:
        cues: the fewest and the most of a list.
        bits: length of a cue.
        training: training trials of a list.
        joining: of these linking trials, after the training trials; 0 where the order is learned as one.
        tests: test trials of a list.
        lists: how many follow one another in an episode.
        test_weight: of the actions of test trials in a policy's loss, where others count 1.
        weighted: which actions count in it at all.
    """

    score_name: ClassVar[str] = "tests"

    cues: tuple[int, ...] = (4, 8)
    bits: int = 15
    training: int = 20
    joining: int = 0
    tests: int = 10
    lists: int = 1
    test_weight: float = 3.0
    weighted: Weighted = Weighted.ALL

    def check(self) -> None:
        positive(self, "bits", "training", "tests", "lists")
        if len(self.cues) != 2 or not (4 if self.joining else 2) <= self.cues[0] <= self.cues[1]:
            what = "the fewest and the most cues of a list, from 2, or 4 where two halves are joined"
            raise PlasticSearchError(f"TransitiveInference.cues must be {what}, but is {self.cues}")
        for name in ("joining", "test_weight"):
            if (value := getattr(self, name)) < 0:
                raise PlasticSearchError(f"TransitiveInference.{name} must be at least 0, but is {value}")

    @property
    def inputs(self) -> int:
        return 2 * self.bits + _COLUMNS

    @property
    def actions(self) -> int:
        return 2

    @property
    def steps(self) -> int:
        return self.lists * (_LEAD + _TRIAL * self._trials)

    @property
    def _trials(self) -> int:
        """Of a list."""
        return self.training + self.joining + self.tests

    def reset(self, batch: int, rng: Generator) -> tuple[_State, Moment]:
        lists = [self._list(k, batch, rng) for k in range(self.lists)]
        end = _State(0, *(torch.zeros_like(table[:1]) for table in lists[0][1:]))
        state = _State(0, *(torch.cat(tables) for tables in zip(*(each[1:] for each in (*lists, end)), strict=True)))
        state.trials[-1] = -1
        after = 2 * self.bits
        state.observations[..., after + _BIAS] = 1.0
        state.observations[..., after + _TIME] = (torch.arange(self.steps + 1.0) / self.steps).unsqueeze(1)
        return state, _moment(state, torch.zeros(batch), -1)

    def _list(self, number: int, batch: int, rng: Generator) -> _State:
        """The tables of one list, but for bias and time."""
        steps, each = _LEAD + _TRIAL * self._trials, torch.arange(batch)
        begins, goes = slice(_LEAD, None, _TRIAL), slice(_LEAD + 1, None, _TRIAL)
        lower, upper, half = self._pairs(batch, rng)
        swapped = torch.randint(2, lower.shape, generator=rng) > 0
        cues = _cues(batch, self.cues[1], self.bits, rng)
        shown = cues[each, torch.where(swapped, upper, lower)], cues[each, torch.where(swapped, lower, upper)]
        test = torch.arange(self._trials).unsqueeze(1) >= self._trials - self.tests  # [trials, 1]

        observations = torch.zeros(steps, batch, self.inputs)
        observations[begins, :, : 2 * self.bits] = torch.cat(shown, 2)
        observations[goes, :, 2 * self.bits + _GO] = 1.0
        payoff, trials, distance = (
            torch.zeros(steps, batch, dtype=kind) for kind in (torch.float32, *[torch.long] * 2)
        )
        payoff[goes] = 1.0 - 2.0 * swapped
        trials.fill_(-1)[goes] = number * self._trials + torch.arange(self._trials).unsqueeze(1)
        distance[goes] = (upper - lower) * test
        clear, across = torch.zeros(steps, batch, dtype=torch.bool), torch.zeros(steps, batch, dtype=torch.bool)
        clear[0], clear[begins] = True, True
        across[goes] = test & (lower < half) & (half <= upper) if self.joining else False
        weight = 1.0 + (self.test_weight - 1.0) * test.repeat_interleave(_TRIAL, 0)
        weights = torch.cat([torch.ones(_LEAD, 1), weight]).repeat(1, batch)
        if self.weighted is Weighted.ANSWERS:
            weights = weights * payoff.abs()
        return _State(0, observations, payoff, trials, weights, clear, distance, across)

    def _pairs(self, batch: int, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The earlier and the later cue of each trial of a list [trials, batch], and where its second half begins."""
        cues = torch.randint(self.cues[0], self.cues[1] + 1, (batch,), generator=rng)
        half, trials = cues // 2, (self.training, batch)
        if self.joining:
            second = torch.arange(self.training).unsqueeze(1) >= self.training // 2
            lower = distinct(1, torch.where(second, cues - half, half) - 1, trials, rng)[0] + half * second
        else:
            lower = distinct(1, (cues - 1).expand(trials), trials, rng)[0]
        lower = torch.cat([lower, (half - 1).expand(self.joining, batch)])
        any_two = distinct(2, cues.expand(self.tests, batch), (self.tests, batch), rng).sort(0).values
        return torch.cat([lower, any_two[0]]), torch.cat([lower + 1, any_two[1]]), half

    def step(self, state: _State, actions: Tensor, rng: Generator) -> tuple[_State, Moment]:
        time, after, action = state.time, 2 * self.bits, actions.numpy()
        payoff, observation = state.payoff[time].numpy(), state.observations[time + 1].numpy()
        reward = payoff * (2 * action - 1).astype(payoff.dtype)
        observation[:, after + _REWARD] = reward
        observation[:, after + _ACTION] = (action == 0) & (payoff != 0)
        observation[:, after + _ACTION + 1] = (action == 1) & (payoff != 0)
        state = state._replace(time=time + 1)
        return state, _moment(state, torch.from_numpy(reward), time)

    def metrics(self, played: Played) -> dict[str, Tensor]:
        right, distance = played.marks["right"], played.marks["distance"]
        found = {
            "tests": share(right, distance > 0),
            "adjacent": share(right, distance == 1),
            "not adjacent": share(right, distance > 1),
        }
        if self.joining:
            found["across halves"] = share(right, played.marks["across"] & (distance > 1))
        found["training trials"] = share(right, (numbers(played) >= 0) & (distance == 0))
        return found | {f"distance {d}": share(right, distance == d) for d in range(1, self.cues[1])}


def _moment(state: _State, reward: Tensor, acted: int) -> Moment:
    """The moment after the action of step `acted`; -1, of which the tables hold nothing, before the first."""
    now = state.time
    marks = {"right": reward > 0, "distance": state.distance[acted], "across": state.across[acted]}
    trial, clear = state.trials[acted], state.clear[now]
    return Moment(state.observations[now], reward, state.weights[now], trial, clear=clear, marks=marks)


def _cues(batch: int, count: int, bits: int, rng: Generator) -> Tensor:
    """Bits of 1 and -1 [batch, count, bits]; of cues that are drawn at once, the first that is not too similar."""
    cues = torch.zeros(batch, count, bits)
    for k in range(count):
        missing = torch.arange(batch)
        for _ in range(_ATTEMPTS):
            drawn = 2.0 * torch.randint(2, (len(missing), _AT_ONCE, bits), generator=rng) - 1.0
            agree = (bits + drawn @ cues[missing, :k].mT) / 2  # [missing, drawn, those before]
            fine = (agree <= _SIMILAR * bits).all(2)
            cues[missing, k] = drawn[torch.arange(len(missing)), fine.long().argmax(1)]
            missing = missing[~fine.any(1)]
            if not len(missing):
                break
        else:
            raise PlasticSearchError(
                f"found no {count} cues of {bits} bits of which two agree in at most {_SIMILAR:.0%}; choose more bits"
            )
    return cues
