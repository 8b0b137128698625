"""What a network takes where it runs: bytes of its numbers, and operations and an estimate of energy of a step.

Bytes are those of numbers, packed in the bits of their role: of the connections that exist, one weight for each drive,
of the plastic ones the trace of one episode, and the alphas. Positions of connections, scales and code are not counted.
Energies are those of Horowitz 2014 (ISSCC, "Computing's energy problem", 45 nm), as two secondary sources quote them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from plastic_search.network.module import Network, check_network
from plastic_search.network.operations import ADD, MULTIPLY
from plastic_search.network.state import named
from plastic_search.precisions import Precision, Role

__all__ = ["FLOAT", "Footprint", "Numbers", "count_numbers"]

FLOAT = 32  # bits of a number that has no format
INTEGER_ADD, INTEGER_MULTIPLY = 0.1, 0.2  # pJ, of 32 bits, and of 8 by 8 bits (Horowitz 2014)
READ = 10.0  # pJ, of 64 bits from or to 8 kB of SRAM (Horowitz 2014)


class Footprint(NamedTuple):
    """What a network takes in one precision.

    Args:
        weight, alpha, trace: bytes of each; with error feedback, the trace's with what it keeps besides.
        other: bytes of the other parameters, floats: biases, and what cells, rules and modulations learn.
        state: bytes of the other state of one episode, floats: outputs, and what cells and rules carry.
        multiply_accumulates: of a step: one a weight, and one more where alpha * H is added to it.
        writes: of traces in a step, where each changes.
        energy: of a step, nJ; None where units fire, whose operations depend on their spikes (`count_operations`).
    """

    weight: int
    alpha: int
    trace: int
    other: int
    state: int
    multiply_accumulates: int
    writes: int
    energy: float | None

    @property
    def bytes(self) -> int:
        """Of weights, alphas and the trace: what bits are given to, and what a budget limits."""
        return self.weight + self.alpha + self.trace


class Numbers(NamedTuple):
    """How many numbers a network has, whatever their bits.

    Args:
        weight, alpha, trace: of each layer.
        other, state: as in `Footprint`, of all layers.
        fires: whether any unit does.
    """

    weight: tuple[int, ...]
    alpha: tuple[int, ...]
    trace: tuple[int, ...]
    other: int
    state: int
    fires: bool

    def footprint(self, precision: Precision) -> Footprint:
        """What they take in a precision; each layer's numbers of one role fill whole bytes."""
        weight, alpha, trace, activity = (precision.format(role) for role in Role)
        kept = FLOAT if trace is None else trace.bits + trace.remainder
        widths = {"weight": weight.bits if weight else FLOAT, "alpha": alpha.bits if alpha else FLOAT, "trace": kept}
        taken = {role: sum((count * bits + 7) // 8 for count in getattr(self, role)) for role, bits in widths.items()}
        weights, traces = sum(self.weight), sum(self.trace)
        sent, read = (form.bits if form else None for form in (activity, trace))
        arithmetic = weights * _multiply(weight and weight.bits, sent)
        arithmetic += traces * (_multiply(alpha and alpha.bits, read) + _multiply(sent, sent))
        moved = sum(taken.values()) + taken["trace"]  # the trace is read and written
        return Footprint(
            **taken,
            other=self.other * FLOAT // 8,
            state=self.state * FLOAT // 8,
            multiply_accumulates=weights + traces,
            writes=traces,
            energy=None if self.fires else (arithmetic + READ * moved / 8.0) / 1000.0,
        )


def _multiply(first: int | None, second: int | None) -> float:
    """The energy of a multiplication and an addition, pJ; None is a float, with which all is computed in floats.

    A multiplication of integers takes in proportion to the product of their bits: so from 8 by 8 bits, 0.2 pJ, to 32 by
    32, which is 3.1 in the same table and 3.2 by proportion.
    """
    if first is None or second is None:
        return ADD + MULTIPLY
    return INTEGER_ADD + INTEGER_MULTIPLY * first * second / 64.0


@torch.no_grad()
def count_numbers(net: Network) -> Numbers:
    """Count the numbers of a network: weights and traces of connections that exist, and of the others all.

    Raises:
        PlasticSearchError: `net` is no Network.
    """
    check_network(net)
    existing, plastic = net.existing(), net.plastic()
    traced = [p * e[:, shape.plastic] for p, e, shape in zip(plastic, existing, net.shapes, strict=True)]
    traces = [int(each.sum()) for each in traced]
    drives = [layer.cell.drives for layer in net.spec.layers]
    alphas = [bag.tree().alpha for bag in net.bags()]
    each = zip(alphas, traced, traces, strict=True)
    parameters, carried = named(net.resolve()), named(net.initial_state(1))
    return Numbers(
        weight=tuple(int(e.sum()) * count for e, count in zip(existing, drives, strict=True)),
        alpha=tuple(count if alpha.shape == mask.shape else alpha.numel() for alpha, mask, count in each),
        trace=tuple(traces),
        other=sum(t.numel() for path, t in parameters.items() if path.split(".")[2] not in ("weight", "alpha")),
        state=sum(t.numel() for path, t in carried.items() if path.split(".")[2] != "trace"),
        fires=any(layer.cell.spiking for layer in net.spec.layers),
    )
