"""A bundle comes back as a network that computes the same, bit for bit, and is written as the same integers again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from plastic_search.cells.leaky import Leaky
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import discover
from plastic_search.export import bundle, loading, manifest
from plastic_search.export.parameters import Codes, parameters
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.module import Network
from plastic_search.network.spec import AlphaShape, Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions import Precision, Rounding
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.precisions.logarithmic import Logarithmic
from plastic_search.rules.abcd import ABCD
from plastic_search.structures import LearnedStructure, Structure
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.structures.selected import Selected

pytestmark = pytest.mark.usefixtures("quick_code")
STRUCTURES: list[Any] = [kind() for kind in discover(Structure).values()]
STRUCTURES += [Gated(density=0.3, plastic=0.2), Gated(density=0.4, support=Selected((0, 2), FeedForward()))]
PRECISIONS = [Floating(), Integer(4, 4, 8), Integer(2, 3, 5, Rounding.NEAREST), Integer(16, None, None)]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Network], Network]:
    """A network after a round trip through a bundle's parameters and spec, without its ONNX graph."""

    def round_trip(net: Network) -> Network:
        save_file(bundle._stored(net), tmp_path / "parameters.safetensors")
        content = {"spec": net.spec.to_json(), "input": {"width": net.inputs}}
        monkeypatch.setattr(manifest, "read", lambda folder: content)
        return loading.load(tmp_path)

    return round_trip


def network(structure: Structure, precision: Precision, alpha: AlphaShape, seed: int) -> Network:
    recurrent = structure.recurrent
    hidden = Layer(
        6, Leaky(), rule=ABCD(), modulation=Retroactive(), structure=structure, alpha=alpha,
        plastic=Pathway.BOTH if recurrent else Pathway.INPUT,
    )  # fmt: skip
    last = Layer(3, structure=Gated(density=0.3, plastic=0.3), plastic=Pathway.BOTH, alpha=alpha, skip=(1,))
    net = Network(NetworkSpec((hidden, last), precision), 4, seed)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3.0)
    return net


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_outputs_states_and_integers_are_the_same(structure: Structure, opened: Callable[[Network], Network]) -> None:
    _same(structure, PRECISIONS, opened)


def test_signs_and_powers_of_two_are_the_same(opened: Callable[[Network], Network]) -> None:
    _same(Gated(density=0.4), [Integer(1, 1, 4), Logarithmic(5, 3)], opened)


def _same(structure: Structure, precisions: Sequence[Precision], opened: Callable[[Network], Network]) -> None:
    x = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))
    for seed, precision in enumerate(precisions):
        for alpha in AlphaShape:
            net = network(structure, precision, alpha, seed)
            net.kernel = "reference"
            again = opened(net)
            again.kernel = "reference"
            assert again.spec.precision == precision
            (y, state), (found, after) = net(x), again(x)
            assert torch.equal(found, y)
            assert all(torch.equal(t, named(after)[name]) for name, t in named(state).items())
            assert _plain(parameters(again)) == _plain(parameters(net))


def _plain(values: dict[str, Tensor | Codes]) -> dict[str, Any]:
    return {
        name: (value.codes.tolist(), value.step.item()) if isinstance(value, Codes) else value.tolist()
        for name, value in values.items()
    }


def test_the_step_is_found_where_no_open_gate_keeps_the_largest_alpha(opened: Callable[[Network], Network]) -> None:
    structure = Graph(fixed=((0, 0), (1, 1)), plastic=((0, 1), (1, 0)), support=FeedForward())
    spec = NetworkSpec((Layer(2, structure=structure, plastic=Pathway.INPUT),), Integer(4, 4, 8))
    net = Network(spec, 2)
    net.bags()[0].get_parameter("alpha").data.copy_(torch.tensor([[0.9, 0.2], [0.1, 0.0]]))
    (stored,) = (value for name, value in parameters(net).items() if name.endswith("alpha"))
    assert isinstance(stored, Codes)
    assert int(stored.codes.abs().max()) < 7
    again = opened(net)
    assert torch.equal(again.resolve()[0].alpha, net.resolve()[0].alpha)  # type: ignore[arg-type]


def test_a_structure_that_learned_comes_back_as_its_graph(opened: Callable[[Network], Network]) -> None:
    net = network(Gated(density=0.5, plastic=0.4), Floating(), AlphaShape.SYNAPSE, 0)
    again = opened(net)
    assert not any(isinstance(layer.structure, LearnedStructure) for layer in again.spec.layers)
    assert again.connections() == net.connections()
    assert again.plastic_connections() == net.plastic_connections()
    before = again.connections()
    y, _ = again(torch.randn(5, 2, 4))
    y.square().mean().backward()
    torch.optim.SGD(again.parameters(), 0.1).step()
    assert again.connections() == before


