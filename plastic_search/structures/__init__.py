"""Structures: where synapses may be, and which of them are plastic."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils import _pytree as pytree

from plastic_search.part import Part

__all__ = ["Gates", "Shape", "Site", "Structure", "Top", "Weights", "best", "share", "strength", "top", "transformed"]

_NUMPY = (torch.bool, torch.float32, torch.float64)


class Shape(NamedTuple):
    """How many of what a layer's synapses join. The columns of `pre` are first the sources, then the layer itself."""

    post: int  # units of the layer
    pre: int  # all that it hears
    own: int  # how many of the last columns of `pre` are the layer's own previous output: `post`, or 0
    plastic: slice  # the columns that the plastic pathway takes in
    sources: tuple[int, ...]  # how many columns belong to each source, in order; they end where the layer's own begin


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


class Site(NamedTuple):
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

    def member(self, k: int) -> Site:
        """Of a site whose tensors begin with an axis over members, that of one of them."""
        return pytree.tree_map(lambda t: t[k] if isinstance(t, Tensor) else t, self)


@dataclass(frozen=True)
class Structure(Part):
    """Where synapses may be, and which of them are plastic."""

    held: ClassVar[tuple[str, ...]] = ()  # names of params that no gradient tunes; `adapt` sets them
    outward: ClassVar[bool] = True  # whether it looks at `Site.outgoing`, as one that learns may

    @property
    def recurrent(self) -> bool:
        """Whether the layer hears its own previous output."""
        return True

    @property
    def hears(self) -> tuple[int, ...] | None:
        """Which of the numbers that its sources say a layer hears, by place, ascending; None for all."""
        within = getattr(self, "within", None)
        return within.hears if isinstance(within, Structure) else None

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

    def adapt(self, site: Site, rng: Generator) -> None:
        """Change the structure between two updates; called before the first one too. Nothing, by default."""
        return

    def adapt_all(self, site: Site, rngs: Sequence[Generator]) -> None:
        """`adapt` each member of a population; every tensor of the site begins with an axis over members.

        What is called between updates is this. A structure may do it for all members at once, each as it would alone.
        """
        for k, rng in enumerate(rngs):
            self.adapt(site.member(k), rng)

    def adapt_pool(self, layers: Sequence[tuple[Any, Site]]) -> None:
        """Change all layers of a pool between two updates; called after each one's `adapt`. Nothing, by default.

        Args:
            layers: structure and site of each layer of a network that is in this structure's pool, its own among them.
        """
        return

    @abstractmethod
    def gates(self, params: Any, shape: Shape, like: Tensor) -> Gates:
        """The gates of one episode, of `like`'s type and device; differentiable in `params`."""


def share(asked: float, room: float) -> float:
    """A budget, which is a share or a number of connections, as a share of `room`."""
    return asked if asked <= 1.0 else min(asked / max(room, 1.0), 1.0)


class Top(NamedTuple):
    """The best of some scores."""

    chosen: Tensor  # 1 at the best, else 0, formed as the scores are
    edge: Tensor  # one number, the least score that is kept; infinite where none is
    known: Tensor  # [n], the scores among which it was chosen


def best(scores: Tensor, allowed: Tensor | None, asked: float, least: int = 0) -> Tensor:
    """1 at the best scores of those allowed, else 0.

    Args:
        asked: which share of them, or how many.
        least: but at least so many, where there are as many.
    """
    return top(scores, allowed, asked, least).chosen


def top(scores: Tensor, allowed: Tensor | None, asked: float, least: int = 0) -> Top:
    """What `best` gives, and what it was chosen by."""
    flat, mask = scores.detach(), None if allowed is None else allowed.detach()
    among = _among_here if _here(flat) and (mask is None or _here(mask)) else _among
    return among(flat, mask, lambda room: min(max(round(share(asked, room) * room), least), room))


def _among(flat: Tensor, mask: Tensor | None, wanted: Callable[[int], int]) -> Top:
    numbers = flat.reshape(-1)
    there = None if mask is None else mask.reshape(-1) > 0.5
    known = numbers if there is None else numbers.index_select(0, there.nonzero().view(-1))
    kept, made = wanted(known.numel()), torch.zeros_like(numbers)
    if not kept:
        return Top(made.view_as(flat), flat.new_full((), torch.inf), known)
    values, places = _highest(numbers, there, kept)
    return Top(made.index_fill_(0, places, 1.0).view_as(flat), values.min(), known)


def _highest(numbers: Tensor, there: Tensor | None, kept: int) -> tuple[Tensor, Tensor]:
    """So many of the highest numbers, and their places; which of equal ones is torch's choice, everywhere the same."""
    left = numbers if there is None else numbers.where(there, -torch.inf)
    values, places = left.topk(kept, sorted=False)
    return values, places


def _among_here(flat: Tensor, mask: Tensor | None, wanted: Callable[[int], int]) -> Top:
    """The same by NumPy, which parts numbers by whole vectors.

    Torch's `topk` takes a branch for each, which no processor foresees. Where several numbers are the edge it chooses
    all the same, since which of them NumPy takes is another on other processors.
    """
    numbers = flat.numpy().reshape(-1)
    there = None if mask is None else mask.numpy().reshape(-1) > 0.5
    known = numbers if there is None else numbers[there.nonzero()[0]]
    kept = wanted(known.size)
    if not kept:
        return Top(torch.zeros_like(flat), flat.new_full((), torch.inf), torch.from_numpy(known))
    edge = np.partition(known, known.size - kept)[known.size - kept]
    chosen = numbers >= edge if there is None else (numbers >= edge) & there
    if np.count_nonzero(chosen) != kept:
        _, places = _highest(flat.reshape(-1), None if there is None else torch.from_numpy(there), kept)
        chosen = np.zeros(numbers.shape, bool)
        chosen[places.numpy()] = True
    made = torch.from_numpy(chosen.astype(numbers.dtype)).view_as(flat)
    return Top(made, flat.new_full((), float(edge)), torch.from_numpy(known))


def _here(tensor: Tensor) -> bool:
    """Whether NumPy can read a tensor where it lies."""
    plain = type(tensor) is Tensor and tensor.device.type == "cpu" and tensor.dtype in _NUMPY
    return plain and not transformed() and not torch.compiler.is_compiling()


def transformed() -> bool:
    """Whether torch.func is at work, which cannot look into a derivative of our own."""
    inside: Any = torch._C
    return inside._functorch.peek_interpreter_stack() is not None


def strength(site: Site) -> Tensor:
    """How much each connection can carry [post, pre]: |w|, over all drives, and |alpha|, for a trace that is full.

    Where the trace does the work, |w| alone says little of what a connection is worth.
    """
    made = site.weight.norm(dim=0)
    width = site.shape.plastic.stop - site.shape.plastic.start
    if width:
        made = made.clone()
        made[:, site.shape.plastic] += site.alpha.abs().expand(site.shape.post, width)
    return made
