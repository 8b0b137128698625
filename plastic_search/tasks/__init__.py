"""Tasks: what a network has to do within one episode."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional

from plastic_search.core.part import Part, positive

__all__ = ["Episodes", "Split", "Stream", "Task"]


class Split(Enum):
    """Which part of a task's data an episode is drawn from. No item is in two splits."""

    TRAIN = "train"  # for fitting parameters
    VALIDATION = "validation"  # for selecting models in a search
    TEST = "test"  # for reported results


class Episodes(NamedTuple):
    """A batch of episodes. Time comes first and the batch second; what an episode has once begins with the batch.

    Args:
        inputs: what the network receives [time, batch, inputs].
        targets: [batch, ...], one for each episode, or [time, batch, ...], one for each step; for `loss` and `scores`.
        query_step: the first time step whose output is scored.
    """

    inputs: Tensor
    targets: Tensor
    query_step: int

    def beside(self, like: Tensor) -> Episodes:
        """The same on the device that `like` is on, such as a network's parameter."""
        return self._replace(inputs=self.inputs.to(like.device), targets=self.targets.to(like.device))


@dataclass(frozen=True)
class Task(Part):
    """What a network has to do within one episode."""

    score_name: ClassVar[str] = "accuracy"

    @property
    def data_files(self) -> tuple[Path, ...]:
        """The user's files and folders that episodes are made of: every field that is a path, or names a file.

        A run folder keeps their digests, and a study is not continued once they have changed.
        """
        values = [getattr(self, field.name) for field in fields(self)]
        named = [Path(v) for v in values if isinstance(v, str) and Path(v).suffix and Path(v).is_file()]
        return *(v for v in values if isinstance(v, Path)), *named

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Input size."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Output size."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The expected score of a random guess."""

    @abstractmethod
    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        """`size` random episodes."""

    @abstractmethod
    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        """The training loss, one number with a gradient, from the outputs [time, batch, outputs]."""

    @abstractmethod
    def scores(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        """Each episode's score, floats [batch] from 0 to 1, larger is better."""


@dataclass(frozen=True)
class Stream(Task):
    """A text without end, whose next symbol is to be predicted; a network receives it window after window.

    `loss` and `scores` are of single windows, each from the beginning of a text; `Windowed` trains on whole texts.

    Args:
        window: symbols between two updates.
    """

    score_name: ClassVar[str] = "symbols right"
    symbols: ClassVar[str] = "ab()"

    window: int = 40

    def check(self) -> None:
        positive(self, "window")

    @abstractmethod
    def text(self, length: int, rng: Generator) -> Tensor:
        """The first `length` symbols of a random text, as indices into `symbols` [length]."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """The entropy rate, nats a symbol: a lower bound on the loss of any predictor."""

    @property
    def floor(self) -> float:
        """The lower bound on the loss of a window, in nats."""
        return self.entropy * self.window

    @property
    def inputs(self) -> int:
        return len(self.symbols)

    @property
    def outputs(self) -> int:
        return len(self.symbols)

    @property
    def chance(self) -> float:
        return 1.0 / len(self.symbols)

    def phase(self, progress: float) -> Stream:
        """The task to train on at this share of training, from 0 to below 1."""
        return self

    def encode(self, text: Tensor) -> Tensor:
        """Symbols [...] as one-hot inputs [..., inputs]."""
        return functional.one_hot(text, self.inputs).to(torch.get_default_dtype())

    def nats(self, outputs: Tensor, following: Tensor) -> Tensor:
        """The cross-entropy of the `following` symbols [...] under the outputs [..., outputs], which are logits."""
        flat = functional.cross_entropy(outputs.flatten(0, -2), following.flatten(), reduction="none")
        return flat.view(following.shape)

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        """Windows from the beginnings of random texts. Splits differ in nothing but the generator that is passed."""
        texts = torch.stack([self.text(self.window + 1, rng) for _ in range(size)])
        return Episodes(self.encode(texts[:, :-1].T), texts[:, 1:].T, 0)

    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return self.nats(outputs, episodes.targets).sum(0).mean()

    def scores(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return (episodes.targets == outputs.argmax(-1)).float().mean(0)
