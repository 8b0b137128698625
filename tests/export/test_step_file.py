"""A step.onnx from elsewhere holds operations and numbers of a step, and needs no more memory than is stated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tampering import refused, replace_file, runs

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import graphs, manifest, runner

Change = Callable[[Any], Any]


def edited(folder: Path, change: Callable[[onnx.ModelProto], Any]) -> None:
    """Change step.onnx."""
    model = onnx.load(folder / "step.onnx")
    change(model)
    replace_file(folder, "step.onnx", model.SerializeToString())


def adding(*nodes: onnx.NodeProto, constants: dict[str, Any] | None = None) -> Callable[[onnx.ModelProto], None]:
    """A change that adds the sum of the value `big`, which `nodes` make, to the outputs."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        for node in graph.node:
            node.output[:] = ["y0" if name == "y" else name for name in node.output]
            node.input[:] = ["y0" if name == "y" else name for name in node.input]
        graph.node.extend([*nodes, helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0)])
        graph.node.append(helper.make_node("Add", ["y0", "sum"], ["y"]))
        graph.initializer.extend(onnx.numpy_helper.from_array(np.array(v), k) for k, v in (constants or {}).items())

    return change


def node(operation: str, inputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node that makes `big`."""
    return helper.make_node(operation, inputs.split(), ["big"], **attributes)


def _external(location: str, folder: Path, **more: str) -> Change:
    """A change that takes the numbers of a parameter from another file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == "layers.0.bias")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": "12", **more}.items():
            tensor.external_data.add(key=key, value=value)

    (folder.parent / "secret").write_bytes(bytes(64))
    return change


def _graph(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "body", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])


def _divided_twice(model: onnx.ModelProto) -> None:
    adding(node("Div", "a b"), constants={"a": [-(2**63)], "b": [-1]})(model)
    for kind in (TensorProto.FLOAT, TensorProto.INT64):
        model.graph.value_info.append(helper.make_tensor_value_info("big", kind, None))


TEXT = onnx.TensorProto(name="text", data_type=TensorProto.STRING, dims=[1], string_data=[b"text"])
CONTENT: dict[str, Any] = {
    "If": adding(node("If", "c", then_branch=_graph(), else_branch=_graph()), constants={"c": True}),
    "Loop": adding(node("Loop", "n", body=_graph()), constants={"n": 10**9}),
    "custom": adding(node("Add", "y0 y0", domain="custom")),
    "contrib": adding(node("EPContext", "y0", domain="com.microsoft", ep_cache_context="/etc/passwd", embed_mode=0)),
    "random": adding(node("RandomNormalLike", "y0")),
    "sequence": adding(helper.make_node("SequenceConstruct", ["y0"], ["s"]), node("ConcatFromSequence", "s", axis=0)),
    "text": adding(node("Cast", "y0", to=TensorProto.STRING)),
    "constant text": adding(node("Constant", "", value_string="text")),
    "constant texts": adding(node("Constant", "", value=TEXT)),
    "texts": lambda model: model.graph.initializer.append(TEXT),
    "an Einsum, which may end the process or search forever": adding(node("Einsum", "y0 y0", equation="bm,bn->b")),
    "a gather that ends the process": adding(node("GatherND", "y0 a", batch_dims=-1), constants={"a": [0]}),
    "a division of whole numbers": adding(node("Div", "a b"), constants={"a": [-(2**63)], "b": [-1]}),
    "a division of two types": _divided_twice,
    "very many outputs": adding(helper.make_node("Split", ["y0"], ["big", "rest"], axis=1, num_outputs=2**31 - 1)),
    "functions": lambda model: model.functions.append(
        helper.make_function("custom", "F", ["a"], ["b"], [], [helper.make_opsetid("", 21)])
    ),
    "properties": lambda model: helper.set_model_props(model, {"ort_config": "{}"}),
    "operator sets": lambda model: model.opset_import.append(helper.make_opsetid("com.microsoft", 1)),
    "an older operator set": lambda model: setattr(model.opset_import[0], "version", 17),
    "sparse": lambda model: model.graph.sparse_initializer.add(dims=[2**40]),
    "training": lambda model: model.training_info.add(),
    "annotations": lambda model: model.graph.quantization_annotation.add(tensor_name="x"),
    "a node's properties": lambda model: model.graph.node[0].metadata_props.add(key="a", value="b"),
    "large": lambda model: model.graph.initializer[0].dims.append(2**40),
    "negative": lambda model: model.graph.initializer[0].dims.append(-1),
    "empty": lambda model: model.graph.initializer[0].ClearField("raw_data"),
}


