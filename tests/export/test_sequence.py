"""A whole sequence in one call equals its steps; a sequence.onnx from elsewhere repeats a step, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tampering import refused, replace_file, reseal, runs

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import runner, sequence
from plastic_search.export.loading import load

Change = Callable[[onnx.ModelProto], Any]


def inputs(time: int, batch: int, width: int = 67) -> np.ndarray:
    return np.random.default_rng(time + batch).standard_normal((time, batch, width)).astype(np.float32)


@pytest.mark.parametrize("time", [1, 7, 200])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_sequence_equals_its_steps(time: int, batch: int, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, steps, x = runner.Runner(small), runner.Runner(small), inputs(time, batch)
    whole.reset(batch)
    for _ in range(2):  # the second goes on with what was learned in the first
        assert np.array_equal(whole(x), np.stack([steps(each) for each in x]))
        monkeypatch.setattr(runner, "TOGETHER", 1)  # then one episode after another
    assert whole.state.keys() == steps.state.keys()
    for name, value in whole.state.items():
        assert np.array_equal(value, steps.state[name]), name
    assert np.abs(whole.state["layers.0.trace"]).max() > 0


def test_another_shape_is_refused(small: Path) -> None:
    net = runner.Runner(small)
    net.reset(2)
    for shape in ((3, 1, 67), (3, 2, 66), (0, 2, 67), (1, 3, 2, 67)):
        with pytest.raises(ValueError, match=r"one or several \(2, 67\), but is"):
            net(np.zeros(shape, np.float32))


def test_a_sequence_that_differs_is_not_written(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = sequence._repeated

    def changed(model: onnx.ModelProto) -> onnx.ModelProto:
        bias = next(each for each in model.graph.initializer if each.name == "layers.0.bias")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1e-4), bias.name))
        return exact(model)

    net = load(small)
    assert sequence.export_sequence(net, small / "step.onnx", tmp_path / "same.onnx") == 0.0
    assert (tmp_path / "same.onnx").read_bytes() == (small / "sequence.onnx").read_bytes()
    monkeypatch.setattr(sequence, "_repeated", changed)
    with pytest.raises(PlasticSearchError, match=r"differs from its steps by .* at y, of 1 steps and 1 episodes"):
        sequence.export_sequence(net, small / "step.onnx", tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def _scan(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "Scan")


def _body(model: onnx.ModelProto) -> onnx.GraphProto:
    return _scan(model).attribute[0].g


def _divided(model: onnx.ModelProto) -> None:
    """A division of whole numbers that can end the process, inside of the step."""
    for name, value in (("a", -(2**63)), ("b", -1)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    _body(model).node.append(helper.make_node("Div", ["a", "b"], ["big"]))


def _large(model: onnx.ModelProto) -> None:
    """More memory inside of the step than a runner has."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**40]), "n"))
    nodes = _body(model).node
    last = next(node for node in nodes if "step.y" in node.output)
    last.output[:] = ["y0"]
    for node in nodes:
        node.input[:] = ["y0" if name == "step.y" else name for name in node.input]
    nodes.append(helper.make_node("ConstantOfShape", ["n"], ["big"]))
    nodes.append(helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0))
    nodes.append(helper.make_node("Add", ["y0", "sum"], ["step.y"]))


CONTENT: dict[str, Change] = {
    "a loop": lambda model: setattr(_scan(model), "op_type", "Loop"),
    "a graph in another operation": lambda model: setattr(_scan(model), "op_type", "Identity"),
    "two": lambda model: model.graph.node.append(_scan(model)),
    "one inside of the other": lambda model: _body(model).node.append(_scan(model)),
    "numbers inside": lambda model: _body(model).initializer.append(model.graph.initializer[0]),
    "an operation that a step may not have": lambda model: _body(model).node.add(op_type="RandomNormal"),
    "backwards": lambda model: _scan(model).attribute.append(helper.make_attribute("scan_input_directions", [1])),
    "another count": lambda model: setattr(_scan(model).attribute[1], "i", 2),
    "a division of whole numbers": _divided,
}  # fmt: skip


@pytest.mark.parametrize("change", CONTENT.values(), ids=CONTENT)
def test_content_that_no_sequence_has_is_refused(change: Change, copied: Path) -> None:
    model = onnx.load(copied / "sequence.onnx")
    change(model)
    replace_file(copied, "sequence.onnx", model.SerializeToString())
    assert "sequence.onnx is refused: " in refused(copied)


def test_more_memory_than_is_allowed_is_refused(copied: Path) -> None:
    model = onnx.load(copied / "sequence.onnx")
    _large(model)
    replace_file(copied, "sequence.onnx", model.SerializeToString())
    assert "onnxruntime cannot run sequence.onnx" in refused(copied)


def test_a_step_is_no_sequence_and_a_sequence_no_step(copied: Path) -> None:
    step, whole = ((copied / name).read_bytes() for name in ("step.onnx", "sequence.onnx"))
    replace_file(copied, "sequence.onnx", step)
    assert "sequence.onnx is refused: it has the operation 'Scan' 0 times" in refused(copied)
    replace_file(copied, "sequence.onnx", whole)
    assert runs(copied)
    replace_file(copied, "step.onnx", whole)
    assert "step.onnx is refused: it has the operation 'Scan' 1 times" in refused(copied)


def test_a_sequence_of_another_state_is_refused(copied: Path) -> None:
    model = onnx.load(copied / "sequence.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "steps"
    replace_file(copied, "sequence.onnx", model.SerializeToString())
    assert "the inputs of sequence.onnx are not those of manifest.json" in refused(copied)
    reseal(copied, lambda data: data["files"].pop("sequence.onnx"))
    assert "'sequence.onnx', which is not part of the bundle" in refused(copied)
