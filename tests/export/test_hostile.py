"""A bundle from elsewhere can do nothing but compute, within stated limits, when it is run by our runner."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save
from tampering import refused, replace_file, reseal, runs

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import graphs, manifest, runner

SESSION = "session.disable_quant_qdq"
Change = Callable[[Any], Any]


def trusted(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What `python -P -m plastic_search.export.runner` makes of a bundle, called inside it."""
    command = [sys.executable, "-W", "error", "-P", *options, "-m", "plastic_search.export.runner", "."]
    root = str(Path(runner.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment, timeout=300
    )


class TestSessionOptions:
    @pytest.mark.parametrize(
        "session",
        [
            {SESSION: "1", "session.collect_node_memory_stats_to_file": "written.csv"},
            {"session.collect_node_memory_stats_to_file": "written.csv"},
            {SESSION: "1", "session.disable_prepacking": "1"},
            {SESSION: "0"},
            {SESSION: None},
            {SESSION: 1},
            {SESSION: True},
            {SESSION: "1\n"},
            {},
            None,
            [],
        ],
    )
    def test_another_than_ours_is_refused(
        self, session: Any, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        reseal(copied, lambda data: data.update(session=session))
        assert "session of" in refused(copied)
        with pytest.raises(PlasticSearchError, match="session of"):
            manifest.read(copied)
        assert not list(Path().iterdir())

    def test_ours_is_what_older_bundles_have(self, small: Path) -> None:
        assert manifest.read(small)["session"] == {"session.disable_quant_qdq": "1"}


class TestFiles:
    @pytest.mark.parametrize(
        "name", ["numpy.py", "onnxruntime.py", "Step.onnx", "step.ort", "step.onnx.data", "a\x1bb"]
    )
    def test_one_that_is_not_of_a_bundle_is_refused_listed_or_not(self, name: str, copied: Path) -> None:
        (copied / name).write_text("raise SystemExit('run')")
        assert f"holds {name!r}, which is not part" in refused(copied)
        replace_file(copied, name, b"raise SystemExit('run')")
        assert f"{name!r}, which is in no bundle" in refused(copied)

    def test_what_lies_beside_the_runner_is_not_run(self, copied: Path) -> None:
        for name in ("numpy.py", "json.py", "plastic_search.py", "runner.py", "onnxruntime.py"):
            (copied / name).write_text("print('run')\nraise SystemExit(3)\n")
        cache = copied / "__pycache__"
        cache.mkdir()
        (cache / f"runner.{sys.implementation.cache_tag}.pyc").write_bytes(b"nothing")
        done = trusted(copied)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert "which is not part of the bundle" in done.stderr

    def test_bytecode_is_ignored(self, copied: Path) -> None:
        (copied / "__pycache__").mkdir()
        (copied / "__pycache__" / f"runner.{sys.implementation.cache_tag}.pyc").write_bytes(b"nothing")
        done = trusted(copied)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == runner.examples(copied) + "\n"

    @pytest.mark.parametrize("name", ["manifest.json", "step.onnx", "examples.safetensors", "runner.py"])
    def test_one_that_is_no_file_is_refused(self, name: str, copied: Path) -> None:
        data = (copied / name).read_bytes()
        for put in (
            os.mkfifo,
            Path.mkdir,
            lambda path: path.symlink_to("/dev/zero"),
            lambda path: path.symlink_to(path),
        ):
            (copied / name).unlink()
            put(copied / name)
            assert (
                f"{name} is missing, or is no regular file" in trusted(copied).stderr
            )  # in its own process: a pipe hangs
            (copied / name).rmdir() if (copied / name).is_dir() else (copied / name).unlink()
            (copied / name).write_bytes(data)
        assert runs(copied)

    def test_a_hard_link_is_a_file(self, copied: Path) -> None:
        os.link(copied / "step.onnx", copied.parent / "another")
        assert runs(copied)

    def test_thousands_are_refused(self, copied: Path) -> None:
        for i in range(5000):
            (copied / f"{i}.py").touch()
        assert "which is not part of the bundle" in refused(copied)

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
    def test_one_that_may_not_be_read_is_named(self, copied: Path) -> None:
        (copied / "step.onnx").chmod(0)
        assert "Permission denied" in refused(copied)

    def test_a_large_one_is_not_read(self, copied: Path) -> None:
        with (copied / "examples.safetensors").open("r+b") as file:
            file.truncate(2**40)
        assert f"has {2**40} bytes; in a bundle it has at most {runner.FILE}" in refused(copied)


class TestSchema:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda m: m["state"][0].update(shape=["batch", 20_000, 20_000]), "more than 67108864 bytes"),
            (lambda m: m["state"][0].update(shape=["batch", 2**40, 2**40, 0]), "more than 67108864 bytes"),
            (lambda m: m["state"][0].update(shape=["batch"] + 9 * [1]), "8 dimensions"),
            (lambda m: m["state"][0].update(shape=["batch"] + 999 * [2**52]), "a small list"),
            (lambda m: m["state"][0].update(shape=["batch", -3]), "must be a whole number, but is -3"),
            (lambda m: m["state"][0].update(shape=["batch", True]), "must be a whole number, but is True"),
            (lambda m: m["state"][0].update(shape=["batch", 4]), "the inputs of step.onnx are not"),
            (lambda m: m["state"][0].update(shape=[]), "the inputs of step.onnx are not"),
            (lambda m: m["state"][0].update(name="layers.0.other"), "the inputs of step.onnx are not"),
            (lambda m: m["state"][0].update(name="x"), "must be 'layers"),
            (lambda m: m["state"][0].update(dtype="int32"), "the inputs of step.onnx are not"),
            (lambda m: m["state"][0].update(dtype="object"), "dtype of item 0 of state"),
            (lambda m: m["state"][0].update(dtype=["float32"]), "dtype of item 0 of state"),
            (lambda m: m["state"][0].update(start={"fill": "0"}), "fill of start"),
            (lambda m: m["state"][0].update(start={"fill": 1e300}), "fill of start"),
            (lambda m: m["state"].append(m["state"][0]), "the inputs of step.onnx are not"),
            (lambda m: m["state"].clear(), "has no state"),
            (lambda m: m["state"].reverse(), "the inputs of step.onnx are not"),
            (lambda m: m["input"].update(width=2**40), "the inputs of step.onnx are not"),
            (lambda m: m["output"].update(width=0), "the outputs of step.onnx are not"),
            (lambda m: m["input"].update(width=67.0), "width of input"),
            (lambda m: m["input"].update(name="y"), "name of input"),
            (
                lambda m: m["examples"].update(count=2**50),
                "not float32 inputs of 1125899906842624 examples, whose states",
            ),
            (lambda m: m["examples"].update(count=0), "examples.safetensors is not what"),
            (lambda m: m["examples"].update(count=8), "examples.safetensors is not what"),
            (lambda m: m["examples"].update(asked=9), "examples.safetensors is not what"),
            (lambda m: m["examples"].update(score_name="\x1b[2J"), "score_name of examples"),
            (lambda m: m["examples"].update(score_name="\u202e"), "score_name of examples"),
            (lambda m: m["examples"].pop("count"), "examples of .* lacks count"),
            (lambda m: m.update(examples=None), "must list examples"),
            (lambda m: m["files"].pop("examples.safetensors"), "must list examples"),
            (lambda m: m["files"]["step.onnx"].update(bytes=-1), "bytes of step.onnx of files"),
            (lambda m: m["files"]["step.onnx"].update(sha256="0" * 63), "sha256 of step.onnx"),
            (lambda m: m["files"].pop("step.onnx"), "lacks step.onnx"),
            (lambda m: m["parity"].update(allowed=None), "allowed of parity"),
            (lambda m: m["precision"].update(weight={"bits": 4}), "lacks rounding"),
            (lambda m: m.pop("spec"), "lacks spec"),
            (lambda m: m.update(about=[]), "about of .* must be a small dict"),
            (lambda m: m.update(more=1), "'more', which is in no bundle"),
            (lambda m: m["about"].update(deep=json.loads(40 * "[" + 40 * "]")), "32 levels"),
        ],
    )
    def test_another_is_refused(self, change: Change, message: str, copied: Path) -> None:
        reseal(copied, change)
        assert re.search(message, refused(copied)), refused(copied)

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400"])
    def test_what_is_no_number_is_refused(self, value: str, copied: Path) -> None:
        text = (copied / "manifest.json").read_text().replace('"about": {}', f'"about": {{\n  "a": {value}\n }}')
        (copied / "manifest.json").write_text(text)
        assert "Out of range" in refused(copied) or "was changed" in refused(copied)

    @pytest.mark.parametrize("nested", ["[", '{"a":', "[[],"])
    def test_deep_nesting_takes_no_memory(self, nested: str, copied: Path) -> None:
        depth = 900
        text = nested * depth + "[" + ",".join(100_000 * ["1"]) + "]"
        (copied / "manifest.json").write_text(
            '{\n "format": ' + text + {"[": "]", "{": "}"}[nested[0]] * depth + "\n}\n"
        )
        assert "manifest.json" in refused(copied)


