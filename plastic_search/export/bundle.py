"""A bundle: a folder with an exported network, proof that it is exact, and all that is needed to run it without torch.

NAME/
  step.onnx               one step: inputs and state in, outputs and next state out
  sequence.onnx           the same for a whole sequence at once
  parameters.safetensors  the same parameters by name, integers and their steps where rounded, packed where few bits do
  examples.safetensors    episodes of the test split, and the network's outputs
  runner.py               runs it: numpy, onnxruntime and safetensors are enough
  README.md               the model card
  manifest.json           spec, state, measured parity, and the sha256 of every other file
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from plastic_search import __version__
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export import card, manifest, runner
from plastic_search.export.onnx import export_step
from plastic_search.export.packing import pack
from plastic_search.export.parameters import Codes, first_state, parameters, prepared
from plastic_search.export.parity import ALLOWED, Parity
from plastic_search.export.sequence import export_sequence
from plastic_search.network.module import Network, check_network
from plastic_search.network.quantization import start_dither
from plastic_search.network.state import named
from plastic_search.network.step import step as reference_step
from plastic_search.precisions import Role
from plastic_search.records.files import unwritable
from plastic_search.tasks import Episodes, Split, Task

__all__ = ["Bundle", "write"]

_SEED = 0  # of the examples


class Bundle(NamedTuple):
    """A bundle that was written."""

    folder: Path
    manifest: dict[str, Any]
    parity: Parity
    score: float  # of the exported network on the examples; nan without a task
    size: int  # bytes of all files
    deployed: int  # bytes of step.onnx, which is all that a device needs


def write(
    net: Network,
    folder: Path | str,
    *,
    task: Task | None,
    about: dict[str, Any],
    examples: int = 500,
    licence: str = "",
) -> Bundle:
    """Write `net` as a bundle. It replaces an older one only when it is complete and verified.

    Args:
        task: the source of the examples; None leaves them out.
        about: any further information, as plain JSON data; `scores`, by seed, are on the model card.
        examples: how many episodes, or as many as are within the limits of `runner`.
        licence: under which the network is published, in the model hub's short form, such as mit; "" states none.

    Raises:
        PlasticSearchError: `net` is no Network, or cannot be exported exactly; its sizes are not those of the task, or
            `folder` is something else than a bundle.

    Example:
        >>> bundle = write(net, Path("bundle"), task=DigitRecall(ways=3), about={"study": "mine"})
        >>> bundle.parity.largest  # then, without torch: python bundle/runner.py
    """
    check_network(net)
    folder = as_path(folder)
    if task is not None and (task.inputs, task.outputs) != (net.inputs, net.outputs):
        raise PlasticSearchError(
            f"{task} has {task.inputs} inputs and {task.outputs} outputs, "
            f"but the network {net.inputs} and {net.outputs}; choose the task that it was trained for"
        )
    if examples < 1:
        raise PlasticSearchError(f"a bundle needs at least one example, but got examples={examples}")
    with _replacing(folder) as new:
        parity = export_step(net, new / "step.onnx")
        sequence = export_sequence(net, new / "step.onnx", new / "sequence.onnx")
        save_file(_stored(net), new / "parameters.safetensors")
        shutil.copyfile(str(runner.__file__), new / "runner.py")
        content = _manifest(net, about, parity._asdict() | {"sequence": sequence})
        if task is not None:
            _sealed(new, content)  # for the runner, which answers the examples
            content |= {"examples": _examples(net, task, examples, new)}
            (new / runner.MANIFEST).unlink()
        (new / "README.md").write_text(card.text(net, content, _bytes(new), licence))
        content, sizes = _sealed(new, content), _bytes(new)
    score = content["examples"]["exported_score"] if task is not None else float("nan")
    return Bundle(folder, content, parity, score, sum(sizes.values()), sizes["step.onnx"])


def _bytes(folder: Path) -> dict[str, int]:
    """The size of each file."""
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def _sealed(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of the files in `folder`, and read all of them again."""
    path = folder / runner.MANIFEST
    path.unlink(missing_ok=True)
    for each in folder.iterdir():
        each.chmod(0o644)
    files = {each.name: _file(each) for each in sorted(folder.iterdir())}
    path.write_text(manifest.seal(content | {"files": files}))
    return manifest.read(folder)


def _manifest(net: Network, about: dict[str, Any], parity: dict[str, Any]) -> dict[str, Any]:
    """All but the files, without examples."""
    formats = {role: net.spec.precision.format(role) for role in Role}
    return {
        "format": runner.SCHEMA["format"],
        "about": about,
        "spec": net.spec.to_json(),
        "input": {"name": "x", "width": net.inputs},
        "output": {"name": "y", "width": net.outputs},
        "state": _signature(net),
        "precision": {
            role.value: {"bits": form.integer_bits, "rounding": form.rounding.value}
            | ({"remainder": form.remainder} if form.remainder else {})
            if form
            else None
            for role, form in formats.items()
        },
        "session": runner.SESSION,
        "parity": parity | {"allowed": ALLOWED},
        "examples": None,
        "files": {},  # as `_sealed` finds them
        "versions": {"plastic_search": __version__}
        | {name: version(name) for name in ("torch", "onnx", "onnxruntime", "brevitas")},
    }


