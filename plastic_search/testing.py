"""The promises that every part makes: ours, and those of anyone who writes a part.

    def test_my_rule():
        rule_promises(MyRule)

Each function takes a class, which it makes with its defaults and once with every other member of its enums, or a
value, which it takes as it is. It returns quietly, or raises an AssertionError that says which promise is broken
by which part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, fields, replace
from enum import Enum
from typing import Any

import torch
from torch import Generator, Tensor
from torch.testing import assert_close

from plastic_search.cells import Cell
from plastic_search.datasets import DataMissing
from plastic_search.modulations import Modulation
from plastic_search.network import Network, State, load_named, named
from plastic_search.part import Part, equation
from plastic_search.precisions import Format, Precision, Role
from plastic_search.quantize import parameter_rounder, step_size
from plastic_search.rules import Activity, Rule
from plastic_search.space import holes
from plastic_search.spec import Layer, NetworkSpec, Pathway, shapes
from plastic_search.structures import Shape, Structure
from plastic_search.tasks import Episodes, Split, Task

__all__ = [
    "cell_promises",
    "modulation_promises",
    "part_promises",
    "precision_promises",
    "rule_promises",
    "structure_promises",
    "task_promises",
]

BATCH, POST, PRE, STEPS = 3, 5, 4, 4


def part_promises(kind: type[Part] | Part) -> None:
    """What any part promises: to be a frozen value that JSON carries, with a docstring that says what it is."""
    for part in _variants(kind):
        with _promise(part, "it is a frozen value: equal to its like, hashable, never changed"):
            twin = replace(part)
            _keep(part == twin and hash(part) == hash(twin), "its like is not equal to it, or hashes differently")
            _keep(_frozen(part), "a field of it can be set; is it a dataclass(frozen=True) of its own?")
        with _promise(part, "JSON carries it there and back"):
            _keep(type(part).from_json(json.loads(json.dumps(part.to_json(), allow_nan=False))) == part, "it changed")
        with _promise(part, "its docstring says in one line what it does"):
            text = equation(type(part))
            _keep(bool(text) and not text.startswith(f"{type(part).__name__}("), "it has no docstring of its own")
        with _promise(part, "`space()`, where it has one, is a part of its kind with holes that JSON carries"):
            space = getattr(type(part), "space", None)
            if space is not None:
                open_part = space()
                _keep(isinstance(open_part, type(part)) and any(holes(open_part)), "it left no hole, or is no such part")
                _keep(type(part).from_json(json.loads(json.dumps(open_part.to_json()))) == open_part, "it changed")


def rule_promises(kind: type[Rule] | Rule) -> None:
    """What every rule promises, at one step, through time, and within a network."""
    part_promises(kind)
    for rule in _variants(kind):
        with _promise(rule, "its docstring states its equation, `dH = ...`"):
            _keep("dH =" in equation(type(rule)), "its first line has no 'dH ='")
        make = _seeded(rule, lambda rng, rule=rule: rule.params(POST, PRE, rng))

        def run(params: Any, seen: tuple[Tensor, ...], rule: Rule = rule) -> tuple[Tensor, Any]:
            pre, post = seen
            state, trace = rule.state(pre.shape[1], POST, PRE, pre), pre.new_zeros(pre.shape[1], POST, PRE)
            for x, y in zip(pre, post, strict=True):
                change, state = rule.step(params, state, Activity(x, y, torch.einsum("bmn,bn->bm", trace, x)))
                trace = trace + 0.1 * change.dense(trace)
            return trace, state

        _dynamics(rule, run, make, (_noise(STEPS, BATCH, PRE), _noise(STEPS, BATCH, POST)), (BATCH, POST, PRE))
        _in_a_network(rule, Layer(units=POST, rule=rule, plastic=Pathway.BOTH))


def cell_promises(kind: type[Cell] | Cell) -> None:
    """What every cell promises: a response for every unit, and a plastic drive among its drives."""
    part_promises(kind)
    for cell in _variants(kind):
        with _promise(cell, "one of its drives is plastic"):
            _keep(0 <= cell.plastic < cell.drives, f"it has {cell.drives} drives, and number {cell.plastic} is plastic")

        def run(params: Any, seen: tuple[Tensor, ...], cell: Cell = cell) -> tuple[Tensor, Any]:
            (drives,) = seen
            state, said = cell.state(drives.shape[1], POST, drives), []
            for drive in drives:
                state, response = cell.step(state, drive)
                said.append(response.output + 0.5 * response.post)
            return torch.stack(said, 1), state

        drives = 0.5 + _noise(STEPS, BATCH, cell.drives, POST)
        _dynamics(cell, run, lambda: (), (drives,), (BATCH, STEPS, POST))
        _in_a_network(cell, Layer(units=POST, cell=cell, plastic=Pathway.BOTH))


def modulation_promises(kind: type[Modulation] | Modulation) -> None:
    """What every modulation promises: a rate that spreads over [batch, post], from the layer's output alone."""
    part_promises(kind)
    for modulation in _variants(kind):
        make = _seeded(modulation, lambda rng, modulation=modulation: modulation.params(POST, rng))

        def run(params: Any, seen: tuple[Tensor, ...], modulation: Modulation = modulation) -> tuple[Tensor, Any]:
            trace = seen[0].new_zeros(seen[0].shape[1], POST)
            past = torch.ones_like(trace)
            for output in seen[0]:
                rate = modulation.step(params, output)
                if rate.eligibility is not None:
                    _keep(rate.eligibility.numel() == 1, "its eligibility is more than one number")
                    past = (1 - rate.eligibility) * past + rate.eligibility * output.square()
                trace = trace + rate.write * (past + 1.0)
            return trace, ()

        _dynamics(modulation, run, make, (_noise(STEPS, BATCH, POST),), (BATCH, POST))
        _in_a_network(modulation, Layer(units=POST, modulation=modulation, plastic=Pathway.BOTH))


