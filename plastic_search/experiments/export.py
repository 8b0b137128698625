"""The chosen network of a study as a bundle, and the run that says how closely it matches."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.experiments.jobs import load_parameters
from plastic_search.experiments.sweep import STAGE, open_run
from plastic_search.network.module import Network
from plastic_search.network.spec import NetworkSpec
from plastic_search.records import run as runs
from plastic_search.records.provenance import versions
from plastic_search.records.run import Run, locked

__all__ = ["PREFERRED", "export", "parameter_file", "saved_run"]

PREFERRED = "w4a4t8-stochastic-tuned"


def export(out: Path, name: str = "", seed: int | None = None, folder: Path | None = None) -> dict[str, Any]:
    """Write the bundle of one network of the study or the sweep in `out`.

    Args:
        name: `winner`, another finalist, or a fine-tuned quantized network; "" takes 4-bit weight and alpha with
            an 8-bit trace where it was made, else the winner.
        seed: of which seed; None takes the study's first.
        folder: where the bundle goes; None is `out`/bundle.

    Raises:
        PlasticSearchError: there is no such network, or the exported file differs from the reference.
    """
    from plastic_search.export import bundle

    began = time.perf_counter()
    with locked(out):
        study, record = open_run(out)
        source = saved_run(record, name, study.seeds[0] if seed is None else seed)
        net = Network(NetworkSpec.from_json(source.spec), study.task.inputs, source.seed)
        load_parameters(net, parameter_file(out, source))
        target = folder or out / "bundle"
        about = {"study": record.name, "network": source.name, "trial": source.trial, "seed": source.seed}
        made = bundle.write(net, target, task=study.task, about=about)
        metrics = {
            "stepwise": made.parity.stepwise,
            "parity": made.parity.largest,
            "compared": float(made.parity.compared),
            "steps": float(made.parity.steps),
            "ties": float(made.parity.ties),
            "free_ties": float(made.parity.free_ties),
            "score": made.score,
            "bytes": float(made.size),
        }
        choices = source.choices | {"bundle": os.path.relpath(target, out)}
        costs = source.costs | {"seconds": round(time.perf_counter() - began, 3)}
        run = Run(
            record.name, "exported", source.name, source.trial, source.seed, "complete", source.spec, choices, metrics,
            [], costs, versions(),
        )  # fmt: skip
        known = [(r.spec, r.metrics, r.choices) for r in record.stage("exported", source.name)]
        if (run.spec, run.metrics, run.choices) not in known:
            runs.append(out, [run])
    return {"bundle": str(target), "name": source.name, "seed": source.seed} | metrics


def saved_run(record: runs.Record, name: str, seed: int) -> Run:
    """The run whose network is asked for; "" takes what `export` would."""
    stages = (record.stage(stage) for stage in ("final", "quantized", STAGE))
    saved = {r.name: r for each in stages for r in each if _saved(record.folder, r, seed)}
    if not saved:
        raise PlasticSearchError(
            f"{record.folder} has no trained network of seed {seed} yet; `plastic-search run` makes them"
        )
    asked = name or (PREFERRED if PREFERRED in saved else "winner")
    by_graph = {f"{known.replace(' ', '-')}-{seed}": known for known in saved}  # as `topology show` calls them
    chosen = by_graph.get(asked, asked)
    if chosen not in saved:
        more = "`plastic-search quantize` makes the quantized ones." if "winner" in saved else "Choose with --name."
        raise unknown("exportable network", chosen, saved, more)
    return saved[chosen]


def _saved(folder: Path, run: Run, seed: int) -> bool:
    return run.seed == seed and parameter_file(folder, run).is_file()


def parameter_file(folder: Path, run: Run) -> Path:
    """Where the parameters of a run are kept."""
    return runs.models(folder, run.name, run.spec) / f"{run.seed}.safetensors"
