"""One step of a layer's parts as a function from a flat list of tensors to a flat list of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plastic_search.cells import Cell, Response
from plastic_search.modulations import Modulation
from plastic_search.network.pytree import leaves, unflatten
from plastic_search.network.quantization import round_to_levels
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

    @classmethod
    def of(cls, layer: Layer, form: Format | None) -> Plastic:
        """What decides about the trace of a layer, if that has a format."""
        return cls(layer.rule, layer.modulation, layer.bound, form.rounding if form else None)


class StepFunction:
    """The step of a cell, and of a rule, a modulation and the synapses where the layer is plastic, at fixed sizes.

    Args:
        matrices: the coefficients of the rule's change that are arguments of the step, instead of results of the rule.

    Attributes:
        initial_states, initial_params: of cell and rule, and of cell, rule and modulation, nested as these nest them.
        names: of all arguments in order: drive, plastic inputs, recall, states, parameters, and those of the synapses.
        examples: random arguments.
        first_param, first_of_synapses: how many arguments come before the parameters, and before those of the synapses.
    """

    def __init__(
        self, cell: Cell, plastic: Plastic | None, dtype: torch.dtype, post: int, pre: int, batch: int = 1,
        matrices: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.cell, self.plastic, self.matrices = cell, plastic, matrices
        like, rng = torch.zeros((), dtype=dtype), torch.Generator().manual_seed(0)
        states: tuple[Any, Any] = (cell.state(batch, post, like), ())
        params: tuple[Any, Any, Any] = (cell.params(post, rng), (), ())
        if plastic:
            states = (states[0], plastic.rule.state(batch, post, pre, like))
            params = (params[0], plastic.rule.params(post, pre, rng), plastic.modulation.params(post, rng))
        self.initial_states, self.initial_params = states, params
        self.states, flat_params = leaves(states), leaves(params)
        self.params: list[Tensor] = [p.to(dtype) for p in flat_params]
        shapes = [(batch, cell.sums, post), (batch, pre), (batch, post), *(tuple(t.shape) for t in self.states)]
        self.names = ["drive", "pre", "recall", *["state"] * len(self.states), *["params"] * len(self.params)]
        self.examples = [torch.rand(n, dtype=dtype, generator=rng) for n in shapes] + self.params
        self.first_param = len(shapes)
        self.first_of_synapses = len(self.names)
        if plastic:
            self._add_synapses(plastic, params[2], (batch, post, pre), rng)

    def _add_synapses(self, plastic: Plastic, params: Any, shape: tuple[int, ...], rng: torch.Generator) -> None:
        """The arguments of the synapses; `limits` are limit, distance of levels, and highest level."""
        like = self.examples[0]
        rate = plastic.modulation.step(params, like.new_zeros(shape[:2]))
        sizes = {"trace": shape} | ({} if rate.eligibility is None else {"eligibility": shape})
        sizes |= dict.fromkeys(self.matrices, shape[1:])
        sizes |= {"limit": (), "level": (), "top": (), "dither": (shape[0], 1, 1), "phases": shape[1:]}
        self.names += sizes
        for name, n in sizes.items():  # one trace for all episodes, since all of theirs may be too large
            n = (1, *n[1:]) if name in ("trace", "eligibility") else n
            self.examples.append(torch.rand(n, dtype=like.dtype, generator=rng).expand(sizes[name]))

    def nested(self, args: Sequence[Tensor]) -> tuple[Any, Any]:
        """The states and the parameters among a step's arguments, as the parts nest them."""
        states = unflatten(self.initial_states, iter(args[3 : self.first_param]))
        return states, unflatten(self.initial_params, iter(args[self.first_param : self.first_of_synapses]))

    def of_synapses(self, args: Sequence[Tensor]) -> dict[str, Tensor]:
        """The arguments of the synapses, by name."""
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
        cell, response, change, rule = self._change(args)
        results = [("y", response.output)] + [("state", t) for t in leaves((cell, rule))]
        if not self.plastic:
            return results
        _, params = self.nested(args)
        rate = self.plastic.modulation.step(params[2], response.output)
        own = {name: narrowed(t, rows, columns) for name, t in self.of_synapses(args).items()}
        rounded = None
        if self.plastic.rounding is not None:
            noise = own["phases"] + own["dither"] if self.plastic.rounding is Rounding.STOCHASTIC else None
            rounded = partial(round_to_levels, step=own["level"], top=own["top"], noise=noise)
        trace, eligibility = synapse_step(
            _narrowed_change(change, rows, columns), rate._replace(write=narrowed(rate.write, rows)),
            own["trace"], own.get("eligibility"), self.plastic.bound, own["limit"], rounded,
        )  # fmt: skip
        return results + [("trace", trace)] + ([] if eligibility is None else [("eligibility", eligibility)])

    def _change(self, args: Sequence[Tensor]) -> tuple[Any, Response, Change, Any]:
        """The cell's next state and response, the rule's change and next state; `matrices` are arguments."""
        states, params = self.nested(args)
        cell, response = self.cell.step(params[0], states[0], args[0])
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


def _narrowed_change(change: Change, rows: slice, columns: slice) -> Change:
    terms = [
        Outer(narrowed(t.post, rows), narrowed(t.pre, columns), narrowed(t.coef, rows, columns)) for t in change.terms
    ]
    decay, dense = (narrowed(t, rows, columns) for t in (change.decay, change.dense))
    return Change(tuple(terms), decay, dense)
