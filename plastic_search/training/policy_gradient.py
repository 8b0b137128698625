"""Advantage actor-critic: the loss of episodes that were played, and the training of a population by it.

The loss is that of Miconi et al. 2019 (Backpropamine), with the option of generalised advantages (Schulman et al.
2016, arXiv 1506.02438). A training that is interrupted between two updates, saved and restored goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_search.environments import Environment
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.state import State
from plastic_search.training import environment_contract as contract
from plastic_search.training.adaptation import Adaptation
from plastic_search.training.episodes import Recording, act, member, stepped
from plastic_search.training.generators import generator_states, set_generators
from plastic_search.training.optimisers import (
    Optimiser,
    ParameterGroup,
    clip_members,
    gradient_factors,
    keep_held,
    load_optimiser,
    mean_gradients,
    parameter_groups,
    saved_optimiser,
)

__all__ = ["PolicyGradientTraining", "PolicyLoss", "advantages"]

_RECENT = 0.02  # weight of the last update in `running` and `scores`


class PolicyLoss(NamedTuple):
    """What an update descends.

    Args:
        gamma: discount of a reward by step.
        smoothing: lambda of generalised advantages; 1 is Monte-Carlo.
        value: factor of the squared error of the value.
        concentration: factor of the sum of squared action probabilities.
        trace: factor of the mean squared trace at the end of episodes.
    """

    gamma: float
    smoothing: float
    value: float
    concentration: float
    trace: float

    def __call__(self, outputs: Tensor, recording: Recording, state: State) -> Tensor:
        """The loss of each network [member].

        Args:
            outputs: logits, then the value [member, time, batch, actions + 1].
            state: after the last step, of all networks.
        """
        played, alive = recording
        logs, values = outputs[..., :-1].log_softmax(-1), outputs[..., -1]
        going_on = torch.ones_like(values) if alive is None else alive.to(values.dtype)
        values = values * going_on
        advantage = advantages(played.rewards, values.detach(), self.gamma, self.smoothing)
        error = (advantage + values.detach() - values).square() * going_on
        weighed = (played.weights > 0).to(values.dtype)
        chosen = logs.gather(-1, played.actions.unsqueeze(-1)).squeeze(-1)
        policy = -chosen * advantage * played.weights + self.concentration * logs.exp().square().sum(-1) * weighed
        loss = _mean(policy, weighed) + self.value * _mean(error, going_on)
        return loss + self.trace * _mean_square(state) if self.trace else loss


def advantages(rewards: Tensor, values: Tensor, gamma: float, smoothing: float) -> Tensor:
    """A_t = delta_t + gamma smoothing A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t, where V and A are 0 after the end.

    With smoothing 1 that is R_t - V_t, with the discounted sum of rewards R_t = r_t + gamma R_{t+1}.

    Args:
        rewards, values: [member, time, batch].
    """
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    delta = (rewards + gamma * following - values).unbind(1)
    found, after = [], torch.zeros_like(delta[0])
    for each in reversed(delta):
        after = each + gamma * smoothing * after
        found.append(after)
    return torch.stack(found[::-1], 1)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean over time and batch of those that are counted [member]; 0 where none is."""
    return values.sum((1, 2)) / counted.sum((1, 2)).clamp_min(1.0)


def _mean_square(state: State) -> Tensor:
    """The mean of all entries of all traces, squared [member]."""
    traces = [layer.trace.flatten(1) for layer in state if layer.trace is not None]
    return torch.cat(traces, 1).square().mean(1) if traces else state[0].output.new_zeros(())


