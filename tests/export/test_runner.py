"""The command line of a bundle's runner: its arguments, and errors of one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plastic_search.export import bundle
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.tasks.digit_recall import DigitRecall

TASK = DigitRecall(ways=3)
FILES = ["step.onnx", "parameters.safetensors", "examples.safetensors", "runner.py", "manifest.json"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = Network(NetworkSpec((Layer(units=3, plastic=Pathway.INPUT),)), TASK.inputs)
    return bundle.write(net, tmp_path_factory.mktemp("written") / "bundle", task=TASK, about={}, examples=9).folder


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-B", str(folder / "runner.py"), *words]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", FILES)
def test_the_runner_tells_a_changed_byte_in_one_line(name: str, copied: Path) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2 if name != "runner.py" else data.index(b"numpy")] ^= 2  # of runner.py, in its docstring
    (copied / name).write_bytes(data)
    done = _run(copied)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert name in done.stderr


def test_the_runner_takes_a_folder(copied: Path, written: Path) -> None:
    alone = _run(written)
    assert alone.stdout.startswith("recalled ")
    assert _run(copied, str(written)).stdout == alone.stdout
    nowhere = _run(copied, "nowhere")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert "nowhere is no bundle" in nowhere.stderr


def test_the_runner_says_what_it_takes(copied: Path) -> None:
    for word in ("-h", "--help"):
        assert "python runner.py FOLDER" in _run(copied, word).stdout
    for words in (("--fast",), ("a", "b"), ("--help", "me")):
        done = _run(copied, *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "does not know" in done.stderr