def structure_promises(kind: type[Structure] | Structure) -> None:
    """What every structure promises: gates of 0 and 1, no trace where there is no synapse, and a way to learn them."""
    part_promises(kind)
    for structure in _variants(kind):
        pathways = list(Pathway) if structure.recurrent else [Pathway.NONE, Pathway.INPUT]
        for pathway in pathways:
            layer = Layer(units=POST, structure=structure, plastic=pathway)
            (shape,) = shapes(NetworkSpec((layer,)), PRE)
            _gates(structure, shape)
            _in_a_network(structure, layer)


def precision_promises(kind: type[Precision] | Precision) -> None:
    """What every precision promises: few levels, the same for the same value, and gradients that pass through."""
    part_promises(kind)
    for precision in _variants(kind):
        for role in Role:
            form = precision.format(role)
            with _promise(precision, f"the {role.value} has one format, or none"):
                _keep(form is None or isinstance(form, Format), f"it is {form!r}")
                _keep(form == precision.format(role), "it changes from call to call")
            if form is not None and role is not Role.TRACE:
                _rounded(precision, form, role)
        layer = Layer(units=POST, plastic=Pathway.BOTH)
        form = precision.format(Role.TRACE)
        if form is not None:
            with _promise(precision, "a trace stands on its levels"):
                _, state = Network(NetworkSpec((layer,), precision), PRE)(3 * _noise(STEPS, BATCH, PRE).float())
                levels = named(state)["layers.0.trace"] / step_size(form, layer.limit)
                assert_close(levels, levels.round(), rtol=0, atol=1e-3)
                _keep(bool((levels.abs() <= form.top + 1e-3).all()), f"it is beyond {form.top} steps")
        _in_a_network(precision, layer, precision)


