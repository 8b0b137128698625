"""Dead-unit analysis.

A unit is live if a path of existing synapses, its layer's modulator, or a rule that reads `H @ pre` connects it to an
output; a unit of constant output is folded into biases. Parts are evaluated on the whole layer and on what would remain
of it (`topology.probing`): where the results differ, the layer is kept whole, and the plan gives the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.formats import formats, sent
from plastic_search.network.module import Network
from plastic_search.network.pytree import flatten, map_tensors
from plastic_search.network.spec import AlphaShape
from plastic_search.precisions import Role, Rounding
from plastic_search.structures import Shape
from plastic_search.topology import probing

__all__ = ["Connectivity", "Plan", "connectivity", "gather", "plan"]


class Connectivity(NamedTuple):
    """The synapses of one layer and the outputs of its units, before anything is removed."""

    shape: Shape
    exists: Tensor  # [post, pre], bool
    plastic: Tensor  # [post, pre], bool
    constant: Tensor  # [post], the output of a unit whose output never changes; nan for all others
    modulating: Tensor  # [post], bool: the modulator reads this unit
    reads_recall: bool  # the rule reads `H @ pre`, to which every plastic column contributes

    def columns(self, which: slice) -> Tensor:
        """A mask [pre] that is true at the columns `which`."""
        mask = torch.zeros(self.shape.pre, dtype=torch.bool)
        mask[which] = True
        return mask

    @property
    def recurrent(self) -> Tensor:
        """The columns [pre] of the layer's own previous output."""
        return self.columns(slice(self.shape.pre - self.shape.recurrent, None))

    def received(self, rows: Tensor) -> Tensor:
        """The columns [pre] that the units `rows` [post] receive."""
        received = self.exists[rows].any(0)
        if self.reads_recall and self.plastic[rows].any():
            received[self.shape.plastic] = True
        return received


class Plan(NamedTuple):
    """The units of a network that are kept, and why more than the live ones."""

    kept: tuple[Tensor, ...]  # per layer [post], bool
    layers: tuple[Connectivity, ...]
    reasons: tuple[str, ...]  # why a layer, or a source that it does not need, is kept
    keeps_inputs: tuple[bool, ...]  # per layer, whether it keeps plastic columns that none of its units receives

    def available(self, i: int) -> Tensor:
        """The columns [pre] of layer `i` whose presynaptic unit is kept."""
        return gather(self.layers[i].shape, self.kept, True)

    def constants(self, i: int) -> Tensor:
        """The constant output [pre] of the presynaptic unit of each column of layer `i`; nan where it varies."""
        return gather(self.layers[i].shape, [layer.constant for layer in self.layers], torch.nan)

    def columns(self, i: int) -> Tensor:
        """The columns [pre] of layer `i` that remain: those of kept units, and if plastic, only those received.

        Columns that are not plastic remain also where no unit receives them: a product with zeros costs less than a
        selection.
        """
        layer, remaining = self.layers[i], self.available(i)
        if not self.keeps_inputs[i]:
            remaining &= layer.received(self.kept[i]) | layer.recurrent | ~layer.columns(layer.shape.plastic)
        return remaining


class _Obstacle(NamedTuple):
    """A computation that would change if units were removed, and the units that must stay to prevent that."""

    layer: int
    effect: str  # on the layer, if the units stay
    reason: str
    units: list[tuple[int, Any]]  # layer, and index of its units


def gather(shape: Shape, values: Sequence[Tensor], of_input: float) -> Tensor:
    """For each column of `pre` the value of its presynaptic unit: `values[layer][unit]`, or `of_input` for inputs."""
    return torch.cat(
        [
            torch.full((len(source.units),), of_input)
            if source.layer < 0
            else values[source.layer][torch.from_numpy(source.index)]
            for source in shape.sources
        ]
    )


@torch.no_grad()
def plan(net: Network) -> Plan:
    """The units that can influence the output, and those that must stay so that the output is unchanged."""
    layers = connectivity(net)
    pinned = [torch.zeros(shape.post, dtype=torch.bool) for shape in net.shapes]
    keeps_inputs, reasons = [False] * len(pinned), dict[tuple[int, str], str]()
    for i, layer in enumerate(net.spec.layers):
        if not probing.cell_is_local(net, i):
            pinned[i][:] = True
            reasons[i, ""] = f"layer {i} stays whole: {type(layer.cell).__name__} mixes its units"
        if probing.modulation_reads_inputs(net, i):
            keeps_inputs[i] = True
            for source in (*net.shapes[i].feedforward, net.shapes[i].modulator):
                if source is not None and source.layer >= 0:
                    pinned[source.layer][:] = True
            reasons[i, "inputs"] = f"layer {i} keeps what it receives: its {type(layer.modulation).__name__} reads it"
    while True:
        result = Plan(_live(layers, pinned), layers, tuple(reasons.values()), tuple(keeps_inputs))
        obstacle = next(_obstacles(net, result), None)
        if obstacle is None:
            _keep_some(result)
            return result
        i, reason = obstacle.layer, obstacle.reason
        if not keeps_inputs[i]:
            keeps_inputs[i] = True
            reasons[i, reason] = f"layer {i} keeps inputs that it does not need: {reason}"
            continue
        reasons[i, reason] = f"layer {i} {obstacle.effect}: {reason}"
        for source, units in obstacle.units:
            pinned[source][units] = True


