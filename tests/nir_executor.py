"""A second implementation of NIR, in NumPy: it walks the graph that the package `nir` reads, and knows nothing of ours.

Written from the equations of nodes in continuous time, by Euler's method, in float64. A node's value is asked for from
the output backwards; one that is asked for while it is being computed, in a loop, has the value of the step before.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np


class Executor:
    """Runs a graph.

    Args:
        graph: a NIRGraph without graphs in it.
        step: how long a time step lasts.
    """

    def __init__(self, graph: Any, step: float) -> None:
        self.graph, self.step = graph, step
        self.senders = {name: [one for one, other in graph.edges if other == name] for name in graph.nodes}
        (self.output,) = (name for name, node in graph.nodes.items() if isinstance(node, nir.Output))
        self.before: dict[str, Any] = {}
        self.memory = {name: {"v": getattr(node, "v_leak", 0.0), "i": 0.0} for name, node in graph.nodes.items()}

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The outputs [time, batch, outputs] of inputs [time, batch, inputs], and what every unit sent."""
        outputs, sent = [], {name: [] for name, node in self.graph.nodes.items() if hasattr(node, "v_threshold")}
        for inputs in x:
            now: dict[str, Any] = {}
            outputs.append(self.value(self.output, inputs, now, set()))
            self.before = now
            for name, spikes in sent.items():
                spikes.append(now[name])
        return np.stack(outputs), {name: np.stack(spikes) for name, spikes in sent.items()}

    def value(self, name: str, inputs: np.ndarray, now: dict[str, Any], open_: set[str]) -> Any:
        if name in open_:
            return self.before.get(name, 0.0)
        if name not in now:
            node = self.graph.nodes[name]
            received: Any = inputs
            if not isinstance(node, nir.Input):
                received = sum(self.value(one, inputs, now, open_ | {name}) for one in self.senders[name])
            now[name] = self.compute(node, self.memory[name], received)
        return now[name]

    def compute(self, node: Any, memory: dict[str, Any], x: Any) -> Any:
        match node:
            case nir.Input() | nir.Output():
                return x
            case nir.Affine():
                return np.atleast_1d(x) @ node.weight.T + node.bias if np.ndim(x) else node.bias
            case nir.Scale():
                return x * node.scale
            case nir.Linear():
                return x @ node.weight.T if np.ndim(x) else 0.0
        if isinstance(node, nir.CubaLIF):
            memory["i"] = x = memory["i"] + self.step / node.tau_syn * (node.w_in * x - memory["i"])
        tau = node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau
        memory["v"] = v = memory["v"] + self.step / tau * (node.v_leak - memory["v"] + node.r * x)
        if isinstance(node, nir.LI):
            return v
        z = (v > node.v_threshold).astype(float)
        memory["v"] = np.where(z > 0, node.v_reset, v)
        return z
