"""One step of a layer's parts as a function from a flat list of tensors to a flat list of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.modulations import Modulation
from plastic_search.network.pytree import leaves, unflatten
from plastic_search.rules import Activity, Rule

__all__ = ["StepFunction", "equal", "written"]


class StepFunction:
    """The step of a cell, and of a rule and a modulation where the layer is plastic, at fixed sizes.

    Attributes:
        initial_states, initial_params: of cell and rule, and of rule and modulation, nested as the parts nest them.
        examples: random arguments in order: drive, plastic inputs, recall, states, parameters.
        first_param: how many arguments come before the parameters.
    """

    def __init__(
        self, cell: Cell, plastic: tuple[Rule, Modulation] | None, dtype: torch.dtype, post: int, pre: int,
        batch: int = 1,
    ) -> None:  # fmt: skip
        self.cell, self.plastic = cell, plastic
        like, rng = torch.zeros((), dtype=dtype), torch.Generator().manual_seed(0)
        states: tuple[Any, Any] = (cell.state(batch, post, like), ())
        params: tuple[Any, Any] = ((), ())
        if plastic:
            rule, modulation = plastic
            states = (states[0], rule.state(batch, post, pre, like))
            params = (rule.params(post, pre, rng), modulation.params(post, rng))
        self.initial_states, self.initial_params = states, params
        self.states, flat_params = leaves(states), leaves(params)
        self.params: list[Tensor] = [p.to(dtype) for p in flat_params]
        shapes = [(batch, cell.drives, post), (batch, pre), (batch, post), *(tuple(t.shape) for t in self.states)]
        self.examples = [torch.rand(n, dtype=dtype, generator=rng) for n in shapes] + self.params
        self.first_param = 3 + len(self.states)

    def nested(self, args: Sequence[Tensor]) -> tuple[Any, Any]:
        """The states and the parameters among a step's arguments, as the parts nest them."""
        states = unflatten(self.initial_states, iter(args[3 : self.first_param]))
        return states, unflatten(self.initial_params, iter(args[self.first_param :]))

    def results(self, *args: Tensor) -> list[tuple[str, Tensor]]:
        """Every result, with the name of its buffer; `C` and `M` are coefficients that are matrices."""
        states, params = self.nested(args)
        drive, pre, recall = args[:3]
        cell, response = self.cell.step(states[0], drive)
        results = [("y", response.output)]
        if not self.plastic:
            return results + [("state", t) for t in leaves((cell, ()))]
        change, rule = self.plastic[0].step(params[0], states[1], Activity(pre, response.post, recall))
        rate = self.plastic[1].step(params[1], response.output)
        results += [("state", t) for t in leaves((cell, rule))]
        ones = torch.ones_like(response.post)
        write = rate.write * ones
        scale = write if rate.eligibility is None else rate.eligibility.reshape(1, 1) * ones
        for term in change.terms:
            form, coef = self._form(term.coef)
            u = term.post * scale
            if form in ("number", "row"):
                u = u * coef
            results += [("u", u), ("v", term.pre * coef if form == "column" else term.pre)]
            results += [("C", coef)] if form == "matrix" else []
        results += self._decay(change.decay, scale, pre)
        if rate.eligibility is not None:
            results += [("write", write), ("eta", rate.eligibility.reshape(1, 1))]
        return results

    def _decay(self, decay: Tensor | float, scale: Tensor, pre: Tensor) -> list[tuple[str, Tensor]]:
        if not isinstance(decay, Tensor) and decay == 0.0:
            return []
        form, value = self._form(decay)
        if form in ("number", "row"):
            return [("row", scale * value)]
        return [("row", scale), ("column", value * torch.ones_like(pre)) if form == "column" else ("M", value)]

    def _form(self, value: Tensor | float) -> tuple[str, Any]:
        """Along what a coefficient varies, and its value: [batch, rows], a number, or a matrix."""
        if not isinstance(value, Tensor):
            return "number", value
        full = value.reshape((1,) * (3 - value.dim()) + tuple(value.shape))
        row, column = full.shape[1] > 1, full.shape[2] > 1
        if row and column:
            return "matrix", value
        return ("column", full[:, 0]) if column else ("row" if row else "number", full[:, :, 0])

    def vectors(self, *args: Tensor) -> list[tuple[str, Tensor]]:
        """The results that are not matrices, with the names of their buffers."""
        return [(name, value) for name, value in self.results(*args) if name not in ("C", "M")]

    def flat(self, *args: Tensor) -> list[Tensor]:
        """The results that are not matrices."""
        return [value for _, value in self.vectors(*args)]

    def matrices(self, *args: Tensor) -> list[Tensor]:
        """The coefficients that are matrices."""
        return [value for name, value in self.results(*args) if name in ("C", "M")]


def equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the last bits."""
    close = 16 * torch.finfo(other.dtype).eps
    return torch.allclose(one.detach(), other.detach(), rtol=close, atol=close, equal_nan=True)


def written(step: StepFunction) -> str:
    """The argument into which a part writes, of those that somebody else holds too; "" where none does."""
    (cell_state, rule_state), (params, modulation_params) = step.nested([t.clone() for t in step.examples])
    drive, pre, recall = (t.clone() for t in step.examples[:3])
    name, (_, response) = _writes({"its state": cell_state}, lambda: step.cell.step(cell_state, drive))
    if name or step.plastic is None:
        return name
    rule, modulation = step.plastic
    seen = Activity(pre, response.post, recall)
    args = {"seen.pre": pre, "seen.post": seen.post, "its state": rule_state, "its parameters": params}
    name, _ = _writes(args | {"the output": response.output}, lambda: rule.step(params, rule_state, seen))
    if name:
        return name
    args = {"the output": response.output, "its parameters": modulation_params}
    return _writes(args, lambda: modulation.step(modulation_params, response.output))[0]


def _writes(args: dict[str, Any], call: Callable[[], Any]) -> tuple[str, Any]:
    """The name of the first argument that a call changes, or ""; and the result of the call."""
    before = {name: [(t, t._version, t.clone()) for t in leaves(tree)] for name, tree in args.items()}
    result = call()
    for name, tensors in before.items():
        if any(t._version != version or not equal(t, value) for t, version, value in tensors):
            return name, result
    return "", result