def _keep_some(result: Plan) -> None:
    """Keep at least one unit of each layer, and one source unit of a layer that would be left without any."""
    for i, layer in enumerate(result.layers):
        if not (result.available(i) & ~layer.recurrent).any():
            source, unit = layer.shape.presynaptic[0]
            result.kept[source][unit] = True
    for kept in result.kept:
        kept[0] |= not bool(kept.any())


def connectivity(net: Network) -> tuple[Connectivity, ...]:
    """The connectivity of every layer."""
    result: list[Connectivity] = []
    active: list[Tensor] = []  # [post], units that exist or whose output is not 0
    for i, (layer, shape, params) in enumerate(zip(net.spec.layers, net.shapes, net.parts(), strict=True)):
        gates = layer.structure.gates(params.structure, shape, params.weight)
        exists = torch.ones(shape.post, shape.pre, dtype=torch.bool)
        plastic = torch.zeros_like(exists)
        plastic[:, shape.plastic] = True if gates.plastic is None else (gates.plastic != 0).cpu()
        if gates.exists is not None:
            exists = (gates.exists != 0).cpu() | plastic
        every = torch.ones(shape.post, dtype=torch.bool)
        if net.spec.precision.format(Role.WEIGHT) is None:  # else weights of absent units may set the scale
            exists &= gather(shape, [*active, every], True)
        plastic &= exists
        constant = _constants(net, i, exists, [earlier.constant for earlier in result])
        active.append((every if gates.units is None else (gates.units != 0).cpu()) | (constant != 0))
        modulating = probing.modulator_inputs(net, i, plastic.any(1))
        recall = shape.width > 0 and probing.reads_recall(net, i)
        result.append(Connectivity(shape, exists, plastic, constant, modulating, recall))
    return tuple(result)


def _constants(net: Network, i: int, exists: Tensor, earlier: list[Tensor]) -> Tensor:
    """Output [post] of units of layer `i` that receive only zeros and rest at a fixed point of their bias; else nan."""
    cell, ready = net.spec.layers[i].cell, map_tensors(lambda tensor: tensor.detach().cpu(), net.resolve()[i])
    state, outputs, states = cell.state(1, ready.bias.shape[1], ready.bias), [], []
    for _ in range(3):
        state, response = cell.step(ready.cell, state, ready.bias.unsqueeze(0))
        outputs.append(sent(response, formats(net.spec)[i].activity).output[0])
        states.append(flatten(state))
    rests = (outputs[0] == outputs[1]) & (outputs[1] == outputs[2])
    for name, first in states[0].items():
        same = first == states[1][name]
        rests &= same[0] if same.shape == (1, len(rests)) else False
    constant = torch.where(rests, outputs[0], torch.nan)
    if not probing.cell_is_local(net, i):
        constant[:] = torch.nan
    while True:
        nonzero = gather(net.shapes[i], [*earlier, constant], torch.nan) != 0
        varies = (exists & nonzero).any(1) & constant.isfinite()
        if not varies.any():
            return constant
        constant[varies] = torch.nan


def _live(layers: tuple[Connectivity, ...], pinned: list[Tensor]) -> tuple[Tensor, ...]:
    """Units [post] of each layer that can influence the last one, or are pinned."""
    live = [units.clone() for units in pinned]
    live[-1][:] = True
    while True:
        before = [units.clone() for units in live]
        for i in reversed(range(len(layers))):
            _mark_sources(layers, live, i)
        if all(torch.equal(a, b) for a, b in zip(live, before, strict=True)):
            return tuple(live)


def _mark_sources(layers: tuple[Connectivity, ...], live: list[Tensor], i: int) -> None:
    """Mark the units that live units of layer `i` receive, except constants that can be folded into biases."""
    layer, rows = layers[i], live[i]
    received = layer.received(rows)
    plastic = layer.plastic[rows]
    writes = bool(plastic.any())
    unfoldable = layer.recurrent | plastic.any(0)  # a bias acts without delay, and on no trace
    if writes and layer.reads_recall:
        unfoldable |= layer.columns(layer.shape.plastic)
    if writes:
        live[i] |= layer.modulating & (layer.constant != 0)
    constant = gather(layer.shape, [each.constant for each in layers], torch.nan)
    needed = received & (constant != 0) & (constant.isnan() | unfoldable)
    for source in layer.shape.sources:
        if source.layer >= 0:
            live[source.layer][torch.from_numpy(source.index)[needed[source.columns]]] = True


