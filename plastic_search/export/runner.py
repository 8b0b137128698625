"""Run the network in this folder, which goes on learning as it runs. Needs numpy, onnxruntime and safetensors.

    from runner import Runner

    net = Runner(".")
    y = net(x)        # x [batch, inputs], y [batch, outputs]; the state is kept for the next step
    net.reset(batch)  # a new episode: everything learned since the last reset is forgotten

`python runner.py` runs the examples in this folder, and prints the network's score; `python runner.py FOLDER` runs
those of another folder like this one.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

try:
    import numpy as np
except ModuleNotFoundError:
    if __name__ != "__main__":
        raise
    sys.exit("numpy is not installed: python -m pip install numpy onnxruntime safetensors")

MANIFEST, LARGEST = "manifest.json", 16 * 2**20  # bytes of a manifest


class BundleError(ValueError):
    """A file of the bundle does not match the manifest."""


class Runner:
    """`y = net(x)`: one step of the network; `net.state` holds every state tensor by name."""

    def __init__(self, folder: str | Path = ".") -> None:
        import onnxruntime

        self.manifest = checked(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # one step is too small to share
        for key, value in self.manifest["session"].items():
            options.add_session_config_entry(key, value)
        graph = str(Path(folder) / "step.onnx")
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_outputs()]
        self.state: dict[str, np.ndarray] = {}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if not self.state:
            self.reset(len(x))
        wanted = len(next(iter(self.state.values()))), self.manifest["input"]["width"]
        if np.shape(x) != wanted:
            raise ValueError(f"x must be [batch, inputs] = {wanted}, but is {np.shape(x)}; reset(batch) starts anew")
        feeds = {"x": np.asarray(x, np.float32), **self.state}
        values: dict[str, Any] = dict(zip(self.names, self.session.run(None, feeds), strict=True))
        self.state = {name: values[f"{name}.next"] for name in self.state}
        return values["y"]

    def reset(self, batch: int) -> None:
        """Start `batch` episodes."""
        self.state = {each["name"]: _start(each, batch) for each in self.manifest["state"]}


def checked(folder: Path | str) -> dict[str, Any]:
    """The manifest, after checking every file against it. Bytecode in `__pycache__` is ignored.

    Raises:
        BundleError: a file is missing, changed, or unknown; the message names it.
    """
    manifest = load_manifest(folder)
    check_files(folder, manifest["files"])
    return manifest


def load_manifest(folder: Path | str) -> dict[str, Any]:
    """The manifest, after checking its digest."""
    path = Path(folder) / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise BundleError(f"{path} is missing; {folder} is no bundle")
    if path.stat().st_size > LARGEST:
        raise BundleError(f"{path} has {path.stat().st_size} bytes; a manifest has at most {LARGEST}")
    try:
        text = path.read_bytes().decode()
        data = json.loads(text)
        intact = isinstance(data, dict) and text == dumped(data) and data.get("digest") == digest(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from None
    if not intact:
        raise BundleError(f"{path} was changed: it does not match its digest; write the bundle again")
    return data


def check_files(folder: Path | str, files: dict[str, Any]) -> None:
    """Refuse a folder whose files are not those listed."""
    folder = Path(folder)
    for name, listed in files.items():
        if not name or Path(name).name != name or name in (".", "..", MANIFEST) or "\\" in name:
            raise BundleError(f"{folder / MANIFEST} lists {name!r}, which leaves the bundle: it is no file name")
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise BundleError(f"{path} is missing, or is no regular file")
        if path.stat().st_size != listed["bytes"] or hashlib.sha256(path.read_bytes()).hexdigest() != listed["sha256"]:
            raise BundleError(f"{path} was changed since it was written; write the bundle again")
    extra = sorted({path.name for path in folder.iterdir()} - {*files, MANIFEST, "__pycache__"})
    if extra:
        raise BundleError(f"{folder / extra[0]} is not part of the bundle; remove it")


def digest(manifest: dict[str, Any]) -> str:
    """The sha256 of the manifest without its digest, as JSON with sorted keys and no spaces."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def dumped(manifest: dict[str, Any]) -> str:
    """The text of a manifest."""
    return json.dumps(manifest, indent=1) + "\n"


def examples(folder: Path | str) -> str:
    """Run the bundle's examples, and summarize the results in one line."""
    from safetensors.numpy import load_file

    net = Runner(folder)
    about = net.manifest["examples"]
    if about is None:
        return "this bundle has no examples"
    data = load_file(Path(folder) / "examples.safetensors")
    outputs = np.stack([net(x) for x in data["inputs"]])[about["asked"] :]
    gaps, allowed = np.abs(outputs - data["outputs"]).max((0, 2)), net.manifest["parity"]["allowed"]
    gap = f"largest difference from the reference {gaps.max():.1e}"
    if gaps.max() > allowed:  # a trace value at a rounding threshold may be rounded either way
        gap += f", above {allowed:.0e} in {int((gaps > allowed).sum())}"
    if data["targets"].ndim > 1:
        score = f"{about['score_name']} is {about['score']:.3f}"
        return f"ran {about['count']} examples, on which the reference's {score}; {gap}"
    right = int((outputs[-1].argmax(-1) == data["targets"]).sum())
    return f"recalled {right} of {about['count']} ({100 * right / about['count']:.1f} %); {gap}"


def _start(tensor: dict[str, Any], batch: int) -> np.ndarray:
    """A state tensor at the start of `batch` episodes: one value for all, or one for each episode."""
    shape = [batch, *tensor["shape"][1:]]
    if "fill" in tensor["start"]:
        return np.full(shape, tensor["start"]["fill"], tensor["dtype"])
    value = np.arange(batch) * tensor["start"]["fractional"] % 1.0
    return np.broadcast_to(value.reshape(-1, *[1] * (len(shape) - 1)), shape).astype(tensor["dtype"])


def main(words: list[str]) -> str:
    """The output of the command line.

    Raises:
        SystemExit: with a message of one line.
    """
    if words in (["-h"], ["--help"]):
        return str(__doc__).strip()
    if len(words) > 1 or any(word.startswith("-") for word in words):
        odd = next((word for word in words if word.startswith("-")), words[-1])
        sys.exit(f"runner.py does not know {odd!r}; it takes one folder at most: python runner.py [FOLDER], or --help")
    try:
        return examples(Path(words[0]) if words else Path(__file__).resolve().parent)
    except BundleError as error:
        sys.exit(str(error))
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: python -m pip install numpy onnxruntime safetensors")
    except OSError as error:
        sys.exit(f"cannot read {error.filename or words}: {error.strerror}")


if __name__ == "__main__":
    print(main(sys.argv[1:]))
