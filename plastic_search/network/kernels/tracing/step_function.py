"""One step of a layer's parts as a function from a flat list of tensors to a flat list of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.cells import Cell, Response
from plastic_search.modulations import Modulation, Observation, Rate
from plastic_search.network.controls import Controls, chosen, cleared, imposed
from plastic_search.network.formats import sent
from plastic_search.network.kernels.tracing.unread import unread
from plastic_search.network.pytree import leaves, unflatten
from plastic_search.network.quantization import round_to_levels, shift
from plastic_search.network.spec import Bound, Layer
from plastic_search.network.step import synapse_step
from plastic_search.precisions import Format, Rounding
from plastic_search.rules import Activity, Change, Outer, Rule

__all__ = ["Plastic", "StepFunction", "coefficients", "narrowed"]


class Plastic(NamedTuple):
    """What decides about a layer's trace."""

    rule: Rule
    modulation: Modulation
    bound: Bound
    rounding: Rounding | None  # None leaves it a float
    remainder: int = 0  # bits of what error feedback keeps
    columns: int | None = None  # of the inputs that the modulation sees; None: it reads none, see `unread`
    units: int = 0  # of the layer that it names; 0: it names none

    @classmethod
    def of(cls, layer: Layer, form: Format | None, columns: int | None, units: int) -> Plastic:
        """What decides about the trace of a layer, if that has a format."""
        rounding = (form.rounding, form.remainder) if form else (None, 0)
        return cls(layer.rule, layer.modulation, layer.bound, *rounding, columns, units)


