"""Structures: where synapses may be, and which of them are plastic."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Generator, Tensor
from torch.utils import _pytree as pytree

from plastic_search.core.part import Part

__all__ = [
    "Gates",
    "Shape",
    "Source",
    "Structure",
    "TrainingContext",
    "Weights",
]


@dataclass(frozen=True)
class Source:
    """Consecutive columns of `pre`, and the units of one presynaptic layer whose outputs they hold."""

    layer: int  # -1 is the network's input
    columns: slice  # of `pre`
    units: range | tuple[int, ...]  # of that layer, one for each column; a range is all of them
    index: Any = field(init=False, repr=False, compare=False)  # `units` as an array; a tensor could be a fake one

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", np.array(self.units, np.int64))

    @property
    def complete(self) -> bool:
        """Whether `units` are all units of the layer."""
        return isinstance(self.units, range)


class Shape(NamedTuple):
    """The sizes of a layer, and where each column of `pre` comes from; `network.spec.shapes` computes it.

    `pre` = concat(outputs of other layers, the layer's own previous output).
    """

    post: int  # units of the layer
    pre: int  # columns of `pre`
    recurrent: int  # how many of the last columns of `pre` are the layer's own previous output: `post`, or 0
    plastic: slice  # the columns of the plastic pathway
    sources: tuple[Source, ...]  # in the order of the columns; the layer itself is the last one where it is recurrent

    @property
    def width(self) -> int:
        """Number of columns of the plastic pathway; 0 where nothing is plastic."""
        return self.plastic.stop - self.plastic.start

    @property
    def feedforward(self) -> tuple[Source, ...]:
        """The sources other than the layer itself."""
        return self.sources[:-1] if self.recurrent else self.sources

    @property
    def presynaptic(self) -> list[tuple[int, int]]:
        """The layer and the unit that each column of `pre` comes from; layer -1 is the network's input."""
        return [(source.layer, unit) for source in self.sources for unit in source.units]


class Gates(NamedTuple):
    """Which synapses exist, and which carry a trace: 0 or 1 each; None where all do."""

    exists: Tensor | None  # [post, pre]
    plastic: Tensor | None  # [post, width of shape.plastic], never 1 where `exists` is 0
    units: Tensor | None = None  # [post]; the bias of a unit that is 0 here counts as 0, as should its synapses


class Weights(NamedTuple):
    """A number for each weight from and to a layer: the weights themselves, or what an optimiser remembers of them."""

    weight: Tensor  # [drives, post, pre], before the gates
    bias: Tensor  # [drives, post]
    outgoing: tuple[Tensor, ...]  # each [drives, units of a layer that hears this one, post]: that layer's weights


class TrainingContext(NamedTuple):
    """A layer between two updates, as its structure sees it. All of its tensors may be changed in place."""

    shape: Shape
    params: Any  # the structure's own
    grads: Any  # of those, formed as they are; None before the first update, and where there is none
    weight: Tensor  # [drives, post, pre], before the gates
    bias: Tensor  # [drives, post]
    alpha: Tensor  # [post, width of shape.plastic], or what spreads to it
    outgoing: tuple[Tensor, ...]  # each [drives, units of a layer that hears this one, post]: that layer's weights
    step: int  # updates made; 0 before the first
    steps: int  # updates in all
    means: Weights | None = None  # the optimiser's running means of gradients; None where it keeps none yet
    squares: Weights | None = None  # its running means of their squares

    def member(self, k: int) -> TrainingContext:
        """Of a site whose tensors begin with an axis over members, that of one of them."""
        return pytree.tree_map(lambda t: t[k] if isinstance(t, Tensor) else t, self)


@dataclass(frozen=True)
class Structure(Part):
    """Where synapses may be, and which of them are plastic."""

    renamed: ClassVar[dict[str, str]] = {"within": "support", "narrowing": "annealing_fraction"}
    buffers: ClassVar[tuple[str, ...]] = ()  # names of params that no gradient tunes; `adapt` sets them
    outward: ClassVar[bool] = True  # whether it looks at `TrainingContext.outgoing`, as one that learns may

    @property
    def recurrent(self) -> bool:
        """Whether the layer hears its own previous output."""
        return True

    @property
    def selection(self) -> tuple[int, ...] | None:
        """Which of the numbers that its sources say a layer hears, by place, ascending; None for all."""
        support = getattr(self, "support", None)
        return support.selection if isinstance(support, Structure) else None

    @property
    def learns(self) -> bool:
        """Whether it changes itself while a network is trained."""
        kind = type(self)
        return any(getattr(kind, each) is not getattr(Structure, each) for each in ("adapt", "adapt_all", "adapt_pool"))

    @property
    def pool(self) -> Any:
        """Layers whose structures name the same pool are adapted together too; None for none."""
        return None

    def params(self, shape: Shape, rng: Generator) -> Any:
        """What training may tune: a NamedTuple of tensors, drawn from `rng`. Nothing, by default."""
        return ()

    def constraint(self, params: Any, shape: Shape) -> Tensor | None:
        """What training adds to the loss, one number; None for nothing."""
        return None

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        """Change the structure between two updates; called before the first one too. Nothing, by default."""
        return

    def adapt_all(self, context: TrainingContext, rngs: Sequence[Generator]) -> None:
        """`adapt` each member of a population; every tensor of the site begins with an axis over members.

        What is called between updates is this. A structure may do it for all members at once, each as it would alone.
        """
        for k, rng in enumerate(rngs):
            self.adapt(context.member(k), rng)

    def adapt_pool(self, layers: Sequence[tuple[Any, TrainingContext]]) -> None:
        """Change all layers of a pool between two updates; called after each one's `adapt`. Nothing, by default.

        Args:
            layers: structure and site of each layer of a network that is in this structure's pool, its own among them.
        """
        return

    @abstractmethod
    def gates(self, params: Any, shape: Shape, like: Tensor) -> Gates:
        """The gates of one episode, of `like`'s type and device; differentiable in `params`."""
