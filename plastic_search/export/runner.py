"""Run the network in this folder, which goes on learning as it runs. Needs numpy, onnxruntime and safetensors.

    from runner import Runner

    net = Runner(".")
    y = net(x)        # x [batch, inputs], y [batch, outputs]; the state is kept for the next step
    y = net(x)        # or a whole sequence at once, x [time, batch, inputs], y [time, batch, outputs]: less waiting
    net.reset(batch)  # a new episode: everything learned since the last reset is forgotten

`python runner.py` runs the examples in this folder, and prints the network's score; `python runner.py FOLDER` runs
those of another folder like this one. A runner.py from elsewhere is code from elsewhere; your own runs its folder too,
and lets it do nothing but compute, within the limits below: `python -P -m plastic_search.export.runner FOLDER`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else onnxruntime reports what it runs, and keeps a file of it
    import numpy as np
    import onnxruntime as ort
    from safetensors.numpy import load
except ModuleNotFoundError as error:
    hint = f"{error.name} is not installed: python -m pip install numpy onnxruntime safetensors"
    raise SystemExit(hint) if __name__ == "__main__" else error from None
CHECKS: Any = None  # reads graphs before onnxruntime does; a copy in a bundle is trusted as what lies beside it is
if __package__ == "plastic_search.export":
    from plastic_search.export import graphs

    CHECKS = graphs

MANIFEST, LARGEST, DEPTH = "manifest.json", 16 * 2**20, 32  # bytes and levels of a manifest
FILE, HEADER = 256 * 2**20, 2**20  # bytes of another file, of a header in one
STATE, TOGETHER = 64 * 2**20, 32 * 2**20  # bytes of the state of one episode, of those that are stepped together
MEMORY = 2**30  # bytes of onnxruntime for a step, and for constants that it computes first; of all examples' states
SESSION = {"session.disable_quant_qdq": "1"}  # else onnxruntime fuses DequantizeLinear with what follows, and rounds

KINDS: dict[type, Any] = {
    int: ("a whole number", lambda v: type(v) is int and 0 <= v < 2**53),
    float: ("a number", lambda v: type(v) in (int, float) and abs(v) < 3e38),
    str: ("a line of text", lambda v: type(v) is str and v.isprintable() and len(v) < 1000),
}
STATES = {"float32": "float", "float64": "double", "int32": "int32", "int64": "int64", "bool": "bool"}  # of numpy, ONNX
START, CONTENT = {"fill?": float, "fractional?": float}, {"bytes": int, "sha256": "[0-9a-f]{64}"}
SCHEMA = {  # "key?" may be missing, (None, form) may be null, a list's last form is repeated, text is an expression
    "format": "plastic_search/bundle/1", "about": dict, "spec": dict, "versions": dict, "session": SESSION,
    "input": {"name": "x", "width": int}, "output": {"name": "y", "width": int},
    "state": [{"name": r"layers(\.\w+)+", "shape": ["batch", int], "dtype": "|".join(STATES), "start": START}],
    "precision": dict.fromkeys(("weight", "alpha", "trace", "activity?"),
                               (None, {"bits": int, "rounding": str, "remainder?": int})),
    "parity": dict.fromkeys(("steps", "compared", "ties", "free_ties?"), int)
    | dict.fromkeys(("largest", "stepwise", "allowed", "sequence?"), float), "digest": CONTENT["sha256"],
    "examples": (None, {"task": dict, "split": str, "score_name": str, "right?": (None, int)}
    | dict.fromkeys(("seed", "count", "asked", "apart"), int)
    | dict.fromkeys(("chance", "score", "exported_score", "largest", "within?"), float)),
    "files": dict.fromkeys(("step.onnx", "parameters.safetensors", "runner.py", "examples.safetensors?",
                            "sequence.onnx?", "README.md?"), CONTENT),
}  # fmt: skip


class BundleError(ValueError):
    """A folder is no bundle, was changed, or would do more than compute within the limits; the message says which."""


class Runner:
    """`y = net(x)`: one step of the network, or a sequence of them; `net.state` holds every state tensor by name."""

    def __init__(self, folder: str | Path = ".") -> None:
        self.manifest, self.files = opened(Path(folder))
        times = {"step.onnx": [], "sequence.onnx": ["time"]}  # bundles of earlier versions have no sequence
        self.sessions = {file: self._session(file, time) for file, time in times.items() if file in self.files}
        self.state: dict[str, np.ndarray] = {}

    def _session(self, file: str, time: list[str]) -> Any:
        """A file in onnxruntime, with the inputs and outputs that the manifest states; those of a step, or of many."""
        session = open_session(self.files[file], file)
        for way, name, after in (("input", "x", ""), ("output", "y", ".next")):
            stated = [(name, "float", [*time, "batch", self.manifest[way]["width"]])]
            stated += [(each["name"] + after, STATES[each["dtype"]], each["shape"]) for each in self.manifest["state"]]
            with refusing(f"the {way}s of {file} are not those of {MANIFEST}"):
                values = getattr(session, f"get_{way}s")()
                if (found := [(each.name, each.type[len("tensor(") : -1], each.shape) for each in values]) != stated:
                    raise ValueError(f"{found} instead of {stated}")
        return session

    def __call__(self, x: np.ndarray) -> np.ndarray:
        shape, whole = np.shape(x), np.ndim(x) == 3
        if not self.state:
            self.reset(shape[whole])
        width, outputs = (self.manifest[way]["width"] for way in ("input", "output"))
        batch, file = len(next(iter(self.state.values()))), "sequence.onnx" if whole else "step.onnx"
        if shape[whole:] != (batch, width) or 0 in shape[:whole]:
            raise ValueError(f"x must be one or several {(batch, width)}, but is {shape}; reset(batch) starts anew")
        if file not in self.sessions:
            return np.stack([self(each) for each in x])
        some = max(1, TOGETHER // max(1, size(self.manifest) + 4 * outputs * math.prod(shape[:whole])))
        x, y = np.asarray(x, np.float32), np.empty((*shape[:-1], outputs), np.float32)
        results = list(map(np.empty_like, self.state.values()))
        with refusing(f"onnxruntime cannot run {file}"):
            for part in (slice(i, i + some) for i in range(0, batch, some)):
                feeds = {"x": x[..., part, :]} | {name: each[part] for name, each in self.state.items()}
                y[..., part, :], *after = self.sessions[file].run(None, feeds)
                for every, value in zip(results, after, strict=True):
                    every[part] = value
        self.state = dict(zip(self.state, results, strict=True))
        return y

    def reset(self, batch: int) -> None:
        """Start `batch` episodes. A state tensor starts with one value for all of them, or one for each."""
        self.state = {}
        for each in self.manifest["state"]:
            start, shape = each["start"], [*each["shape"][:0:-1], batch]
            values = np.arange(batch) * start.get("fractional", 0.0) % 1.0 + start.get("fill", 0.0)
            self.state[each["name"]] = np.broadcast_to(values, shape).T.astype(each["dtype"], "C")


def open_session(data: bytes, file: str = "step.onnx") -> Any:
    """A file in onnxruntime, on one thread and within `MEMORY`; a BundleError if it has more than it may."""
    folded = MEMORY
    if CHECKS:
        with refusing(f"{file} is refused"):
            folded = CHECKS.largest_constant(CHECKS.read(data, file), MEMORY)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # one step is too small to share
    options.log_severity_level = 4  # what it logs, it also raises
    ort.set_default_logger_severity(4)
    limits = {"optimization.constant_folding_max_output_size_in_bytes": str(folded), "session.use_env_allocators": "1"}
    for key, value in (SESSION | limits | {"session.load_model_format": "ONNX"}).items():
        options.add_session_config_entry(key, value)
    cpu = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    arena = ort.OrtArenaCfg({"max_mem": MEMORY, "arena_extend_strategy": 1})  # 1: by no more than is asked for
    off, cpus = [] if folded else ["ConstantFolding"], ["CPUExecutionProvider"]
    with refusing(f"onnxruntime cannot load {file}"):
        ort.create_and_register_allocator(cpu, arena)  # a session keeps the one that was registered last
        return ort.InferenceSession(data, options, cpus, enable_fallback=False, disabled_optimizers=off)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Any exception becomes a BundleError of one line."""
    try:
        yield
    except BundleError:
        raise
    except Exception as error:
        text = "".join(each if each.isprintable() else " " for each in str(error) or repr(error))
        raise BundleError(f"{what}: {text:.300}") from None


