"""How a kernel is compared with the reference step: outputs, last state, and every derivative."""

from __future__ import annotations

import itertools
from typing import Any, Unpack

import pytest
import torch
from torch import Tensor

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.core.part import discover, open_set
from plastic_search.modulations import FanOut
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.interventions import Given
from plastic_search.network.module import Network
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import State, load_named, named
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.self_recurrent import SelfRecurrent

EVERY_CELL, RULES, MODULATIONS = (discover(open_set(axis)) for axis in ("cells", "rules", "modulations"))
# Those that fire have no derivative, and a threshold that a last bit may cross: see `kernels/test_spiking.py`; such are
# the units of a `Delayed` by default, of which `cells/test_delayed.py` has others.
CELLS: dict[str, Any] = {n: k for n, k in EVERY_CELL.items() if not getattr(k, "spiking", False) and n != "Integrator"}
PATHWAYS = (Pathway.INPUT, Pathway.RECURRENT, Pathway.BOTH)
STACK = NetworkSpec(
    (
        Layer(9, structure=FeedForward()),
        Layer(17, LSTM(), Oja(), Retroactive(), SelfRecurrent(), Pathway.BOTH, skip=(1,)),
        Layer(6, LSTM(), structure=Gated(0.4)),
        Layer(5, Linear(), Hebb(0.5), Simple(FanOut.NETWORK), Gated(0.5, 0.7), Pathway.BOTH, Bound.SOFT, skip=(1, 3)),
    )
)


def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make memory that nobody has written NaN, so that reading it is seen."""
    empty = torch.Tensor.new_empty

    def poisoned(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        made = empty(self, *args, **kwargs)
        return made.fill_(torch.nan) if made.is_floating_point() else made

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)


def network(spec: NetworkSpec, inputs: int, dtype: torch.dtype, seed: int = 0) -> Network:
    """A network whose alphas are far from zero, and which does not magnify its input."""
    net = Network(spec, inputs, seed).to(dtype)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for bag, shape in zip(net.layers, net.shapes, strict=True):
            bag.get_parameter("weight").mul_(0.4)
            alpha = bag.get_parameter("alpha")
            alpha.copy_(0.5 * torch.randn(alpha.shape, generator=rng, dtype=torch.float64) * shape.pre**-0.5)
    return net


def results(net: Network, kernel: str, x: Tensor, state: State | None, **given: Unpack[Given]) -> dict[str, Tensor]:
    """Outputs, last state, and the derivatives of all that there is, the state at the start included."""
    net.kernel = kernel
    net.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    begin = None
    if state is not None:
        begin = load_named({n: t.clone().requires_grad_() for n, t in named(state).items()}, state)
    y, last = net(x, begin, **given)
    made = {"y": y} | named(last)
    rng = torch.Generator().manual_seed(1)
    terms = [(t * torch.randn(t.shape, generator=rng, dtype=torch.float64).to(t)).sum() for t in made.values()]
    torch.stack(terms).sum().backward()
    made |= {f"d.{n}": p.grad for n, p in net.named_parameters() if p.grad is not None} | {"d.x": x.grad}
    if begin is not None:
        made |= {f"d.{n}": t.grad for n, t in named(begin).items() if t.grad is not None}
    return {name: value.detach() for name, value in made.items() if value is not None}


def gaps(exact: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """How far results are from the reference's, relative to the size of each."""
    for name in exact.keys() ^ other.keys():  # a derivative that is zero may be left out
        assert name.startswith("d.")
        assert not (exact | other)[name].any(), name
    both = exact.keys() & other.keys()
    assert all(exact[n].isfinite().all() for n in both), "this network shows nothing: its numbers overflow"
    return {n: float((exact[n] - other[n]).norm() / exact[n].norm().clamp_min(1e-3)) for n in both}


def started(net: Network, x: Tensor) -> State:
    """A state in the middle of an episode."""
    with torch.no_grad():
        net.kernel = "reference"
        return net(x)[1]


def bounds_of(cell: type[Any], rule: type[Any], modulation: type[Any]) -> tuple[Bound, bool]:
    """The one bound under which a combination of parts is tested, and whether it is one of some that hold every pair of
    parts, which are tested under all."""
    axes = zip((CELLS, RULES, MODULATIONS), (cell, rule, modulation), strict=True)
    i, j, k = (list(axis.values()).index(kind) for axis, kind in axes)
    return list(Bound)[(i + j + k) % len(Bound)], (i, j, k) in _PAIRED


def _paired() -> set[tuple[int, int, int]]:
    """Cells, rules and modulations, by number: a Latin square of the longest axis, the shorter ones repeated."""
    cells, rules, modulations = map(len, (CELLS, RULES, MODULATIONS))
    side = max(cells, rules, modulations)
    square = itertools.product(range(side), repeat=2)
    return {(i % cells, j % rules, (i + j) % side % modulations) for i, j in square}


_PAIRED = _paired()
