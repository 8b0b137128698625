"""Structures: where synapses may be, and which of them are plastic."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part

__all__ = ["Gates", "LearnedStructure", "Shape", "Source", "Structure", "TrainingContext", "Weights"]


@dataclass(frozen=True)
class Source:
    """Consecutive columns of `pre`, and the units of one presynaptic layer whose outputs they hold.

    Args:
        layer: number of the presynaptic layer; -1 is the network's input.
        columns: those of `pre`.
        units: those of that layer, one for each column; a range is all of them.
    """

    layer: int
    columns: slice
    units: range | tuple[int, ...]
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

    Args:
        post: units of the layer.
        pre: columns of `pre`.
        recurrent: how many of the last columns of `pre` are the layer's own previous output: `post`, or 0.
        plastic: the columns of the plastic pathway.
        sources: where columns come from, in their order; the layer itself is the last where it is recurrent.
        modulator: the layer whose outputs the modulation sees beside them, if it names one. Its `columns` follow those
            of other layers in what the layer receives (`network.step.layer_inputs`), and are not among `pre`.
    """

    post: int
    pre: int
    recurrent: int
    plastic: slice
    sources: tuple[Source, ...]
    modulator: Source | None = None

    @property
    def inputs(self) -> int:
        """Columns of `pre` that come from other layers."""
        return self.pre - self.recurrent

    @property
    def received(self) -> int:
        """Columns of what the layer receives from other layers, those for its modulation alone included."""
        return self.inputs + (len(self.modulator.units) if self.modulator else 0)

    @property
    def width(self) -> int:
        """Number of columns of the plastic pathway; 0 where nothing is plastic."""
        return self.plastic.stop - self.plastic.start

    @property
    def plastic_sources(self) -> int:
        """How many columns of the plastic pathway come from other layers; they are its first."""
        return max(min(self.plastic.stop, self.inputs) - self.plastic.start, 0)

    @property
    def feedforward(self) -> tuple[Source, ...]:
        """The sources other than the layer itself."""
        return self.sources[:-1] if self.recurrent else self.sources

    @property
    def presynaptic(self) -> list[tuple[int, int]]:
        """The layer and the unit that each column of `pre` comes from; layer -1 is the network's input."""
        return [(source.layer, unit) for source in self.sources for unit in source.units]


class Gates(NamedTuple):
    """Which synapses exist, and which carry a trace: each 0 or 1; None where all do.

    Args:
        exists: whether each synapse exists [post, pre].
        plastic: whether each carries a trace [post, width of shape.plastic]; never 1 where `exists` is 0.
        units: whether each unit exists [post]; the bias of an absent one is multiplied by 0, its synapses must be 0.
    """

    exists: Tensor | None
    plastic: Tensor | None
    units: Tensor | None = None


class Weights(NamedTuple):
    """One value for each weight into and out of a layer: the weights themselves, or the optimiser's state of them.

    Args:
        weight: of the layer's weights [drives, post, pre], before the gates.
        bias: of its biases [sums, post].
        outgoing: of the weights of each layer that receives this one [drives, units of that layer, post].
    """

    weight: Tensor
    bias: Tensor
    outgoing: tuple[Tensor, ...]


class TrainingContext(NamedTuple):
    """What a structure may read, and change in place, of its layer between two updates.

    As `adapt` receives it; in `adapt_all` every tensor has a leading axis over the members of a population.

    Args:
        shape: the layer's sizes, and where its columns come from.
        params: the structure's own parameters.
        grads: gradients of `params`, nested alike; None before the first update, and where there is no gradient.
        weight: the layer's weights [drives, post, pre], before the gates.
        bias: its biases [sums, post].
        alpha: its plasticity coefficients [post, width of shape.plastic], or what broadcasts to it.
        outgoing: weights as in `Weights`; a recurrent layer's own recurrent block comes first.
        step: updates made; 0 before the first.
        steps: updates in all.
        means: the optimiser's running means of gradients; None where it keeps none yet.
        squares: its running means of their squares.
    """

    shape: Shape
    params: Any
    grads: Any
    weight: Tensor
    bias: Tensor
    alpha: Tensor
    outgoing: tuple[Tensor, ...]
    step: int
    steps: int
    means: Weights | None = None
    squares: Weights | None = None

    def member(self, k: int) -> TrainingContext:
        """The context of member `k`, whose tensors are views of this one's."""
        return TrainingContext(*(_member(value, k) for value in self))


