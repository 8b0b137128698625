"""Modulations by hand: what they see, what they remember, and rates of neurons, synapses and layers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plastic_search.cells import Cell
from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import Part
from plastic_search.core.space import choice
from plastic_search.experiments.runner import run
from plastic_search.experiments.study import Study
from plastic_search.modulations import FanOut, Modulation, Rate, Reads
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.deviation import Deviation
from plastic_search.modulations.external import External
from plastic_search.modulations.from_layer import FromLayer
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.several import Several
from plastic_search.modulations.simple import Simple
from plastic_search.network import validity
from plastic_search.network.module import Network
from plastic_search.network.recording import record
from plastic_search.network.spec import Bound, Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.graph import Graph
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

X = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
RATE, OUTPUT = "layers.0.rate.write", "layers.0.output"


def inside(
    modulation: Modulation, cell: Cell | None = None, names: tuple[str, ...] = (RATE, OUTPUT)
) -> tuple[Any, ...]:
    """The parameters of a modulation, whose layer has 4 units and 2 inputs, and recordings of that layer."""
    layer = Layer(4, cell or Linear(), Hebb(), modulation, plastic=Pathway.BOTH)
    net = Network(NetworkSpec((layer,)), 2, kernel="reference").double()
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "modulation" in name:
                value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    found, _ = record(net, X, names)
    return net.parts()[0].modulation, *(found[name] for name in names)


def signal(params: Any, h: Tensor) -> Tensor:
    """M = tanh(v . h + b), [time, batch]"""
    return torch.tanh(h @ params.weight + params.bias)


def test_each_synapse_has_its_own_rate() -> None:
    params, rate, output = inside(Simple(FanOut.SYNAPSE))
    assert params.fan.shape == (4, 2 + 4)
    torch.testing.assert_close(rate, params.fan * signal(params, output)[..., None, None] + params.base)


def test_learned_rates_are_of_the_layer_a_neuron_or_a_synapse() -> None:
    for per, shape in ((FanOut.NETWORK, (1, 1)), (FanOut.NEURON, (1, 4)), (FanOut.SYNAPSE, (1, 4, 6))):
        params, rate, _ = inside(Learned(per=per))
        torch.testing.assert_close(rate[0, :1], params.rate.reshape(shape))


def test_a_signal_may_read_the_output_before_or_the_memory() -> None:
    params, rate, output = inside(Simple(FanOut.NETWORK, reads=Reads.PREVIOUS))
    before = torch.cat([torch.zeros_like(output[:1]), output[:-1]])
    torch.testing.assert_close(rate[..., 0], signal(params, before))
    memory = "layers.0.cell.memory"
    params, rate, memory = inside(Simple(FanOut.NETWORK, reads=Reads.MEMORY), LSTM(), (RATE, memory))
    torch.testing.assert_close(rate[..., 0], signal(params, memory))


def test_an_input_column_is_a_rate() -> None:
    _, rate, _ = inside(External(1, gain=0.5))
    torch.testing.assert_close(rate[..., 0], 0.5 * X[..., 1])
    params, rate, _ = inside(External(1, learned=FanOut.SYNAPSE))
    torch.testing.assert_close(rate, params.gain * X[..., 1, None, None])


def test_a_rate_less_its_running_mean() -> None:
    _, rate, mean = inside(Deviation(External(0, gain=2.0), 0.25), names=(RATE, "layers.0.modulation.mean"))
    m, errors = torch.zeros(3).double(), []
    for x in X[..., 0]:
        errors.append(2.0 * x - m)
        m = m + 0.25 * errors[-1]
    torch.testing.assert_close(rate, torch.stack(errors)[..., None].expand(-1, -1, 4))
    torch.testing.assert_close(mean[-1], m[:, None].expand(-1, 4))


def test_several_signals_are_fanned_out() -> None:
    params, rate, output = inside(Several(3))
    m = torch.tanh(torch.einsum("tbj,kj->tbk", output, params.weight) + params.bias)
    torch.testing.assert_close(rate, torch.einsum("jk,tbk->tbj", params.fan, m) + params.base)


def test_another_layer_modulates() -> None:
    layers = (Layer(3), Layer(2), Layer(4, modulation=FromLayer(back=2, signals=2), plastic=Pathway.BOTH, skip=(2,)))
    net = Network(NetworkSpec(layers), 2, kernel="reference").double()
    found, _ = record(net, X, ["layers.0.output", "layers.2.rate.write", "layers.2.pre"])
    params = net.parts()[2].modulation
    wanted = torch.einsum("jk,tbk->tbj", params.fan, found["layers.0.output"][..., :2]) + params.base
    torch.testing.assert_close(found["layers.2.rate.write"], wanted)
    assert found["layers.2.pre"].shape[-1] == 2 + 2 + 4  # it is not received through connections
    net(X)[0].sum().backward()
    assert net.parts()[0].weight.grad is not None or net.layers[0].get_parameter("weight").grad is not None


def test_any_modulation_may_be_retroactive() -> None:
    layer = Layer(
        1, Linear(), Hebb(), Retroactive(signal=External(1, gain=1.0)), FeedForward(), Pathway.INPUT, Bound.NONE
    )
    net = Network(NetworkSpec((layer,)), 2).double()
    with torch.no_grad():
        net.layers[0].get_parameter("weight").copy_(torch.tensor([[[1.0, 0.0]]]))
        net.layers[0].get_parameter("alpha").zero_()
    x = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 3.0]], dtype=torch.float64).unsqueeze(1)
    _, state = net(x)
    assert state[0].trace is not None
    assert state[0].trace.flatten().tolist() == [3.0 * 0.25, 0.0]  # E = 0.5, then 0.25, when the reward of 3 arrives


def test_an_old_retroactive_is_still_read() -> None:
    old = {"kind": "Retroactive", "fan_out": "network", "rate": 0.2, "eligibility": 0.3}
    part = Modulation.from_json(old)
    assert part == Retroactive(FanOut.NETWORK, 0.2, 0.3)
    assert Modulation.from_json(Retroactive(signal=Several(2)).to_json()) == Retroactive(signal=Several(2))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((External(7),), r"layers.0: External reads column 7, but the layer receives the columns 0 to 1"),
        ((Deviation(External(2)),), r"External reads column 2"),
        ((Retroactive(signal=External(2)),), r"External reads column 2"),
        ((FromLayer(signals=3),), r"layers.0: FromLayer reads 3 units of a layer that has 2"),
        (
            (Simple(), FromLayer(3)),
            r"layers.1: FromLayer sees the layer 3 back, but only earlier ones are there: 1 to 2",
        ),
    ],
)
def test_what_a_modulation_reads_must_be_there(layers: tuple[Modulation, ...], message: str) -> None:
    spec = NetworkSpec(tuple(Layer(4, modulation=each, plastic=Pathway.BOTH) for each in layers))
    with pytest.raises(PlasticSearchError, match=message):
        Network(spec, 2)
    Network(NetworkSpec(tuple(Layer(4, modulation=each) for each in layers)), 2)  # nothing is plastic


def test_impossible_settings_are_refused() -> None:
    for make, message in (
        (lambda: External(-1), "counted from 0"),
        (lambda: FromLayer(0), "back=0"),
        (lambda: Several(0), "at least 1 signal"),
        (lambda: Deviation(share=0.0), "a share of the step"),
        (lambda: Retroactive(signal=Retroactive()), "use its own signal"),
        (lambda: Retroactive(rate=0.2, signal=Simple()), "set them there"),
    ):
        with pytest.raises(PlasticSearchError, match=message):
            make()
    with pytest.raises(PlasticSearchError, match="Deviation wants a rate for the layer or for each neuron"):
        inside(Deviation(Simple(FanOut.SYNAPSE)))


def test_a_modulation_of_an_earlier_version_is_refused() -> None:
    with pytest.raises(
        PlasticSearchError, match=r"Old.step\(self, params, output\).*step\(self, params, state, seen\)"
    ):

        @dataclass(frozen=True)
        class Old(Modulation):
            """rate = 1"""

            def step(self, params: Any, output: Any) -> Any:  # type: ignore[override]
                return Rate(output)

    with pytest.raises(PlasticSearchError, match=r"Drawn.params\(self, post, rng\).*params\(self, post, pre, rng\)"):

        @dataclass(frozen=True)
        class Drawn(Modulation):
            """rate = 1"""

            def params(self, post: Any, rng: Any) -> Any:  # type: ignore[override]
                return ()

    assert not {"Old", "Drawn"} & Part.kinds.keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": BCM()}, "layers.0.rule=BCM is used where it is not valid: it is for activity that is not negative"),
        ({"rule": Oja(), "bound": Bound.NONE}, "Oja is used .*growth where the rate is negative; bound the trace"),
        ({"rule": Hebb(0.5), "bound": Bound.NONE}, "Hebb is used .*growth where the rate is negative; bound the trace"),
        ({"rule": Delta(), "bound": Bound.NONE}, r"Delta is used .*exceeds 2; bound the trace"),
        ({"rule": Delta(), "structure": Graph(((0, 0),), ((1, 1),))}, "Delta is used .*synapses that do not exist"),
    ],
)
def test_a_rule_that_is_not_valid_in_its_layer_warns_once(
    settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validity, "_warned", set())
    spec = NetworkSpec((Layer(2, plastic=Pathway.BOTH, **settings),))
    with pytest.warns(validity.DoubtfulRule, match=message) as found:
        Network(spec, 2)
    assert found[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        Network(spec, 2)


def test_a_search_warns_of_what_its_space_mixes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(validity, "_warned", set())
    layer = Layer(4, rule=choice(Oja(), BCM()), plastic=Pathway.RECURRENT)
    study = Study("?", NetworkSpec((layer,)), PatternCompletion(bits=4), Gradient(steps=1), trials=1)
    with pytest.warns(validity.DoubtfulRule, match="BCM") as found:
        next(run(study, "study", tmp_path, workers=1))
    assert [each.filename for each in found] == [__file__]


def test_valid_rules_do_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "_warned", set())
    for layer in (
        Layer(2, rule=Oja(), plastic=Pathway.BOTH),
        Layer(2, rule=Oja(), modulation=Constant(), plastic=Pathway.BOTH, bound=Bound.NONE),
        Layer(2, rule=Hebb(), plastic=Pathway.BOTH, bound=Bound.NONE),
        Layer(2, rule=Delta(), plastic=Pathway.BOTH),
        Layer(2, rule=BCM()),
    ):
        Network(NetworkSpec((layer,)), 2)
    assert not validity._warned


def test_the_state_of_a_modulation_starts_at_0_and_has_a_name() -> None:
    net = Network(NetworkSpec((Layer(4, modulation=Deviation(), plastic=Pathway.BOTH), Layer(2))), 2)
    state = named(net.initial_state(3))
    assert state["layers.0.modulation.mean"].shape == (3, 4)
    assert not any(name.startswith("layers.1.modulation") for name in state)
    assert not state["layers.0.modulation.mean"].any()
