"""Promises: conformance tests for parts, ours and users' own.

Example:
    def test_my_rule():
        rule_promises(MyRule)

Each function takes a class, which it constructs with its defaults and once with every other member of its enums, or an
instance. It returns None, or raises an AssertionError that names the part and the broken promise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from plastic_search.cells import Cell
from plastic_search.core.part import equation
from plastic_search.modulations import Modulation, Observation
from plastic_search.network.module import Network
from plastic_search.network.pytree import flatten, map_tensors
from plastic_search.network.quantization import parameter_rounder, reading, round_activity, step_size
from plastic_search.network.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.network.state import named
from plastic_search.precisions import Format, Precision, Role
from plastic_search.rules import Activity, Rule
from plastic_search.structures import Shape, Structure
from plastic_search.surrogates import Surrogate
from plastic_search.testing.checks import (
    BATCH,
    POST,
    PRE,
    STEPS,
    between_updates,
    dynamics,
    in_a_network,
    keep,
    noise,
    promise,
    seeded,
    tensors,
    variants,
)
from plastic_search.testing.encoders import encoder_promises
from plastic_search.testing.environments import environment_promises
from plastic_search.testing.tasks import task_promises
from plastic_search.testing.values import part_promises

__all__ = ["cell_promises", "encoder_promises", "environment_promises", "modulation_promises", "part_promises"]
__all__ += ["precision_promises", "rule_promises", "structure_promises", "surrogate_promises", "task_promises"]


def rule_promises(kind: type[Rule] | Rule) -> None:
    """Check a rule: single steps, steps through time, and within a network."""
    part_promises(kind)
    for rule in variants(kind):
        with promise(rule, "its docstring states its equation, `dH = ...`"):
            keep("dH =" in equation(type(rule)), "its first line has no 'dH ='")
        _rule_dynamics(rule)
        in_a_network(rule, Layer(units=POST, rule=rule, plastic=Pathway.BOTH))


def cell_promises(kind: type[Cell] | Cell) -> None:
    """Check a cell: the response of every unit, and which drive is plastic."""
    part_promises(kind)
    for cell in variants(kind):
        with promise(cell, "one of its drives is plastic"):
            keep(0 <= cell.plastic < cell.drives, f"it has {cell.drives} drives, and number {cell.plastic} is plastic")
        _cell_dynamics(cell)
        in_a_network(cell, Layer(units=POST, cell=cell, plastic=Pathway.BOTH))


def surrogate_promises(kind: type[Surrogate] | Surrogate) -> None:
    """Check a surrogate gradient: spikes of 0 and 1, whose derivative is `height` at the threshold, never below 0."""
    part_promises(kind)
    for surrogate in variants(kind):
        distance = torch.tensor([-1e30, -3.0, -0.1, -1e-6, 0.0, 1e-6, 0.1, 3.0, 1e30], dtype=torch.float64)
        distance.requires_grad_()
        with promise(surrogate, "a spike is exactly 1 above the threshold, else exactly 0, in the type of its input"):
            spikes = surrogate.spike(distance)
            assert_close(spikes.detach(), (distance > 0).double(), rtol=0, atol=0)
        with promise(surrogate, "its derivative is `height` at the threshold, and nowhere negative, or not finite"):
            (slopes,) = torch.autograd.grad(spikes.sum(), distance)
            keep(bool(slopes.isfinite().all() and (slopes >= 0.0).all()), f"it is {slopes.tolist()}")
            assert_close(slopes[4], slopes.new_tensor(surrogate.height))


def modulation_promises(kind: type[Modulation] | Modulation) -> None:
    """Check a modulation: its rate broadcasts over [batch, post], or [batch, post, pre]."""
    part_promises(kind)
    for modulation in variants(kind):
        _modulation_dynamics(modulation)
        in_a_network(modulation, Layer(units=POST, modulation=modulation, plastic=Pathway.BOTH))


def structure_promises(kind: type[Structure] | Structure) -> None:
    """Check a structure: gates of 0 and 1, no trace without a synapse, gradients of parameters, frozen in the end."""
    part_promises(kind)
    for structure in variants(kind):
        for pathway in Pathway if structure.recurrent else (Pathway.NONE, Pathway.INPUT):
            layer = Layer(units=POST, structure=structure, plastic=pathway)
            with promise(structure, f"it fits a layer of {POST} units with {PRE} inputs"):
                (shape,) = shapes(NetworkSpec((layer,)), PRE)
            _gates(structure, shape)
            in_a_network(structure, layer)


def precision_promises(kind: type[Precision] | Precision) -> None:
    """Check a precision: few levels, idempotent rounding, and straight-through gradients."""
    part_promises(kind)
    for precision in variants(kind):
        for role in Role:
            form = precision.format(role)
            with promise(precision, f"the {role.value} has one format, or none"):
                keep(form is None or isinstance(form, Format), f"it is {form!r}")
                keep(form == precision.format(role), "it changes from call to call")
            if form is not None:
                own = {Role.TRACE: _rounded_trace, Role.ACTIVITY: _rounded_activity}
                own.get(role, _rounded)(precision, form, role)
        in_a_network(precision, Layer(units=POST, plastic=Pathway.BOTH), precision)


def _rule_dynamics(rule: Rule) -> None:
    def learn(params: Any, seen: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        pre, post = seen
        state, trace = rule.state(pre.shape[1], POST, PRE, pre), pre.new_zeros(pre.shape[1], POST, PRE)
        for x, y in zip(pre, post, strict=True):
            activity = Activity(x, y, torch.einsum("bmn,bn->bm", trace, x), trace)
            change, state = rule.step(params, state, activity)
            keep({t.dtype for t in tensors(change)} <= {trace.dtype}, f"a term of its change is not {trace.dtype}")
            trace = trace + 0.1 * change.full(trace)
        return trace, state

    params = seeded(rule, lambda rng: rule.params(POST, PRE, rng))
    dynamics(rule, learn, params, (noise(STEPS, BATCH, PRE), noise(STEPS, BATCH, POST)), (BATCH, POST, PRE))


def _cell_dynamics(cell: Cell) -> None:
    def respond(params: Any, seen: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        (drives,) = seen
        state, outputs = cell.state(drives.shape[1], POST, drives), []
        for drive in drives:
            state, response = cell.step(params, state, drive)
            keep({t.dtype for t in response} == {drive.dtype}, f"its response is not {drive.dtype}")
            outputs.append(response.output + 0.5 * response.post)
        return torch.stack(outputs, 1), state

    drives = 0.5 + noise(STEPS, BATCH, cell.sums, POST)
    params = seeded(cell, lambda rng: cell.params(POST, rng))
    dynamics(cell, respond, params, (drives,), (BATCH, STEPS, POST))
    with promise(cell, "its state carries a gradient from the last output to the first drive"):
        drives.requires_grad_()
        outputs, state = respond(params, (drives,))
        outputs[:, -1].sum().backward()
        keep(not tensors(state) or (drives.grad is not None and bool(drives.grad[0].any())), "it carries none")


def _modulation_dynamics(modulation: Modulation) -> None:
    def write(params: Any, seen: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        outputs, inputs, sources = seen
        trace = outputs.new_zeros(outputs.shape[1], POST, PRE)
        past, previous = torch.ones_like(trace), torch.zeros_like(outputs[0])
        state = modulation.state(outputs.shape[1], POST, outputs)
        for output, received, source in zip(outputs, inputs, sources, strict=True):
            around = Observation(output, previous, received, (), None if modulation.source is None else source)
            rate, state = modulation.step(params, state, around)
            keep({t.dtype for t in tensors(rate)} == {output.dtype}, f"its rate is not {output.dtype}")
            trace, previous = trace + _of_synapses(rate.write) * past, output
            if rate.eligibility is not None:
                eta = _of_synapses(rate.eligibility)
                past = (1.0 - eta) * past + eta * output.square().unsqueeze(-1)
        return trace, state

    params = seeded(modulation, lambda rng: modulation.params(POST, PRE, rng))
    seen = (noise(STEPS, BATCH, POST), noise(STEPS, BATCH, PRE), noise(STEPS, BATCH, PRE))
    dynamics(modulation, write, params, seen, (BATCH, POST, PRE))


def _of_synapses(rate: Tensor) -> Tensor:
    return rate if rate.dim() == 3 else rate.unsqueeze(-1)


def _gates(structure: Structure, shape: Shape) -> None:
    params = seeded(structure, lambda rng: structure.params(shape, rng))
    _hard(structure, shape, params)
    between_updates(structure, shape, params, step=0)
    with promise(structure, "in training, gradients reach every parameter that is no buffer"):
        trainable = map_tensors(lambda t: t.clone().requires_grad_(), params)
        for gate in structure.gates(trainable, shape, noise(1)):
            if gate is not None and gate.requires_grad:
                (noise(*gate.shape) * gate).sum().backward(retain_graph=True)
        for name, t in flatten(trainable).items():
            exempt = name in structure.buffers or t.numel() == 0
            keep(exempt or (t.grad is not None and bool(t.grad.any())), f"{name} gets no gradient")
    between_updates(structure, shape, params, step=1)
    between_updates(structure, shape, params, step=2)
    _hard(structure, shape, params)  # as training left it
    with promise(structure, "gates are frozen when training has ended, and more training does not change them"):
        before = structure.gates(params, shape, noise(1))
        between_updates(structure, shape, params, step=0)
        for one, other in zip(before, structure.gates(params, shape, noise(1)), strict=True):
            keep(one is other if one is None or other is None else torch.equal(one, other), "a gate has changed")


def _hard(structure: Structure, shape: Shape, params: Any) -> None:
    width = shape.width
    with promise(structure, "gates are 0 or 1, of the layer's shape and of the type of `like`"):
        gates = structure.gates(params, shape, noise(1))
        for gate, wanted in ((gates.exists, (POST, shape.pre)), (gates.plastic, (POST, width))):
            if gate is not None:
                keep(gate.shape == wanted and gate.dtype is torch.float64, f"got {list(gate.shape)} of {gate.dtype}")
                keep(bool(((gate == 0) | (gate == 1)).all()), f"got {gate}")
    with promise(structure, "nothing is plastic that does not exist"):
        if gates.exists is not None:
            plastic = torch.ones(POST, width).double() if gates.plastic is None else gates.plastic
            keep(bool((plastic <= gates.exists[:, shape.plastic]).all()), "a trace has no synapse")


def _rounded(precision: Precision, form: Format, role: Role) -> None:
    most, name = form.levels, role.value
    with promise(precision, f"the {name} has at most {most} levels, and rounding twice changes nothing"):
        x = noise(50, 40).requires_grad_()
        rounded = parameter_rounder(form)(x)
        keep(len(rounded.unique()) <= most, f"it has {len(rounded.unique())}")
        assert_close(parameter_rounder(form)(rounded), rounded)
    with promise(precision, f"the {name}'s gradient passes straight through; in 1 bit, not beyond 1"):
        rounded.sum().backward()
        assert_close(x.grad, (x.detach().abs() <= 1.0).double() if form.bits == 1 else torch.ones_like(x))


def _rounded_activity(precision: Precision, form: Format, role: Role) -> None:
    with promise(precision, f"the {role.value} has at most {form.levels} levels, and rounding twice changes nothing"):
        x = noise(50, 40).requires_grad_()
        rounded = round_activity(x, form)
        keep(len(rounded.unique()) <= form.levels, f"it has {len(rounded.unique())}")
        assert_close(round_activity(rounded, form), rounded)
    with promise(precision, f"the {role.value}'s gradient passes straight through, but beyond 1"):
        rounded.sum().backward()
        assert_close(x.grad, (x.detach().abs() <= 1.0).double())


def _rounded_trace(precision: Precision, form: Format, role: Role) -> None:
    with promise(precision, f"the {role.value} stands on its {form.levels} levels, and what is kept on finer ones"):
        layer = Layer(units=POST, plastic=Pathway.BOTH)
        _, state = Network(NetworkSpec((layer, Layer(units=1)), precision), PRE)(3 * noise(STEPS, BATCH, PRE).float())
        kept, read = named(state)["layers.0.trace"], reading(form, layer.limit)
        for values, fine in ((kept, 2**form.remainder), (kept if read is None else read(kept), 1)):
            levels = values * fine / step_size(form, layer.limit)
            assert_close(levels, levels.round(), rtol=0, atol=0.01)
            keep(bool((levels.abs() < form.top * fine + 0.01).all()), f"it is beyond {form.top * fine} steps")
