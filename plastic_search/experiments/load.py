"""A trained network back into Python: one that a run folder keeps, or that of a bundle."""

from __future__ import annotations

from pathlib import Path

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.paths import as_path
from plastic_search.experiments.export import parameter_file, task_of
from plastic_search.experiments.folder import read_question, spec_of
from plastic_search.experiments.parameters import load_parameters
from plastic_search.export.runner import MANIFEST
from plastic_search.network.module import Network
from plastic_search.records import fingerprints
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import STUDY, Finalist, Run, Stage, identity

__all__ = ["load"]

_TRAINED = (Stage.FINAL, Stage.QUANTIZED, Stage.SWEEP, Stage.COMPARISON)  # the others keep no parameters


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
        return _from_run_folder(path, name, seed)
    if not (path / MANIFEST).is_file():
        what = "has neither" if path.is_dir() else "is no folder with" if path.exists() else "does not exist; wanted"
        raise PlasticSearchError(f"{path} {what} a {STUDY}, as a run folder has, or a {MANIFEST}, as a bundle has")
    if name is not None or seed is not None:
        raise PlasticSearchError(f"{path} is a bundle, which holds one network; leave out name and seed")
    from plastic_search.export import loading

    return loading.load(path)


def _from_run_folder(path: Path, name: str | None, seed: int | None) -> Network:
    folder = RunFolder(path)
    question = read_question(folder)
    fingerprints.kept(folder.study, folder.runs.all())
    run, file = _chosen(folder, name, question.seeds[0] if seed is None else seed)
    net = Network(spec_of(folder, run), task_of(question, run).inputs, run.seed)
    load_parameters(net, file)
    return net


def _chosen(folder: RunFolder, name: str | None, seed: int) -> tuple[Run, Path]:
    """The run of a network, and the file with its parameters."""
    runs = [run for stage in _TRAINED for run in folder.stage(stage)]
    found = {(run.name, run.seed): (run, _parameters(folder, run)) for run in runs}
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


def _parameters(folder: RunFolder, run: Run) -> Path | None:
    """The file with the parameters of a run; None where it has none.

    One that was rounded and not tuned computes with those of the network that was rounded, which has equal layers.
    """
    same = [run]
    if run.stage is Stage.QUANTIZED and not run.choices.get("tuned"):
        same += [r for r in folder.stage(Stage.FINAL) if r.seed == run.seed and identity(r.spec) == identity(run.spec)]
    return next((file for r in same if (file := parameter_file(folder, r)).is_file()), None)
