"""A step as QONNX: every rounding is a Quant node; and the package qonnx, where it is installed, computes the step."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import qonnx
from plastic_search.export.loading import load
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.precisions import Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer

INSTALLED = find_spec("qonnx") is not None
NEEDED = pytest.mark.skipif(not INSTALLED, reason="the package qonnx is not installed")


@pytest.fixture(scope="module")
def written(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, qonnx.Written]:
    """A network with 4-bit weights and alphas and a stochastically rounded 8-bit trace."""
    net = load(small)
    return net, qonnx.write(net, tmp_path_factory.mktemp("qonnx") / "net.qonnx", steps=2)


def test_every_rounding_is_a_quantizer(written: tuple[Network, qonnx.Written]) -> None:
    net, result = written
    graph = onnx.load(result.file).graph
    kept = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    quantizers = [node for node in graph.node if node.op_type == "Quant"]
    assert result.quantizers == len(quantizers) == 3
    assert "DequantizeLinear" not in {node.op_type for node in graph.node}
    rounding = [next(each.s for each in node.attribute if each.name == "rounding_mode") for node in quantizers]
    assert rounding == [b"ROUND", b"ROUND", b"FLOOR"]
    assert [float(kept[node.input[3]]) for node in quantizers] == [4, 4, 8]
    for node in quantizers:
        assert node.domain == "qonnx.custom_op.general"
        assert {each.name: each.i for each in node.attribute if each.name != "rounding_mode"} == {
            "narrow": 1,
            "signed": 1,
        }
    weight = next(node for node in quantizers if node.output[0] == "layers.0.weight")
    assert np.array_equal(kept[weight.input[0]], net.resolve()[0].weight.detach().numpy())
    sizes = [each.type.tensor_type.shape.dim[0] for each in (*graph.input, *graph.output)]
    assert all(size.dim_value == 1 and not size.dim_param for size in sizes)


def test_without_qonnx_it_is_not_said_to_be_checked(written: tuple[Network, qonnx.Written]) -> None:
    assert (written[1].parity is None) is not INSTALLED


@NEEDED
def test_qonnx_computes_the_step(written: tuple[Network, qonnx.Written]) -> None:
    parity = written[1].parity
    assert parity is not None
    assert (parity.steps, parity.ties) == (2, 0)
    assert parity.stepwise <= 1e-6
    assert parity.largest <= 1e-6


@NEEDED
@pytest.mark.parametrize("rounding", [Rounding.NEAREST, Rounding.FEEDBACK])
def test_qonnx_computes_the_other_roundings(rounding: Rounding, tmp_path: Path) -> None:
    net = Network(NetworkSpec((Layer(units=3, plastic=Pathway.BOTH),), Integer(2, 3, 3, rounding)), 4)
    result = qonnx.write(net, tmp_path / "net.qonnx", steps=3)
    assert result.parity is not None
    assert (result.parity.steps, result.parity.ties) == (3, 0)
    assert result.parity.largest <= 1e-6
    assert result.quantizers == (4 if rounding is Rounding.FEEDBACK else 3), "what is kept is rounded, and what is read"


@NEEDED
def test_a_file_that_differs_is_not_written(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = qonnx._quant
    monkeypatch.setattr(qonnx, "_quant", lambda value, step, bits, *rest: exact(value, step, bits - 1, *rest))
    with pytest.raises(PlasticSearchError, match="differs from the network's by"):
        qonnx.write(load(small), tmp_path / "net.qonnx", steps=2)
    assert not list(tmp_path.iterdir())


def test_what_is_not_rounded_is_refused(small: Path, tmp_path: Path) -> None:
    net = load(small)
    plain = Network(replace(net.spec, precision=Floating()), net.inputs)
    with pytest.raises(PlasticSearchError, match="nothing in this network is rounded"):
        qonnx.write(plain, tmp_path / "net.qonnx")
