"""One step of a network as QONNX (Pappalardo et al. 2022, arXiv 2206.07527), which tools that build circuits read.

It is the step of `export.onnx` for one episode, whose quantizers are `Quant` nodes. A weight or an alpha is a float
that goes through one of its bits and its step. The trace is divided by its step and shifted as its rounding asks, by a
half or by noise, and then goes through one that rounds down to whole numbers; so every rounding is there, the network
goes on learning, and what error feedback keeps has the trace's bits and its own. onnxruntime does not run it; the
package qonnx does, slowly.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export.onnx import export_step
from plastic_search.export.parity import Parity, compared
from plastic_search.network.module import Network, check_network
from plastic_search.precisions import Role
from plastic_search.records.files import replacing

__all__ = ["Written", "write"]

_DOMAIN = "qonnx.custom_op.general"
_ONE, _ZERO = "quant.one", "quant.zero"  # names of constants


class Written(NamedTuple):
    """A file of QONNX that was written."""

    file: Path
    quantizers: int  # how many Quant nodes it has
    parity: Parity | None  # of the file, as qonnx runs it; None where qonnx is not installed, and nothing was compared


def write(net: Network, file: Path | str, steps: int = 5, seed: int = 0) -> Written:
    """Write one step of `net` for one episode as QONNX, and compare it with `step.step` where qonnx is installed.

    Args:
        steps: how many steps are compared, of four episodes, with about a tenth of a second for each.
        seed: of the random inputs of that comparison.

    Raises:
        PlasticSearchError: the step cannot be exported, or nothing in it is rounded; or it differs, and `file` is then
            not written.
    """
    import onnx

    file = as_path(file)
    check_network(net)
    if all(net.spec.precision.format(role) is None for role in (Role.WEIGHT, Role.ALPHA, Role.TRACE)):
        raise PlasticSearchError(
            "nothing in this network is rounded, so QONNX has nothing to say of it; round it first"
        )
    with tempfile.TemporaryDirectory() as folder:
        export_step(net, Path(folder) / "step.onnx", seed=seed)
        model = onnx.load(Path(folder) / "step.onnx")
    _fix_batch(model)
    model = onnx.shape_inference.infer_shapes(model)
    quantizers = _quantize_parameters(model.graph, net) + _quantize_trace(model.graph, net)
    _declare_constants(model, onnx)
    try:
        with replacing(file) as temporary:
            onnx.save_model(model, str(temporary))
            parity = compared(net, _Executed(temporary), steps, seed) if find_spec("qonnx") is not None else None
    except OSError as error:
        raise PlasticSearchError(f"cannot write {file}: {error.strerror}; choose another folder") from None
    return Written(file, quantizers, parity)


def _fix_batch(model: Any) -> None:
    """Circuits have no free sizes: one episode."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_value = 1


def _quantize_parameters(graph: Any, net: Network) -> int:
    """Make Quant of every DequantizeLinear, and floats of its integers; how many there are."""
    from onnx import numpy_helper

    stored = {each.name: each for each in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    for node in nodes:
        codes, step = node.input
        form = net.spec.precision.format(Role(node.output[0].split(".")[2]))
        assert form is not None
        value = numpy_helper.to_array(stored[codes]).astype(np.float32) * numpy_helper.to_array(stored[step])
        stored[codes].CopyFrom(numpy_helper.from_array(value, codes))
        node.CopyFrom(_quant(codes, step, form.bits, "ROUND", node.output[0], node.name))
    return len(nodes)


def _quantize_trace(graph: Any, net: Network) -> int:
    """Make Quant of every rounding to whole numbers within the trace's levels: Floor, then Clip; how many there are."""
    from onnx import numpy_helper

    form, found = net.spec.precision.format(Role.TRACE), 0
    if form is None:
        return 0
    bits = {form.top: form.bits, form.top * 2**form.remainder: form.bits + form.remainder}  # by the largest number
    stored = {each.name: each for each in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    for clip in [node for node in graph.node if node.op_type == "Clip"]:
        floor = made.get(clip.input[0])
        if floor is None or floor.op_type != "Floor" or uses[clip.input[0]] > 1:
            continue
        low, high = (float(numpy_helper.to_array(stored[name])) if name in stored else 0.0 for name in clip.input[1:])
        if low != -high or high not in bits:
            continue
        exact = high == 2 ** (bits[int(high)] - 1) - 1  # else it clips to more than its levels, and Clip follows
        output = clip.output[0] if exact else floor.output[0]
        floor.CopyFrom(_quant(floor.input[0], _ONE, bits[int(high)], "FLOOR", output, floor.name))
        found += 1
        if exact:
            graph.node.remove(clip)
    return found


def _quant(value: str, step: str, bits: int, rounding: str, output: str, name: str) -> Any:
    from onnx import helper

    return helper.make_node(
        "Quant", [value, step, _ZERO, _bits(bits)], [output], name=name, domain=_DOMAIN, signed=1, narrow=1,
        rounding_mode=rounding,
    )  # fmt: skip


def _bits(bits: int) -> str:
    """The name of a constant."""
    return f"quant.bits.{bits}"


def _declare_constants(model: Any, onnx: Any) -> None:
    """Add the constants of Quant nodes, the operator set, and the shape of every constant, which qonnx wants."""
    graph = model.graph
    numbers = {_ONE: 1.0, _ZERO: 0.0} | {_bits(bits): float(bits) for bits in range(1, 25)}
    used = {name for node in graph.node for name in node.input}
    for name in sorted(used & numbers.keys()):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(numbers[name], np.float32), name))
    model.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
    known = {each.name for each in graph.value_info}
    for each in graph.initializer:
        if each.name not in known:
            graph.value_info.append(onnx.helper.make_tensor_value_info(each.name, each.data_type, list(each.dims)))


class _Executed:
    """A step in QONNX, as the package qonnx runs it, one episode after another."""

    def __init__(self, path: Path) -> None:
        from qonnx.core.modelwrapper import ModelWrapper  # pyright: ignore[reportMissingImports]

        self.name, self.unstored = str(path), {}
        self.model = ModelWrapper(str(path))
        self.inputs = [each.name for each in self.model.graph.input]
        self.outputs = [each.name for each in self.model.graph.output]

    name: str
    inputs: list[str]
    outputs: list[str]
    unstored: Mapping[str, Tensor]

    def __call__(self, x: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        from qonnx.core.onnx_exec import execute_onnx  # pyright: ignore[reportMissingImports]

        feeds = {"x": x} | state
        found = []
        for i in range(len(x)):
            try:
                found.append(execute_onnx(self.model, {name: each[i : i + 1].numpy() for name, each in feeds.items()}))
            except Exception as error:
                raise PlasticSearchError(f"qonnx cannot run the exported step: {str(error)[:300]}") from error
        return {name: torch.cat([torch.from_numpy(np.array(each[name])) for each in found]) for name in self.outputs}
