"""Files of NIR that are not what they should be: each is refused in one sentence that names what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import nir
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward

pytest.importorskip("nir", reason="the package nir is not installed")
h5py: Any = pytest.importorskip("h5py", reason="h5py is not installed")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a plastic layer and a readout."""
    hidden = Layer(4, LIF(), plastic=Pathway.BOTH)
    net = Network(NetworkSpec((hidden, Layer(2, Integrator(), structure=FeedForward()))), 3)
    return nir.write(net, tmp_path_factory.mktemp("nir") / "good.nir")


@pytest.fixture
def changed(good: Path, tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    """A copy of it that was changed by a function of its group `node`."""

    def change(how: Callable[[Any], None]) -> Path:
        copy = Path(shutil.copy(good, tmp_path / "changed.nir"))
        with h5py.File(copy, "r+") as file:
            how(file["node"])
        return copy

    return change


def put(path: str, value: Any, **more: Any) -> Callable[[Any], None]:
    """A change: an array or a text in place of another; None takes it out."""

    def change(node: Any) -> None:
        if path in node:
            del node[path]
        if value is not None:
            node.create_dataset(path, data=value, **more)

    return change


def edges(*changes: tuple[str, str]) -> Callable[[Any], None]:
    """A change: these edges more, or, where they are there, less."""

    def change(node: Any) -> None:
        kept = {(one.decode(), other.decode()) for one, other in node["edges"][()]} ^ set(changes)
        put("edges", np.array(sorted(kept), dtype=object), dtype=h5py.string_dtype())(node)

    return change


def both(*changes: Callable[[Any], None]) -> Callable[[Any], None]:
    def change(node: Any) -> None:
        for each in changes:
            each(node)

    return change


def node(name: str, kind: str, **arrays: Any) -> Callable[[Any], None]:
    return both(put(f"nodes/{name}/type", kind), *(put(f"nodes/{name}/{key}", value) for key, value in arrays.items()))


def linked(link: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group["nodes/layer_0/tau"]
        group["nodes/layer_0/tau"] = link

    return change


def in_itself(group: Any) -> None:
    group["nodes/again"] = group


def about(**values: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        data = json.loads(group["metadata/plastic_search"][()]) | values
        put("metadata/plastic_search", json.dumps(data))(group)

    return change


ZEROS = np.zeros((4, 4))
REFUSED: dict[str, tuple[Callable[[Any], None], str]] = {
    "unknown node": (node("layer_0", "Conv2d"), "'Conv2d'; known: Affine, CubaLIF.*'layer_0'"),
    "no type": (put("nodes/layer_0/type", None), "'None'; known"),
    "no nodes": (put("nodes", None), "must be a NIRGraph with `nodes`"),
    "no edges": (put("edges", None), "lacks edges"),
    "an edge to nowhere": (edges(("layer_0", "layer_9")), "'layer_9'; known.*has an edge"),
    "edges of three": (put("edges", np.array([["a", "b", "c"]], object), dtype=h5py.string_dtype()), "pairs of names"),
    "an input cut off": (edges(("input", "layer_0_from_input")), "'input', of kind Input, sends nothing"),
    "weights cut off": (edges(("layer_0_from_layer_0", "layer_0")), "'layer_0_from_layer_0'.*sends nothing"),
    "units without input": (
        edges(("layer_0_from_input", "layer_0"), ("layer_0_from_input", "layer_0_from_layer_0")),
        "followed by the weights",
    ),
    "only from itself": (
        edges(("layer_0_from_input", "layer_0"), ("layer_0_from_input", "layer_1")),
        "sends 4 numbers to 'layer_1', which takes 2",
    ),
    "a loop without units": (
        both(node("w", "Linear", weight=ZEROS), edges(("layer_0_from_layer_0", "w"), ("w", "layer_0_from_layer_0"))),
        "loop through .* without a unit",
    ),
    "a loop through layers": (
        both(node("w", "Linear", weight=np.zeros((4, 2))), edges(("layer_1", "w"), ("w", "layer_0"))),
        "loop through several layers",
    ),
    "a dead end": (
        both(
            node("w", "Linear", weight=ZEROS),
            node("x", "LI", tau=np.full(4, 2.0), r=np.ones(4), v_leak=np.zeros(4)),
            edges(("layer_0", "w"), ("w", "x"), ("x", "x")),
        ),
        "'x' does not lead to the output",
    ),
    "two inputs": (both(node("more", "Input", shape=[4]), edges(("more", "layer_0"))), "2 nodes Input"),
    "NaN": (put("nodes/layer_0/tau", np.array([1.0, np.nan, 2.0, 2.0])), "`tau` of 'layer_0'.*not finite"),
    "a wrong shape": (put("nodes/layer_0_from_layer_0/weight", np.zeros((4, 3))), "sends 4 numbers.*takes 3"),
    "sizes that differ": (put("nodes/layer_0/r", np.ones(3)), r"different sizes: \[3, 4\]"),
    "biases of another size": (put("nodes/layer_0_from_input/bias", np.ones(3)), "3 biases for 4 rows"),
    "weights on a grid": (put("nodes/layer_0_from_input/weight", np.zeros((4, 3, 2))), "not on a grid"),
    "an image": (put("nodes/input/shape", [3, 2]), "vectors, flattened"),
    "a text for numbers": (put("nodes/layer_0/tau", "long"), "lacks numbers `tau`"),
    "complex": (put("nodes/layer_0/tau", np.ones(4, complex)), "complex128"),
    "no tau": (put("nodes/layer_0/tau", None), "lacks numbers `tau`"),
    "a soft link": (linked(h5py.SoftLink("/node/nodes/layer_0/r")), "'tau' is a link to elsewhere"),
    "an external link": (linked(h5py.ExternalLink("/etc/passwd", "/x")), "'tau' is a link to elsewhere"),
    "a group in itself": (in_itself, "groups within one another|groups and arrays"),
    "other units than in metadata": (put("nodes/layer_0/v_threshold", np.full(4, 2.0)), "other numbers.*v_threshold"),
    "no layer in metadata": (put("nodes/layer_0/metadata/layer", None), "lacks the metadata `layer`"),
    "no JSON": (put("metadata/plastic_search", "{"), "not as they were written"),
    "of another format": (about(format="plastic_search/nir/9"), "format 'plastic_search/nir/9'"),
    "a step of 0": (about(step=0.0), "must be above 0"),
    "more layers": (about(layers=3), "lacks the metadata"),
    "an unknown field": (about(spec={"kind": "NetworkSpec", "colour": 3}), "'colour'"),
    "alpha of another size": (
        put("nodes/layer_0/metadata/parameters/alpha", np.zeros((4, 3), np.float32)),
        r"layers.0.alpha should be \[4, 7\]",
    ),
    "alpha in float64": (put("nodes/layer_0/metadata/parameters/alpha", np.zeros((4, 7))), "'alpha'.*float32"),
    "a parameter too many": (put("nodes/layer_0/metadata/parameters/more", np.zeros(4, np.float32)), "layers.0.more"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_named(name: str, changed: Callable[[Callable[[Any], None]], Path]) -> None:
    how, message = REFUSED[name]
    with pytest.raises(PlasticSearchError, match=message):
        nir.read(changed(how))


def test_an_array_of_more_than_memory_is_not_read(changed: Callable[[Callable[[Any], None]], Path]) -> None:
    def large(group: Any) -> None:
        del group["nodes/layer_0/tau"]
        group.create_dataset("nodes/layer_0/tau", shape=(2**40,), dtype="f8", chunks=(64,))

    def external(group: Any) -> None:
        del group["nodes/layer_0/tau"]
        group.create_dataset("nodes/layer_0/tau", shape=(4,), dtype="f8", external=[("/dev/zero", 0, 32)])

    with pytest.raises(PlasticSearchError, match="arrays have more than"):
        nir.read(changed(large))
    with pytest.raises(PlasticSearchError, match="holds no numbers of its own"):
        nir.read(changed(external))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (put("nodes/layer_0/v_reset", np.full(4, 0.5)), "`v_reset` must be `v_leak`"),
        (put("nodes/layer_0/r", np.zeros(4)), "`r` must be above 0"),
        (put("nodes/layer_0/v_threshold", np.full(4, -1.0)), "`v_threshold - v_leak` must be above 0"),
        (put("nodes/layer_0/tau", np.full(4, 0.1)), "shorter than a time step"),
        (put("nodes/layer_1/v_leak", np.ones(2)), "`v_leak` of a LI must be 0"),
        (put("nodes/layer_0_from_input/bias", np.full(4, 1e300)), "beyond float32"),
    ],
)
def test_what_no_network_here_computes_is_named(
    how: Callable[[Any], None], message: str, changed: Callable[[Callable[[Any], None]], Path]
) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        nir.read(changed(both(how, put("metadata", None))), step=1.0)


def test_a_file_that_is_none_of_nir(tmp_path: Path, good: Path) -> None:
    (tmp_path / "text.nir").write_text("nodes: none")
    with pytest.raises(PlasticSearchError, match="is not a whole file of NIR"):
        nir.read(tmp_path / "text.nir")
    with pytest.raises(PlasticSearchError, match="is no file"):
        nir.read(tmp_path / "none.nir")
    with h5py.File(tmp_path / "empty.nir", "w"):
        pass
    with pytest.raises(PlasticSearchError, match="no group `node`"):
        nir.read(tmp_path / "empty.nir")
    with pytest.raises(PlasticSearchError, match=r"time steps of 1, and is to be read with step=0\.5"):
        nir.read(good, step=0.5)


def test_mutated_files_are_read_or_refused(good: Path, tmp_path: Path) -> None:
    """A byte here and there: nothing but PlasticSearchError comes out."""
    rng, data = np.random.default_rng(0), np.frombuffer(good.read_bytes(), np.uint8)
    refused = 0
    for _ in range(25):
        mutant = data.copy()
        mutant[rng.integers(len(data), size=8)] = rng.integers(256, size=8)
        (tmp_path / "mutant.nir").write_bytes(mutant.tobytes())
        try:
            nir.read(tmp_path / "mutant.nir")
        except PlasticSearchError:
            refused += 1
    assert refused
