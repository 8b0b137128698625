"""A population on its way through texts: one update a window, the state carried from window to window.

It can be put down between two updates and taken up again, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.population import Population
from plastic_search.network.state import State, load_named, named
from plastic_search.tasks import Stream
from plastic_search.training.adaptation import Adaptation

__all__ = ["Course", "RMSProp"]

_PIECE = 5000  # windows of a text that are drawn at once; then another text begins
_MANY = 100_003  # seeds, each of which has texts of its own
_FIRST_SQUARE = 0.01  # where a unit's own past is not heard: see `_squares`
_FAINT = 1e-30  # squares below it count for nothing, and would become denormal numbers, which are slow


class RMSProp(NamedTuple):
    """v' = memory v + (1 - memory) g^2, step = clip(rate g / sqrt(v' + 1e-8), most)"""

    rate: float = 0.01
    memory: float = 0.99
    most: float = 0.01


class Course:
    """`course.advance(500)`, and then `course.running`, `course.units()`.

    Args:
        population: is trained in place, each member by its own gradient.
        task: the text; each member hears its own.
        seeds: of texts and structures, one a member.
        steps: how many updates there will be.
    """

    def __init__(
        self, population: Population, task: Stream, seeds: Sequence[int], steps: int, rmsprop: RMSProp
    ) -> None:
        if len(seeds) != len(population):
            raise PlasticSearchError(f"{len(population)} members want as many seeds, but there are {len(seeds)}")
        self._population, self._task, self._seeds = population, task, tuple(seeds)
        self._steps, self._rmsprop = steps, rmsprop
        self.step = 0  # updates made
        self._params = {name: p for name, p in population.named_parameters() if p.numel()}
        self._squares = _squares(population)
        self._adaptation = Adaptation(population, seeds, steps)
        self.state = _zero(population)
        like = next(population.parameters())
        guess = torch.tensor(task.inputs, dtype=like.dtype).log() * task.window
        self.running = guess.repeat(len(seeds))  # [member], nats a window: a running average
        self._begin_text()

    def advance(self, count: int) -> None:
        """So many more updates."""
        if not self.step:
            self._adaptation.after(0)
        for _ in range(count):
            self._update()

    def units(self) -> list[tuple[int, ...]]:
        """How many units of each layer exist, for each member."""
        return self._population.units()

    def saved(self) -> dict[str, Tensor]:
        """All that is needed to go on."""
        made = {f"parameters.{name}": t.detach() for name, t in self._tuned_and_held().items()}
        made |= {f"squares.{name}": self._squares[p] for name, p in self._params.items()}
        made |= {f"state.{name}": value for name, value in named(self.state).items()}
        made["rngs"] = torch.stack([rng.get_state() for rng in self._adaptation.rngs])
        made["running"], made["at"] = self.running, torch.tensor([self.step, self._begun])
        return {name: value.contiguous().clone() for name, value in made.items()}

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `saved` gave, in a course that was begun with the same arguments."""
        for name, t in self._tuned_and_held().items():
            t.copy_(saved[f"parameters.{name}"])
        for name, p in self._params.items():
            self._squares[p].copy_(saved[f"squares.{name}"])
        at = "state."
        self.state = load_named({n[len(at) :]: t for n, t in saved.items() if n.startswith(at)}, self.state)
        for rng, kept in zip(self._adaptation.rngs, saved["rngs"], strict=True):
            rng.set_state(kept.clone())  # it reads a view from where its storage begins
        self.running.copy_(saved["running"])
        self.step, begun = saved["at"].tolist()
        self._begin_text(begun)

    def _tuned_and_held(self) -> dict[str, Tensor]:
        return self._params | dict(self._population.named_buffers())

    def _update(self) -> None:
        stage = self._task.stage(self.step / self._steps)
        if stage != self._stage or self.step - self._begun == _PIECE:
            self._begin_text(self.step)
        window, first = stage.window, (self.step - self._begun) * stage.window
        text = self._texts[:, first : first + window + 1].long()
        x = stage.heard(text[:, :-1]).to(self.running.dtype)
        said, state = self._population(x.unsqueeze(2), self.state)
        nats = stage.nats(said[:, :, 0], text[:, 1:]).sum(1)
        (nats + self._adaptation.constraint()).sum().backward()
        self._descend()
        self.step += 1
        self._adaptation.after(self.step, squares=self._squares.get)  # type: ignore[arg-type]
        self.state = load_named({name: value.detach() for name, value in named(state).items()}, state)
        self.running.lerp_(nats.detach(), 0.01)

    @torch.no_grad()
    def _descend(self) -> None:
        rate, memory, most = self._rmsprop
        for p in self._params.values():
            if p.grad is None:
                continue
            square = self._squares[p].mul_(memory).addcmul_(p.grad, p.grad, value=1.0 - memory)
            if self.step % 1000 == 0:
                square.masked_fill_(square < _FAINT, 0.0)
            root = square.add(1e-8).sqrt_()
            p.sub_(torch.div(p.grad, root, out=root).mul_(rate).clamp_(-most, most))
            p.grad = None

    def _begin_text(self, step: int = 0) -> None:
        """The texts that the members hear from `step` on."""
        self._begun, self._stage = step, self._task.stage(step / self._steps)
        length = min(_PIECE, self._steps - step) * self._stage.window + 1
        texts = []
        for seed in self._seeds:
            rng = torch.Generator().manual_seed((step + 1) * _MANY + seed)
            texts.append(self._stage.text(length, rng).to(torch.uint8))
        self._texts = torch.stack(texts)


def _zero(population: Population) -> State:
    """The state of every member before it heard anything."""
    like = next(population.parameters())
    start = population.member(0).start(1)
    made = {name: value.detach().expand(len(population), *value.shape).clone() for name, value in named(start).items()}
    return load_named({name: value.to(like) for name, value in made.items()}, start)


def _squares(population: Population) -> dict[Parameter, Tensor]:
    """v at first: 0.01 at what a recurrent layer hears of others and at its biases, 0 elsewhere, as in Miconi 2016."""
    made = {p: torch.zeros_like(p, requires_grad=False) for p in population.parameters()}
    for shape, bag in zip(population.shapes, population.bags(), strict=True):
        if shape.recurrent:
            made[bag.get_parameter("weight")][..., : shape.pre - shape.recurrent] = _FIRST_SQUARE
            made[bag.get_parameter("bias")].fill_(_FIRST_SQUARE)
    return made