def test_integers_that_were_not_yet_packed_are_read(opened: Callable[[Network], Network], tmp_path: Path) -> None:
    net = network(STRUCTURES[0], Integer(4, 2, 8), AlphaShape.SYNAPSE, 0)
    opened(net)
    file = tmp_path / "parameters.safetensors"
    tensors = load_file(file)
    assert {name for name in tensors if "codes" in name} == {
        f"layers.{i}.{name}" for i in range(2) for name in ("weight.codes4", "alpha.codes2")
    }
    for name, value in parameters(net).items():
        if isinstance(value, Codes):
            del tensors[f"{name}.codes{value.packed}"]
            tensors[f"{name}.codes"] = value.codes
    save_file(tensors, file)
    assert _plain(parameters(loading.load(tmp_path))) == _plain(parameters(net))


def resized(tensors: dict[str, Tensor]) -> None:
    tensors["layers.0.weight.codes4"] = torch.zeros(15, dtype=torch.uint8)


def flat(tensors: dict[str, Tensor]) -> None:
    tensors["layers.0.weight.codes4"] = tensors["layers.0.weight.codes4"].reshape(1, -1)


def beyond(tensors: dict[str, Tensor]) -> None:
    tensors["layers.0.weight.codes4"][0] = 0x88


def again(tensors: dict[str, Tensor]) -> None:
    tensors["layers.0.weight.codes"] = torch.zeros(1, 6, 10, dtype=torch.int8)


def missing(tensors: dict[str, Tensor]) -> None:
    del tensors["layers.1.bias"]


def unknown(tensors: dict[str, Tensor]) -> None:
    tensors["layers.0.rule.more"] = torch.zeros(3)


def halved(tensors: dict[str, Tensor]) -> None:
    del tensors["layers.0.alpha.step"]


def doubled(tensors: dict[str, Tensor]) -> None:
    tensors["layers.0.weight"] = torch.zeros(1, 6, 10)


def whole(tensors: dict[str, Tensor]) -> None:
    tensors["layers.0.bias"] = tensors["layers.0.bias"].int()


def stray(tensors: dict[str, Tensor]) -> None:
    tensors["more"] = torch.zeros(3)


def between(tensors: dict[str, Tensor]) -> None:
    tensors["layers.0.weight.step"] = tensors["layers.0.weight.step"] * torch.nan


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (resized, r"layers\.0\.weight: 60 integers of 4 bits are uint8 \[30\], but it is uint8 \[15\]; .*again"),
        (flat, r"60 integers of 4 bits are uint8 \[30\], but it is uint8 \[1, 30\]"),
        (beyond, r"layers\.0\.weight: an integer is 8, but in its format at most 7: more bits than it holds"),
        (again, r"has layers\.0\.weight twice"),
        (missing, r"layers\.1\.bias should be \[1, 3\] by the spec, but is missing"),
        (unknown, r"layers\.0\.rule\.more should be absent, but is float32 \[3\]"),
        (whole, r"layers\.0\.bias should be float32 \[1, 6\], but is int32 \[1, 6\]"),
        (stray, r"more should be absent, but is float32 \[3\]"),
        (halved, r"lacks the step of layers\.0\.alpha"),
        (doubled, r"has layers\.0\.weight twice, with codes and without"),
        (between, r"layers\.0\.weight is not what a network of the spec computes with"),
    ],
)
def test_parameters_of_another_network_are_refused(
    spoil: Callable[[dict[str, Tensor]], None], message: str, opened: Callable[[Network], Network], tmp_path: Path
) -> None:
    net = network(Gated(), Integer(4, 4, 8), AlphaShape.SYNAPSE, 0)
    opened(net)
    file = tmp_path / "parameters.safetensors"
    tensors = load_file(file)
    spoil(tensors)
    save_file(tensors, file)
    with pytest.raises(PlasticSearchError, match=message):
        loading.load(tmp_path)


@pytest.mark.parametrize("width", [0, -1, 2.0, "4", True, None])
def test_a_width_that_is_none_is_refused(width: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"spec": NetworkSpec().to_json(), "input": {"width": width}}
    monkeypatch.setattr(manifest, "read", lambda folder: content)
    with pytest.raises(PlasticSearchError, match="the width of the input must be a whole number from 1"):
        loading.load(tmp_path)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all that a spec's JSON holds."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [each for key, child in items for each in ((*path, key), *_leaves(child, (*path, key)))]


def test_a_spec_that_does_not_fit_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(Graph(((0, 1), (2, 5)), ((1, 3), (3, 4))), Integer(4, 4, 8), AlphaShape.SYNAPSE, 0)
    save_file(bundle._stored(net), tmp_path / "parameters.safetensors")
    others: list[Any] = [
        None,
        -1,
        0,
        2,
        1.5,
        1e39,
        True,
        "none",
        "input",
        "Dense",
        "LSTM",
        [],
        [-1],
        {},
        {"kind": "Dense"},
    ]
    paths, read = _leaves(net.spec.to_json()), 0
    for path in paths:
        for other in others:
            spec: Any = net.spec.to_json()
            inner = spec
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = other
            monkeypatch.setattr(
                manifest, "read", lambda folder, spec=spec: {"spec": spec, "input": {"width": net.inputs}}
            )
            with suppress(PlasticSearchError):
                loading.load(tmp_path)
                read += 1
    assert read < 0.6 * len(paths) * len(others)