class TestStep:
    @pytest.mark.parametrize("change", CONTENT.values(), ids=CONTENT)
    def test_content_that_no_step_has_is_refused(self, change: Change, copied: Path) -> None:
        edited(copied, change)
        assert "step.onnx is refused: " in refused(copied)
        with pytest.raises(PlasticSearchError, match=r"step\.onnx is refused: "):
            manifest.read(copied)

    @pytest.mark.parametrize("location", ["../secret", "link", "{folder}/secret", "runner.py", "*/_ORT_MEM_ADDR_/*"])
    def test_numbers_in_other_files_are_not_read(self, location: str, copied: Path) -> None:
        edited(copied, _external(location.format(folder=copied.parent), copied))
        assert "field 13 of Tensor" in refused(copied)

    def test_a_name_that_is_no_text_is_refused(self, copied: Path) -> None:
        data = (copied / "step.onnx").read_bytes().replace(b"layers.0.dither", b"layers.0.dith\xffr")
        replace_file(copied, "step.onnx", data)
        assert "the inputs of step.onnx are not those of manifest.json" in refused(copied)

    def test_more_fields_than_are_allowed_are_refused(self, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(graphs, "FIELDS", 500)
        assert "too many fields" in refused(copied)

    def test_a_file_of_onnxruntimes_own_format_is_refused(self, copied: Path) -> None:
        replace_file(copied, "step.onnx", b"\x10\0\0\0ORTM" + bytes(1000))
        assert "step.onnx is refused" in refused(copied)

    def test_it_is_never_taken_for_onnxruntimes_own_format(self, copied: Path) -> None:
        edited(copied, lambda model: setattr(model, "producer_name", "ORTM__"))
        assert (copied / "step.onnx").read_bytes()[4:8] == b"ORTM"
        assert runs(copied)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x08",
            b"\x08" + 20 * b"\xff",
            b"\x3a\xff\xff\xff\xff\x0f",
            b"\x3b",
            b"\x00\x00",
            10**6 * b"\x3a",
            b"\x3a\0\x3a\0",
        ],
    )
    def test_what_is_no_protocol_buffer_is_refused(self, data: bytes, copied: Path) -> None:
        replace_file(copied, "step.onnx", data)
        assert "step.onnx" in refused(copied)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
    def test_a_part_of_it_is_refused(self, share: float, copied: Path) -> None:
        data = (copied / "step.onnx").read_bytes()
        replace_file(copied, "step.onnx", data[: int(share * len(data))])
        assert "step.onnx" in refused(copied)


LARGE = 2**22  # numbers, four times what may be used below
MEMORY_BOMBS: dict[str, Any] = {
    "a constant": adding(node("ConstantOfShape", "n"), constants={"n": [LARGE]}),
    "a computed constant": adding(
        helper.make_node("Mul", ["n", "n"], ["nn"]), node("ConstantOfShape", "nn"), constants={"n": [2**20]}
    ),
    "many constants": adding(
        *(helper.make_node("Expand", [f"k{i}", "n"], [f"c{i}"]) for i in range(300)),
        node("Sum", " ".join(f"c{i}" for i in range(300))),
        constants={"n": [2**15]} | {f"k{i}": np.float32(i) for i in range(300)},
    ),
    "a broadcast": adding(node("Expand", "one n"), constants={"one": np.float32(1), "n": [LARGE]}),
    "a range": adding(
        helper.make_node("Range", ["a", "b", "d"], ["r"]), node("Cast", "r", to=1),
        constants={"a": 0, "b": LARGE, "d": 1},
    ),
    "repeats": adding(node("Tile", "one n"), constants={"one": np.ones(1, np.float32), "n": [LARGE]}),
    "an outer product": adding(
        node("MatMul", "a b"), constants={"a": np.ones((3000, 1), np.float32), "b": np.ones((1, 3000), np.float32)}
    ),
    "what depends on an input": adding(
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "zero"], ["none"]),
        helper.make_node("Cast", ["none"], ["whole"], to=7),
        helper.make_node("Add", ["whole", "n"], ["size"]),
        node("ConstantOfShape", "size"),
        constants={"zero": np.float32(0), "n": [LARGE]},
    ),
    "doubling": adding(
        *(helper.make_node("Concat", 2 * [f"d{i}" if i else "x"], [f"d{i + 1}"], axis=1) for i in range(40)),
        helper.make_node("Identity", ["d40"], ["big"]),
    ),
    "padding": adding(
        node("Pad", "one n"), constants={"one": np.ones(1, np.float32), "n": [0, LARGE]}
    ),
}  # fmt: skip


class TestMemory:
    @pytest.mark.parametrize("change", MEMORY_BOMBS.values(), ids=MEMORY_BOMBS)
    def test_more_than_is_allowed_is_refused(
        self, change: Change, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runner, "MEMORY", 2**22)
        edited(copied, change)
        assert "onnxruntime cannot run step.onnx: " in refused(copied)
        assert "memory" in refused(copied)
