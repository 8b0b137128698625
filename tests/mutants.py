"""A process that reads mutated bundles, and says what came of each: run as `python mutants.py BUNDLE FIRST COUNT SEED`.

Each mutant is made of the numbers (seed, number) alone. It is printed before it is tried, so that what ends the process
is known; then `refused`, `ran`, or what else became of it. The last line is the largest memory that was in use, where
onnxruntime may have `MEMORY`.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import resource
except ModuleNotFoundError:
    resource = None

import onnx
from tampering import replace_file, reseal

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import graphs, manifest, runner

MODELS = ["step.onnx", "sequence.onnx"]
EXTREMES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**53, 2**63, 2**64, 10**40, 0.5, -0.0, 1e-45, 1e38, 1e300, "", "x",
    "batch", "float32", "int8", "F64", "I32", "../step.onnx", "\x1b[2J", "\u202e\ud800", "layers.0.trace", [], {}, [[]],
    ["batch"], ["batch", 20_000, 20_000], [1, 2], {"fill": 1}, {"a": {"b": [1]}}, [0] * 2000,
]  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value, with every key of it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def mutated(value: Any, rng: random.Random) -> None:
    """Change one place of a JSON value: another value, none, its neighbour's, one more, or another name."""
    inside, key = rng.choice(list(places(value)))
    way = rng.randrange(6)
    if way == 0:
        del inside[key]
    elif way == 1 and isinstance(inside, list):
        inside.insert(key, inside[key])
    elif way == 1:
        inside[rng.choice(["more", key + "s", key.upper(), ""])] = inside[key]
    elif way == 2:
        other, at = rng.choice(list(places(value)))
        inside[key] = json.loads(json.dumps(other[at]))
    elif way == 3 and type(inside[key]) in (int, float):
        inside[key] = rng.choice([inside[key] + 1, inside[key] - 1, -inside[key], 2 * inside[key], str(inside[key])])
    else:
        inside[key] = rng.choice(EXTREMES)


def change_manifest(folder: Path, rng: random.Random) -> None:
    def change(data: dict[str, Any]) -> None:
        del data["digest"]
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            mutated(data, rng)

    reseal(folder, change)


def change_tensors(folder: Path, rng: random.Random) -> None:
    name = rng.choice(["parameters.safetensors", "examples.safetensors"])
    data = (folder / name).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.7:
        value = json.loads(header)
        mutated(value, rng)
        header = json.dumps(value).encode()
    else:
        header = scrambled(header, rng)
    length = rng.choice([len(header)] * 6 + [0, len(header) - 1, len(header) + 1, 2**20, 2**32, 2**64 - 1])
    rest = rest if rng.random() < 0.8 else scrambled(rest, rng)
    replace_file(folder, name, max(0, length).to_bytes(8, "little") + header + rest)


def scrambled(data: bytes, rng: random.Random) -> bytes:
    """Bytes that are changed, doubled, or cut."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(found) + 1)
        way = rng.randrange(5)
        if way == 0:
            found[at:] = b"" if rng.random() < 0.2 else found[at + rng.randrange(1, 30) :]
        elif way == 1:
            found[at:at] = found[at : at + rng.randrange(1, 60)]
        elif way == 2:
            found[at:at] = rng.randbytes(rng.randrange(1, 12))
        elif at < len(found):
            found[at] = rng.choice([found[at] ^ 1 << rng.randrange(8), 0, 127, 128, 255])
    return bytes(found)


def change_bytes(folder: Path, rng: random.Random) -> None:
    name = rng.choice(MODELS)
    replace_file(folder, name, scrambled((folder / name).read_bytes(), rng))


def messages(message: Any) -> Iterator[Any]:
    """A protocol buffer and all inside it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from messages(each)


def change_fields(folder: Path, rng: random.Random) -> None:
    """Change fields of an ONNX file: values, operations, names, or whole messages."""
    name = rng.choice(MODELS)
    model = onnx.load_model_from_string((folder / name).read_bytes())
    for _ in range(rng.choice([1, 1, 2, 4])):
        some = [
            each for each in messages(model) if type(each).__name__ in ("NodeProto", "TensorProto", "AttributeProto")
        ]
        some += [each for each in messages(model) if each.ListFields()] if rng.random() < 0.5 else []
        change_field(rng.choice(some), model, rng)
    replace_file(folder, name, model.SerializeToString())