def task_promises(kind: type[Task] | Task) -> None:
    """What every task promises: fair scores, the same episodes from the same seed, and splits that share nothing.

    Raises:
        DataMissing: the task's data is not on this machine; a test may skip.
    """
    part_promises(kind)
    for task in _variants(kind):
        for split in Split:
            _episodes(task, split)
        _scores(task, task.episodes(512, Split.TRAIN, _rng(0)))
        train, test = (task.episodes(512, split, _rng(1)).inputs for split in (Split.TRAIN, Split.TEST))
        with _promise(task, "no item is in two splits"):
            made_up = torch.equal(train, test)  # from the seed alone: there is no stored material to share
            _keep(made_up or not (_items(train) & _items(test)), "the same input occurs in TRAIN and in TEST")


def _dynamics(
    part: Part, run: Callable[..., tuple[Tensor, Any]], make: Callable[[], Any], seen: tuple[Tensor, ...], shape: Any
) -> None:
    """What `run(params, seen)` must be like, where each of `seen` is [steps, batch, ...] and float64."""
    params = _mapped(make(), Tensor.double)
    with _promise(part, f"shapes stay what they are, here {list(shape)}, and numbers finite"):
        result, state = run(params, seen)
        _keep(result.shape == shape and bool(result.isfinite().all()), f"got {result}")
    with _promise(part, "float64 in, float64 out, in its state as well"):
        _keep({t.dtype for t in [result, *_tensors(state)]} == {torch.float64}, "something is not float64")
    with _promise(part, "it is deterministic, and changes nothing that it was given"):
        copies = [t.clone() for t in seen]
        assert_close(run(params, seen)[0], result, rtol=0, atol=0)
        _keep(all(torch.equal(a, b) for a, b in zip(copies, seen, strict=True)), "its inputs were changed in place")
    with _promise(part, "an element alone does what it does within a batch"):
        for b in range(BATCH):
            alone, its = run(params, tuple(t[:, b : b + 1] for t in seen))
            assert_close(alone, result[b : b + 1])
            for one, all_ in zip(_tensors(its), _tensors(state), strict=True):
                assert_close(one, all_[b : b + 1])
    with _promise(part, "gradients reach activity through time, and every tuned parameter"):
        free = tuple(t.clone().requires_grad_() for t in seen)
        tuned = _mapped(params, lambda t: t.clone().requires_grad_())
        result = run(tuned, free)[0]
        if result.requires_grad:
            (result * _noise(*shape)).sum().backward()
        used = [t for t in _tensors(tuned) if t.numel()]
        if state or not _constant(run, params, seen):
            used += free
        for t in used:
            _keep(t.grad is not None and bool(t.grad.isfinite().all()) and bool(t.grad.any()), "one gets no gradient")
    with _promise(part, "it stays on the device of what it is given, and never branches on a tensor's values"):
        far = run(_mapped(params, lambda t: t.to("meta")), tuple(t.to("meta") for t in seen))
        _keep({t.device.type for t in [far[0], *_tensors(far[1])]} == {"meta"}, "something is elsewhere")


def _in_a_network(part: Part, layer: Layer, precision: Precision | None = None) -> None:
    """What a layer with this part must be like, by the one law of `step`."""
    spec = NetworkSpec((layer,)) if precision is None else NetworkSpec((layer,), precision)
    x = _noise(STEPS, BATCH, PRE)
    with _promise(part, "a network of it starts the same from the same seed, and runs"):
        net = Network(spec, PRE, seed=1).double()
        twin = Network(spec, PRE, seed=1).double()
        y, end = net(x)
        assert_close(twin(x)[0], y, rtol=0, atol=0)
        _keep(y.shape == (STEPS, BATCH, POST) and bool(y.isfinite().all()), f"got {y}")
        _keep({t.dtype for t in named(end).values()} == {torch.float64}, "its state is not float64")
    with _promise(part, "in a network, an element alone does what it does within a batch"):
        start = net.start(BATCH)
        for b in range(BATCH):
            alone, its = net(x[:, b : b + 1], _row(start, b))
            assert_close(alone, y[:, b : b + 1])
            assert_close(named(its), named(_row(end, b)))
    with _promise(part, "in a network, time goes on where it stopped"):
        _, middle = net(x[:2])
        assert_close(named(net(x[2:], middle)[1]), named(end))
    with _promise(part, "in a network, every parameter gets a finite gradient"):
        y.square().sum().backward()
        for name, p in net.named_parameters():
            _keep(p.numel() == 0 or (p.grad is not None and bool(p.grad.isfinite().all())), f"{name} does not")


