"""The chosen network of a study as a bundle, and the run that records how closely it matches."""

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
from plastic_search.experiments.folder import open_question, spec_of
from plastic_search.experiments.parameters import load_parameters
from plastic_search.experiments.study import Study
from plastic_search.experiments.sweep import Sweep
from plastic_search.network.module import Network
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

__all__ = ["best_case", "export", "parameters_of", "saved_run", "task_of"]

_ROUNDED = (Stage.FINAL, Stage.SWEEP, Stage.COMPARISON)  # whose networks `quantize` rounds
_SAVED = (Stage.FINAL, Stage.QUANTIZED, Stage.SWEEP, Stage.COMPARISON)
_UNTUNED = PREFERRED.removesuffix("-tuned")
_CHOOSE = "Choose with --name."


def export(
    out: Path | str, name: str = "", seed: int | None = None, folder: Path | str | None = None
) -> dict[str, Any]:
    """Write the bundle of one network of the study, sweep or comparison in `out`.

    Returns its folder, the network, what was measured (`deployed` are the bytes of step.onnx, `bytes` those of all
    files), the bytes of each file, and `examples`, the sentence that its runner prints.

    Args:
        name: `winner`, another finalist, a case of a comparison, or a quantized network; "" takes 4-bit weight and
            alpha with an 8-bit trace where it exists, else the winner, or the case of the highest mean score.
        seed: of which seed; None takes the study's first.
        folder: where the bundle goes; None is `out`/bundle.

    Raises:
        PlasticSearchError: there is no such network, or the exported file differs from the reference.
    """
    from plastic_search.export import bundle

    began, out = time.perf_counter(), as_path(out)
    with RunFolder.open(out) as opened:
        question = open_question(opened)
        source, file = saved_run(opened, name, question.seeds[0] if seed is None else seed)
        task = task_of(question, source)
        net = Network(spec_of(opened, source), task.inputs, source.seed)
        load_parameters(net, file)
        target = out / "bundle" if folder is None else as_path(folder)
        about = {"study": opened.name, "network": source.name, "trial": source.trial, "seed": source.seed}
        written = bundle.write(net, target, task=task, about=about)
        metrics = _metrics(written)
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
    return {"bundle": str(target), "name": source.name, "seed": source.seed} | metrics | _more(written)


def _more(written: Bundle) -> dict[str, Any]:
    """The bytes of each file, and a sentence on the examples."""
    from plastic_search.export import runner

    content = written.manifest
    sizes = {name: each["bytes"] for name, each in content["files"].items()}
    sizes[runner.MANIFEST] = written.size - sum(sizes.values())
    return {"files": sizes, "examples": runner.summary(content, content["examples"])}


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


def task_of(question: Study | Sweep | Comparison, run: Run) -> Task:
    """What the network of a run was trained for.

    Raises:
        PlasticSearchError: it acts in an environment, of which there are no examples.
    """
    task: Task | Environment = question.task  # type: ignore[assignment]
    if isinstance(question, Comparison):
        task = next(each.task for each in question.trainings() if each.case.name == run.name)
    if isinstance(task, Environment):
        raise PlasticSearchError(
            f"{run.name} acts in {type(task).__name__}, and bundles hold examples of tasks alone; "
            "`plastic_search.export` writes a network without them"
        )
    return task


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
