"""The specification of a network as one frozen value, and the shape of each of its layers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from enum import Enum
from functools import cache

from plastic_search.cells import Cell
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part, SearchParameter
from plastic_search.core.space import search_parameters
from plastic_search.modulations import Modulation
from plastic_search.modulations.simple import Simple
from plastic_search.network.diagnostics import fault
from plastic_search.network.initial import Initial
from plastic_search.precisions import Precision, Role
from plastic_search.precisions.floating import Floating
from plastic_search.rules import Rule
from plastic_search.rules.hebb import Hebb
from plastic_search.structures import Shape, Source, Structure
from plastic_search.structures.dense import Dense

__all__ = ["AlphaShape", "Bound", "Layer", "NetworkSpec", "Pathway", "shapes"]


class Bound(Enum):
    """How a trace stays finite."""

    NONE = "none"  # not bounded
    HARD = "hard"  # clipped to [-limit, limit]
    SOFT = "soft"  # a write, clipped likewise, is scaled by the trace's distance to the limit ahead, over `limit`
    READ = "when_read"  # not bounded, but clipped to [-limit, limit] in drive and recall; a rule sees it as it is


class AlphaShape(Enum):
    """How many plasticity coefficients alpha a layer learns."""

    SYNAPSE = "synapse"  # [post, pre]
    NEURON = "neuron"  # [post, 1]
    NETWORK = "network"  # [1, 1]


class Pathway(Enum):
    """Which connections of a layer carry a trace."""

    NONE = "none"
    INPUT = "input"  # those from other layers
    RECURRENT = "recurrent"  # those from the layer itself
    BOTH = "both"


@dataclass(frozen=True)
class Layer(Part):
    """drive = W pre + (alpha * H) pre, where pre = concat(outputs of other layers, own previous output)

    Args:
        units: number of units.
        cell: the dynamics of a unit, from drive to output.
        rule: the direction in which the trace H changes; unused where `plastic` is none.
        modulation: how fast it changes, and when; unused where `plastic` is none.
        structure: which connections exist, and which are plastic.
        plastic: the pathway that carries a trace.
        bound: how the trace stays finite.
        limit: the largest magnitude of the trace, where it is bounded.
        alpha: how many plasticity coefficients are learned.
        skip: skip connections. A layer receives input from the layer before it, and from those that lie so many
            layers further back: skip=(1,) on the second layer is the network's input.

    Raises:
        PlasticSearchError: a value is impossible, or the recurrent pathway is plastic and the structure has none.

    Example:
        from plastic_search.cells.lstm import LSTM
        from plastic_search.rules.oja import Oja
        from plastic_search.structures.feed_forward import FeedForward

        hidden = Layer(64, LSTM(), rule=Oja(), plastic=Pathway.RECURRENT)  # 64 LSTM units with a plastic recurrence
        readout = Layer(10, structure=FeedForward(), skip=(1,))  # reads them, and the network's input
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
        if not any(search_parameters(self.cell)):
            _check_step(type(self.cell))
            drives, index = self.cell.drives, self.cell.plastic
            if type(index) is not int or not 0 <= index < drives:
                name = type(self.cell).__name__
                raise PlasticSearchError(
                    f"{name}.plastic must be the index of one of its {drives} drives, but is {index!r}"
                )
            split = self.cell.split
            if len(set(split)) < len(split) or not set(split) <= set(range(drives)):
                name = type(self.cell).__name__
                raise PlasticSearchError(f"{name}.split must be indices of its {drives} drives, but is {split!r}")
        if len(set(self.skip)) < len(self.skip) or any(k < 1 for k in self.skip):
            raise PlasticSearchError(f"skip wants different whole numbers from 1, but got {self.skip}")
        whole = not any(search_parameters(self.structure))
        if whole and self.plastic in (Pathway.RECURRENT, Pathway.BOTH) and not self.structure.recurrent:
            raise PlasticSearchError(
                f"plastic={self.plastic.value!r} needs a recurrent block, but {type(self.structure).__name__} "
                "has none; use plastic='input' or another structure"
            )


@cache
def _check_step(kind: type[Cell]) -> None:
    """Refuse a cell whose `step` takes no parameters, as before cells had any."""
    signature = inspect.signature(kind.step)
    try:
        signature.bind(None, (), (), None)
    except TypeError:
        what = f"must be `step(self, params, state, drive)`, but is `step({', '.join(signature.parameters)})`"
        raise fault(object.__new__(kind), "step", what) from None


