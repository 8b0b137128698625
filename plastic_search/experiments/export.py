"""The chosen network of a study as a bundle, and the run that records how closely it matches; or as NIR, or C."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.paths import as_path
from plastic_search.environments import Environment
from plastic_search.experiments.comparison import Comparison
from plastic_search.experiments.events import how_it_ended
from plastic_search.experiments.exported_agent import played_exported
from plastic_search.experiments.folder import open_question, spec_of
from plastic_search.experiments.parameters import load_parameters
from plastic_search.experiments.study import Study
from plastic_search.experiments.sweep import Sweep
from plastic_search.network.module import Network
from plastic_search.records.files import destination
from plastic_search.records.folder import RunFolder
from plastic_search.records.provenance import versions
from plastic_search.records.run import (
    PREFERRED,
    Finalist,
    Outcome,
    Run,
    Stage,
    file_name,
    identity,
    rounded_network,
)
from plastic_search.tasks import Task

if TYPE_CHECKING:
    from plastic_search.export.bundle import Bundle

__all__ = ["best_case", "export", "export_c", "export_nir", "export_qonnx", "parameters_of", "saved_run", "task_of"]

_ROUNDED = (Stage.FINAL, Stage.SWEEP, Stage.COMPARISON)  # whose networks `quantize` rounds
_SAVED = (Stage.FINAL, Stage.QUANTIZED, Stage.SWEEP, Stage.COMPARISON)
_UNTUNED = PREFERRED.removesuffix("-tuned")
_CHOOSE = "Choose with --name."


def export(
    out: Path | str, name: str = "", seed: int | None = None, folder: Path | str | None = None, licence: str = ""
) -> dict[str, Any]:
    """Write the bundle of one network of the study, sweep or comparison in `out`.

    Returns its folder, the network, what was measured (`deployed` are the bytes of step.onnx, `bytes` those of all
    files), the bytes of each file, and `examples`, the sentence that its runner prints. A network that acts in an
    environment plays there through onnxruntime in place of running examples.

    Args:
        name: `winner`, another finalist, a case of a comparison, or a quantized network; "" takes 4-bit weight and
            alpha with an 8-bit trace where it exists, else the winner, or the case of the highest mean score.
        seed: of which seed; None takes the study's first.
        folder: where the bundle goes; None is `out`/bundle.
        licence: under which the network is published, in the short form of model hubs; "" states none.

    Raises:
        PlasticSearchError: there is no such network, or the exported file differs from the reference.
    """
    began, out = time.perf_counter(), as_path(out)
    with RunFolder.open(out) as opened:
        source, task, net = _trained(opened, name, seed)
        target = out / "bundle" if folder is None else as_path(folder)
        about = {"study": opened.name, "network": source.name, "trial": source.trial, "seed": source.seed}
        about["scores"] = _scores(opened, source)
        written, metrics = _written(net, target, task, about, licence)
        run = Run(
            study=opened.name,
            stage=Stage.EXPORTED,
            name=source.name,
            trial=source.trial,
            seed=source.seed,
            outcome=Outcome.COMPLETE,
            spec=source.spec,
            choices=source.choices | {"bundle": os.path.relpath(target, out)},
            metrics=metrics,
            costs=source.costs | {"seconds": round(time.perf_counter() - began, 3)},
            versions=versions(),
        )
        here = [r for r in opened.stage(Stage.EXPORTED) if r.choices.get("bundle") == run.choices["bundle"]]
        mine = (run.name, run.seed, run.spec, run.metrics)
        if [(r.name, r.seed, r.spec, r.metrics) for r in here[-1:]] != [mine]:
            opened.append(run)  # what this folder held before has been replaced
        words = _played(task, metrics, _in_float(opened, source)) if isinstance(task, Environment) else ""
    return {"bundle": str(target), "name": source.name, "seed": source.seed} | metrics | _more(written, words)


def export_nir(out: Path | str, file: Path | str, name: str = "", seed: int | None = None) -> dict[str, Any]:
    """Write one network of the study, sweep or comparison in `out` as a file of NIR; what is recorded stays as it is.

    Returns the file and its bytes, the network and its seed, and how many of its connections are plastic, which are in
    the metadata of the file.

    Args:
        file: where it goes.
        name, seed: as `export` takes them.

    Raises:
        PlasticSearchError: there is no such network, or NIR has no node for a part of it.
    """
    from plastic_search.export import nir

    file = destination(file)
    with RunFolder.open(as_path(out)) as opened:
        source, _, net = _trained(opened, name, seed)
    size = nir.write(net, file).stat().st_size
    counts = {"connections": net.connections(), "plastic": net.plastic_connections()}
    return {"file": str(file), "name": source.name, "seed": source.seed, "bytes": size} | counts


def export_c(
    out: Path | str,
    file: Path | str,
    name: str = "",
    seed: int | None = None,
    arithmetic: str = "float",
    target: str = "host",
) -> dict[str, Any]:
    """Write one network of the study, sweep or comparison in `out` as C; what is recorded stays as it is.

    Returns the file, the network and its seed, the bytes of parameters and state, the files beside it that were there
    already, and what was measured of it; `steps` is 0 where there is no C compiler, and nothing was checked.

    Args:
        file: NAME.c; its header, `main.c` and `Makefile` go beside it.
        name, seed: as `export` takes them.
        arithmetic: `float`, or `integer`, which is compared with its golden model instead.
        target: `host`, or `cortex-m4`, of which `device` says what the network takes there; null where this machine
            cannot link it.

    Raises:
        PlasticSearchError: there is no such network, or a layer of it has no form in C.
    """
    from plastic_search.export import c

    file, kinds = destination(file), {each.value: each for each in c.Arithmetic}
    if arithmetic not in kinds:
        raise unknown("arithmetic", arithmetic, kinds)
    targets = {each.value: each for each in c.Target}
    if target not in targets:
        raise unknown("target", target, targets)
    with RunFolder.open(as_path(out)) as opened:
        source, _, net = _trained(opened, name, seed)
    written = c.write(net, file, arithmetic=kinds[arithmetic], target=targets[target])
    parity = written.parity._asdict() if written.parity else {"steps": written.checked}
    about = {"file": str(file), "name": source.name, "seed": source.seed, "kept": list(written.kept)}
    if written.device or targets[target] is not c.Target.HOST:
        about["device"] = written.device and written.device._asdict()
    return about | {"parameters": written.parameters, "state": written.state} | parity


def export_qonnx(out: Path | str, file: Path | str, name: str = "", seed: int | None = None) -> dict[str, Any]:
    """Write one network of the study, sweep or comparison in `out` as QONNX; what is recorded stays as it is.

    Returns the file and its bytes, the network and its seed, how many quantizers it has, and what was measured of it;
    `steps` is 0 where qonnx is not installed, and nothing was checked but the step in ONNX.

    Args:
        file: where it goes.
        name, seed: as `export` takes them.

    Raises:
        PlasticSearchError: there is no such network, or nothing in it is rounded.
    """
    from plastic_search.export import qonnx

    file = destination(file)
    with RunFolder.open(as_path(out)) as opened:
        source, _, net = _trained(opened, name, seed)
    written = qonnx.write(net, file)
    about = {"file": str(file), "name": source.name, "seed": source.seed, "bytes": file.stat().st_size}
    parity = written.parity._asdict() if written.parity else {"steps": 0}
    return about | {"quantizers": written.quantizers} | parity


def _trained(folder: RunFolder, name: str, seed: int | None) -> tuple[Run, Task | Environment, Network]:
    """The run that is asked for, what its network was trained for, and the network."""
    question = open_question(folder)
    source, file = saved_run(folder, name, question.seeds[0] if seed is None else seed)
    task = task_of(question, source)
    net = Network(spec_of(folder, source), task.inputs, source.seed)
    load_parameters(net, file)
    return source, task, net


def _written(
    net: Network, folder: Path, task: Task | Environment, about: dict[str, Any], licence: str
) -> tuple[Bundle, dict[str, float]]:
    """The bundle, and what was measured of it: on examples of a task, or in an environment."""
    from plastic_search.export import bundle

    if isinstance(task, Task):
        written = bundle.write(net, folder, task=task, about=about, licence=licence)
        return written, _metrics(written)
    written = bundle.write(net, folder, task=None, about=about | {"environment": task.to_json()}, licence=licence)
    return written, _metrics(written) | played_exported(net, folder, task)


def _scores(folder: RunFolder, source: Run) -> dict[str, float]:
    """The scores of a network that was trained with several seeds, by seed."""
    runs = folder.stage(source.stage, source.name)
    return {str(run.seed): run.metrics["score"] for run in runs if "score" in run.metrics}


def _in_float(folder: RunFolder, source: Run) -> float | None:
    """The score of the network before it was rounded; None where it was not rounded."""
    if source.stage is not Stage.QUANTIZED:
        return None
    trained = [run for stage in _ROUNDED for run in folder.stage(stage, rounded_network(source))]
    return next((run.metrics["score"] for run in trained if run.seed == source.seed), None)


def _played(environment: Environment, metrics: dict[str, float], in_float: float | None) -> str:
    """What an exported agent earned, in a sentence."""
    before = "" if in_float is None else f"; before it was rounded {in_float:.4g}"
    return (
        f"played {metrics['episodes']:.0f} episodes of {type(environment).__name__}: mean {environment.score_name} "
        f"{metrics['score']:.4g} through onnxruntime, {metrics['by_torch']:.4g} by torch{before}"
    )


def _more(written: Bundle, played: str) -> dict[str, Any]:
    """The bytes of each file, and a sentence on the examples, or on what was played in their place."""
    from plastic_search.export import runner

    content = written.manifest
    sizes = {name: each["bytes"] for name, each in content["files"].items()}
    sizes[runner.MANIFEST] = written.size - sum(sizes.values())
    return {"files": sizes, "examples": played or runner.summary(content, content["examples"])}


def _metrics(written: Bundle) -> dict[str, float]:
    parity = written.parity
    return {
        "stepwise": parity.stepwise,
        "parity": parity.largest,
        "compared": float(parity.compared),
        "steps": float(parity.steps),
        "ties": float(parity.ties),
        "free_ties": float(parity.free_ties),
        "score": written.score,
        "bytes": float(written.size),
        "deployed": float(written.deployed),
    }


def saved_run(folder: RunFolder, name: str, seed: int) -> tuple[Run, Path]:
    """The run whose network is asked for, and the file with its parameters; "" takes what `export` would."""
    runs = [r for stage in _SAVED for r in folder.stage(stage) if r.seed == seed]
    files = {r.name: file for r in runs if (file := parameters_of(folder, r)) is not None}
    saved = {r.name: r for r in runs if r.name in files}
    best = best_case(folder)
    usual = (PREFERRED, *(f"{best}-{each}" for each in (PREFERRED, _UNTUNED)), best)
    asked = name or next((each for each in usual if each in saved), Finalist.WINNER.value)
    by_graph = {f"{file_name(known)}-{seed}": known for known in saved}  # as `topology show` calls them
    chosen = by_graph.get(asked, asked)
    if chosen in saved:
        return saved[chosen], files[chosen]
    if lost := [r for r in runs if r.name == chosen and r.outcome is not Outcome.COMPLETE]:
        raise PlasticSearchError(
            f"{folder.path} keeps no parameters of what did not come to its end ({how_it_ended(lost[0])}); choose "
            "another network with --name, or another --seed"
        )
    if not saved:
        raise PlasticSearchError(
            f"{folder.path} has no trained network of seed {seed} yet; `plastic-search run` makes them"
        )
    more = "`plastic-search quantize` makes the quantized ones." if Finalist.WINNER in saved else _CHOOSE
    raise unknown("exportable network", chosen, saved, more)


def task_of(question: Study | Sweep | Comparison, run: Run) -> Task | Environment:
    """What the network of a run was trained for, or in."""
    if isinstance(question, Comparison):
        case = rounded_network(run) if run.stage is Stage.QUANTIZED else run.name
        return next(each.task for each in question.trainings() if each.case.name == case)
    return question.task


def parameters_of(folder: RunFolder, run: Run) -> Path | None:
    """The file with the parameters of a run; None where it has none.

    One that was rounded and not tuned computes with those of the network that was rounded, which has equal layers.
    """
    same = [run]
    if run.stage is Stage.QUANTIZED and not run.choices.get("tuned"):
        trained = (r for stage in _ROUNDED for r in folder.stage(stage) if r.seed == run.seed)
        same += [r for r in trained if (r.name, identity(r.spec)) == (rounded_network(run), identity(run.spec))]
    files = (folder.models(each.name, each.spec) / f"{each.seed}.safetensors" for each in same)
    return next((file for file in files if file.is_file()), None)


def best_case(folder: RunFolder) -> str:
    """The case of the highest mean score in a comparison or a sweep; "" where none has one."""
    scores: dict[str, list[float]] = {}
    for run in (*folder.stage(Stage.COMPARISON), *folder.stage(Stage.SWEEP)):
        if run.outcome is Outcome.COMPLETE and "score" in run.metrics:
            scores.setdefault(run.name, []).append(run.metrics["score"])
    return max(scores, key=lambda name: sum(scores[name]) / len(scores[name]), default="")
