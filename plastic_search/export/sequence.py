"""A whole sequence of a network as an ONNX model: a Scan that repeats the operations of an exported step.

Inputs are `x` [time, batch, inputs] and every state tensor (`layers.1.trace`), outputs `y` [time, batch, outputs] and
every `<name>.next`, the state after the last step. Time and batch are free. Noise and remainders of rounding are in the
state, so they are carried from step to step as they are outside. What does not depend on input or state, such as
DequantizeLinear of a weight, stands before the Scan, and is computed once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export import manifest, runner
from plastic_search.export.parameters import first_state, prepared
from plastic_search.network.module import Network
from plastic_search.network.state import named
from plastic_search.precisions import Role

__all__ = ["ALLOWED", "BATCHES", "TIMES", "export_sequence"]

ALLOWED = 1e-6  # of any difference from stepping, relative to the largest value of that tensor, where that is above 1
TIMES, BATCHES = (1, 7, 200), (1, 5)
_INSIDE = "step."  # before the names of inputs and outputs of the step, which those of the sequence have outside of it


def export_sequence(net: Network, step: Path | str, path: Path | str, seed: int = 0) -> float:
    """Write the sequence whose steps are those of the file `step`, and verify it against that file in onnxruntime.

    Args:
        net: the network that `step` was exported from.
        seed: of the random inputs of that comparison, over `TIMES` and `BATCHES`.

    Returns:
        The largest difference from stepping, in any output or state.

    Raises:
        PlasticSearchError: a difference is above `ALLOWED`, or a traced integer differs; `path` is then not written.
    """
    import onnx

    step, path = as_path(step), as_path(path)
    model = _repeated(onnx.load(step))
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    largest = _compared(net, step.read_bytes(), data, seed)
    path.write_bytes(data)
    return largest


def _repeated(model: Any) -> Any:
    """The model of a sequence, from that of its step."""
    from onnx import helper

    step = model.graph
    outside = {each.name: each.name for each in step.initializer}  # of what is computed once
    inside = {each.name: _INSIDE + each.name for each in (*step.input, *step.output)}
    once, each_step = [], []
    for node in step.node:
        if all(name in outside for name in node.input if name):
            outside |= {name: name for name in node.output}
            once.append(node)
        else:
            each_step.append(node)
    for node in each_step:
        node.input[:] = [inside.get(name, name) for name in node.input]
        node.output[:] = [inside.get(name, name) for name in node.output]
    (x, *state), (y, *after) = step.input, step.output
    known = [[value for value in step.value_info if (value.name in outside) is here] for here in (True, False)]
    body = helper.make_graph(
        each_step, "step", [_value(each, _INSIDE) for each in (*state, x)],
        [_value(each, _INSIDE) for each in (*after, y)], value_info=known[1],
    )  # fmt: skip
    names = ([*(each.name for each in state), x.name], [*(each.name for each in after), y.name])
    scan = helper.make_node("Scan", *names, name="sequence", body=body, num_scan_inputs=1)
    graph = helper.make_graph(
        [*once, scan], "sequence", [_value(x, time="time"), *state], [_value(y, time="time"), *after],
        list(step.initializer), value_info=known[0],
    )  # fmt: skip
    repeated = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    repeated.producer_name, repeated.producer_version = model.producer_name, model.producer_version
    return repeated


def _value(of: Any, prefix: str = "", time: str = "") -> Any:
    """An input or output under another name, or of many steps."""
    value = type(of)()
    value.CopyFrom(of)
    value.name = prefix + of.name
    if time:
        sizes = value.type.tensor_type.shape.dim
        sizes.insert(0, type(sizes[0])(dim_param=time))
    return value


def _compared(net: Network, step: bytes, sequence: bytes, seed: int) -> float:
    """The largest difference between a sequence and its steps, each from the start of episodes."""
    with manifest.refusals():
        one, whole = runner.open_session(step), runner.open_session(sequence, "sequence.onnx")
    ready, rng, largest = prepared(net), np.random.default_rng(seed), 0.0
    exact = _integers(net)
    for batch in BATCHES:
        start = {name: value.numpy() for name, value in named(first_state(net, ready, batch)).items()}
        for time in TIMES:
            x = rng.standard_normal((time, batch, net.inputs)).astype(np.float32)
            state, ys = start, []
            for each in x:
                y, *after = one.run(None, {"x": each} | state)
                state = dict(zip(start, after, strict=True))
                ys.append(y)
            wanted = {"y": np.stack(ys)} | state
            for name, value in zip(wanted, whole.run(None, {"x": x} | start), strict=True):
                gap = _gap(value, wanted[name])
                if not gap <= (0.0 if name in exact else ALLOWED):
                    raise PlasticSearchError(
                        f"the exported sequence differs from its steps by {gap:.1e} at {name}, of {time} steps and "
                        f"{batch} episodes; at most {ALLOWED:.0e} is allowed, and nothing of integers, so it must not "
                        "be used"
                    )
                largest = max(largest, gap)
    return largest


def _integers(net: Network) -> set[str]:
    """The names of what is rounded at each step."""
    rounded = {"trace": net.spec.precision.format(Role.TRACE), "output": net.spec.precision.format(Role.ACTIVITY)}
    layers = range(len(net.spec.layers))
    return {f"layers.{i}.{name}" for name, form in rounded.items() if form is not None for i in layers}


def _gap(value: np.ndarray, wanted: np.ndarray) -> float:
    """The difference of one result, relative to its largest value where that is above 1; 0 where all are equal."""
    if value.shape != wanted.shape:
        return np.inf
    if np.array_equal(value, wanted, equal_nan=True):
        return 0.0
    return float(np.abs(value - wanted).max() / max(1.0, np.abs(wanted).max()))
