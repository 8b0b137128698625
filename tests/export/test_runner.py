"""The command line of a bundle's runner: its arguments, and errors of one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FILES = [
    "step.onnx",
    "sequence.onnx",
    "parameters.safetensors",
    "examples.safetensors",
    "runner.py",
    "README.md",
    "manifest.json",
]


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


def test_the_runner_takes_a_folder(copied: Path, small: Path) -> None:
    alone = _run(small)
    assert alone.stdout.startswith("recalled ")
    assert _run(copied, str(small)).stdout == alone.stdout
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