class TestTensors:
    @pytest.mark.parametrize(
        ("name", "header", "size"),
        [
            ("parameters.safetensors", b"{}", 8),  # bytes of no tensor
            ("parameters.safetensors", b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', 4),
            ("parameters.safetensors", b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 8),
            ("parameters.safetensors", b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 4),
            ("parameters.safetensors", b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 4),
            ("parameters.safetensors", b'{"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}}', 4),
            ("parameters.safetensors", b'{"a":{"dtype":"F128","shape":[1],"data_offsets":[0,4]}}', 4),
            ("parameters.safetensors", b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                                       b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
            ("parameters.safetensors", b"[" * 500_000, 0),
            ("parameters.safetensors", b"nothing", 0),
        ],
    )  # fmt: skip
    def test_a_header_that_does_not_fit_is_refused(self, name: str, header: bytes, size: int, copied: Path) -> None:
        replace_file(copied, name, len(header).to_bytes(8, "little") + header + bytes(size))
        with pytest.raises(PlasticSearchError, match="is damaged"):
            manifest.read(copied)
        replace_file(copied, "examples.safetensors", (copied / name).read_bytes())
        assert "examples.safetensors is damaged" in refused(copied)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda p: p.update({"layers.0.bias": p["layers.0.bias"].astype(np.int32)}), "of int32; parameters"),
            (lambda p: p.update({"layers.0.bias": p["layers.0.bias"].astype(np.float64)}), "of float64; parameters"),
            (lambda p: p.update({"layers.0.bias": p["layers.0.bias"].T.copy()}), r"\[3, 1\], but step.onnx has it"),
            (
                lambda p: p.update({"layers.0.bias": p["layers.0.bias"].astype(np.int8)}),
                "int8 .*, but step.onnx has it",
            ),
            (lambda p: p.update({"other": p["layers.0.bias"]}), "'other' of float32; parameters are called"),
            (lambda p: p.pop("layers.0.bias"), "lacks 'layers.0.bias'"),
            (lambda p: p.pop("layers.0.weight.codes4"), "lacks 'layers.0.weight.codes'"),
            (lambda p: p["layers.0.weight.codes4"].__setitem__(0, 0x78), "an integer is 8, .* more bits than it holds"),
            (lambda p: p["layers.0.weight.codes4"].__setitem__(0, 0x77), "step.onnx has other integers"),
            (
                lambda p: p.update({"layers.0.weight.codes4": p["layers.0.weight.codes4"][:-1].copy()}),
                r"210 integers of 4 bits are uint8 \[105\], but it is uint8 \[104\]",
            ),
            (
                lambda p: p["layers.0.alpha.codes4"].__setitem__(-1, p["layers.0.alpha.codes4"][-1] | 0x80),
                "bits after the last of its 201 integers are set",
            ),
            (
                lambda p: p.update({"layers.0.weight.codes": np.full((1, 3, 70), 8, np.int8)}),
                "has integers above 7 in 'layers.0.weight.codes': more bits than the manifest states",
            ),
        ],
    )
    def test_parameters_are_those_of_the_step(self, change: Change, message: str, copied: Path) -> None:
        stored = load_file(copied / "parameters.safetensors")
        change(stored)
        replace_file(copied, "parameters.safetensors", save(stored))
        with pytest.raises(PlasticSearchError, match=message):
            manifest.read(copied)

    @pytest.mark.parametrize(
        ("form", "message"),
        [
            (
                {"bits": 3, "rounding": "nearest"},
                "an integer is 7, but in its format at most 3: more bits",
            ),
            ({"bits": 0, "rounding": "nearest"}, "of which the manifest states no bits"),
            (None, "of which the manifest states no bits"),
        ],
    )
    def test_integers_of_more_bits_than_are_stated_are_refused(self, form: Any, message: str, copied: Path) -> None:
        reseal(copied, lambda data: data["precision"].update(weight=form))
        with pytest.raises(PlasticSearchError, match=message):
            manifest.read(copied)

    @pytest.mark.parametrize("name", ["inputs", "outputs", "targets"])
    @pytest.mark.parametrize("change", [lambda v: v[..., :2], lambda v: v[:0], lambda v: v.reshape(-1), lambda v: None])
    def test_examples_are_of_the_stated_shapes(self, name: str, change: Change, copied: Path) -> None:
        stored = load_file(copied / "examples.safetensors")
        value = change(stored.pop(name))
        if value is not None:
            stored[name] = np.ascontiguousarray(value)
        if name == "targets" and value is not None and value.shape == (9,):
            return  # flat as it was
        replace_file(copied, "examples.safetensors", save(stored))
        with pytest.raises(PlasticSearchError, match=r"examples\.safetensors has the shapes"):
            manifest.read(copied)
        with pytest.raises(runner.BundleError, match=r"examples\.safetensors is not what the manifest states"):
            runner.examples(copied)


def test_the_limits_are_those_that_are_stated() -> None:
    page = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    sizes = [f"{size // 2**20} MiB" for size in (runner.LARGEST, runner.FILE, runner.HEADER, runner.STATE)]
    for words in (*sizes, f"{runner.DEPTH} levels", f"{graphs.FIELDS:,}", f"{runner.MEMORY // 2**30} GiB"):
        assert words in page
