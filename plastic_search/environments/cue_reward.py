"""Cue-reward association: which of several cues is rewarded (Backpropamine, Miconi et al. 2019, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Environment, Moment, Played, Weighted
from plastic_search.environments._trials import distinct, numbers, share

_GO, _BIAS, _TIME, _REWARD, _ACTION, _COLUMNS = (
    0,
    1,
    2,
    3,
    5,
    7,
)  # after the bits; 4 is not used, as in the released code
_FEWEST_BITS, _MOST_BITS = 1, 40


class Cues(Enum):
    """What the cues of an episode look like."""

    RANDOM = "random"  # bits of 1 and -1, all cues different, drawn for every episode
    ONE_HOT = "one-hot"  # the same in every episode: cue k is 1 at bit k, else 0


class _State(NamedTuple):
    time: int
    observations: Tensor  # [steps + 1, batch, inputs], but for rewards and actions, which `step` fills in
    filled: NDArray[np.float32]  # the same memory, since NumPy is faster for few episodes
    payoff: NDArray[np.float32]  # [steps + 1, batch] of action 1; that of action 0 is its negative; 0 but at Go steps
    trials: Tensor  # [steps + 1, batch] number of the trial at Go steps, else -1
    weights: Tensor | None  # [steps + 1, batch]


@dataclass(frozen=True)
class CueReward(Environment):
    """reward 1 where action 1 at the Go step says truly whether the target was shown in this trial, else -1

    One of an episode's cues is the target. A trial is: blank steps (`lead`), half of the cues, each for one step and at
    random places among 0 to `blanks` blank steps, the Go step, at which the action counts, and a blank step, in which
    its reward is seen. Trials have random lengths, so that episodes differ in how many they complete.
    Receives the bits, Go, a bias of 1, time / steps, the last reward, an unused 0, and the last action one-hot.

    The defaults are those of the released code. The paper reports 200 steps of about 15 trials: `steps=200, blanks=17`.
    Trials of all episodes in lock-step, which are learned faster: `steps=48, lead=0, blanks=0, weighted="answers"`.

    Args:
        cues: how many an episode has; half of them are shown in a trial.
        bits: length of a cue.
        patterns: whether cues are drawn for every episode, or are fixed, which is easier (appendix A.5).
        steps: of an episode; the trial at its end is cut.
        lead: blank steps before the cues of a trial.
        blanks: the most blank steps among them; how many there are is drawn for every trial.
        weighted: which actions count in a policy's loss.
    """

    score_name: ClassVar[str] = "last trial"

    cues: int = 4
    bits: int = 20
    patterns: Cues = Cues.RANDOM
    steps: int = 120  # pyright: ignore[reportIncompatibleMethodOverride]
    lead: int = 1
    blanks: int = 3
    weighted: Weighted = Weighted.ALL

    def check(self) -> None:
        if self.cues < 2 or self.cues % 2:
            raise PlasticSearchError(f"CueReward.cues must be even and at least 2, but is {self.cues}")
        if not _FEWEST_BITS <= self.bits <= _MOST_BITS:
            raise PlasticSearchError(f"CueReward.bits must be {_FEWEST_BITS} to {_MOST_BITS}, but is {self.bits}")
        if self.cues > (self.bits if self.patterns is Cues.ONE_HOT else 2**self.bits):
            raise PlasticSearchError(
                f"{self.cues} different {self.patterns.value} cues need more than {self.bits} bits"
            )
        for name in ("lead", "blanks"):
            if getattr(self, name) < 0:
                raise PlasticSearchError(f"CueReward.{name} must be at least 0, but is {getattr(self, name)}")
        if self.steps < (longest := self._shortest + self.blanks):
            raise PlasticSearchError(f"CueReward.steps must hold a trial, {longest} steps, but is {self.steps}")

    @property
    def inputs(self) -> int:
        return self.bits + _COLUMNS

    @property
    def actions(self) -> int:
        return 2

    @property
    def _shortest(self) -> int:
        return self.lead + self.cues // 2 + 2

    def reset(self, batch: int, rng: Generator) -> tuple[_State, Moment]:
        end, most = self.steps, -(-self.steps // self._shortest)  # of trials
        shape = (most, batch)
        blanks = torch.randint(self.blanks + 1, shape, generator=rng)
        begins = (self._shortest + blanks).cumsum(0) - self._shortest - blanks  # [trials, batch]
        shown = distinct(self.cues // 2, self.cues, shape, rng)  # [shown, trials, batch]
        places = distinct(self.cues // 2, self.cues // 2 + blanks, shape, rng)
        target = torch.randint(self.cues, (batch,), generator=rng)
        each = torch.arange(batch)

        observations = torch.zeros(end + 1, batch, self.inputs)
        at = (begins + self.lead + places).clamp(max=end)  # what lies after the end is written there, and erased
        observations[at, each, : self.bits] = self._patterns(batch, rng)[each, shown]
        observations[end] = 0.0
        go_at = (begins + self._shortest + blanks - 2).clamp(max=end)
        payoff, trials = torch.zeros(end + 1, batch), torch.full((end + 1, batch), -1)
        payoff[go_at, each] = 2.0 * (shown == target).any(0).float() - 1.0
        trials[go_at, each] = torch.arange(most).unsqueeze(1).expand(shape)
        payoff[end], trials[end] = 0.0, -1
        go = (payoff != 0).float()
        observations[..., self.bits + _GO] = go
        observations[..., self.bits + _BIAS] = 1.0
        observations[..., self.bits + _TIME] = (torch.arange(end + 1.0) / end).unsqueeze(1)
        weights = go if self.weighted is Weighted.ANSWERS else None
        state = _State(0, observations, observations.numpy(), payoff.numpy(), trials, weights)
        return state, self._moment(state, torch.zeros(batch), trials[end])

    def _patterns(self, batch: int, rng: Generator) -> Tensor:
        """[batch, cues, bits]."""
        if self.patterns is Cues.ONE_HOT:
            return torch.eye(self.cues, self.bits).expand(batch, -1, -1)
        codes = distinct(self.cues, 2**self.bits, (batch,), rng).T
        return 2.0 * (codes.unsqueeze(2) >> torch.arange(self.bits) & 1).float() - 1.0

    def step(self, state: _State, actions: Tensor, rng: Generator) -> tuple[_State, Moment]:
        time, filled, action = state.time, state.filled[state.time + 1], actions.numpy()
        reward = state.payoff[time] * (2 * action - 1).astype(np.float32)
        filled[:, self.bits + _REWARD] = reward
        filled[:, self.bits + _ACTION] = action == 0
        filled[:, self.bits + _ACTION + 1] = action == 1
        state = state._replace(time=time + 1)
        return state, self._moment(state, torch.from_numpy(reward), state.trials[time])

    def _moment(self, state: _State, reward: Tensor, trial: Tensor) -> Moment:
        weight = None if state.weights is None else state.weights[state.time]
        return Moment(state.observations[state.time], reward, weight, trial, marks={"right": reward > 0})

    def metrics(self, played: Played) -> dict[str, Tensor]:
        right, trials = played.marks["right"], numbers(played)
        return {
            "last trial": share(right, trials == trials.amax(0)),
            "first trial": share(right, trials == 0),
            "all trials": share(right, trials >= 0),
            "reward": played.rewards.sum(0),
        }