def _gates(structure: Structure, shape: Shape) -> None:
    make = _seeded(structure, lambda rng: structure.params(shape, rng))
    tuned = _mapped(make(), lambda t: t.double().requires_grad_())
    width = shape.plastic.stop - shape.plastic.start
    with _promise(structure, "gates are 0 or 1, of the layer's shape and of float64 where that is asked"):
        gates = structure.gates(tuned, shape, _noise(1))
        for gate, wanted in ((gates.exists, (POST, shape.pre)), (gates.plastic, (POST, width))):
            if gate is not None:
                _keep(gate.shape == wanted and gate.dtype is torch.float64, f"got {list(gate.shape)} of {gate.dtype}")
                _keep(bool(((gate == 0) | (gate == 1)).all()), f"got {gate}")
    with _promise(structure, "nothing is plastic that does not exist"):
        if gates.exists is not None:
            plastic = torch.ones_like(gates.exists)[:, shape.plastic] if gates.plastic is None else gates.plastic
            _keep(bool((plastic <= gates.exists[:, shape.plastic]).all()), "a trace has no synapse")
    with _promise(structure, "gradients reach every tuned parameter"):
        loss = sum((_noise(*g.shape) * g).sum() for g in gates if g is not None and g.requires_grad)
        if isinstance(loss, Tensor):
            loss.backward()
        for t in _tensors(tuned):
            _keep(t.numel() == 0 or (t.grad is not None and bool(t.grad.any())), "one gets no gradient")


def _rounded(precision: Precision, form: Format, role: Role) -> None:
    with _promise(precision, f"the {role.value} has at most {2 * form.top + 1} levels, and rounding twice changes nothing"):
        x = _noise(50, 40).requires_grad_()
        rounded = parameter_rounder(form)(x)
        _keep(len(rounded.unique()) <= 2 * form.top + 1, f"it has {len(rounded.unique())}")
        assert_close(parameter_rounder(form)(rounded), rounded)
    with _promise(precision, f"the {role.value}'s gradient passes straight through"):
        rounded.sum().backward()
        _keep(x.grad is not None and bool((x.grad == 1).all()), f"got {x.grad}")


def _episodes(task: Task, split: Split) -> None:
    with _promise(task, f"{split.name} episodes have the shapes that it tells"):
        made = task.episodes(6, split, _rng(0))
        time, size, width = made.inputs.shape
        _keep((size, width) == (6, task.inputs) and 0 <= made.asked < time, f"inputs are {list(made.inputs.shape)}")
        _keep(len(made.targets) == 6 and bool(made.inputs.isfinite().all()), "targets lack some, or inputs not finite")
    with _promise(task, f"the same seed gives the same {split.name} episodes, another seed others"):
        same, other = (task.episodes(6, split, _rng(seed)) for seed in (0, 1))
        _keep(torch.equal(same.inputs, made.inputs) and torch.equal(same.targets, made.targets), "they differ")
        _keep(not torch.equal(other.inputs, made.inputs), "another seed gave the same")


