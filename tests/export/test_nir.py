"""Networks as files of NIR: the same network comes back, and two other implementations compute the same spikes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plastic_search.cells import Reset
from plastic_search.cells.alif import ALIF
from plastic_search.cells.delayed import Delayed
from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import nir
from plastic_search.export.parameters import prepared
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.network.spec import AlphaShape, Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.oja import Oja
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.graph import Graph
from plastic_search.structures.selected import Selected
from plastic_search.structures.self_recurrent import SelfRecurrent

package: Any = pytest.importorskip("nir", reason="the package nir is not installed")
h5py: Any = pytest.importorskip("h5py", reason="h5py is not installed")
from nir_executor import Executor  # noqa: E402

SPIKING = NetworkSpec(
    (
        Layer(20, LIF(membrane=3.0, resistance=9.0), structure=FeedForward()),
        Layer(15, LIF(synapse=2.0, resistance=12.0), skip=(1,)),
        Layer(12, LIF(resistance=8.0), structure=SelfRecurrent(), skip=(2, 1)),
        Layer(10, LIF(resistance=9.0), structure=Selected(tuple(range(3, 20)), Dense()), skip=(2,)),
        Layer(4, Integrator(), structure=FeedForward(), skip=(4,)),
    )
)


def spread(net: Network) -> Network:
    """The network, by the reference step, with biases and units that differ from one another."""
    rng, net.kernel = torch.Generator().manual_seed(5), "reference"
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "cell__" in name or name.endswith(("bias", "alpha")):
                value += 0.3 * torch.randn(value.shape, generator=rng)
    return net


def spikes_in(inputs: int, time: int = 40, batch: int = 3) -> Tensor:
    return (torch.rand(time, batch, inputs, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def equal(one: Network, other: Network) -> None:
    """Bit for bit."""
    mine, back = named(prepared(one)), named(prepared(other))
    assert mine.keys() == back.keys()
    for name, value in mine.items():
        assert torch.equal(value, back[name]), name


@torch.no_grad()
@pytest.mark.parametrize("readout", [Integrator(), Linear(), LIF(threshold=0.3)], ids=lambda cell: type(cell).__name__)
def test_a_second_implementation_computes_the_same_spikes(readout: Any, tmp_path: Path) -> None:
    """Feed-forward, recurrent, self-recurrent, through skip connections and a synaptic current."""
    last = Layer(4, readout, structure=FeedForward(), skip=(4,))
    net, x = spread(Network(NetworkSpec((*SPIKING.layers[:-1], last)), 8, seed=2)), spikes_in(8)
    nir.write(net, tmp_path / "net.nir", step=1e-3)
    y, spikes = Executor(package.read(tmp_path / "net.nir"), 1e-3)(x.double().numpy())
    inside, _ = record(net, x, [f"layers.{i}.output" for i in range(5)])
    for i in range(4):
        mine = inside[f"layers.{i}.output"].numpy()
        assert np.array_equal(mine, spikes[f"layer_{i}"])
        assert 0.02 < mine.mean() < 0.98, f"layer {i} is silent, or does nothing else than fire"
    assert np.allclose(y, inside["layers.4.output"].numpy(), atol=0.0 if readout.spiking else 1e-5)


PLASTIC = NetworkSpec(
    (
        Layer(7, LIF(synapse=2.0), ABCD(), Retroactive(), plastic=Pathway.BOTH, bound=Bound.SOFT, limit=0.7),
        Layer(6, LIF(), structure=Gated(density=0.5, plastic=0.3), plastic=Pathway.BOTH, skip=(1,)),
        Layer(3, Linear(), Oja(), structure=FeedForward(), plastic=Pathway.INPUT, alpha=AlphaShape.NEURON, skip=(1,)),
    ),
    held=("layers.0.cell.threshold",),
)


@torch.no_grad()
@pytest.mark.parametrize("precision", [Floating(), Integer(4, 4, 8), Integer(3, 2, 5)], ids=str)
def test_a_plastic_network_comes_back(precision: Any, tmp_path: Path) -> None:
    net = spread(Network(replace(PLASTIC, precision=precision), 5, seed=3))
    file = nir.write(net, tmp_path / "net.nir", step=1e-4)
    back = nir.read(file)
    equal(net, back)
    assert isinstance(back.spec.layers[1].structure, Graph)  # of the connections that are left
    assert replace(back.spec.layers[1], structure=PLASTIC.layers[1].structure) == PLASTIC.layers[1]
    assert (back.spec.layers[0], back.spec.held) == (PLASTIC.layers[0], PLASTIC.held)
    x, back.kernel = spikes_in(5, 12), "reference"
    assert torch.equal(net(x)[0], back(x)[0])
    assert net(x)[1][0].trace.any()


def test_other_tools_read_the_fixed_part(tmp_path: Path) -> None:
    """What they compute is the network whose traces stay 0."""
    net, x = spread(Network(PLASTIC, 5, seed=3)), spikes_in(5, 12)
    graph = package.read(nir.write(net, tmp_path / "net.nir"))
    y, _ = Executor(graph, 1.0)(x.double().numpy())
    frozen, _ = net(x, freeze=torch.ones(len(x), dtype=torch.bool))
    assert np.allclose(y, frozen.detach().numpy(), atol=1e-5)
    assert not torch.allclose(frozen, net(x)[0], atol=1e-3)
    about = json.loads(str(graph.nodes["layer_0"].metadata["layer"]))
    assert (about["rule"]["kind"], about["plastic"], about["limit"]) == ("ABCD", "both", 0.7)
    assert graph.nodes["layer_0"].metadata["parameters"]["alpha"].shape == (7, 12)
    assert "traces stay 0" in str(graph.metadata["about"])


@torch.no_grad()
def test_without_the_metadata_the_fixed_part_is_read(tmp_path: Path) -> None:
    """As a file of another tool is: populations become layers, whatever the nodes are called."""
    net, x = spread(Network(SPIKING, 8, seed=2)), spikes_in(8)
    graph = package.read(nir.write(net, tmp_path / "net.nir", step=0.5))
    graph.metadata = {}
    package.write(tmp_path / "other.nir", graph)
    with pytest.raises(PlasticSearchError, match=r"does not say how long a time step lasts.*step=1e-4"):
        nir.read(tmp_path / "other.nir")
    back = nir.read(tmp_path / "other.nir", step=0.5)
    back.kernel = "reference"
    for layer, structure in ((0, FeedForward), (1, Dense), (2, SelfRecurrent)):
        assert isinstance(back.spec.layers[layer].structure, structure)
    assert [{*layer.skip} for layer in back.spec.layers] == [{*layer.skip} for layer in SPIKING.layers]
    assert torch.allclose(net(x)[0], back(x)[0], atol=1e-5)


def lif(units: int, tau: float = 4.0, **more: float) -> Any:
    numbers = {"tau": tau, "r": 6.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | more
    return package.LIF(**{name: np.full(units, value) for name, value in numbers.items()})


@torch.no_grad()
def test_a_graph_of_other_form_is_read(tmp_path: Path) -> None:
    """Two branches, a graph in the graph, rest that is not 0, a weighted synapse, units without weights before them."""
    rng = np.random.default_rng(3)
    cuba = package.CubaLIF(
        tau_syn=np.full(6, 2.0), tau_mem=rng.uniform(2, 9, 6), r=rng.uniform(3, 8, 6), v_leak=np.full(6, 0.5),
        v_threshold=np.full(6, 1.3), v_reset=np.full(6, 0.5), w_in=rng.uniform(0.5, 2.0, 6),
    )  # fmt: skip
    inner = package.NIRGraph(
        {
            "input": package.Input(np.array([6])), "lif": cuba, "output": package.Output(np.array([6])),
            "w_rec": package.Affine(rng.normal(size=(6, 6)), rng.normal(size=6)),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )  # fmt: skip
    nodes = {
        "input": package.Input(np.array([5])), "a": package.Affine(rng.normal(size=(6, 5)), rng.normal(size=6)),
        "inner": inner, "b": package.Linear(rng.normal(size=(4, 5))), "lif": lif(4),
        "c": package.Linear(rng.normal(size=(4, 6))), "d": package.Linear(rng.normal(size=(4, 4))), "sum": lif(4, 2.0),
        "last": lif(4, 3.0, v_threshold=0.2), "output": package.Output(np.array([4])),
    }  # fmt: skip
    edges = [
        ("input", "a"), ("a", "inner"), ("input", "b"), ("b", "lif"), ("inner", "c"), ("lif", "d"), ("c", "sum"),
        ("d", "sum"), ("sum", "last"), ("last", "output"),
    ]  # fmt: skip
    package.write(tmp_path / "net.nir", package.NIRGraph(nodes, edges))
    net, x = nir.read(tmp_path / "net.nir", step=1.0), spikes_in(5)
    net.kernel = "reference"
    flat = {f"inner.{name}": node for name, node in inner.nodes.items()}
    joined = [(f"inner.{one}", f"inner.{other}") for one, other in inner.edges]
    joined += [("inner.output" if one == "inner" else one, "inner.input" if other == "inner" else other)
               for one, other in edges]  # fmt: skip
    nodes.pop("inner")
    flat["inner.input"] = flat["inner.output"] = package.Scale(np.ones(6))
    y, _ = Executor(package.NIRGraph(nodes | flat, joined, type_check=False), 1.0)(x.double().numpy())
    assert np.array_equal(net(x)[0].numpy(), y)
    assert 0.02 < y.mean() < 0.98


@torch.no_grad()
def test_one_number_for_all_units_is_read(tmp_path: Path) -> None:
    """In the form in which norse writes its default units: no v_reset, tau as dt / tau_mem_inv, dt = 0.001."""
    rng, tau = np.random.default_rng(0), np.float32(0.001 / 200.0)
    one, none = np.float32(1.0), np.float32(0.0)
    with h5py.File(tmp_path / "net.nir", "w") as file:
        numbers = {"type": "LIF", "tau": tau, "r": one, "v_leak": none, "v_threshold": np.float32(0.3)}
        nodes = {
            "input": {"type": "Input", "shape": [6]}, "0": numbers, "output": {"type": "Output", "shape": [4]},
            "1": {"type": "Affine", "weight": rng.normal(size=(4, 6)), "bias": np.zeros(4)},
            "2": {"type": "LI", "tau": tau, "r": one, "v_leak": none},
        }  # fmt: skip
        file["node/type"] = "NIRGraph"
        for name, values in nodes.items():
            for field, value in values.items():
                file[f"node/nodes/{name}/{field}"] = value
        edges = [("input", "0"), ("0", "1"), ("1", "2"), ("2", "output")]
        file["node"].create_dataset("edges", data=np.array(edges, object), dtype=h5py.string_dtype())
    net, x = nir.read(tmp_path / "net.nir", step=1e-6), spikes_in(6)
    net.kernel, v, y = "reference", np.zeros((3, 6)), np.zeros((3, 4))
    for inputs, output in zip(x.double().numpy(), net(x)[0].numpy(), strict=True):
        v = v + 0.001 * 200.0 * (inputs - v)
        y = y + 0.001 * 200.0 * ((v > 0.3) @ nodes["1"]["weight"].T - y)
        v = v * (v <= 0.3)
        assert np.allclose(output, y, atol=1e-5)
    assert y.any()


@torch.no_grad()
def test_what_snntorch_exports_is_read_and_computes_the_same_spikes(tmp_path: Path) -> None:
    """By its own exporter. Its units compute v' = beta v + I, so beta = 1 - 1 / tau and R = tau.

    Where it resets to zero, its `reset_delay` makes no difference to the spikes of `Leaky`; `RLeaky` with it ignores
    what arrives in the step after a spike, so it is switched off here.
    """
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed")
    pytest.importorskip("nirtorch", reason="nirtorch, which snntorch's exporter needs, is not installed")
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(4)
    hidden = {"init_hidden": True, "reset_mechanism": "zero"}
    recurrent = snn.RLeaky(beta=0.8, linear_features=9, all_to_all=True, reset_delay=False, **hidden)
    leaky = snn.Leaky(beta=torch.linspace(0.5, 0.95, 7), threshold=torch.linspace(0.5, 1.0, 7), **hidden)
    last = snn.Leaky(beta=torch.full((4,), 0.9), threshold=torch.full((4,), 0.5), reset_delay=False, **hidden)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(5, 9), recurrent, torch.nn.Linear(9, 7, bias=False), leaky, torch.nn.Linear(7, 4), last
    )
    for i in (0, 2, 4):
        theirs.get_parameter(f"{i}.weight").mul_(6.0)
    with pytest.warns(DeprecationWarning, match="extract_nir_graph"):
        package.write(tmp_path / "snntorch.nir", export_to_nir(theirs, torch.zeros(1, 5), ignore_dims=[0]))
    net, x = nir.read(tmp_path / "snntorch.nir", step=1e-4), spikes_in(5)
    assert [type(layer.structure) for layer in net.spec.layers] == [Dense, FeedForward, FeedForward]
    for module in (recurrent, leaky, last):
        module.reset_mem()
    expected = torch.stack([theirs(inputs) for inputs in x])
    net.kernel = "reference"
    assert torch.equal(net(x)[0], expected)
    assert 0.02 < expected.mean() < 0.98


@torch.no_grad()
def test_snntorch_units_of_our_numbers_compute_the_same_spikes(tmp_path: Path) -> None:
    """Its `Leaky` with beta = 1 - 1 / tau, and weights times R / tau: the same layers as ours, spike for spike."""
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed")
    spec = NetworkSpec(tuple(Layer(n, LIF(resistance=9.0), structure=FeedForward()) for n in (12, 6)))
    net, x = spread(Network(spec, 8, seed=2)), spikes_in(8)
    graph = package.read(nir.write(net, tmp_path / "net.nir"))
    expected, _ = net(x)
    sent = x
    for i, before in enumerate(("input", "layer_0")):
        unit, weights = graph.nodes[f"layer_{i}"], graph.nodes[f"layer_{i}_from_{before}"]
        gain, bias = torch.from_numpy(unit.r / unit.tau), torch.from_numpy(weights.bias)
        current = (sent @ torch.from_numpy(weights.weight).T + bias) * gain
        beta, threshold = torch.from_numpy(1.0 - 1.0 / unit.tau), torch.from_numpy(unit.v_threshold)
        leaky = snn.Leaky(beta=beta, threshold=threshold, reset_mechanism="zero")
        potential, spikes = leaky.reset_mem(), []
        for inputs in current:
            spike, potential = leaky(inputs, potential)
            spikes.append(spike)
        sent = torch.stack(spikes)
    assert torch.equal(sent, expected)
    assert 0.02 < expected.mean() < 0.98


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Layer(3, LIF(reset=Reset.SUBTRACT)), "resets by subtraction.*reset=Reset.ZERO"),
        (Layer(3, LIF(refractory=2)), "refractory period of 2 time steps.*refractory=0"),
        (Layer(3, ALIF()), "ALIF, whose threshold adapts.*write a bundle"),
        (Layer(3, Delayed()), "delays are not written.*write a bundle"),
        (Layer(3, RNN()), "RNN, and NIR has no node.*write a bundle"),
        (Layer(3, Linear()), "without a recurrent block; give it FeedForward"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value.cell).__name__,
)
def test_what_nir_cannot_say_is_refused_by_name(layer: Layer, message: str, tmp_path: Path) -> None:
    with pytest.raises(PlasticSearchError, match=rf"layers\.1.*{message}"):
        nir.write(Network(NetworkSpec((Layer(4, LIF()), layer)), 5), tmp_path / "net.nir")
    assert not any(tmp_path.iterdir())


def test_rounded_activity_is_refused_unless_it_is_of_spikes(tmp_path: Path) -> None:
    spec = NetworkSpec((Layer(3, Integrator()), Layer(2, LIF())), Integer(activity=4))
    with pytest.raises(PlasticSearchError, match="rounded to 4 bits"):
        nir.write(Network(spec, 5), tmp_path / "net.nir")
    net = Network(NetworkSpec((Layer(3, LIF()), Layer(2, Integrator())), Integer(activity=1)), 5)
    equal(net, nir.read(nir.write(net, tmp_path / "net.nir")))