def _member(value: Any, k: int) -> Any:
    if isinstance(value, Tensor):
        return value[k]
    if not isinstance(value, tuple) or isinstance(value, Shape):
        return value
    each = [_member(part, k) for part in value]
    return type(value)(*each) if hasattr(value, "_fields") else tuple(each)


@dataclass(frozen=True)
class Structure(Part):
    """Where synapses may be, and which of them are plastic; the same throughout training.

    A structure that has parameters, or that changes between updates, is a `LearnedStructure`.
    """

    renamed: ClassVar[dict[str, str]] = {"within": "support", "narrowing": "annealing_fraction"}
    buffers: ClassVar[tuple[str, ...]] = ()  # names of `params` that the optimiser leaves alone

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ == __name__ or issubclass(cls, LearnedStructure):
            return
        learned = sorted({"params", "buffers", "constraint", "adapt", "adapt_all", "adapt_pool"} & vars(cls).keys())
        if learned:
            raise PlasticSearchError(
                f"{cls.__name__} defines `{learned[0]}`, which only a structure that learns has; "
                "derive it from plastic_search.structures.LearnedStructure"
            )

    @property
    def recurrent(self) -> bool:
        """Whether the layer receives its own previous output."""
        return True

    @property
    def selection(self) -> tuple[int, ...] | None:
        """Which outputs of its sources, concatenated, the layer receives: ascending indices; None for all."""
        return None

    def params(self, shape: Shape, rng: Generator) -> Any:
        """The structure's parameters, drawn from `rng`: a NamedTuple of tensors, or ()."""
        return ()

    def check_shape(self, shape: Shape) -> None:
        """Refuse a layer that the structure was not made for; called where the shapes of a network are computed."""

    def initial(self, weight: Tensor, shape: Shape) -> Tensor:
        """Initial weights [post, pre] of the plastic drive, given those that were drawn: as its `support` has them."""
        support = getattr(self, "support", None)
        return support.initial(weight, shape) if isinstance(support, Structure) else weight

    @abstractmethod
    def gates(self, params: Any, shape: Shape, like: Tensor) -> Gates:
        """The gates of one episode, of `like`'s type and device; differentiable in `params`."""


@dataclass(frozen=True)
class LearnedStructure(Structure):
    """A structure with parameters of its own, tuned by the optimiser, by `adapt`, or by both."""

    uses_outgoing: ClassVar[bool] = True  # whether it reads `TrainingContext.outgoing`

    @property
    def pool(self) -> Any:
        """Layers whose structures return the same value, other than None, are also adapted together."""
        return None

    @abstractmethod
    def params(self, shape: Shape, rng: Generator) -> Any:
        """The structure's parameters, drawn from `rng`: a NamedTuple of tensors."""

    def constraint(self, params: Any, shape: Shape) -> Tensor | None:
        """A penalty, one number, that is added to the loss; None for none."""
        return None

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        """Change the structure between two updates, in place; also called before the first update."""

    def adapt_all(self, context: TrainingContext, rngs: Sequence[Generator]) -> None:
        """`adapt` every member of a population; every tensor of `context` has a leading axis over members.

        The trainer calls this one. A structure may override it to change all members at once, with each member's
        result the same as if it were alone.
        """
        for k, rng in enumerate(rngs):
            self.adapt(context.member(k), rng)

    def adapt_pool(self, layers: Sequence[tuple[Any, TrainingContext]]) -> None:
        """Change all layers of one network's pool between two updates, in place; called after each one's `adapt`.

        Args:
            layers: structure and context of each layer in this structure's pool, its own included.
        """
