"""The whole of a network in one value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from plastic_search.cells import Cell
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, SearchParameter
from plastic_search.core.space import search_parameters
from plastic_search.modulations import Modulation
from plastic_search.modulations.simple import Simple
from plastic_search.precisions import Precision, Role
from plastic_search.precisions.floating import Floating
from plastic_search.rules import Rule
from plastic_search.rules.hebb import Hebb
from plastic_search.structures import Shape, Source, Structure
from plastic_search.structures.dense import Dense

__all__ = ["AlphaShape", "Bound", "Layer", "NetworkSpec", "Pathway", "shapes"]


class Bound(Enum):
    """How a trace stays finite."""

    NONE = "none"  # it does not
    HARD = "hard"  # clipped to [-limit, limit]
    SOFT = "soft"  # a write shrinks as it nears the limit it moves to, then clipped


class AlphaShape(Enum):
    """How many alphas a layer learns."""

    SYNAPSE = "synapse"  # [post, pre]
    NEURON = "neuron"  # [post, 1]
    NETWORK = "network"  # [1, 1]


class Pathway(Enum):
    """Which of a layer's connections carry a trace."""

    NONE = "none"
    INPUT = "input"  # those from its sources
    RECURRENT = "recurrent"  # those from itself
    BOTH = "both"


@dataclass(frozen=True)
class Layer(Part):
    """drive = W pre + (alpha * H) pre, where pre = concat(sources, own previous output)

    Args:
        units: how many.
        cell: what a unit does with its drive.
        rule, modulation: how the trace H changes; unused where `plastic` is NONE.
        structure: which connections exist, and which are plastic.
        plastic: the pathway that carries a trace.
        bound, limit: how the trace stays finite; `limit` is in units of the trace.
        alpha: how many alphas are learned.
        skip: beside the layer before it, a layer hears those that lie this many layers further back;
            skip=(1,) on the second layer is the network's input.
    """

    units: int = 64
    cell: Cell = RNN()
    rule: Rule = Hebb()
    modulation: Modulation = Simple()
    structure: Structure = Dense()
    plastic: Pathway = Pathway.NONE
    bound: Bound = Bound.HARD
    limit: float = 1.0
    alpha: AlphaShape = AlphaShape.SYNAPSE
    skip: tuple[int, ...] = ()

    def check(self) -> None:
        if self.units < 1:
            raise PlasticSearchError(f"a layer needs at least 1 unit, but got units={self.units}")
        if self.limit <= 0:
            raise PlasticSearchError(f"a trace's limit must be above 0, but got limit={self.limit}")
        if not isinstance(self.cell, SearchParameter):
            drives, at = self.cell.drives, self.cell.plastic
            if type(at) is not int or not 0 <= at < drives:
                name = type(self.cell).__name__
                raise PlasticSearchError(f"{name}.plastic is which of its {drives} drives, from 0, but is {at!r}")
        if len(set(self.skip)) < len(self.skip) or any(k < 1 for k in self.skip):
            raise PlasticSearchError(f"skip wants different whole numbers from 1, but got {self.skip}")
        whole = not any(search_parameters(self.structure))
        if whole and self.plastic in (Pathway.RECURRENT, Pathway.BOTH) and not self.structure.recurrent:
            raise PlasticSearchError(
                f"plastic={self.plastic.value!r} needs a recurrent block, but {type(self.structure).__name__} "
                "has none; use plastic='input' or another structure"
            )


@dataclass(frozen=True)
class NetworkSpec(Part):
    """Layers in order; the last one's output is the network's."""

    layers: tuple[Layer, ...] = (Layer(),)
    precision: Precision = Floating()

    def check(self) -> None:
        if not self.layers:
            raise PlasticSearchError("a network needs at least one layer, but got layers=()")
        for i, layer in enumerate(self.layers):
            if isinstance(layer.skip, tuple) and any(k > i for k in layer.skip if isinstance(k, int)):
                raise PlasticSearchError(f"layers.{i}.skip={layer.skip} reaches back beyond the network's input")
            rounds = not isinstance(self.precision, SearchParameter) and not any(search_parameters(self.precision))
            if rounds and layer.bound is Bound.NONE and self.precision.format(Role.TRACE) is not None:
                raise PlasticSearchError(f"layers.{i}: an integer trace needs a bound, but bound is 'none'")


def shapes(spec: NetworkSpec, inputs: int) -> tuple[Shape, ...]:
    """The shape of each layer of a network that hears `inputs` numbers per step.

    Raises:
        PlasticSearchError: a hole is left open; the message lists the open addresses.
    """
    still = [address for address, _ in search_parameters(spec)]
    if still:
        raise PlasticSearchError(
            f"the spec has {len(still)} open hole{'s' if len(still) > 1 else ''}: {', '.join(still)}; "
            "give each a value (`space.fill` with a trial, or --set ADDRESS=VALUE)"
        )
    result: list[Shape] = []
    for i, layer in enumerate(spec.layers):
        sources = _sources(i, layer, (inputs, *(shape.post for shape in result)))
        recurrent = layer.units if layer.structure.recurrent else 0
        first = sources[-1].columns.stop  # of the recurrent columns
        pre = first + recurrent
        if recurrent:
            sources += (Source(i, slice(first, pre), range(recurrent)),)
        plastic = {
            Pathway.NONE: slice(0, 0),
            Pathway.INPUT: slice(0, first),
            Pathway.RECURRENT: slice(first, pre),
            Pathway.BOTH: slice(0, pre),
        }
        result.append(Shape(layer.units, pre, recurrent, plastic[layer.plastic], sources))
    return tuple(result)


def _sources(i: int, layer: Layer, outputs: tuple[int, ...]) -> tuple[Source, ...]:
    """Where layer `i` receives input from, itself excluded; `outputs` are the output sizes of input and layers."""
    presynaptic = [i - 1, *(i - 1 - k for k in layer.skip)]
    selection, total = layer.structure.selection, sum(outputs[j + 1] for j in presynaptic)
    if selection is not None and selection[-1] >= total:
        raise PlasticSearchError(
            f"layers.{i} selects column {selection[-1]}, but its sources emit {total} outputs, counted from 0"
        )
    result, column, place = [], 0, 0  # of `pre`, and among all outputs of the sources
    for j in presynaptic:
        units: range | tuple[int, ...] = range(outputs[j + 1])
        if selection is not None:
            chosen = tuple(k - place for k in selection if place <= k < place + len(units))
            place += len(units)
            units = units if len(chosen) == len(units) else chosen
        result.append(Source(j, slice(column, column + len(units)), units))
        column += len(units)
    return tuple(result)
