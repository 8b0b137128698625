"""The members of a population in environments: steps without gradients, then the same again with them."""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.network.state import State

__all__ = ["Rollouts"]


class Rollouts:
    """A `Rollout` of each member of a population, whose gradients become the population's.

    Args:
        population: its parameters may change between two calls of `begin`.
        batch: episodes of each member.
    """

    def __init__(self, population: Population, batch: int) -> None:
        self._population, self._batch = population, batch
        self._nets = [population.member(k) for k in range(len(population))]
        for net in self._nets:
            net.watch.end()  # whoever trains the population adapts its structures
        self._rollouts: list[Rollout] = []

    @torch.no_grad()
    def begin(self) -> None:
        """Begin episodes with the parameters that the population has now."""
        now = self._population.state_dict()
        for k, net in enumerate(self._nets):
            net.load_state_dict({name: value[k] for name, value in now.items()})
            net.zero_grad()
        self._rollouts = [Rollout(net, self._batch) for net in self._nets]

    def step(self, x: Tensor, clear: Tensor | None) -> Tensor:
        """One time step, from [member, batch, inputs] to [member, batch, outputs]."""
        if clear is not None:
            raise PlasticSearchError(
                "this environment clears the states of cells in mid-episode, which a trainer cannot do yet; "
                "`training.episodes.play` can"
            )
        return torch.stack([rollout.step(own) for rollout, own in zip(self._rollouts, x, strict=True)])

    def replay(self) -> tuple[Tensor, list[State]]:
        """The outputs of all steps, with gradients [member, time, batch, outputs], and each member's last state."""
        outputs, states = zip(*(rollout.replay() for rollout in self._rollouts), strict=True)
        return torch.stack(outputs), list(states)

    def collect(self) -> None:
        """Add the gradients that a backward pass through `replay` left to those of the population."""
        members = [dict(net.named_parameters()) for net in self._nets]
        for name, parameter in self._population.named_parameters():
            found = [own[name].grad for own in members]
            grads = [torch.zeros_like(parameter[0]) if grad is None else grad for grad in found]
            if any(grad is not None for grad in found):
                parameter.grad = torch.stack(grads) + (0.0 if parameter.grad is None else parameter.grad)