class PolicyGradientTraining:
    """A `Training` (see `trainers`) of every member of a population on episodes of its own.

    Args:
        population: is trained in place, each member by its own gradient.
        seeds: of episodes, actions and structures, one a member.
        steps: updates in all.
        batch: episodes of each member in an update.
        burn_in: at the start, so many updates change nothing.
        clip: largest norm of a member's gradient.
    """

    def __init__(
        self, population: Population, environment: Environment, seeds: Sequence[int], *, loss: PolicyLoss, steps: int,
        batch: int, burn_in: int, clip: float, learning_rate: float, optimiser: Optimiser,
        groups: Sequence[ParameterGroup],
    ) -> None:  # fmt: skip
        self._population, self._environment, self._loss = population, environment, loss
        self._batch, self._burn_in, self._clip = batch, burn_in, clip
        self.step, self.steps = 0, steps  # updates made, and in all
        self._params = [p for p in population.parameters() if p.numel()]
        self._optimiser = optimiser.begin(parameter_groups(population, groups, learning_rate), learning_rate)
        self._scale, self._restore_held = gradient_factors(population, groups), keep_held(population)
        self._adaptation = Adaptation(population, seeds, steps)
        self._rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._like = next(population.parameters())
        self._rollout = Rollout(population, batch, steps=environment.steps)
        self._all = torch.ones(batch, dtype=torch.bool)
        self.running = self._like.new_zeros(len(seeds)).detach()  # [member], a running mean of the loss
        self.scores = self.running.clone()  # [member], a running mean of the environment's score

    def advance(self, count: int) -> None:
        """Make `count` more updates."""
        if not self.step:
            self._adaptation.after(0)
        for _ in range(count):
            self._update()

    def saved(self) -> dict[str, Tensor]:
        """Copies of parameters, buffers, the optimiser's state, random generators, `running`, `scores` and `step`."""
        tensors = {f"parameters.{name}": value for name, value in self._tensors().items()}
        tensors |= {f"optimiser.{name}": value for name, value in saved_optimiser(self._optimiser).items()}
        tensors["rngs"] = generator_states(self._generators())
        tensors |= {"running": self.running, "scores": self.scores, "at": torch.tensor([self.step])}
        return {name: value.detach().contiguous().clone() for name, value in tensors.items()}

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `saved` returned, in a training that was begun with the same arguments."""
        for name, tensor in self._tensors().items():
            tensor.copy_(saved[f"parameters.{name}"])
        prefix = "optimiser."
        load_optimiser(self._optimiser, {n[len(prefix) :]: t for n, t in saved.items() if n.startswith(prefix)})
        set_generators(self._generators(), saved["rngs"])
        self.running.copy_(saved["running"])
        self.scores.copy_(saved["scores"])
        self.step = int(saved["at"])

    def _tensors(self) -> dict[str, Tensor]:
        found = dict(self._population.named_parameters()) | dict(self._population.named_buffers())
        return {name: tensor for name, tensor in found.items() if tensor.numel()}

    def _generators(self) -> list[torch.Generator]:
        return [*self._rngs, *self._adaptation.rngs]

    def _update(self) -> None:
        self._rollout.reset(self._all)  # with the parameters that there are now
        with torch.no_grad():
            step = stepped(self._rollout)
            recording = act(step, self._environment, self._batch, self._rngs, self._like)
        outputs, state = self._rollout.replay()
        loss = self._loss(outputs, recording, state)
        (loss + self._adaptation.constraint()).sum().backward()
        if self.step >= self._burn_in:
            self._scale()
            clip_members(self._params, self._clip)
            self._optimiser.step()
            self._restore_held()
        self.step += 1
        self._adaptation.after(self.step, *mean_gradients(self._optimiser))
        self._optimiser.zero_grad()
        self._note(loss.detach(), recording)

    def _note(self, loss: Tensor, recording: Recording) -> None:
        """Bring the running means up to date."""
        each = [member(recording.played, k) for k in range(len(self._rngs))]
        scores = [next(iter(contract.metrics_of(self._environment, played).values())).mean() for played in each]
        share = 1.0 if self.step == 1 else _RECENT
        self.running.lerp_(loss.to(self.running), share)
        self.scores.lerp_(torch.stack(scores).to(self.scores), share)
