"""A bundle is whole, runs without torch, and notices every changed byte."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tampering import replace_file, reseal

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import bundle, manifest, runner
from plastic_search.export.bundle import Bundle
from plastic_search.export.loading import load
from plastic_search.export.packing import unpack
from plastic_search.export.parameters import prepared
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.network.state import named
from plastic_search.precisions.floating import Floating
from plastic_search.precisions.integer import Integer
from plastic_search.precisions.logarithmic import Logarithmic
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.digit_recall import DigitRecall
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

TASK = DigitRecall(ways=3)
FILES = ["step.onnx", "sequence.onnx", "parameters.safetensors", "examples.safetensors", "runner.py", "README.md"]
ALONE = "import sys; [sys.modules.__setitem__(n, None) for n in ('torch', 'plastic_search', 'onnx', 'brevitas')]; "


def network() -> Network:
    plastic = Layer(units=3, structure=FeedForward(), plastic=Pathway.INPUT, skip=(1,))
    spec = NetworkSpec((Layer(units=9, structure=FeedForward()), plastic), Integer(4, 4, 8))
    return Network(spec, TASK.inputs)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Bundle]:
    net = network()
    for _ in Gradient(steps=60, learning_rate=3e-2, batch=16).train(net, TASK, 0):
        pass
    folder = tmp_path_factory.mktemp("written") / "bundle"
    return net, bundle.write(net, folder, task=TASK, about={"study": "test", "seed": 3}, examples=50)


@pytest.fixture
def copied(written: tuple[Network, Bundle], tmp_path: Path) -> Path:
    return Path(shutil.copytree(written[1].folder, tmp_path / "bundle"))


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-B", "-c", code], cwd=folder, capture_output=True, text=True)


def test_the_manifest_says_what_the_bundle_is(written: tuple[Network, Bundle]) -> None:
    net, result = written
    content = manifest.read(result.folder)
    assert content == result.manifest
    assert content["format"] == "plastic_search/bundle/1"
    assert NetworkSpec.from_json(content["spec"]) == net.spec
    assert content["about"] == {"study": "test", "seed": 3}
    assert content["precision"]["weight"] == {"bits": 4, "rounding": "nearest"}
    assert content["precision"]["trace"] == {"bits": 8, "rounding": "stochastic"}
    assert {each["name"]: each["shape"][1:] for each in content["state"]} == {
        name: list(value.shape[1:]) for name, value in named(net.initial_state(2)).items()
    }
    assert (content["input"], content["output"]) == ({"name": "x", "width": 67}, {"name": "y", "width": 3})
    assert content["parity"] == result.parity._asdict() | {"sequence": 0.0, "allowed": 1e-5}
    assert content["examples"]["exported_score"] == result.score
    assert abs(result.score - content["examples"]["score"]) <= 0.02
    assert content["versions"].keys() == {"plastic_search", "torch", "onnx", "onnxruntime", "brevitas"}
    assert result.size == sum(path.stat().st_size for path in result.folder.iterdir())
    assert result.deployed == (result.folder / "step.onnx").stat().st_size
    assert sorted(path.name for path in result.folder.iterdir()) == sorted([*FILES, "manifest.json"])


def test_a_bundle_of_an_earlier_version_is_still_one(copied: Path) -> None:
    whole = runner.examples(copied)
    reseal(copied, lambda data: [data["parity"].pop(key) for key in ("free_ties", "sequence")])
    reseal(copied, lambda data: data["files"].pop("sequence.onnx"))
    (copied / "sequence.onnx").unlink()
    reseal(copied, lambda data: [data["examples"].pop(key) for key in ("right", "within")])
    assert "free_ties" not in manifest.read(copied)["parity"]
    assert runner.examples(copied) == whole


def test_a_bundle_from_before_activity_was_a_role_is_read(copied: Path) -> None:
    assert manifest.read(copied)["precision"]["activity"] is None
    reseal(copied, lambda data: [data["precision"].pop("activity"), data["spec"]["precision"].pop("activity")])
    assert "activity" not in manifest.read(copied)["precision"]
    assert "differ" in runner.examples(copied)
    assert load(copied).spec.precision == Integer(4, 4, 8)


def test_every_file_and_the_manifest_are_hashed(written: tuple[Network, Bundle]) -> None:
    folder, content = written[1].folder, written[1].manifest
    assert content["files"].keys() == set(FILES)
    for name, each in content["files"].items():
        data = (folder / name).read_bytes()
        assert each == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rest = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    assert content["digest"] == hashlib.sha256(text.encode()).hexdigest()


def test_parameters_are_kept_as_the_integers_they_are(written: tuple[Network, Bundle]) -> None:
    net, result = written
    stored = load_file(result.folder / "parameters.safetensors")
    for i, ready in enumerate(prepared(net)):
        packed = stored[f"layers.{i}.weight.codes4"].numpy()
        assert len(packed) == -(-ready.weight.numel() // 2), "two in a byte"
        codes = torch.from_numpy(unpack(packed, 4, ready.weight.shape, 7))
        assert int(codes.abs().max()) == 7
        assert torch.equal(codes * stored[f"layers.{i}.weight.step"], ready.weight)
        assert torch.equal(stored[f"layers.{i}.bias"], ready.bias)
    assert torch.equal(stored["layers.1.modulation.fan"], net.parts()[1].modulation.fan)


def test_examples_are_unseen_and_answered_by_the_reference(written: tuple[Network, Bundle]) -> None:
    net, result = written
    stored = load_file(result.folder / "examples.safetensors")
    assert stored["inputs"].shape == (4, 50, 67)
    plain = copy.deepcopy(net)
    plain.kernel = "reference"
    outputs, _ = plain(stored["inputs"])
    torch.testing.assert_close(
        stored["outputs"], outputs[3:].detach(), rtol=0, atol=1e-6
    )  # last bits vary with the memory that is met
    right = (stored["outputs"][-1].argmax(-1) == stored["targets"]).float().mean()
    assert result.manifest["examples"]["score"] == pytest.approx(float(right))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.0, 0.37, 1.0])
def test_a_flipped_bit_is_noticed(name: str, where: float, copied: Path) -> None:
    data = bytearray((copied / name).read_bytes())
    data[round(where * (len(data) - 1))] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(PlasticSearchError, match=f"{name} was changed"):
        manifest.verify(copied)


def test_any_flipped_bit_of_the_manifest_is_noticed(copied: Path) -> None:
    path = copied / "manifest.json"
    data = path.read_bytes()
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ (1, 8, 32)[i % 3]]) + data[i + 1 :])
        with pytest.raises(PlasticSearchError, match=r"manifest\.json"):
            manifest.read(copied)
    path.write_bytes(data)
    manifest.verify(copied)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 100_000, "\xff", '{"a": 1, "a": 2}'])
def test_what_is_no_manifest_is_refused(text: str, copied: Path) -> None:
    (copied / "manifest.json").write_bytes(text.encode("latin1"))
    with pytest.raises(PlasticSearchError, match=r"manifest\.json"):
        manifest.verify(copied)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(name: str, copied: Path) -> None:
    (copied / name).unlink()
    with pytest.raises(PlasticSearchError, match=f"{name} is missing"):
        manifest.verify(copied)


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_no_file(name: str, copied: Path) -> None:
    (copied / name).rename(copied.parent / "elsewhere")
    (copied / name).symlink_to(copied.parent / "elsewhere")
    with pytest.raises(PlasticSearchError, match=f"{name} is missing, or is no regular file"):
        manifest.verify(copied)


def test_an_extra_file_is_named(copied: Path) -> None:
    (copied / "__pycache__").mkdir()
    manifest.verify(copied)
    (copied / "sitecustomize.py").write_text("")
    with pytest.raises(PlasticSearchError, match=r"'sitecustomize\.py', which is not part of the bundle"):
        manifest.verify(copied)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PlasticSearchError, match="is no bundle"):
            manifest.read(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", "..", "", ".", "..\\secret", "manifest.json"])
def test_a_path_that_leaves_the_folder_is_refused(name: str, copied: Path) -> None:
    data = b"secret"
    (copied.parent / "secret").write_bytes(data)
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    reseal(copied, lambda manifest: manifest["files"].update({name: entry}))
    with pytest.raises(PlasticSearchError, match="which is in no bundle"):
        manifest.verify(copied)


def test_an_oversized_manifest_is_not_read(copied: Path) -> None:
    with (copied / "manifest.json").open("ab") as file:
        file.truncate(runner.LARGEST + 1)
    with pytest.raises(PlasticSearchError, match=r"manifest\.json has \d+ bytes"):
        manifest.verify(copied)


@pytest.mark.parametrize("length", [2**20 + 1, 2**62])
def test_an_oversized_header_is_refused(length: int, copied: Path) -> None:
    data = length.to_bytes(8, "little") + bytes(2**20 + 8)
    replace_file(copied, "parameters.safetensors", data)
    with pytest.raises(PlasticSearchError, match=r"parameters\.safetensors announces a header"):
        manifest.verify(copied)


def test_reading_needs_no_torch(copied: Path) -> None:
    code = "import sys; sys.modules['torch'] = sys.modules['onnx'] = None; from pathlib import Path; "
    code += f"from plastic_search.export import manifest; manifest.verify(Path({str(copied)!r}))"
    done = python(code, Path(bundle.__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, "")


def test_the_runner_needs_only_numpy_onnxruntime_and_safetensors(written: tuple[Network, Bundle]) -> None:
    result = written[1]
    done = python(f"{ALONE}import runpy; runpy.run_path('runner.py', run_name='__main__')", result.folder)
    assert done.stderr == ""
    right = round(result.score * 50)
    assert done.stdout.startswith(f"recalled {right} of 50 ({2 * right:.1f} %); ")
    assert done.stdout == runner.summary(result.manifest, result.manifest["examples"]) + "\n"
    manifest.verify(result.folder)


def test_the_runner_goes_on_learning_as_the_network_does(written: tuple[Network, Bundle]) -> None:
    net, result = written
    x = torch.randn(20, 6, TASK.inputs, generator=torch.Generator().manual_seed(0))
    wanted, state = net(x)
    beside = runner.Runner(result.folder)
    beside.reset(6)
    for name, value in named(net.initial_state(6)).items():
        assert np.array_equal(beside.state[name], value.numpy())
    outputs = np.stack([beside(each) for each in x.numpy()])
    assert np.allclose(outputs, wanted.detach().numpy(), atol=1e-5)
    assert np.allclose(beside.state["layers.1.trace"], named(state)["layers.1.trace"].detach().numpy(), atol=1e-6)
    assert np.abs(beside.state["layers.1.trace"]).max() > 0
    beside.reset(6)
    assert np.array_equal(beside(x[0].numpy()), outputs[0])


@pytest.mark.parametrize("shape", [(3, 67), (1, 66), (67,)])
def test_the_runner_refuses_another_shape(shape: tuple[int, ...], written: tuple[Network, Bundle]) -> None:
    beside = runner.Runner(written[1].folder)
    beside.reset(1)
    with pytest.raises(ValueError, match=r"\(1, 67\), but is .* reset\(batch\) starts anew"):
        beside(np.zeros(shape, np.float32))


def test_the_runner_refuses_a_changed_bundle(copied: Path) -> None:
    with (copied / "step.onnx").open("ab") as file:
        file.write(b"\0")
    done = python(f"{ALONE}import runpy; runpy.run_path('runner.py', run_name='__main__')", copied)
    assert done.returncode == 1
    assert "step.onnx was changed" in done.stderr
    assert "Traceback" not in done.stderr


def test_ties_are_told_from_other_differences(written: tuple[Network, Bundle]) -> None:
    content = written[1].manifest
    about = content["examples"] | {"right": 40, "within": 6.3e-7, "largest": 2.4e-3}
    text = "recalled 40 of 50 (80.0 %); {} differ from the reference by at most 6.3e-07"
    assert runner.summary(content, about | {"apart": 0}) == text.format(50)
    tied = content | {"examples": about | {"apart": 3}}
    assert runner.summary(tied, about | {"apart": 3}) == (
        text.format(47) + ", 3 by up to 2.4e-03, after a tie or an amplified last bit"
    )
    assert runner.summary(tied, about | {"apart": 9}).endswith(
        "9 by up to 2.4e-03, which is more than when it was exported"
    )


def test_a_task_with_values_for_targets(tmp_path: Path) -> None:
    task = PatternCompletion(bits=4, patterns=2)
    net = Network(NetworkSpec((Layer(units=4, plastic=Pathway.RECURRENT),), Floating()), task.inputs)
    result = bundle.write(net, tmp_path / "bundle", task=task, about={}, examples=20)
    assert runner.examples(result.folder).startswith(
        f"ran 20 examples, on which the reference's {task.score_name} is 0."
    )


def test_without_a_task_there_are_no_examples(tmp_path: Path) -> None:
    net = Network(NetworkSpec((Layer(units=4),), Floating()), 3)
    result = bundle.write(net, tmp_path / "deep" / "bundle", task=None, about={})
    assert result.score != result.score
    assert manifest.read(result.folder)["examples"] is None
    assert runner.examples(result.folder) == "this bundle has no examples"
    assert [path.name for path in result.folder.parent.iterdir()] == ["bundle"]


def test_an_older_bundle_is_replaced_only_by_a_whole_one(copied: Path) -> None:
    before = manifest.read(copied)
    with pytest.raises(PlasticSearchError, match="look at `about`"):
        bundle.write(network(), copied, task=TASK, about={"path": copied}, examples=5)
    assert manifest.read(copied) == before
    result = bundle.write(network(), copied, task=TASK, about={"turn": 2}, examples=5)
    assert manifest.read(copied)["about"] == {"turn": 2}
    assert result.folder == copied
    assert [path.name for path in copied.parent.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(PlasticSearchError, match="is no bundle, so it is left alone"):
        bundle.write(network(), tmp_path, task=None, about={})
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_what_cannot_be_bundled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlasticSearchError, match="69 inputs and 5 outputs, but the network 67 and 3"):
        bundle.write(network(), tmp_path / "bundle", task=replace(TASK, ways=5), about={})
    with pytest.raises(PlasticSearchError, match="at least one example"):
        bundle.write(network(), tmp_path / "bundle", task=TASK, about={}, examples=0)
    assert list(tmp_path.iterdir()) == []


def test_weights_in_signs_and_powers_of_two_are_loaded(tmp_path: Path) -> None:
    for precision in (Integer(1, 1, 4), Logarithmic(4, 3)):
        net = Network(NetworkSpec((Layer(TASK.outputs, plastic=Pathway.RECURRENT),), precision), TASK.inputs)
        folder = tmp_path / type(precision).__name__
        bundle.write(net, folder, task=TASK, about={}, examples=2)
        for one, other in zip(load(folder).resolve(), net.resolve(), strict=True):
            assert torch.equal(one.weight, other.weight)