def change_field(message: Any, model: onnx.ModelProto, rng: random.Random) -> None:
    if not message.ListFields():
        return
    field, value = rng.choice(message.ListFields())
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.name == "op_type":
        message.op_type = rng.choice([*graphs.OPERATIONS.split(), "If", "Scan", "RandomNormal", "Conv", ""])
    elif field.message_type is not None and field.is_repeated:
        each = rng.choice(list(value))
        value.remove(each) if rng.random() < 0.5 else value.append(each)
    elif field.message_type is None and field.is_repeated:
        at = rng.randrange(len(value))
        value[at] = other(value[at], model, rng)
    elif field.message_type is None:
        setattr(message, field.name, other(value, model, rng))


def other(value: Any, model: onnx.ModelProto, rng: random.Random) -> Any:
    """A value of the same kind."""
    if isinstance(value, str):
        names = [name for node in model.graph.node for name in (*node.input, *node.output)]
        return rng.choice([*names, *(each.name for each in model.graph.initializer), "", "x", "batch"])
    if isinstance(value, bytes):
        return scrambled(value, rng) if value else b"x"
    if isinstance(value, float):
        return rng.choice([0.0, -1.0, float("nan"), float("inf"), 1e38])
    low, high = (-(2**63), 2**63 - 1) if abs(value) > 100 or rng.random() < 0.2 else (-1, 30)
    return rng.choice([0, 1, -1, 2, value + 1, rng.randint(-5, 30), low, high])


MEMORY = 2**26
CHANGES = [change_manifest, change_tensors, change_bytes, change_fields]


def main(folder: str, first: str, count: str, seed: str) -> None:
    """Try the mutants `first` to `first + count` of the bundle in `folder`, in a copy in the working folder."""
    runner.MEMORY = MEMORY
    sys.addaudithook(watch)
    work = Path("mutant")
    for number in range(int(first), int(first) + int(count)):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder, work)
        rng = random.Random(f"{seed}.{number}")
        change = CHANGES[number % len(CHANGES)]
        try:
            change(work, rng)
        except (ValueError, TypeError, OverflowError):  # no such value in that field
            continue
        print(number, change.__name__, end=" ", flush=True)
        limit_time()
        watched.append("")
        result = tried(work)
        acts = watched[1:]
        watched.clear()
        print(acts or result, flush=True)
    print("peak", peak())


def limit_time(seconds: int = 60) -> None:
    """End the process once it has computed for so long from here on, where an operating system can."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, hard))


def peak() -> int:
    """The largest memory of this process since it began, in bytes, where Linux tells it; else 0."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return 1024 * int(found[1]) if found else 0


watched: list[str] = []  # what the mutant does, after "" if one is tried


def watch(event: str, args: tuple[Any, ...]) -> None:
    """Note what writes a file, starts a program or opens a connection while a mutant is tried."""
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    changes = (
        "os.rename",
        "os.remove",
        "os.mkdir",
        "os.link",
        "os.symlink",
        "os.system",
        "os.exec",
        "os.fork",
        "subprocess",
    )
    if watched and (writes or event.startswith((*changes, "socket.", "ctypes.dlopen", "pickle."))):
        watched.append(f"{event}{args}")


def tried(folder: Path) -> str:
    """`refused` or `ran`, or what happened instead; the package may refuse what would run, but not the other way."""
    results, text = [], ""
    for read, error in ((runner.examples, runner.BundleError), (manifest.read, PlasticSearchError)):
        try:
            read(folder)
        except error as refusal:
            if re.search("bad_alloc|MemoryError|\n", str(refusal)):
                return repr(refusal)
            text = text or str(refusal)
            results.append("refused")
        except Exception as failure:
            return repr(failure)
        else:
            results.append("ran")
    if results == ["refused", "ran"] and "cannot run" not in text and "examples" not in text:
        return f"refused by the runner alone: {text}"
    return results[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