def opened(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the files of a bundle; a BundleError names what is missing, changed, unknown or too large."""
    path, at = folder / MANIFEST, 0
    with refusing(f"cannot read {path}, or what it lists"):
        text = _content(path, LARGEST).decode("latin-1")
        manifest = json.loads(text)
        for part in json.JSONEncoder(indent=1, allow_nan=False).iterencode(manifest):  # the whole may be far longer
            if not text.startswith(part, at):
                break
            at += len(part)
        if text[at:] != "\n" or type(manifest) is not dict or manifest.get("digest") != digest(manifest):
            raise BundleError(f"{path} was changed: it does not match its digest; write the bundle again")
        fit(manifest, SCHEMA, str(path))
        shapes = [each["shape"] for each in manifest["state"]]
        if not shapes or max(map(len, shapes)) > 8 or size(manifest) > STATE or "\n" + (DEPTH + 1) * " " in text:
            raise BundleError(f"{path} has no state, or more than {STATE} bytes, 8 dimensions or {DEPTH} levels")
        if ("examples.safetensors" in manifest["files"]) != bool(manifest["examples"]):
            raise BundleError(f"{path} must list examples.safetensors if it describes examples, and only then")
        files = {name: _content(folder / name, FILE) for name in manifest["files"]}
        for each in folder.iterdir():
            if each.name not in {*files, MANIFEST, "__pycache__"}:  # which Python writes where it imports runner.py
                raise BundleError(f"{folder} holds {each.name!r}, which is not part of the bundle; remove it")
    for name, data in files.items():
        if manifest["files"][name] != {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}:
            raise BundleError(f"{folder / name} was changed since it was written; write the bundle again")
    return manifest, files


def _content(path: Path, most: int) -> bytes:
    """The bytes of a regular file: no link is followed, and no pipe waited for."""
    if not path.is_file() or path.is_symlink():
        raise BundleError(f"{path} is missing, or is no regular file; {path.parent} is no bundle, or not a whole one")
    if path.stat().st_size > most:
        raise BundleError(f"{path} has {path.stat().st_size} bytes; in a bundle it has at most {most}")
    return path.read_bytes()


def fit(value: Any, form: Any, at: str) -> None:
    """Refuse a value that has not the form that `SCHEMA` gives it; `at` says where it stands."""
    if isinstance(form, tuple):
        form = form[value is not None] or type(None)
    kind = form if isinstance(form, type) else type(form)
    words, holds = KINDS.get(kind, (f"a small {kind.__name__}", lambda v: type(v) is kind and len(v or ()) < 1000))
    if not holds(value) or (isinstance(form, str) and not re.fullmatch(form, value)):
        raise BundleError(f"{at} must be {repr(form) if isinstance(form, str) else words}, but is {value!r:.60}")
    if isinstance(form, list):
        for i, each in enumerate(value):
            fit(each, form[min(i, len(form) - 1)], f"item {i} of {at}")
    if isinstance(form, dict):
        known = {name.rstrip("?"): each for name, each in form.items()}
        for name in sorted(value.keys() ^ known.keys()):
            if name not in known:
                raise BundleError(f"{at} has {name!r:.60}, which is in no bundle; known: {', '.join(known)}")
            if name in form:
                raise BundleError(f"{at} lacks {name}")
        for name, each in value.items():
            fit(each, known[name], f"{name} of {at}")


def digest(manifest: dict[str, Any]) -> str:
    """The sha256 of the manifest without its digest, as JSON with sorted keys and no spaces."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def size(manifest: dict[str, Any]) -> int:
    """Bytes of the state of one episode."""
    return sum(math.prod(n or 1 for n in x["shape"][1:]) * np.dtype(x["dtype"]).itemsize for x in manifest["state"])


def tensors(files: dict[str, bytes], name: str) -> dict[str, np.ndarray]:
    """The tensors in a safetensors file."""
    if int.from_bytes(files[name][:8], "little") > HEADER:
        raise BundleError(f"{name} announces a header of more than {HEADER} bytes, which that of no bundle has")
    with refusing(f"{name} is damaged"):
        return load(files[name])


def examples(folder: Path | str) -> str:
    """Run the bundle's examples, and summarize the results in one line."""
    net = Runner(folder)
    if (about := net.manifest["examples"]) is None:
        return "this bundle has no examples"
    data, count, width = tensors(net.files, "examples.safetensors"), about["count"], net.manifest["output"]["width"]
    with refusing("examples.safetensors is not what the manifest states"):
        x = data["inputs"]
        most = MEMORY // (size(net.manifest) + 4 * width * len(x) + 64)  # bytes of an example: state, outputs
        if x.dtype != np.float32 or not len(x[0]) == count <= most:
            raise ValueError(f"not float32 inputs of {count} examples, whose states have at most {MEMORY} bytes")
        parts = [net(x[0])[None], *(net(x[1:]) for _ in x[1:2])]  # one step by step.onnx, the others by sequence.onnx
        outputs = np.concatenate(parts)[about["asked"] :]
        if outputs.shape != data["outputs"].shape:
            raise ValueError(f"it has outputs of the shape {data['outputs'].shape}, instead of {outputs.shape}")
        return summary(net.manifest, about | measured(outputs, data, net.manifest["parity"]["allowed"]))


def measured(outputs: np.ndarray, data: dict[str, Any], allowed: float) -> dict[str, Any]:
    """How outputs differ from the reference's, as a manifest has it; `within` is of examples that are not `apart`."""
    gaps = np.abs(outputs - data["outputs"]).max((0, 2))
    labelled, near = data["targets"].ndim == 1, gaps <= allowed
    right = int((outputs[-1].argmax(-1) == data["targets"]).sum()) if labelled else None
    within, largest = float(gaps[near].max(initial=0.0)), float(gaps.max())
    return {"right": right, "apart": int((~near).sum()), "within": within, "largest": largest}


def summary(manifest: dict[str, Any], about: dict[str, Any]) -> str:
    """What `measured` found, in one line."""
    count, apart = about["count"], about["apart"]
    text = f"ran {count} examples, on which the reference's {about['score_name']} is {about['score']:.3f}"
    if about["right"] is not None:
        text = f"recalled {about['right']} of {count} ({100 * about['right'] / count:.1f} %)"
    text += f"; {count - apart} differ from the reference by at most {about['within']:.1e}"
    known = apart <= manifest["examples"]["apart"]
    why = "after a tie or an amplified last bit" if known else "which is more than when it was exported"
    return text + f", {apart} by up to {about['largest']:.1e}, {why}" * bool(apart)


def main(words: list[str]) -> str:
    """The output of the command line; mistakes end it with one line."""
    if words in (["-h"], ["--help"]):
        return str(__doc__).strip()
    for odd in [*(word for word in words if word.startswith("-")), *words[1:]]:
        sys.exit(f"runner.py does not know {odd!r}; it takes one folder at most: python runner.py [FOLDER], or --help")
    try:
        return examples(Path(words[0]) if words else Path(__file__).resolve().parent)
    except BundleError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    print(main(sys.argv[1:]))
