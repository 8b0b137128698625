"""Which units of a network can influence its output at all, and which never say anything but one number.

A unit is heard by way of a synapse that exists, of the modulator of its own layer, and, where a rule asks what the
trace recalls, of every plastic column. What a part makes of its units is not known from its name but tried out, on the
whole layer and on what would remain of it: where the two differ, the layer is left whole, and the plan says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.pytree import flatten
from plastic_search.network.spec import AlphaShape
from plastic_search.precisions import Role, Rounding
from plastic_search.topology.probing import cell_is_local, listened, modulation_is_local, recalls, rule_is_local

__all__ = ["Facts", "Plan", "facts", "plan"]

_WHOLE = " stays whole"


class Facts(NamedTuple):
    """What is known of one layer before anything is taken away."""

    exists: Tensor  # [post, pre], bool
    plastic: Tensor  # [post, width], bool
    start: int  # the first plastic column
    source: Tensor  # [pre], the layer that a column comes from; -1 is the input
    unit: Tensor  # [pre], of the unit there
    says: Tensor  # [post], the one number that a unit ever says; nan where it says more than one
    listened: Tensor  # [post], bool: the modulator hears it
    recalls: bool  # the rule asks what the trace recalls, so every plastic column matters

    def heard(self, rows: Tensor) -> Tensor:
        """Which columns [pre] the units `rows` hear."""
        made = self.exists[rows].any(0)
        if self.recalls and self.plastic[rows].any():
            made[self.start : self.start + self.plastic.shape[1]] = True
        return made


class Plan(NamedTuple):
    """What remains of a network."""

    kept: tuple[Tensor, ...]  # per layer [post], bool
    facts: tuple[Facts, ...]
    whole: tuple[str, ...]  # why a layer, or what nobody hears, is kept all the same
    listening: tuple[bool, ...]  # per layer, whether it keeps what it hears of others though it needs it not

    def spoken(self, layer: int) -> Tensor:
        """By which columns [pre] of a layer someone who is kept speaks."""
        known = self.facts[layer]
        made = torch.ones(len(known.source), dtype=torch.bool)
        for at in set(known.source.tolist()) - {-1}:
            mine = known.source == at
            made[mine] = self.kept[at][known.unit[mine]]
        return made

    def columns(self, layer: int) -> Tensor:
        """Which columns [pre] of a layer remain: those of units that are kept, and if it hears them.

        What it hears by synapses that are not plastic it hears whole: zeros in a product cost less than to select.
        """
        known, left = self.facts[layer], self.spoken(layer)
        if not self.listening[layer]:
            traced = torch.zeros_like(left)
            traced[known.start : known.start + known.plastic.shape[1]] = True
            left &= known.heard(self.kept[layer]) | (known.source == layer) | ~traced
        return left


@torch.no_grad()
def plan(net: Network) -> Plan:
    """The units that are kept: those that can influence the output, and what must stay for these to say the same."""
    known = facts(net)
    pins = [torch.zeros(shape.post, dtype=torch.bool) for shape in net.shapes]
    listening, reasons = [False] * len(pins), dict[tuple[int, str], str]()
    for layer, each in enumerate(net.spec.layers):
        if not cell_is_local(net, layer):
            pins[layer][:] = True
            reasons[layer, ""] = f"layer {layer} stays whole: {type(each.cell).__name__} mixes its units"
    while True:
        made = Plan(_alive(known, pins), known, tuple(reasons.values()), tuple(listening))
        found = next(_misfits(net, made), None)
        if found is None:
            _some(made)
            return made
        if not listening[found.layer]:
            listening[found.layer] = True
            reasons[found.layer, found.why] = f"layer {found.layer} keeps what it hears in vain: {found.why}"
            continue
        reasons[found.layer, found.why] = f"layer {found.layer}{found.what}: {found.why}"
        for at, units in found.units:
            pins[at][units] = True


def _some(made: Plan) -> None:
    """Keep at least one unit of each layer, one that a layer could hear which hears nobody, be it in vain."""
    for i, known in enumerate(made.facts):
        others = known.source != i
        if others.any() and not made.spoken(i)[others].any():
            made.kept[int(known.source[0])][known.unit[0]] = True  # columns begin with those of others
    for kept in made.kept:
        kept[0] |= not bool(kept.any())


class _Misfit(NamedTuple):
    layer: int
    what: str  # happens to it, if its units must stay
    why: str
    units: list[tuple[int, Any]]  # layer, and which of its units must stay


def facts(net: Network) -> tuple[Facts, ...]:
    """What is known of every layer."""
    made: list[Facts] = []
    living: list[Tensor] = []  # which units exist
    for i, (layer, shape, params) in enumerate(zip(net.spec.layers, net.shapes, net.parts(), strict=True)):
        gates = layer.structure.gates(params.structure, shape, params.weight)
        width = shape.width
        full = torch.ones(shape.post, shape.pre, dtype=torch.bool)
        exists = full if gates.exists is None else (gates.exists != 0).cpu()
        plastic = full[:, :width] if gates.plastic is None else (gates.plastic != 0).cpu()
        exists = exists.clone()
        exists[:, shape.plastic] |= plastic
        source, index = torch.tensor(shape.presynaptic).unbind(1)
        exact = net.spec.precision.format(Role.WEIGHT) is None  # or weights of who does not exist may set the scale
        for at in set(source.tolist()) - {-1, i} if exact else ():  # what does not exist is not heard
            heard_of = source == at
            exists[:, heard_of] &= living[at][index[heard_of]] | (made[at].says != 0)[index[heard_of]]
        plastic = plastic & exists[:, shape.plastic]
        living.append(torch.ones(shape.post, dtype=torch.bool) if gates.units is None else (gates.units != 0).cpu())
        says = _constants(net, i, exists, source, index, made)
        asks = bool(width) and recalls(net, i)
        heard = listened(net, i, plastic.any(1))
        made.append(Facts(exists, plastic, shape.plastic.start, source, index, says, heard, asks))
    return tuple(made)


def _constants(net: Network, i: int, exists: Tensor, source: Tensor, index: Tensor, made: list[Facts]) -> Tensor:
    """What each unit says at every step, from its bias alone, where it hears nothing but silence; else nan."""
    cell, bias = net.spec.layers[i].cell, net.resolve()[i].bias.detach().cpu()
    state, outputs, states = cell.state(1, bias.shape[1], bias), [], []
    for _ in range(3):
        state, response = cell.step(state, bias.unsqueeze(0))
        outputs.append(response.output[0])
        states.append(flatten(state))
    rests = (outputs[0] == outputs[1]) & (outputs[1] == outputs[2])
    for name, first in states[0].items():  # a fixed point: it will never say anything else
        same = first == states[1][name]
        rests &= same[0] if same.shape == (1, len(rests)) else False
    says = torch.where(rests, outputs[0], torch.nan)
    if not cell_is_local(net, i):
        says[:] = torch.nan
    while True:
        loud = torch.ones(len(source), dtype=torch.bool)
        for at in set(source.tolist()) - {-1}:
            mine = source == at
            loud[mine] = (says if at == i else made[at].says)[index[mine]] != 0
        selection = (exists & loud).any(1) & says.isfinite()
        if not selection.any():
            return says
        says[selection] = torch.nan


def _alive(known: tuple[Facts, ...], pins: list[Tensor]) -> tuple[Tensor, ...]:
    """Who can influence the last layer, or is pinned. A constant that only fixed synapses hear can go into biases."""
    alive = [pin.clone() for pin in pins]
    alive[-1][:] = True
    while True:
        before = [each.clone() for each in alive]
        for i in reversed(range(len(known))):
            _hear(known, alive, i)
        if all(torch.equal(a, b) for a, b in zip(alive, before, strict=True)):
            return tuple(alive)


def _hear(known: tuple[Facts, ...], alive: list[Tensor], i: int) -> None:
    """Whoever the living units of a layer hear lives."""
    each, rows = known[i], alive[i]
    heard = each.heard(rows)
    firmly = each.source == i  # a constant cannot stand in a bias where it is heard a step late, or by a trace
    width, written = each.plastic.shape[1], bool(each.plastic[rows].any())
    if width:
        columns = slice(each.start, each.start + width)
        firmly[columns] |= each.plastic[rows].any(0) | (written and each.recalls)
    if written:
        alive[i] |= each.listened & (each.says != 0)
    for at in set(each.source.tolist()) - {-1}:
        mine = each.source == at
        says = known[at].says[each.unit[mine]]
        lives = heard[mine] & (says != 0) & (says.isnan() | firmly[mine])
        alive[at][each.unit[mine][lives]] = True


def _misfits(net: Network, made: Plan) -> Iterator[_Misfit]:
    """Whatever would not be the same in what remains, and the units that must stay lest it be."""
    for i in range(len(net.shapes)):
        yield from _mixed(net, made, i)
        yield from _moved(net, made, i)
        yield from _rescaled(net, made, i)


def _mixed(net: Network, made: Plan, i: int) -> Iterator[_Misfit]:
    """A rule or a modulation that makes something else of fewer units."""
    layer, known, kept = net.spec.layers[i], made.facts[i], made.kept[i]
    columns = made.columns(i)[net.shapes[i].plastic]
    if not known.plastic[kept].any() or (kept.all() and columns.all()):
        return
    silent = torch.zeros(len(known.source), dtype=torch.bool)
    for at in set(known.source.tolist()) - {-1}:
        mine = known.source == at
        silent[mine] = made.facts[at].says[known.unit[mine]] == 0
    rows, some = kept.nonzero()[:, 0], columns.nonzero()[:, 0]
    everyone = [(i, slice(None)), *_sources(net, made, i)]
    try:
        if not rule_is_local(net, i, rows, some, silent[net.shapes[i].plastic]):
            yield _Misfit(i, _WHOLE, f"{type(layer.rule).__name__} mixes its synapses", everyone)
        if not modulation_is_local(net, i, rows, known.says == 0):
            name = type(layer.modulation).__name__
            yield _Misfit(i, _WHOLE, f"{name} makes other rates of fewer units", everyone)
    except PlasticSearchError as error:  # its parameters cannot be cut
        yield _Misfit(i, _WHOLE, str(error), everyone)


def _sources(net: Network, made: Plan, i: int) -> list[tuple[int, Any]]:
    """Every unit that speaks to a plastic column."""
    known, columns = made.facts[i], net.shapes[i].plastic
    return [(at, unit) for at, unit in _pairs(known.source[columns], known.unit[columns]) if at >= 0]


def _pairs(source: Tensor, index: Tensor) -> list[tuple[int, int]]:
    return list(zip(source.tolist(), index.tolist(), strict=True))


def _moved(net: Network, made: Plan, i: int) -> Iterator[_Misfit]:
    """Traces that are rounded stochastically: the noise belongs to a place, and would be another at another."""
    form, kept, columns = net.spec.precision.format(Role.TRACE), made.kept[i], made.columns(i)[net.shapes[i].plastic]
    if form is None or form.rounding is not Rounding.STOCHASTIC or not made.facts[i].plastic[kept].any():
        return
    if _holes(kept) or _holes(columns):
        why = "its trace is rounded with a noise that depends on the place of each synapse"
        yield _Misfit(i, _WHOLE, why, [(i, slice(None)), *_sources(net, made, i)])


def _holes(kept: Tensor) -> bool:
    """Whether anyone moves up, since one before is gone."""
    return bool((kept[1:] & ~kept[:-1]).any()) or not bool(kept[:1].all())


def _rescaled(net: Network, made: Plan, i: int) -> Iterator[_Misfit]:
    """The largest weight or alpha, which sets the step to which all are rounded."""
    layer, shape, params = net.spec.layers[i], net.shapes[i], net.parts()[i]
    known, kept, columns = made.facts[i], made.kept[i], made.columns(i)
    wide = {AlphaShape.SYNAPSE: columns[shape.plastic], AlphaShape.NEURON: torch.ones(1, dtype=torch.bool)}
    gated = (params.weight.detach().cpu() * known.exists).abs().amax(0)
    found = [(Role.WEIGHT, gated, columns, 0)]
    if layer.alpha in wide and params.alpha.numel():
        found.append((Role.ALPHA, params.alpha.detach().cpu().abs(), wide[layer.alpha], shape.plastic.start))
    for role, size, across, start in found:
        if net.spec.precision.format(role) is None or not size.any():
            continue
        largest = size == size.max()
        if largest[kept][:, across].any():
            continue
        row, column = (largest & kept[:, None] if largest[kept].any() else largest).nonzero()[0].tolist()
        units: list[tuple[int, Any]] = [(i, row)]
        at = int(known.source[start + column])
        if at >= 0 and (role is Role.WEIGHT or layer.alpha is AlphaShape.SYNAPSE):
            units.append((at, int(known.unit[start + column])))
        yield _Misfit(i, " keeps an idle unit", f"the largest {role.value} sets the scale of all others", units)
