"""Which cell is which node of NIR, and how numbers of the one become those of the other.

NIR has a fixed set of nodes, in continuous time: tau dv/dt = v_leak - v + R I, a spike where v > v_threshold, after
which v = v_reset; and tau_syn dI/dt = w_in S - I where there is a synaptic current. Cells are Euler's method on these
equations with steps of `step` in the file's unit of time: 1 / tau of a cell is step / tau of a node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.cells import Cell, Reset
from plastic_search.cells._ranges import leak, scaled
from plastic_search.cells.alif import ALIF
from plastic_search.cells.delayed import Delayed
from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.nir.file import Node

__all__ = ["Units", "cell_of", "node_of"]

_SATURATED = 30.0  # of which the sigmoid is 1 in float32


class Units(NamedTuple):
    """A node as a cell."""

    cell: Cell
    params: dict[str, Tensor]  # of the cell by name, [post]
    gain: np.ndarray  # [post], by which what arrives is multiplied


def node_of(cell: Cell, params: Any, step: float, where: str) -> tuple[str, dict[str, np.ndarray]] | None:
    """The kind of a node and its arrays, float32 [post]; None for `Linear`, which is weights alone.

    Args:
        params: of the cell, as an episode uses them.
        step: how long a time step lasts.
        where: the layer, for messages: `layers.0`.

    Raises:
        PlasticSearchError: NIR has no node for the cell, or for one of its settings.
    """
    if type(cell) is Linear:
        return None
    if type(cell) is Integrator:
        tau = _tau(params.leak, cell.longest, step)
        return "LI", {"tau": tau, "r": np.ones_like(tau), "v_leak": np.zeros_like(tau)}
    if type(cell) is not LIF:
        _refuse(cell, where)
    assert isinstance(cell, LIF)
    if cell.reset is not Reset.ZERO:
        raise PlasticSearchError(
            f"{where}.cell resets by subtraction, but units of NIR are reset to a potential; train it with "
            "reset=Reset.ZERO"
        )
    if cell.refractory:
        raise PlasticSearchError(
            f"{where}.cell has a refractory period of {cell.refractory} time steps, which units of NIR have not; train "
            "it with refractory=0"
        )
    tau = _tau(params.membrane, cell.longest, step)
    arrays = {
        "r": scaled(params.resistance, cell.resistance, cell.span).numpy(),
        "v_leak": np.zeros_like(tau),
        "v_threshold": scaled(params.threshold, cell.threshold, cell.span).numpy(),
        "v_reset": np.zeros_like(tau),
    }
    if not cell.synapse:
        return "LIF", {"tau": tau} | arrays
    tau_syn = _tau(params.synapse, cell.longest, step)
    return "CubaLIF", {"tau_syn": tau_syn, "tau_mem": tau, "w_in": np.ones_like(tau)} | arrays


def _refuse(cell: Cell, where: str) -> None:
    if type(cell) is Delayed:
        raise PlasticSearchError(
            f"{where}.cell is Delayed, and delays are not written as nodes of NIR; write a bundle, which takes any "
            "cell, or train a network without delays"
        )
    more = ", whose threshold adapts" if type(cell) is ALIF else ""
    raise PlasticSearchError(
        f"{where}.cell is {type(cell).__name__}{more}, and NIR has no node for it; it has one for LIF and Integrator, "
        "and weights alone for Linear: train a network of those, or write a bundle, which takes any cell"
    )


def _tau(stored: Tensor, longest: float, step: float) -> np.ndarray:
    return (step / leak(stored, 1.0, longest).double()).float().numpy()


def cell_of(node: Node, units: int, step: float, refused: Callable[[str], PlasticSearchError]) -> Units:
    """The cell that computes what a node does.

    Args:
        units: how many the node has.
        step: how long a time step lasts.
        refused: makes the error of a message.

    Raises:
        PlasticSearchError: no cell does; the message names the array.
    """
    arrays = {name: np.broadcast_to(value.reshape(-1), (units,)) for name, value in node.values.items()}
    if node.kind == "LI":
        if arrays["v_leak"].any():
            raise refused("`v_leak` of a LI must be 0, at which an Integrator starts; subtract it from potentials")
        start, longest, stored = _times(arrays["tau"], step, refused)
        return Units(Integrator(start, longest), {"leak": stored}, arrays["r"])
    if (arrays["v_reset"] != arrays["v_leak"]).any():
        raise refused("`v_reset` must be `v_leak`: units of plastic_search are reset to where they rest")
    threshold, resistance = arrays["v_threshold"] - arrays["v_leak"], arrays["r"]
    for name, values in (("v_threshold - v_leak", threshold), ("r", resistance)):
        if values.min() <= 0:
            raise refused(f"`{name}` must be above 0, but is {values.min():g}")
    membrane, longest, stored = _times(arrays["tau" if node.kind == "LIF" else "tau_mem"], step, refused)
    synapse, gain, params = 0.0, np.ones(units), {"membrane": stored}
    if node.kind == "CubaLIF":
        slowest = longest
        synapse, longest, _ = _times(arrays["tau_syn"], step, refused)
        longest = max(slowest, longest)
        params = {
            "membrane": _times(arrays["tau_mem"], step, refused, longest)[2],
            "synapse": _times(arrays["tau_syn"], step, refused, longest)[2],
        }
        gain = arrays["w_in"]
    span = max(10.0, *(4.0 * float(values.max() / values.min()) for values in (threshold, resistance)))
    threshold_start, params["threshold"] = _factors(threshold, span)
    resistance_start, params["resistance"] = _factors(resistance, span)
    cell = LIF(membrane, synapse, threshold_start, resistance_start, longest=longest, span=span)
    return Units(cell, params, gain)


def _times(
    tau: np.ndarray, step: float, refused: Callable[[str], PlasticSearchError], longest: float = 0.0
) -> tuple[float, float, Tensor]:
    """A start and the longest of time constants in steps, and the numbers from which `leak` makes them."""
    steps = tau / step
    shortest = steps.min()
    if shortest < 1.0 - 1e-6:
        raise refused(
            f"a time constant is {tau.min():g}, shorter than a time step, {step:g}; read it with the step that it was "
            "written for"
        )
    longest = longest or max(1000.0, 2.0 * float(steps.max()))
    share = np.clip((1.0 / steps - 1.0 / longest) / (1.0 - 1.0 / longest), 1e-300, 1.0)
    with np.errstate(divide="ignore"):
        stored = np.minimum(np.log(share) - np.log1p(-share), _SATURATED)
    start = min(max(float(np.median(steps)), 1.0 + 1e-6), longest * 0.999)
    return start, longest, torch.from_numpy(stored).float()


def _factors(values: np.ndarray, span: float) -> tuple[float, Tensor]:
    """A start, and the numbers from which `scaled` makes values within a factor of it."""
    start, width = float(np.exp(np.log(values).mean())), math.log(span)
    if (values == values[0]).all():
        start = float(values[0])  # of which nothing is rounded
    stored = width * np.arctanh(np.log(values / start) / width)
    return start, torch.from_numpy(stored).float()
