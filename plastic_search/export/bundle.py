"""A folder that holds a network, its proof, and all that is needed to run it without torch.

NAME/
  step.onnx               one step: inputs and state in, outputs and next state out
  parameters.safetensors  the same parameters by name, integers and their steps where rounded
  examples.safetensors    episodes of the test split, and what the network answers
  runner.py               runs it: numpy, onnxruntime and safetensors are enough
  manifest.json           what it is, how closely it matches, and the sha256 of every other file
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
from safetensors.torch import save_file
from torch import Tensor

from plastic_search import __version__
from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import manifest as text
from plastic_search.export import runner
from plastic_search.export.onnx import export_step
from plastic_search.export.parameters import Codes, parameters, prepared
from plastic_search.export.parity import ALLOWED, SESSION, Parity, open_session
from plastic_search.network import step as law
from plastic_search.network.module import Network
from plastic_search.network.quantization import start_dither
from plastic_search.network.state import State, named
from plastic_search.precisions import Role
from plastic_search.records.files import unwritable
from plastic_search.tasks import Split, Task

__all__ = ["Bundle", "write"]

_SEED = 0  # of the examples


class Bundle(NamedTuple):
    """What was written."""

    folder: Path
    manifest: dict[str, Any]
    parity: Parity
    score: float  # of the exported network on the examples; nan without a task
    size: int  # bytes of all files


def write(net: Network, folder: Path, *, task: Task | None, about: dict[str, Any], examples: int = 500) -> Bundle:
    """Write `net` as a bundle, which takes the place of an older one only once it is whole and verified.

    Args:
        task: of which the examples are episodes; None leaves them out.
        about: whatever else is worth knowing, as plain JSON data.
        examples: how many episodes.

    Raises:
        PlasticSearchError: the network cannot be exported exactly, the task is not for it, or `folder` holds
            something that is not a bundle.
    """
    if task is not None and (task.inputs, task.outputs) != (net.inputs, net.outputs):
        raise PlasticSearchError(
            f"{task} has {task.inputs} inputs and {task.outputs} outputs, "
            f"but the network {net.inputs} and {net.outputs}; choose the task that it was trained for"
        )
    if examples < 1:
        raise PlasticSearchError(f"a bundle needs at least one example, but got examples={examples}")
    with _replacing(folder) as made:
        parity = export_step(net, made / "step.onnx")
        save_file(_stored(net), made / "parameters.safetensors")
        shown = None if task is None else _examples(net, task, examples, made)
        shutil.copyfile(str(runner.__file__), made / "runner.py")
        for path in made.iterdir():
            path.chmod(0o644)
        files = {path.name: _file(path) for path in sorted(made.iterdir())}
        (made / runner.MANIFEST).write_text(text.seal(_manifest(net, about, parity, shown, files)))
        manifest = text.read(made)
        size = sum(path.stat().st_size for path in made.iterdir())
    return Bundle(folder, manifest, parity, shown["exported_score"] if shown else float("nan"), size)


def _manifest(
    net: Network, about: dict[str, Any], parity: Parity, examples: dict[str, Any] | None, files: dict[str, Any]
) -> dict[str, Any]:
    formats = {role: net.spec.precision.format(role) for role in Role}
    return {
        "format": text.FORMAT,
        "about": about,
        "spec": net.spec.to_json(),
        "input": {"name": "x", "width": net.inputs},
        "output": {"name": "y", "width": net.outputs},
        "state": _signature(net),
        "precision": {
            role.value: {"bits": form.bits, "rounding": form.rounding.value} if form else None
            for role, form in formats.items()
        },
        "session": SESSION,
        "parity": parity._asdict() | {"allowed": ALLOWED},
        "examples": examples,
        "files": files,
        "versions": {"plastic_search": __version__}
        | {name: version(name) for name in ("torch", "onnx", "onnxruntime", "brevitas")},
    }


def _signature(net: Network) -> list[dict[str, Any]]:
    """Name, shape, type and start value of every state tensor."""
    batch, like = 5, torch.zeros(())
    state: State = law.start(net.spec, net.shapes, batch, like, prepared(net))
    return [
        {
            "name": name,
            "shape": ["batch", *value.shape[1:]],
            "dtype": str(value.dtype).removeprefix("torch."),
            "start": _beginning(name, value),
        }
        for name, value in named(state).items()
    ]


def _beginning(name: str, value: Tensor) -> dict[str, float]:
    """How a state tensor [batch, ...] starts, as a rule that holds for any batch."""
    first = float(value.flatten()[0])
    if bool((value == first).all()):
        return {"fill": first}
    apart = float(start_dither(2, value.double())[1])  # from one episode's noise to the next
    rule = (torch.arange(len(value), dtype=torch.float64) * apart % 1.0).to(value.dtype)
    if torch.equal(rule.view(-1, 1, 1), value):
        return {"fractional": apart}
    raise PlasticSearchError(
        f"{name} starts with values of no simple rule; a bundle knows one value for all, and noise"
    )


def _stored(net: Network) -> dict[str, Tensor]:
    """The parameters as they are kept: `NAME`, or `NAME.codes` and `NAME.step`."""
    kept: dict[str, Tensor] = {}
    for name, value in parameters(net).items():
        kept |= (
            {f"{name}.codes": value.codes, f"{name}.step": value.step} if isinstance(value, Codes) else {name: value}
        )
    return kept


def _examples(net: Network, task: Task, count: int, folder: Path) -> dict[str, Any]:
    """Write episodes and the reference's answers, and compare those of the exported step with them."""
    episodes = task.episodes(count, Split.TEST, torch.Generator().manual_seed(_SEED))
    wanted, given = _by_reference(net, episodes.inputs), _by_export(net, episodes.inputs, folder)
    gap = (given - wanted)[episodes.query_step :].abs().amax((0, 2))  # [batch]
    tensors = {"inputs": episodes.inputs, "targets": episodes.targets, "outputs": wanted[episodes.query_step :]}
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "examples.safetensors")
    return {
        "task": task.to_json(),
        "split": Split.TEST.value,
        "seed": _SEED,
        "count": count,
        "asked": episodes.query_step,
        "score_name": task.score_name,
        "chance": task.chance,
        "score": float(task.scores(wanted, episodes).mean()),
        "exported_score": float(task.scores(given, episodes).mean()),
        "largest": float(gap.max()),
        "apart": int((gap > ALLOWED).sum()),  # where the trace met a tie
    }


