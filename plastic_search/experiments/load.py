"""A trained network back into Python: one that a run folder keeps, or that of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.paths import as_path
from plastic_search.environments import Environment
from plastic_search.experiments.export import parameters_of, task_of
from plastic_search.experiments.folder import read_question, spec_of
from plastic_search.experiments.parameters import load_parameters
from plastic_search.export.runner import MANIFEST
from plastic_search.network.module import Network
from plastic_search.records import fingerprints
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import STUDY, Finalist, Run, Stage
from plastic_search.tasks import Task

__all__ = ["Trained", "load", "trained"]

_TRAINED = (Stage.FINAL, Stage.QUANTIZED, Stage.SWEEP, Stage.COMPARISON)  # the others keep no parameters


class Trained(NamedTuple):
    """A trained network of a run folder, with its run and with what it was trained for."""

    net: Network
    run: Run
    task: Task | Environment


def load(path: Path | str, name: str | None = None, seed: int | None = None) -> Network:
    """A trained network, on the CPU, with its parameters. Nothing is written, and nothing locked.

    Args:
        path: a run folder, or a bundle.
        name: of a run folder: `winner`, `fixed` or another finalist, a quantized network (`w4a4t8-nearest`), a case of
            a comparison, or a group of a sweep with its value (`learned 0.2`). None is the winner, or the only network
            that there is.
        seed: with which it was trained; None is the first of the study.

    Raises:
        PlasticSearchError: there is no such folder, network or seed, and the message lists those that there are; or a
            part of the user's own is unknown, or was changed since.

    Example:
        >>> net = plastic_search.load("runs/digit_recall", name="winner", seed=0)
        >>> y, state = net(torch.zeros(6, 1, net.inputs))
    """
    path = as_path(path)
    if name is not None and not isinstance(name, str):
        raise PlasticSearchError(f"name must be text, such as 'winner', but is {name!r} ({type(name).__name__})")
    if seed is not None and type(seed) is not int:
        raise PlasticSearchError(f"seed must be a whole number, but is {seed!r} ({type(seed).__name__})")
    if (path / STUDY).is_file():
        return trained(path, name, seed).net
    if not (path / MANIFEST).is_file():
        what = "has neither" if path.is_dir() else "is no folder with" if path.exists() else "does not exist; wanted"
        raise PlasticSearchError(f"{path} {what} a {STUDY}, as a run folder has, or a {MANIFEST}, as a bundle has")
    if name is not None or seed is not None:
        raise PlasticSearchError(f"{path} is a bundle, which holds one network; leave out name and seed")
    from plastic_search.export import loading

    return loading.load(path)


def trained(path: Path | str, name: str | None = None, seed: int | None = None) -> Trained:
    """A trained network of a run folder, as `load` returns it, and where it is from."""
    folder = RunFolder(path)
    question = read_question(folder)
    fingerprints.kept(folder.study, folder.runs.all())
    run, file = _chosen(folder, name, question.seeds[0] if seed is None else seed)
    task = task_of(question, run)
    net = Network(spec_of(folder, run), task.inputs, run.seed)
    load_parameters(net, file)
    return Trained(net, run, task)


def _chosen(folder: RunFolder, name: str | None, seed: int) -> tuple[Run, Path]:
    """The run of a network, and the file with its parameters."""
    runs = [run for stage in _TRAINED for run in folder.stage(stage)]
    found = {(run.name, run.seed): (run, parameters_of(folder, run)) for run in runs}
    kept = {key: (run, file) for key, (run, file) in found.items() if file is not None}
    names = list(dict.fromkeys(known for known, _ in kept))
    if not names:
        raise PlasticSearchError(f"{folder.path} has no trained network yet; `plastic-search run` makes them")
    if name is None:
        name = names[0] if len(names) == 1 else Finalist.WINNER.value
    if name not in names:
        trained = any(run.name == name for run in runs)
        why = f"Runs of {name!r} are recorded, but their parameters were not kept." if trained else ""
        raise unknown("network with parameters", name, names, why)
    seeds = sorted(each for known, each in kept if known == name)
    if seed not in seeds:
        raise PlasticSearchError(
            f"{folder.path} has no {name} of seed {seed}; known seeds: {', '.join(map(str, seeds))}"
        )
    return kept[name, seed]
