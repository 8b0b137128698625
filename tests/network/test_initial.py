"""What parameters start from, and which of them training leaves alone."""

from __future__ import annotations

import pytest
import torch

from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.blocks import paths_match
from plastic_search.network.initial import FanIn, Full, Initial, Normal, OneToOne, Uniform, Values
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

LAYERS = (
    Layer(6, LSTM(), plastic=Pathway.RECURRENT),
    Layer(4, structure=FeedForward(), plastic=Pathway.INPUT),
)
BLOCKS = [  # path -> how many numbers it names
    ("layers.0.weight", 4 * 6 * 9),
    ("layers.0.weight.3", 6 * 9),
    ("layers.0.weight.input", 4 * 6 * 3),
    ("layers.0.weight.2.recurrent", 6 * 6),
    ("layers.0.weight.0.1:3", 6 * 2),
    ("layers.0.bias.1", 6),
    ("layers.0.bias.4:6", 4 * 2),
    ("layers.0.alpha", 6 * 6),
    ("layers.0.alpha.4:6", 6 * 2),
    ("layers.*.alpha.recurrent", 6 * 6),
    ("layers.*.bias", 4 * 6 + 4),
    ("layers.0.modulation.fan", 6),
    ("layers.1.modulation", 4 + 1 + 4 + 4),
]


@pytest.mark.parametrize(("path", "count"), BLOCKS)
def test_a_path_names_a_block(path: str, count: int) -> None:
    plain = Network(NetworkSpec(LAYERS), inputs=3)
    ours = Network(NetworkSpec(LAYERS, initial=(Initial(path, Full(7.0)),), held=(path,)), inputs=3)
    changed = 0
    for name, value in ours.state_dict().items():
        same = value == plain.state_dict()[name]
        assert (value[~same] == 7.0).all()
        changed += int((~same).sum())
    assert changed == count  # all else is drawn as ever
    assert ours.count() == plain.count() - count


@pytest.mark.parametrize(
    "path",
    ["layers.2.weight", "weight", "layers.0.weight.4", "layers.0.weight.9:12", "layers.1.bias.input", "layers.0"],
)
def test_a_path_that_names_nothing_is_refused(path: str) -> None:
    with pytest.raises(PlasticSearchError, match=r"layers\.0\.weight" if path != "layers.0" else "nothing is left"):
        Network(NetworkSpec(LAYERS, held=(path, "layers.1") if path == "layers.0" else (path,)), inputs=3)


def test_a_control_without_plasticity_may_name_alpha() -> None:
    spec = NetworkSpec((Layer(4),), initial=(Initial("layers.0.alpha", Full(1.0)),), held=("layers.0.modulation.fan",))
    assert Network(spec, 3).count() == Network(NetworkSpec((Layer(4),)), 3).count()


@pytest.mark.parametrize(
    ("values", "low", "high", "deviation"),
    [
        (Normal(0.2), -2.0, 2.0, 0.2),
        (Uniform(-1.0, 3.0), -1.0, 3.0, 4 / 12**0.5),
        (FanIn(), -0.1, 0.1, 0.2 / 12**0.5),
        (Full(2.0), 2.0, 2.0, 0.0),
        (OneToOne(20.0), 0.0, 20.0, 20 * (0.01 * 0.99) ** 0.5),
    ],
)
def test_values_have_their_distribution(values: Values, low: float, high: float, deviation: float) -> None:
    spec = NetworkSpec((Layer(100, structure=FeedForward()),), initial=(Initial("layers.0.weight", values),))
    weight = Network(spec, 100, seed=3).parts()[0].weight.detach()
    assert low <= float(weight.min()) <= float(weight.max()) <= high
    assert float(weight.std(correction=0)) == pytest.approx(deviation, rel=0.03)
    assert torch.equal(weight, Network(spec, 100, seed=3).parts()[0].weight)
    assert NetworkSpec.from_json(spec.to_json()) == spec


def test_what_is_held_stays_and_the_rest_learns() -> None:
    task = PatternCompletion(bits=4)
    held = ("layers.0.weight.input", "layers.0.bias", "layers.0.modulation.bias")
    spec = NetworkSpec((Layer(4, plastic=Pathway.RECURRENT),), initial=(Initial(held[0], OneToOne(3.0)),), held=held)
    net, together = Network(spec, 4), Population([Network(spec, 4), Network(spec, 4, seed=1)])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    list(Gradient(steps=3, batch=4).train(net, task, seed=0))
    list(Gradient(steps=3, batch=4).train_together(together, task, seeds=(0, 1)))
    for now in (net.state_dict(), together.member(0).state_dict()):
        same = {name: value == before[name] for name, value in now.items()}
        assert same["layers.0.weight"][..., :4].all()
        assert not same["layers.0.weight"][..., 4:].all()
        assert same["layers.0.bias"].all()
        assert same["layers.0.modulation__bias"].all()
        assert not same["layers.0.modulation__fan"].any()


def test_a_number_that_tensors_do_not_hold_is_refused() -> None:
    with pytest.raises(PlasticSearchError, match=r"initial\.0\.values\.value=1e\+300 is beyond"):
        Network(NetworkSpec(LAYERS, initial=(Initial("layers.0.bias", Full(1e300)),)), 3)


def test_a_spec_of_before_is_read() -> None:
    data = NetworkSpec(LAYERS).to_json()
    del data["initial"], data["held"]
    assert NetworkSpec.from_json(data) == NetworkSpec(LAYERS)


def test_patterns() -> None:
    assert paths_match("layers.*.alpha", "layers.3.alpha")
    assert paths_match("layers.0", "layers.0.modulation.fan")
    assert not paths_match("layers.0.alpha", "layers.0")
    assert not paths_match("layers.1", "layers.10.alpha")