@dataclass(frozen=True)
class NetworkSpec(Part):
    """Layers in order; the output of the last one is the network's.

    Args:
        layers: the first receives the network's input, each other one the outputs of the layer before it.
        precision: the number format of weights, alphas, traces and activity.
        initial: what parameters start from, by path, where that is not what a layer and its parts draw.
        held: paths of parameters, or of blocks of them, that training leaves alone (`network.initial` says how paths
            are written).

    Raises:
        PlasticSearchError: there is no layer, a skip connection starts before the network's input, an integer
            trace has no bound, or activity is to be rounded in a network of one layer, whose output is not.

    Example:
        from plastic_search.core.space import override

        spec = NetworkSpec((Layer(32, plastic=Pathway.BOTH), Layer(5)))
        wider = override(spec, "layers.0.units", "64")
        assert NetworkSpec.from_json(wider.to_json()) == wider
    """

    layers: tuple[Layer, ...] = (Layer(),)
    precision: Precision = Floating()
    initial: tuple[Initial, ...] = ()
    held: tuple[str, ...] = ()

    def check(self) -> None:
        if not self.layers:
            raise PlasticSearchError("a network needs at least one layer, but got layers=()")
        rounds = not isinstance(self.precision, SearchParameter) and not any(search_parameters(self.precision))
        for i, layer in enumerate(self.layers):
            if isinstance(layer.skip, tuple) and any(k > i for k in layer.skip if isinstance(k, int)):
                most = f"at most {i} here" if i else "the first layer has none, skip=()"
                raise PlasticSearchError(
                    f"layers.{i}.skip={layer.skip} reaches back beyond the network's input; {most}"
                )
            free = layer.bound in (Bound.NONE, Bound.READ)
            if rounds and free and self.precision.format(Role.TRACE) is not None:
                raise PlasticSearchError(
                    f"layers.{i}: an integer trace needs a bound where it is written, hard or soft, "
                    f"but bound is {layer.bound.value!r}"
                )
        if rounds and len(self.layers) == 1 and self.precision.format(Role.ACTIVITY) is not None:
            raise PlasticSearchError(
                "the output of a network's last layer is its answer, and is not rounded: a network of one layer "
                "has no activity to round; add a layer that reads it, or leave activity in float"
            )


def shapes(spec: NetworkSpec, inputs: int) -> tuple[Shape, ...]:
    """The shape of each layer of a network of so many inputs, with the source of each of its columns.

    Args:
        inputs: input size of the network.

    Raises:
        PlasticSearchError: a search parameter has no value yet, and the message lists their paths; or a structure
            selects a column that the layer does not receive, or was made for a layer of another shape.

    Example:
        from plastic_search.structures.feed_forward import FeedForward

        spec = NetworkSpec((Layer(6), Layer(3, structure=FeedForward(), skip=(1,), plastic=Pathway.INPUT)))
        first, second = shapes(spec, inputs=4)
        assert (first.pre, first.recurrent) == (4 + 6, 6)
        assert (second.pre, second.recurrent, second.width) == (6 + 4, 0, 10)
        assert second.presynaptic[6] == (-1, 0)  # the seventh column is the network's first input
    """
    free = [path for path, _ in search_parameters(spec)]
    if free:
        raise PlasticSearchError(
            f"the spec has {len(free)} search parameter{'s' if len(free) > 1 else ''} without a value: "
            f"{', '.join(free)}; give each one (`space.fill` with a trial, or --set PATH=VALUE)"
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
        shape = Shape(layer.units, pre, recurrent, plastic[layer.plastic], sources)
        try:
            layer.structure.check_shape(shape)
            if shape.width:
                shape = _modulated(shape, i, layer.modulation, (inputs, *(each.post for each in result)))
        except PlasticSearchError as error:
            raise PlasticSearchError(f"layers.{i}: {error}") from None
        result.append(shape)
    return tuple(result)


def _modulated(shape: Shape, i: int, modulation: Modulation, outputs: tuple[int, ...]) -> Shape:
    """The shape of layer `i` with the layer that its modulation sees; `outputs` are those of input and layers."""
    back, units = modulation.source, 0
    if back is not None:
        if not 1 <= back <= i + 1:
            raise PlasticSearchError(
                f"{type(modulation).__name__} sees the layer {back} back, but only earlier ones are there: "
                f"1 to {i + 1}, the last of which is the network's input"
            )
        units = outputs[i + 1 - back]
        shape = shape._replace(modulator=Source(i - back, slice(shape.inputs, shape.inputs + units), range(units)))
    modulation.check_inputs(shape.inputs, units)
    return shape


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
