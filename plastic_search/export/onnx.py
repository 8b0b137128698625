"""One step of a network as an ONNX model, whose state is input and output, so that learning goes on wherever it runs.

Inputs are `x` [batch, inputs] and every state tensor (`layers.1.trace`), outputs `y` and every `<name>.next`.
Weight and alpha are integer initialisers with DequantizeLinear where the precision rounds them: INT4 up to 4 bits,
INT8 up to 8, INT16 up to 16. onnxruntime must be kept from fusing these, since it would round activations too; see
`runner.SESSION`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export.packing import pack
from plastic_search.export.parameters import Codes, first_state, parameters, prepared
from plastic_search.export.parity import Parity, check
from plastic_search.network.module import Network, check_network
from plastic_search.network.pytree import unflatten
from plastic_search.network.state import State, named
from plastic_search.network.step import Ready
from plastic_search.network.step import step as reference_step
from plastic_search.records.files import replacing

__all__ = ["OPSET", "export_step"]

OPSET = 21  # the first with INT4 and INT16 in DequantizeLinear
EINSUM: Any = torch.ops.aten.einsum.default  # not left to onnxruntime, whose Einsum ends the process on an empty sum


def export_step(net: Network, path: Path | str, steps: int = 200, seed: int = 0) -> Parity:
    """Write one step of `net` to `path`, and verify it against `step.step` in onnxruntime.

    Args:
        steps: how many steps the file is compared over.
        seed: of the random inputs of that comparison.

    Raises:
        PlasticSearchError: `net` is no Network, or its step cannot be traced, or the file differs from it; `path` is
            then not written.
    """
    import onnx

    check_network(net)
    path = as_path(path)
    model = _bound(_traced(net), parameters(net))
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    try:
        with replacing(path) as temporary:
            onnx.save_model(model, str(temporary))
            return check(net, temporary, steps, seed)
    except OSError as error:
        raise PlasticSearchError(f"cannot write {path}: {error.strerror}; choose another folder") from None


class _Step(nn.Module):
    """`step.step` on flat tuples of tensors, parameters included."""

    def __init__(self, net: Network, ready: tuple[Ready, ...], state: State) -> None:
        super().__init__()
        self.spec, self.shapes, self.ready, self.state = net.spec, net.shapes, ready, state

    def forward(self, x: Tensor, state: tuple[Tensor, ...], params: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        ready, before = unflatten(self.ready, params), unflatten(self.state, state)
        y, after = reference_step(self.spec, self.shapes, ready, before, x)
        return (y, *named(after).values())


def _traced(net: Network) -> Any:
    """The graph of one step, whose parameters are still inputs, so that no optimizer folds them into constants."""
    ready = prepared(net)
    batch = 2  # any but 0 and 1, for which torch.export specialises
    state = first_state(net, ready, batch)
    before, params = named(state), named(ready)
    if twice := before.keys() & params.keys():
        raise PlasticSearchError(f"{min(twice)} is both a parameter and a state of its part; rename one of them")
    free = {0: torch.export.Dim("batch")}
    # clones, since torch.export would merge inputs that are the same tensor
    args = (torch.zeros(batch, net.inputs), _clones(before), _clones(params))
    shapes = (free, tuple(free for _ in before), tuple({} for _ in params))
    try:
        with _quiet():
            table = {EINSUM: torch.export.default_decompositions()[EINSUM]}
            step = torch.export.export(_Step(net, ready, state).eval(), args, dynamic_shapes=shapes)
            program = torch.onnx.export(
                step.run_decompositions(table), args, dynamo=True, dynamic_shapes=shapes, opset_version=OPSET,
                input_names=["x", *before, *params], output_names=["y", *(f"{name}.next" for name in before)],
                external_data=False, optimize=True, verbose=False,
            )  # fmt: skip
    except Exception as error:
        cause = _root(error)
        raise PlasticSearchError(
            f"this network's step cannot be traced for ONNX ({type(cause).__name__}: {str(cause).strip()[:300]}); "
            "a part may only use torch operations, and must not choose by a tensor's value or by the batch size"
        ) from error
    assert program is not None
    return program.model_proto


def _bound(model: Any, values: dict[str, Tensor | Codes]) -> Any:
    """The graph with its parameters bound: the inputs of those names become initialisers."""
    graph = model.graph
    used = set(chain.from_iterable(node.input for node in graph.node))
    inputs = [each for each in graph.input if each.name not in values]
    del graph.input[:]
    graph.input.extend(inputs)
    nodes = list(graph.node)
    del graph.node[:]
    for name, value in values.items():
        if name not in used:
            continue
        graph.initializer.extend(_initializers(name, value))
        if isinstance(value, Codes):
            graph.node.append(_dequantize(name))
    graph.node.extend(nodes)
    return model


def _initializers(name: str, value: Tensor | Codes) -> list[Any]:
    from onnx import TensorProto, helper, numpy_helper

    if isinstance(value, Tensor):
        return [numpy_helper.from_array(value.numpy(), name)]
    kind = {4: TensorProto.INT4, 8: TensorProto.INT8, 16: TensorProto.INT16}[value.width]
    codes = value.codes.numpy()
    data = pack(codes, 4) if value.width == 4 else codes.astype(f"<i{value.width // 8}")
    whole = helper.make_tensor(f"{name}.codes", kind, list(codes.shape), data.tobytes(), raw=True)
    return [whole, numpy_helper.from_array(value.step.numpy(), f"{name}.step")]


def _dequantize(name: str) -> Any:
    from onnx import helper

    return helper.make_node("DequantizeLinear", [f"{name}.codes", f"{name}.step"], [name], name=f"{name}.value")


def _strip(model: Any) -> None:
    """Remove the exporter's debugging information: source lines, and paths of the machine it ran on."""
    graph = model.graph
    graph.name, graph.doc_string, model.doc_string = "step", "", ""
    for each in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del each.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def _clones(tensors: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return tuple(t.clone() for t in tensors.values())


def _root(error: BaseException) -> BaseException:
    """The error that caused all others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's own warnings, which are about its internals."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