class StepFunction:
    """The step of a cell, and of a rule, a modulation and the synapses where the layer is plastic, at fixed sizes.

    Args:
        matrices: the coefficients of the rule's change that are arguments of the step, instead of results of the rule.
        controls: the names of what is imposed on it, fields of `step.Controls`; numbers, of which 1 stands for true.
        activity: the format of what the units send; None leaves it a float.

    Attributes:
        initial_states, initial_params: of cell, rule and modulation, nested as the parts nest them.
        names: of all arguments in order: drive, plastic inputs, recall, previous output, the signals that the
            modulation sees, states, parameters, and those of the synapses.
        examples: random arguments.
        first_state, first_param, first_of_synapses: how many arguments come before the states, the parameters, and
            those of the synapses.
    """

    def __init__(
        self, cell: Cell, plastic: Plastic | None, dtype: torch.dtype, post: int, pre: int, batch: int = 1,
        matrices: tuple[str, ...] = (), controls: tuple[str, ...] = (),
        activity: Format | None = None,
    ) -> None:  # fmt: skip
        self.cell, self.plastic, self.matrices, self.controls = cell, plastic, matrices, controls
        self.activity = activity
        like, rng = torch.zeros((), dtype=dtype), torch.Generator().manual_seed(0)
        states: tuple[Any, Any, Any] = (cell.state(batch, post, like), (), ())
        params: tuple[Any, Any, Any] = (cell.params(post, rng), (), ())
        if plastic:
            rule, modulation = plastic[:2]
            states = (states[0], rule.state(batch, post, pre, like), modulation.state(batch, post, like))
            params = (params[0], rule.params(post, pre, rng), modulation.params(post, pre, rng))
        self.initial_states, self.initial_params = states, params
        self.states, flat_params = leaves(states), leaves(params)
        self.params: list[Tensor] = [p.to(dtype) for p in flat_params]
        sizes = {"drive": (batch, cell.sums, post), "pre": (batch, pre), "recall": (batch, post)}
        if plastic:
            sizes["previous"] = (batch, post)
            if signals := (plastic.columns or 0) + plastic.units:
                sizes["signals"] = (batch, signals)
        self.first_state = len(sizes)
        shapes = [*sizes.values(), *(tuple(t.shape) for t in self.states)]
        self.names = [*sizes, *["state"] * len(self.states), *["params"] * len(self.params)]
        self.examples = [torch.rand(n, dtype=dtype, generator=rng) for n in shapes] + self.params
        self.first_param = len(shapes)
        self.first_of_synapses = len(self.names)
        if plastic:
            self._add_synapses(plastic, (batch, post, pre), rng)
        self.names += controls
        alternating = torch.arange(batch, dtype=dtype).view(-1, 1, 1) % 2
        self.examples += [alternating.clone() for _ in controls]

    def _add_synapses(self, plastic: Plastic, shape: tuple[int, ...], rng: torch.Generator) -> None:
        """The arguments of the synapses; `limits` are limit, distance of levels, and highest level."""
        like, (states, params) = self.examples[0], self.nested(self.examples)
        seen = self.seen(self.examples, states[0], like.new_zeros(shape[:2]))
        rate, _ = plastic.modulation.step(params[2], states[2], seen)
        sizes = {"trace": shape} | ({} if rate.eligibility is None else {"eligibility": shape})
        sizes |= dict.fromkeys(self.matrices, shape[1:])
        sizes |= {"limit": (), "level": (), "top": (), "dither": (shape[0], 1, 1), "phases": shape[1:]}
        self.names += sizes
        for name, n in sizes.items():  # one trace for all episodes, since all of theirs may be too large
            n = (1, *n[1:]) if name in ("trace", "eligibility") else n
            self.examples.append(torch.rand(n, dtype=like.dtype, generator=rng).expand(sizes[name]))

    def nested(self, args: Sequence[Tensor]) -> tuple[Any, Any]:
        """The states and the parameters among a step's arguments, as the parts nest them."""
        states = unflatten(self.initial_states, iter(args[self.first_state : self.first_param]))
        return states, unflatten(self.initial_params, iter(args[self.first_param : self.first_of_synapses]))

    def seen(self, args: Sequence[Tensor], cell: Any, output: Tensor) -> Observation:
        """What the modulation sees, from the step's arguments and what the cell returned."""
        assert self.plastic is not None
        columns, units = self.plastic[-2:]
        signals = args[4] if columns or units else args[3]
        inputs = unread(args[3]) if columns is None else signals[:, :columns]
        return Observation(output, args[3], inputs, cell, signals[:, columns or 0 :] if units else None)

    def of_synapses(self, args: Sequence[Tensor]) -> dict[str, Tensor]:
        """The arguments of the synapses, and what is imposed, by name."""
        first = self.first_of_synapses
        return dict(zip(self.names[first:], args[first:], strict=True))

    def flat(self, *args: Tensor) -> list[Tensor]:
        """Every result."""
        return [value for _, value in self.results(*args)]

    def results(
        self, *args: Tensor, rows: slice = slice(None), columns: slice = slice(None)
    ) -> list[tuple[str, Tensor]]:
        """Every result, with the name of its buffer.

        Args:
            rows, columns: the synapses whose traces are among them.
        """
        controls = self._imposed(args)
        args = self._begun(args, controls)
        cell, response, change, rule = self._change(args)
        states, params = self.nested(args)
        rate, modulation = None, ()
        if self.plastic:
            seen = self.seen(args, cell, response.output)
            rate, modulation = self.plastic.modulation.step(params[2], states[2], seen)
        after = chosen(controls.ended, states, (cell, rule, modulation))
        output = chosen(controls.ended, torch.zeros_like(response.output), response.output)
        results = [("y", output)] + [("state", t) for t in leaves(after)]
        if not self.plastic or rate is None:
            return results
        rate = imposed(rate, controls)
        own = {name: narrowed(t, rows, columns) for name, t in self.of_synapses(args).items()}
        rounded = None
        if self.plastic.rounding is not None:
            noise = own["phases"] + own["dither"] if self.plastic.rounding is Rounding.STOCHASTIC else None
            fine = 2.0**self.plastic.remainder
            step, top = (own["level"], own["top"]) if fine == 1.0 else (own["level"] / fine, own["top"] * fine)
            rounded = partial(round_to_levels, step=step, top=top, shift=shift(noise))
        trace, eligibility = synapse_step(
            _narrowed_change(change, rows, columns), _narrowed_rate(rate, rows, columns),
            own["trace"], own.get("eligibility"), self.plastic.bound, own["limit"], rounded,
            controls.frozen,
        )  # fmt: skip
        return results + [("trace", trace)] + ([] if eligibility is None else [("eligibility", eligibility)])

    def _begun(self, args: tuple[Tensor, ...], controls: Controls) -> tuple[Tensor, ...]:
        """The arguments with the cell's state and the eligibility trace cleared (`controls.begun`).

        Drive, pre, recall and previous output are those of a cleared output already.
        """
        if controls.cleared is None:
            return args
        of_cell = range(self.first_state, self.first_state + len(leaves(self.initial_states[0])))
        which = [name == "eligibility" or k in of_cell for k, name in enumerate(self.names)]
        return tuple(cleared(controls.cleared, t) if own else t for t, own in zip(args, which, strict=True))

    def _imposed(self, args: Sequence[Tensor]) -> Controls:
        """What is imposed on the step, as truth values and numbers [batch, 1]."""
        given = {name: value.squeeze(-1) for name, value in self.of_synapses(args).items() if name in self.controls}
        return Controls(**{name: value if name == "rate" else value > 0.5 for name, value in given.items()})

    def _change(self, args: Sequence[Tensor]) -> tuple[Any, Response, Change, Any]:
        """The cell's next state and response, the rule's change and next state; `matrices` are arguments."""
        states, params = self.nested(args)
        cell, response = self.cell.step(params[0], states[0], args[0])
        response = sent(response, self.activity)
        if not self.plastic:
            return cell, response, Change(), ()
        own = self.of_synapses(args)
        seen = Activity(args[1], response.post, args[2], own["trace"])
        change, rule = self.plastic.rule.step(params[1], states[1], seen)
        terms = [t._replace(coef=own.get(f"coef{k}", t.coef)) for k, t in enumerate(change.terms)]
        return cell, response, change._replace(terms=tuple(terms), decay=own.get("decay", change.decay)), rule

    def coefficients(self, *args: Tensor) -> dict[str, Tensor]:
        """The coefficients of the change that have a number for every synapse, but those that are arguments."""
        shape, found = self.of_synapses(args)["trace"].shape[1:], coefficients(self._change(args)[2])
        return {name: t for name, t in found.items() if t.shape[-2:] == shape and name not in self.matrices}

    def is_formula(self) -> bool:
        """Whether the change is more than outer products and a decay, all with coefficients that are constant."""
        change = self._change(self.examples)[2]
        return change.dense is not None or bool(self.plastic and self.coefficients(*self.examples))


def coefficients(change: Change) -> dict[str, Tensor]:
    """The coefficients of a change that are tensors, by the names that programs give them."""
    found = {f"coef{k}": term.coef for k, term in enumerate(change.terms)} | {"decay": change.decay}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def narrowed(value: Any, *parts: slice) -> Any:
    """Some parts of a tensor's last dimensions, where it varies along them; a number as it is."""
    for k, part in enumerate(parts):
        dim = len(parts) - k
        if isinstance(value, Tensor) and value.dim() >= dim and value.shape[-dim] > 1:
            value = value[(..., part, *[slice(None)] * (dim - 1))]
    return value


def _narrowed_rate(rate: Rate, rows: slice, columns: slice) -> Rate:
    write, eligibility = (None if t is None else narrowed(t, rows, *[columns] * (t.dim() == 3)) for t in rate)
    return rate._replace(write=write, eligibility=eligibility)


def _narrowed_change(change: Change, rows: slice, columns: slice) -> Change:
    terms = [
        Outer(narrowed(t.post, rows), narrowed(t.pre, columns), narrowed(t.coef, rows, columns)) for t in change.terms
    ]
    decay, dense = (narrowed(t, rows, columns) for t in (change.decay, change.dense))
    return Change(tuple(terms), decay, dense)
