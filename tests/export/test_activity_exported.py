"""A step whose activity is rounded: exported, compared with ties told from differences, and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import bundle, loading, parity, runner
from plastic_search.export.onnx import export_step
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.precisions import Format
from plastic_search.precisions.integer import Integer
from plastic_search.structures.feed_forward import FeedForward

pytestmark = pytest.mark.usefixtures("quick_code")
BITS = 4


def network(bits: int) -> Network:
    layers = (Layer(6, plastic=Pathway.BOTH), Layer(3, structure=FeedForward(), plastic=Pathway.INPUT))
    return Network(NetworkSpec(layers, Integer(4, 4, 8, activity=bits)), 4, seed=bits)


@pytest.fixture(scope="module", params=[1])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, bundle.Bundle]:
    net = network(request.param)
    return net, bundle.write(net, tmp_path_factory.mktemp("rounded") / "bundle", task=None, about={})


def test_it_follows_the_reference_and_states_its_format(written: tuple[Network, bundle.Bundle]) -> None:
    net, made = written
    assert made.parity.steps == 200
    assert made.parity.stepwise <= parity.ALLOWED
    assert made.parity.ties <= 2
    bits = net.spec.precision.activity  # type: ignore[attr-defined]
    assert made.manifest["precision"]["activity"] == {"bits": bits, "rounding": "nearest"}
    step, x = runner.Runner(made.folder), torch.randn(30, 2, 4, generator=torch.Generator().manual_seed(3))
    outputs = np.stack([step(each) for each in x.numpy()])
    sent = step.state["layers.0.output"]
    assert len(np.unique(sent)) <= (2 if bits == 1 else 2**bits - 1)
    net.kernel = "reference"
    torch.testing.assert_close(torch.from_numpy(outputs), net(x)[0].detach(), rtol=0, atol=1e-4)


def test_it_is_loaded_again(written: tuple[Network, bundle.Bundle]) -> None:
    net, made = written
    again = loading.load(made.folder)
    assert again.spec == net.spec
    again.kernel = net.kernel = "reference"
    x = torch.randn(9, 2, 4)
    assert torch.equal(again(x)[0], net(x)[0])


class _Moved:
    """An exported step whose first unit sends another level in the first episode, and what follows from it."""

    def __init__(self, step: parity.ExportedStep, levels: int, also: slice, often: bool) -> None:
        self.step, self.inputs, self.outputs, self.unstored = step, step.inputs, step.outputs, step.unstored
        self.levels, self.also, self.often, self.calls = levels, also, often, 0

    def __call__(self, x: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        results, self.calls = self.step(x, state), self.calls + 1
        if self.often or self.calls == 31:  # after the steps of a single episode
            results = {name: value.clone() for name, value in results.items()}
            sent, trace = results["layers.0.output.next"], results["layers.0.trace.next"]
            sent[0, 0] += self.levels / Format(BITS).top * (-1.0 if sent[0, 0] > 0 else 1.0)
            trace[self.also] += 0.3
        return results


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Path]:
    net, path = network(BITS), tmp_path_factory.mktemp("step") / "step.onnx"
    with torch.no_grad():
        net.layers[0].get_parameter("bias").fill_(1.0)
    export_step(net, path, steps=5)
    return net, path


@pytest.mark.parametrize(
    ("levels", "also", "often", "message"),
    [
        (1, slice(0, 1), False, ""),
        (1, slice(0, 2), False, r"differs from the network's by .* at layers\.0\.trace"),
        (2, slice(0, 1), False, r"differs from the network's by .* at layers\.0"),
        (1, slice(0, 1), True, r"exported values of trace or activity are one level away from the network's"),
    ],
    ids=["a tie", "another episode", "two levels", "always"],
)
def test_ties_are_counted_and_what_is_none_is_refused(
    levels: int, also: slice, often: bool, message: str, rounded: tuple[Network, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = parity.ExportedStep
    monkeypatch.setattr(parity, "ExportedStep", lambda path: _Moved(step(path), levels, also, often))
    if message:
        with pytest.raises(PlasticSearchError, match=message):
            parity.check(*rounded, 60)
        return
    found = parity.check(*rounded, 60)
    assert (found.steps, found.ties + found.free_ties) == (60, 1)
    assert found.stepwise <= parity.ALLOWED