def _signature(net: Network) -> list[dict[str, Any]]:
    """Name, shape, type and start value of every state tensor."""
    several = 5  # episodes, so that their order is seen
    return [
        {
            "name": name,
            "shape": ["batch", *value.shape[1:]],
            "dtype": str(value.dtype).removeprefix("torch."),
            "start": _start(name, value),
        }
        for name, value in named(first_state(net, prepared(net), several)).items()
    ]


def _start(name: str, value: Tensor) -> dict[str, float]:
    """The first value of a state tensor [batch, ...], in a form that holds for any batch."""
    first = float(value.flatten()[0])
    if bool((value == first).all()):
        return {"fill": first}
    offset = float(start_dither(2, value.double())[1])  # from one episode's dither to the next
    dither = (torch.arange(len(value), dtype=torch.float64) * offset % 1.0).to(value.dtype)
    if torch.equal(dither.view(-1, 1, 1), value):
        return {"fractional": offset}
    raise PlasticSearchError(f"{name} must start with one value for all episodes, or as dither, to be in a bundle")


def _stored(net: Network) -> dict[str, Tensor]:
    """The content of the parameter file: `NAME`; or `NAME.step` and `NAME.codes`, of at most 4 bits `NAME.codes4`."""
    stored: dict[str, Tensor] = {}
    for name, value in parameters(net).items():
        if not isinstance(value, Codes):
            stored[name] = value
            continue
        stored[f"{name}.step"], width = value.step, value.packed
        packed = value.codes if width is None else torch.from_numpy(pack(value.codes.numpy(), width))
        stored[f"{name}.codes{width or ''}"] = packed
    return stored


def _examples(net: Network, task: Task, count: int, folder: Path) -> dict[str, Any]:
    """Write episodes and the reference's outputs, and compare with these what the bundle's runner makes of them."""
    episodes = _episodes(net, task, count)
    reference, asked = _by_reference(net, episodes.inputs), episodes.query_step
    tensors = {"inputs": episodes.inputs, "targets": episodes.targets, "outputs": reference[asked:]}
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    with manifest.refusals():
        exported = runner.Runner(folder)(episodes.inputs.numpy())
    save_file(tensors, folder / "examples.safetensors")
    return {
        "task": task.to_json(),
        "split": Split.TEST.value,
        "seed": _SEED,
        "count": episodes.inputs.shape[1],
        "asked": asked,
        "score_name": task.score_name,
        "chance": task.chance,
        "score": float(task.scores(reference, episodes).mean()),
        "exported_score": float(task.scores(torch.from_numpy(exported), episodes).mean()),
    } | runner.measured(exported[asked:], {name: value.numpy() for name, value in tensors.items()}, ALLOWED)


def _episodes(net: Network, task: Task, count: int) -> Episodes:
    """Unseen episodes: as many as are asked for, and as a runner takes."""
    one = task.episodes(1, Split.TEST, torch.Generator().manual_seed(_SEED))
    stored = one.inputs.nbytes + one.targets.nbytes + 4 * len(one.inputs) * net.outputs
    used = sum(value.nbytes for value in named(first_state(net, prepared(net), 1)).values())
    used += 4 * len(one.inputs) * net.outputs + 64
    most = min(count, runner.MEMORY // used, (runner.FILE - runner.HEADER) // stored)
    return task.episodes(max(1, most), Split.TEST, torch.Generator().manual_seed(_SEED))


def _by_reference(net: Network, inputs: Tensor) -> Tensor:
    """The outputs [time, batch, outputs] of `step.step`, on the CPU."""
    ready, ys = prepared(net), []
    state = first_state(net, ready, inputs.shape[1])
    for x in inputs:
        y, state = reference_step(net.spec, net.shapes, ready, state, x)
        ys.append(y)
    return torch.stack(ys)


def _file(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _may_replace(folder: Path) -> bool:
    """Whether a folder is empty, or holds a bundle, even a damaged one."""
    path = folder / runner.MANIFEST
    if not folder.is_dir() or not any(folder.iterdir()):
        return folder.is_dir()
    return path.is_file() and b'"plastic_search/bundle/' in path.read_bytes()[:100]


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which replaces it if the block raises nothing."""
    folder = folder.resolve() if folder.is_symlink() and folder.exists() else folder
    old = folder.exists() or folder.is_symlink()
    if folder.is_file():
        raise PlasticSearchError(f"{folder} is a file, not a folder; choose another folder with --out")
    if old and not _may_replace(folder):
        raise PlasticSearchError(f"{folder} is there and is no bundle, so it is left alone; choose another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise unwritable(folder.parent, error) from None
    try:
        new, replaced = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        if old:
            folder.rename(replaced)
        try:
            new.rename(folder)
        except OSError:
            if old:
                replaced.rename(folder)
            raise
    except OSError as error:
        raise unwritable(folder.parent, error) from None
    except SafetensorError as error:  # as for a full disk
        raise PlasticSearchError(
            f"cannot write in {folder.parent}: {error}; choose another folder with --out"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
