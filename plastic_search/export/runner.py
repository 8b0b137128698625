"""Run the network in this folder, which goes on learning as it runs. Needs numpy, onnxruntime and safetensors.

    from runner import Runner

    net = Runner(".")
    y = net(x)        # x [batch, inputs], y [batch, outputs]; the state is kept for the next step
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

MANIFEST, LARGEST, DEPTH = "manifest.json", 16 * 2**20, 32  # bytes and levels of a manifest
FILE, HEADER, FIELDS = 256 * 2**20, 2**20, 200_000  # bytes of another file, of a header in one; fields of step.onnx
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
    | dict.fromkeys(("largest", "stepwise", "allowed"), float), "digest": CONTENT["sha256"],
    "examples": (None, {"task": dict, "split": str, "score_name": str, "right?": (None, int)}
    | dict.fromkeys(("seed", "count", "asked", "apart"), int)
    | dict.fromkeys(("chance", "score", "exported_score", "largest", "within?"), float)),
    "files": dict.fromkeys(("step.onnx", "parameters.safetensors", "runner.py", "examples.safetensors?"), CONTENT),
}  # fmt: skip
# What a step may consist of. None of it holds another graph, reads a file, draws at random, or makes text or lists.
OPERATIONS = """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
Cast Ceil Celu Clip Concat Constant ConstantOfShape Cos Cosh CumSum DequantizeLinear Div Elu Equal Erf Exp Expand
Flatten Floor Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max Mean Min Mish Mod Mul Neg Not OneHot Or PRelu
Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
ReduceSum ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice
Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor"""
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 11: 64, 12: 32, 13: 64, 21: 4, 22: 4}  # of ONNX's types
MESSAGES = {  # of ONNX: the fields that a step needs, by number; i: integer, f: float, b: bytes, *: may be repeated
    "Model": {1: "i", 2: "b", 3: "b", 4: "b", 5: "i", 6: "b", 7: "Graph", 8: "Opset*"}, "Opset": {1: "b", 2: "i"},
    "Graph": {1: "Node*", 2: "b", 5: "Tensor*", 10: "b", 11: "Value*", 12: "Value*", 13: "Value*"},
    "Node": {1: "b*", 2: "b*", 3: "b", 4: "b", 5: "Attribute*", 6: "b", 7: "b"},
    "Attribute": {1: "b", 2: "f", 3: "i", 4: "b", 5: "Tensor", 7: "f*", 8: "i*", 20: "i"},
    "Tensor": {1: "i*", 2: "i", 5: "b", 8: "b", 9: "b"}, "Value": {1: "b", 2: "Type"}, "Type": {1: "TensorType"},
    "TensorType": {1: "i", 2: "Shape"}, "Shape": {1: "Dimension*"}, "Dimension": {1: "i", 2: "b"},
}  # fmt: skip


class BundleError(ValueError):
    """A folder is no bundle, was changed, or would do more than compute within the limits; the message says which."""


class Runner:
    """`y = net(x)`: one step of the network; `net.state` holds every state tensor by name."""

    def __init__(self, folder: str | Path = ".") -> None:
        self.manifest, self.files = opened(Path(folder))
        self.session = open_session(self.files["step.onnx"])
        self.state: dict[str, np.ndarray] = {}
        for way, name, after in (("input", "x", ""), ("output", "y", ".next")):
            stated = [(name, "float", ["batch", self.manifest[way]["width"]])]
            stated += [(each["name"] + after, STATES[each["dtype"]], each["shape"]) for each in self.manifest["state"]]
            with refusing(f"the {way}s of step.onnx are not those of {MANIFEST}"):
                values = getattr(self.session, f"get_{way}s")()
                if (found := [(each.name, each.type[len("tensor(") : -1], each.shape) for each in values]) != stated:
                    raise ValueError(f"{found} instead of {stated}")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if not self.state:
            self.reset(len(x))
        width, outputs = (self.manifest[way]["width"] for way in ("input", "output"))
        batch, some = len(next(iter(self.state.values()))), max(1, TOGETHER // max(1, size(self.manifest)))
        if np.shape(x) != (batch, width):
            raise ValueError(f"x must be {(batch, width)}, but is {np.shape(x)}; reset(batch) starts anew")
        feeds = {"x": np.asarray(x, np.float32)} | self.state
        results = [np.empty((batch, outputs), np.float32), *map(np.empty_like, self.state.values())]
        with refusing("onnxruntime cannot run step.onnx"):
            for i in range(0, batch, some):
                values = self.session.run(None, {name: each[i : i + some] for name, each in feeds.items()})
                for whole, value in zip(results, values, strict=True):
                    whole[i : i + some] = value
        self.state = dict(zip(self.state, results[1:], strict=True))
        return results[0]

    def reset(self, batch: int) -> None:
        """Start `batch` episodes. A state tensor starts with one value for all of them, or one for each."""
        self.state = {}
        for each in self.manifest["state"]:
            start, shape = each["start"], [*each["shape"][:0:-1], batch]
            values = np.arange(batch) * start.get("fractional", 0.0) % 1.0 + start.get("fill", 0.0)
            self.state[each["name"]] = np.broadcast_to(values, shape).T.astype(each["dtype"], "C")


def open_session(data: bytes) -> Any:
    """step.onnx in onnxruntime, on one thread and within `MEMORY`; a BundleError if it has more than a step may."""
    graph = read_step(data)
    folded = 8 * max((math.prod(each.get(1, [])) for each in graph.get(5, [])), default=0)  # bytes of one constant
    folded *= folded * len(graph.get(1, [])) <= MEMORY  # and of all that could be computed from others
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
    with refusing("onnxruntime cannot load step.onnx"):
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


def read_step(data: bytes) -> dict[int, list[Any]]:
    """The graph in step.onnx, by the numbers of ONNX's fields, if it has nothing but what a step may have."""
    with refusing("step.onnx is refused"):
        graph = _message(memoryview(data), "Model", iter(range(FIELDS))).get(7, [{}])[0]
        values = [*graph.get(12, []), *graph.get(13, [])]
        others = {bytes(each[1][0]) for each in values if each.get(2, [{}])[0].get(1, [{}])[0].get(1) != [1]}
        divided = {bytes(name) for node in graph.get(1, []) if node[4] == [b"Div"] for name in node.get(2, [])}
        if divided - ({bytes(each[1][0]) for each in values} - others):
            raise ValueError("it divides what may be whole numbers, which can end the process")
        return graph


