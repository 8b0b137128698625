"""A warning where a network is trained whose structures learn only if `training.adaptation.Adaptation` adapts them.

A training loop that leaves them out runs without an error, and learns no structure. It is recognised by what no
evaluation does: backward passes reached the network, and its parameters changed meanwhile.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from plastic_search.network.kernels.torch_internals import current_transform
from plastic_search.network.pytree import Bag
from plastic_search.network.spec import NetworkSpec
from plastic_search.network.step import Ready
from plastic_search.structures import LearnedStructure, Structure

__all__ = ["Watch"]

_UPDATES = 10  # backward passes before parameters are compared
_ADAPTING = ("adapt", "adapt_all", "adapt_pool", "constraint")


class Watch:
    """Counts backward passes through a network whose structures must be adapted, and warns once where they are not."""

    def __init__(self, spec: NetworkSpec) -> None:
        structures = enumerate(layer.structure for layer in spec.layers)
        self._layers = {i: type(each).__name__ for i, each in structures if _must_be_adapted(each)}
        self._passes = 0
        self._before: list[Tensor] = []  # copies of the layers' parameters, after the first pass

    def look(self, bags: Sequence[Bag], ready: Sequence[Ready]) -> None:
        """See an episode begin, with the layers' parameters and what was resolved from them.

        Warns:
            UserWarning: the network has been trained without an `Adaptation`.
        """
        if not self._layers or torch.compiler.is_compiling() or current_transform():
            return
        if self._passes:
            now = [tensor.detach() for i in self._layers for tensor in bags[i].tensors().values()]
            self._before = self._before or [tensor.clone() for tensor in now]
            if self._passes >= _UPDATES:
                self._passes = 0
                if not all(map(_equal, self._before, now)):
                    self._judge(bags)
        nodes = [t.grad_fn for i in self._layers for t in ready[i][:3] if t is not None and t.grad_fn is not None]
        if nodes:
            nodes[0].register_prehook(self._count)

    def end(self) -> None:
        """Watch no longer, since the structures are adapted."""
        self._layers = {}

    def _count(self, grads: object) -> None:
        self._passes += 1

    def _judge(self, bags: Sequence[Bag]) -> None:
        """Warn, unless the structures' own training had ended before."""
        idle = [f"layers.{i}.structure ({name})" for i, name in self._layers.items() if not _ended(bags[i])]
        self.end()
        if idle:
            warnings.warn(
                f"{', '.join(idle)}: connections are learned between updates, by an Adaptation, but this network was "
                f"trained for {_UPDATES} backward passes without one, so they are not learned. Make "
                "`Adaptation(net, seeds=(0,), steps=UPDATES)` of plastic_search.training.adaptation, add its "
                "`constraint()` to the loss and call its `after(step)` after each update, as in "
                "docs/how-to/own-loop.md; trainers do so themselves",
                UserWarning,
                stacklevel=7,  # where the network is called
            )


def _must_be_adapted(structure: Structure) -> bool:
    """Whether a structure does anything between updates, or has a penalty."""
    own, base = type(structure), LearnedStructure
    return isinstance(structure, base) and any(getattr(own, name) is not getattr(base, name) for name in _ADAPTING)


def _equal(before: Tensor, now: Tensor) -> bool:
    return before.shape == now.shape and torch.equal(before.to(now), now)


def _ended(bag: Bag) -> bool:
    """Whether a structure's training has ended, after which it stays the same."""
    frozen = getattr(bag.tree().structure, "frozen", None)
    return isinstance(frozen, Tensor) and bool((frozen > 0.5).all())
