"""A step of a layer's parts as a function of a flat list of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.modulations import Modulation
from plastic_search.network.pytree import leaves, unflatten
from plastic_search.rules import Activity, Rule

__all__ = ["Step"]


class Step:
    """A layer's parts at one size.

    Attributes:
        carried: the states of cell and rule at the start, as they are nested.
        given: numbers to try it with: drive, plastic inputs, recall, states, and parameters.
        first_param: how many of them come before the parameters.
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
        self.carried = states
        self.tuned, self.states, tuned = params, leaves(states), leaves(params)
        self.params: list[Tensor] = [p.to(dtype) for p in tuned]
        shapes = [(batch, cell.drives, post), (batch, pre), (batch, post), *(tuple(t.shape) for t in self.states)]
        self.given = [torch.rand(n, dtype=dtype, generator=rng) for n in shapes] + self.params
        self.first_param = 3 + len(self.states)

    def all(self, *given: Tensor) -> list[tuple[str, Tensor]]:
        """Every result of a step, by the name of its buffer; `C` and `M` are coefficients that are matrices."""
        states = unflatten(self.carried, iter(given[3 : self.first_param]))
        params = unflatten(self.tuned, iter(given[self.first_param :]))
        drive, pre, recall = given[:3]
        cell, response = self.cell.step(states[0], drive)
        made = [("y", response.output)]
        if not self.plastic:
            return made + [("state", t) for t in leaves((cell, ()))]
        change, rule = self.plastic[0].step(params[0], states[1], Activity(pre, response.post, recall))
        rate = self.plastic[1].step(params[1], response.output)
        made += [("state", t) for t in leaves((cell, rule))]
        ones = torch.ones_like(response.post)
        write = rate.write * ones
        scale = write if rate.eligibility is None else rate.eligibility.reshape(1, 1) * ones
        for term in change.terms:
            kind, coef = self._kind(term.coef)
            u = term.post * scale
            if kind in ("number", "row"):
                u = u * coef
            made += [("u", u), ("v", term.pre * coef if kind == "column" else term.pre)]
            made += [("C", coef)] if kind == "matrix" else []
        made += self._decay(change.decay, scale, pre)
        if rate.eligibility is not None:
            made += [("write", write), ("eta", rate.eligibility.reshape(1, 1))]
        return made

    def _decay(self, decay: Tensor | float, scale: Tensor, pre: Tensor) -> list[tuple[str, Tensor]]:
        if not isinstance(decay, Tensor) and decay == 0.0:
            return []
        kind, value = self._kind(decay)
        if kind in ("number", "row"):
            return [("row", scale * value)]
        return [("row", scale), ("column", value * torch.ones_like(pre)) if kind == "column" else ("M", value)]

    def _kind(self, value: Tensor | float) -> tuple[str, Any]:
        """What a coefficient has a value for, and the value, [batch, rows] or a number or a matrix."""
        if not isinstance(value, Tensor):
            return "number", value
        full = value.reshape((1,) * (3 - value.dim()) + tuple(value.shape))
        row, column = full.shape[1] > 1, full.shape[2] > 1
        if row and column:
            return "matrix", value
        return ("column", full[:, 0]) if column else ("row" if row else "number", full[:, :, 0])

    def vectors(self, *given: Tensor) -> list[tuple[str, Tensor]]:
        """Those that are not matrices."""
        return [(name, value) for name, value in self.all(*given) if name not in ("C", "M")]

    def flat(self, *given: Tensor) -> list[Tensor]:
        """The same without names."""
        return [value for _, value in self.vectors(*given)]

    def matrices(self, *given: Tensor) -> list[Tensor]:
        """The coefficients that are matrices."""
        return [value for name, value in self.all(*given) if name in ("C", "M")]