def _scores(task: Task, made: Episodes) -> None:
    guess = _noise(len(made.inputs), 512, task.outputs).float().requires_grad_()
    with _promise(task, "a score lies from 0 to 1, one for each episode"):
        scores = task.scores(guess, made)
        _keep(scores.shape == (512,) and bool(((scores >= 0) & (scores <= 1)).all()), f"got {scores}")
    with _promise(task, f"a guess scores no better than chance, {task.chance:.3g}"):
        slack = 4 * float(scores.std()) / 512**0.5
        _keep(0 <= task.chance < 1 and float(scores.mean()) <= task.chance + slack, f"it scored {float(scores.mean())}")
    with _promise(task, "what is said before it is asked does not count, nor what other episodes say"):
        late = torch.cat([torch.zeros_like(guess[: made.asked]), guess[made.asked :]])
        assert_close(task.scores(late, made), scores)
        few = made._replace(inputs=made.inputs[:, :2], targets=made.targets[:2])
        assert_close(task.scores(guess[:, :2], few), scores[:2])
    with _promise(task, "its loss is one finite number with a gradient"):
        loss = task.loss(guess, made)
        loss.backward()
        _keep(loss.dim() == 0 and guess.grad is not None and bool(guess.grad.isfinite().all()), f"got {loss}")
        _keep(bool(guess.grad.any()), "its gradient is 0 everywhere")


def _items(inputs: Tensor) -> set[bytes]:
    """The inputs of single steps that could be stored material: those with 8 numbers or more that are not 0."""
    rows = inputs.flatten(0, 1)
    return {row.numpy().tobytes() for row in rows[(rows != 0).sum(1) >= 8]}


def _variants(kind: type[Part] | Part) -> list[Any]:
    """A value as it is; a class with its defaults, and with each other member of its enums."""
    if isinstance(kind, Part):
        return [kind]
    try:
        part = kind()
    except Exception as error:
        raise AssertionError(f"{kind.__name__} breaks a promise: it can be made with its defaults ({error})") from error
    members = [(f.name, m) for f in fields(part) if isinstance(getattr(part, f.name), Enum) for m in _others(part, f.name)]
    return [part, *(replace(part, **{name: member}) for name, member in members)]


def _others(part: Part, name: str) -> list[Enum]:
    now = getattr(part, name)
    return [member for member in type(now) if member is not now]


def _frozen(part: Part) -> bool:
    if "__dataclass_params__" not in vars(type(part)):
        return False
    for f in fields(part):
        try:
            setattr(part, f.name, getattr(part, f.name))
        except FrozenInstanceError:
            continue
        return False
    return True


def _constant(run: Callable[..., tuple[Tensor, Any]], params: Any, seen: tuple[Tensor, ...]) -> bool:
    """Whether the result does not depend on what is seen."""
    return torch.equal(run(params, seen)[0], run(params, tuple(t + 1.0 for t in seen))[0])


def _seeded(part: Part, make: Callable[[Generator], Any]) -> Callable[[], Any]:
    """A maker of parameters, once it is known that the same seed makes the same."""
    with _promise(part, "its parameters are drawn from the generator it is given, and from nothing else"):
        assert_close(_tensors(make(_rng(0))), _tensors(make(_rng(0))), rtol=0, atol=0)
    return lambda: make(_rng(0))


def _row(state: State, b: int) -> State:
    return load_named({name: t[b : b + 1] for name, t in named(state).items()}, state)


def _mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    return type(tree)(*(_mapped(t, change) for t in tree)) if hasattr(tree, "_fields") else tree


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [t for branch in tree for t in _tensors(branch)] if isinstance(tree, tuple) else []


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_rng(sum(shape)), dtype=torch.float64)


def _rng(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def _keep(kept: bool, otherwise: str) -> None:
    if not kept:
        raise AssertionError(otherwise)


@contextmanager
def _promise(part: Part, what: str) -> Iterator[None]:
    try:
        yield
    except DataMissing:
        raise
    except Exception as error:
        raise AssertionError(f"{part} breaks a promise: {what} ({type(error).__name__}: {error})") from error