def _by_reference(net: Network, inputs: Tensor) -> Tensor:
    """The outputs [time, batch, outputs] of `step.step`, on the CPU."""
    ready, ys = prepared(net), []
    state: State = law.start(net.spec, net.shapes, inputs.shape[1], torch.zeros(()), ready)
    for x in inputs:
        y, state = law.step(net.spec, net.shapes, ready, state, x)
        ys.append(y)
    return torch.stack(ys)


def _by_export(net: Network, inputs: Tensor, folder: Path) -> Tensor:
    """The outputs [time, batch, outputs] of the exported step."""
    session, ys = open_session(folder / "step.onnx"), []
    names = [each.name for each in session.get_outputs()]
    state = law.start(net.spec, net.shapes, inputs.shape[1], torch.zeros(()), prepared(net))
    feeds = {name: value.numpy() for name, value in named(state).items()}
    for x in inputs:
        values = dict(zip(names, session.run(None, {"x": x.numpy(), **feeds}), strict=True))
        feeds = {name: values[f"{name}.next"] for name in feeds}
        ys.append(torch.from_numpy(values["y"]))
    return torch.stack(ys)


def _file(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _ours(folder: Path) -> bool:
    """Whether a folder is empty, or holds a bundle, be it a damaged one."""
    manifest = folder / runner.MANIFEST
    if not folder.is_dir() or not any(folder.iterdir()):
        return folder.is_dir()
    return manifest.is_file() and b'"plastic_search/bundle/' in manifest.read_bytes()[:100]


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which takes its place if the block ends well."""
    old = folder.exists() or folder.is_symlink()
    if folder.is_file():
        raise PlasticSearchError(f"{folder} is a file, not a folder; choose another folder with --out")
    if old and not _ours(folder):
        raise PlasticSearchError(f"{folder} is there and is no bundle, so it is left alone; choose another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise unwritable(folder.parent, error) from None
    try:
        made, aside = room / "new", room / "old"
        made.mkdir()
        yield made
        if old:
            folder.rename(aside)
        try:
            made.rename(folder)
        except OSError:
            if old:
                aside.rename(folder)
            raise
    finally:
        shutil.rmtree(room, ignore_errors=True)
