"""Streaming training: truncated backpropagation through time over a long sequence.

One update a window; the state is carried from window to window, gradients are not. A training that is interrupted
between two updates, saved and restored goes on bit for bit as it would have without the interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from plastic_search.network.population import Population
from plastic_search.network.state import load_named, named
from plastic_search.tasks import Stream
from plastic_search.training.adaptation import Adaptation
from plastic_search.training.contract import check_dependence, following_loss, phase_of, text_of
from plastic_search.training.generators import generator_states, set_generators

__all__ = ["RMSProp", "StreamingTraining"]

_SEGMENT = 5000  # windows of a text that are generated at once; then a new text begins
_SEED_STRIDE = 100_003  # between the texts' seeds at consecutive steps; member seeds are added, and should be smaller
_FIRST_SQUARE = 0.01  # v at first, where it is not 0: see `_squares`
_NEGLIGIBLE = 1e-30  # squares below it are set to 0, since arithmetic with denormal numbers is slow


class RMSProp(NamedTuple):
    """v' = memory v + (1 - memory) g^2, step = clip(rate g / sqrt(v' + 1e-8), most)"""

    rate: float = 0.01
    memory: float = 0.99
    most: float = 0.01


class StreamingTraining:
    """A `Training` (see `trainers`) of every member of a population on a text of its own.

    Args:
        population: is trained in place, each member by its own gradient.
        task: generates the texts.
        seeds: of texts and structures, one a member.
        steps: updates in all.
    """

    def __init__(
        self, population: Population, task: Stream, seeds: Sequence[int], steps: int, rmsprop: RMSProp
    ) -> None:
        self._population, self._task, self._seeds, self._rmsprop = population, task, tuple(seeds), rmsprop
        self.step, self.steps = 0, steps  # updates made, and in all
        self._params = {name: p for name, p in population.named_parameters() if p.numel()}
        self._squares = _squares(population)
        self._adaptation = Adaptation(population, seeds, steps)
        with torch.no_grad():
            self.state = population.initial_state(1)
        like = next(population.parameters())
        uniform = torch.tensor(task.inputs, dtype=like.dtype).log() * task.window
        self.running = uniform.repeat(len(seeds))  # [member], nats a window: a running mean
        self._begin_text()

    def advance(self, count: int) -> None:
        """Make `count` more updates."""
        if not self.step:
            self._adaptation.after(0)
        for _ in range(count):
            self._update()

    def units(self) -> list[tuple[int, ...]]:
        """How many units of each layer exist, for each member."""
        return self._population.units()

    def saved(self) -> dict[str, Tensor]:
        """Copies of parameters, buffers, v, the network's state, random generators, `running` and `step`."""
        tensors = {f"parameters.{name}": t.detach() for name, t in self._parameters_and_buffers().items()}
        tensors |= {f"squares.{name}": self._squares[p] for name, p in self._params.items()}
        tensors |= {f"state.{name}": value for name, value in named(self.state).items()}
        tensors["rngs"] = generator_states(self._adaptation.rngs)
        tensors["running"], tensors["at"] = self.running, torch.tensor([self.step, self._text_start])
        return {name: value.contiguous().clone() for name, value in tensors.items()}

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `saved` returned, in a training that was begun with the same arguments."""
        for name, t in self._parameters_and_buffers().items():
            t.copy_(saved[f"parameters.{name}"])
        for name, p in self._params.items():
            self._squares[p].copy_(saved[f"squares.{name}"])
        prefix = "state."
        self.state = load_named({n[len(prefix) :]: t for n, t in saved.items() if n.startswith(prefix)}, self.state)
        set_generators(self._adaptation.rngs, saved["rngs"])
        self.running.copy_(saved["running"])
        self.step, text_start = saved["at"].tolist()
        self._begin_text(text_start)

    def _parameters_and_buffers(self) -> dict[str, Tensor]:
        return self._params | dict(self._population.named_buffers())

    def _update(self) -> None:
        phase = phase_of(self._task, self.step / self.steps)
        if phase != self._phase or self.step - self._text_start == _SEGMENT:
            self._begin_text(self.step)
        window, first = phase.window, (self.step - self._text_start) * phase.window
        text = self._texts[:, first : first + window + 1].long()
        x = phase.encode(text[:, :-1]).to(self.running.dtype)
        outputs, state = self._population(x.unsqueeze(2), self.state)
        nats = following_loss(phase, outputs[:, :, 0], text[:, 1:]).sum(1)
        if not self.step:
            check_dependence(phase, "nats", nats.sum(), outputs)
        (nats + self._adaptation.constraint()).sum().backward()
        self._descend()
        self.step += 1
        self._adaptation.after(self.step, squares=self._squares.get)  # type: ignore[arg-type]
        self.state = state.detach()
        self.running.lerp_(nats.detach(), 0.01)

    @torch.no_grad()
    def _descend(self) -> None:
        rate, memory, most = self._rmsprop
        for p in self._params.values():
            if p.grad is None:
                continue
            square = self._squares[p].mul_(memory).addcmul_(p.grad, p.grad, value=1.0 - memory)
            if self.step % 1000 == 0:
                square.masked_fill_(square < _NEGLIGIBLE, 0.0)
            root = square.add(1e-8).sqrt_()
            p.sub_(torch.div(p.grad, root, out=root).mul_(rate).clamp_(-most, most))
            p.grad = None

    def _begin_text(self, step: int = 0) -> None:
        """Generate the members' texts from `step` on."""
        self._text_start, self._phase = step, phase_of(self._task, step / self.steps)
        length = min(_SEGMENT, self.steps - step) * self._phase.window + 1
        texts = []
        for seed in self._seeds:
            rng = torch.Generator().manual_seed((step + 1) * _SEED_STRIDE + seed)
            texts.append(text_of(self._phase, length, rng).to(torch.uint8))
        self._texts = torch.stack(texts)


def _squares(population: Population) -> dict[Parameter, Tensor]:
    """v at first: 0.01 for the input weights and biases of recurrent layers, 0 elsewhere, as in Miconi 2016."""
    squares = {p: torch.zeros_like(p, requires_grad=False) for p in population.parameters()}
    for shape, bag in zip(population.shapes, population.bags(), strict=True):
        if shape.recurrent:
            weight, bias = bag.tensor("weight"), bag.tensor("bias")
            if isinstance(weight, Parameter):  # else it is held
                squares[weight][..., : shape.pre - shape.recurrent] = _FIRST_SQUARE
            if isinstance(bias, Parameter):
                squares[bias].fill_(_FIRST_SQUARE)
    return squares