def _obstacles(net: Network, draft: Plan) -> Iterator[_Obstacle]:
    """Whatever would compute something else in the network that the draft leaves."""
    for i in range(len(net.shapes)):
        yield from _nonlocal_parts(net, draft, i)
        yield from _displaced_noise(net, draft, i)
        yield from _lost_scale(net, draft, i)


def _nonlocal_parts(net: Network, draft: Plan, i: int) -> Iterator[_Obstacle]:
    """A rule or a modulation whose result for the remaining units depends on removed ones."""
    layer, known, kept, plastic = net.spec.layers[i], draft.layers[i], draft.kept[i], net.shapes[i].plastic
    columns = draft.columns(i)[plastic]
    if not known.plastic[kept].any() or (kept.all() and columns.all()):
        return
    silent = (draft.constants(i) == 0)[plastic]
    rows, some = kept.nonzero()[:, 0], columns.nonzero()[:, 0]
    units = [(i, slice(None)), *_plastic_sources(net, i)]
    try:
        if not probing.rule_is_local(net, i, rows, some, silent):
            yield _Obstacle(i, "stays whole", f"{type(layer.rule).__name__} mixes its synapses", units)
        if not probing.modulation_is_local(net, i, rows, some, known.constant == 0):
            reason = f"{type(layer.modulation).__name__} returns other rates for fewer units"
            yield _Obstacle(i, "stays whole", reason, units)
    except PlasticSearchError as error:  # its parameters cannot be sliced
        yield _Obstacle(i, "stays whole", str(error), units)


def _plastic_sources(net: Network, i: int) -> list[tuple[int, int]]:
    """Layer and index of every unit that is presynaptic to a plastic column."""
    shape = net.shapes[i]
    return [(layer, unit) for layer, unit in shape.presynaptic[shape.plastic] if layer >= 0]


def _displaced_noise(net: Network, draft: Plan, i: int) -> Iterator[_Obstacle]:
    """Traces that are rounded stochastically: a synapse that moved would be rounded with other noise."""
    form, kept, columns = net.spec.precision.format(Role.TRACE), draft.kept[i], draft.columns(i)[net.shapes[i].plastic]
    if form is None or form.rounding is not Rounding.STOCHASTIC or not draft.layers[i].plastic[kept].any():
        return
    if _moves(kept) or _moves(columns):
        reason = "its trace is rounded with noise that depends on the position of each synapse"
        yield _Obstacle(i, "stays whole", reason, [(i, slice(None)), *_plastic_sources(net, i)])


def _moves(kept: Tensor) -> bool:
    """Whether an index changes because an earlier one is removed."""
    return bool((kept[1:] & ~kept[:-1]).any()) or not bool(kept[:1].all())


def _lost_scale(net: Network, draft: Plan, i: int) -> Iterator[_Obstacle]:
    """The largest weight or alpha, which sets the step to which all are rounded."""
    layer, shape, params = net.spec.layers[i], net.shapes[i], net.parts()[i]
    known, kept, columns = draft.layers[i], draft.kept[i], draft.columns(i)
    alpha_columns = {AlphaShape.SYNAPSE: columns[shape.plastic], AlphaShape.NEURON: torch.ones(1, dtype=torch.bool)}
    weight = (params.weight.detach().cpu() * known.exists).abs().amax(0)
    tensors = [(Role.WEIGHT, weight, columns, 0)]
    if layer.alpha in alpha_columns and params.alpha.numel():
        alpha = params.alpha.detach().cpu().abs()
        tensors.append((Role.ALPHA, alpha, alpha_columns[layer.alpha], shape.plastic.start))
    for role, size, across, start in tensors:
        if net.spec.precision.format(role) is None or not size.any():
            continue
        largest = size == size.max()
        if largest[kept][:, across].any():
            continue
        row, column = (largest & kept[:, None] if largest[kept].any() else largest).nonzero()[0].tolist()
        units: list[tuple[int, Any]] = [(i, row)]
        source, unit = shape.presynaptic[start + column]
        if source >= 0 and (role is Role.WEIGHT or layer.alpha is AlphaShape.SYNAPSE):
            units.append((source, unit))
        yield _Obstacle(i, "keeps an idle unit", f"the largest {role.value} sets the scale of all others", units)