def _message(data: memoryview, name: str, left: Iterator[int], at: int = 0) -> dict[int, list[Any]]:
    """The fields of a message from `at` on, by number; `left` counts those of all messages down."""
    found: dict[int, list[Any]] = {}
    while at < len(data):
        key, at = _integer(data, at)
        form = MESSAGES[name].get(key >> 3, "")
        kind = form.rstrip("*")
        odd = key & 7 != {"i": 0, "f": 5}.get(kind, 2) or (key >> 3 in found and kind == form)
        if not form or odd or next(left, None) is None:
            raise ValueError(f"it has field {key >> 3} of {name}, which no step has or not twice, or too many fields")
        number, at = (4, at) if kind == "f" else _integer(data, at)
        content, at = data[at : at + number], at + number * (kind != "i")
        if at > len(data):
            raise ValueError("it ends too early")
        value = number if kind == "i" else _message(content, kind, left) if kind in MESSAGES else content
        found.setdefault(key >> 3, []).append(value)
    _check_message(name, found)
    return found


def _integer(data: memoryview, at: int) -> tuple[int, int]:
    """An integer of at most 64 bits, and where it ends."""
    groups = data[at : at + 10].tolist()
    count = next(i for i, group in enumerate(groups, start=1) if group < 128)
    return sum((group & 127) << 7 * i for i, group in enumerate(groups[:count])) % 2**64, at + count


def _check_message(name: str, found: dict[int, list[Any]]) -> None:
    """Refuse operations that are not of a step, and tensors whose numbers are not in the file, as many as stated."""
    if name == "Opset" and (found.get(1, [b""]), found.get(2)) != ([b""], [21]):
        raise ValueError("it must be of operator set 21, and no other")
    if name == "Node":
        operation = str(found.get(4, [b""])[0], "latin-1")
        if operation not in OPERATIONS.split() or found.get(7, [b""]) != [b""]:
            again = "; export the network again" * (operation == "Einsum")  # which earlier versions wrote
            raise ValueError(f"it has the operation {operation!r:.60}, which a step may not have{again}")
        for each in found.get(5, []):
            number, text = each.get(3, [0])[0], str(each.get(4, [b""])[0], "latin-1")
            wrong = {"Constant": 5 not in each, "GatherND": number >= FIELDS}  # its batch_dims may be negative
            wrong |= {"Cast": each.get(1) == [b"to"] and number not in BITS, "Split": FIELDS < number < 2**63}
            if wrong.get(operation):
                raise ValueError(f"it has {operation} of what is no number, negative or too large: {text!r:.60}")
    if name == "Tensor":
        bits, shape = BITS.get(found.get(2, [0])[0], 0), found.get(1, [])
        integers = int((np.frombuffer(found.get(5, [b""])[0], np.uint8) < 128).sum())  # one for two numbers of 4 bits
        held = len(found[9][0]) if 9 in found else integers * max(8, bits) // 8
        if not bits or len(shape) > 8 or held != (bits * math.prod(shape) + 7) // 8:
            raise ValueError("it has a tensor that is not of numbers, or not of as many as its shape")


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
    data, count, state = tensors(net.files, "examples.safetensors"), about["count"], size(net.manifest)
    with refusing("examples.safetensors is not what the manifest states"):
        if data["inputs"].dtype != np.float32 or not len(data["inputs"][0]) == count <= MEMORY // (state + 64):
            raise ValueError(f"not float32 inputs of {count} examples, whose states have at most {MEMORY} bytes")
        outputs = np.empty((len(data["inputs"]) - about["asked"], *data["outputs"].shape[1:]), np.float32)
        net.reset(count)
        for t, x in enumerate(data["inputs"], start=-about["asked"]):
            outputs[max(t, 0)] = net(x)  # what precedes the query is overwritten
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
