"""A run folder of a comparison of spiking networks that no network was trained for, and episodes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from plastic_search.records import run, spikes
from plastic_search.records.files import write_text
from plastic_search.records.run import Run
from plastic_search.records.spikes import SCHEMA, FiringLayer, MembraneTrace, SpikingEpisode

STEPS = 30
CASES = ("plastic", "static", "lstm")  # the last has no units that fire


def spiking(folder: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> Path:
    """Three cases, two of which fire, with what is counted of them and an episode each."""
    task = {"kind": "CueAssociation", "about": "which side", "score_name": "accuracy", "chance": 0.5}
    metric = {"name": "score", "label": "accuracy", "better": "higher", "unit": "", "limit": None, "published": {}}
    about = {
        "schema": "plastic_search/comparison/1",
        "name": "cues",
        "question": "On which side were most cues?",
        "task": task,
        "study": {"kind": "Comparison"},
        "trials": len(CASES),
        "seeds": list(seeds),
        "cases": [{"name": name, "label": name, "about": "", "group": "", "at": None, "task": task} for name in CASES],
        "reference": "static",
        "metrics": [metric],
        "axis": "",
        "floor": {},
        "notes": [],
    }
    write_text(folder / run.STUDY, json.dumps(about))
    rng = np.random.default_rng(5)
    run.append(folder, [_run(rng, place, name, seed) for place, name in enumerate(CASES) for seed in seeds])
    for name in CASES[:2]:
        for seed in seeds:
            spikes.write(folder, fired(rng, name, seed), f"{name}-{seed}")
    return folder


def counted(rng: np.random.Generator) -> dict[str, float]:
    """What a run counts of a network with units that fire."""
    rates = {"spikes": 0.05, "spikes.0": 0.04, "spikes.2": 0.07}
    counts = {"accumulates": 900.0, "multiply_accumulates": 40.0, "trace_writes": 120.0, "energy": 1.5}
    return {name: value * float(rng.uniform(0.9, 1.1)) for name, value in (rates | counts).items()}


def _run(rng: np.random.Generator, place: int, name: str, seed: int) -> Run:
    metrics = {"score": 0.95 - 0.1 * place + 0.01 * float(rng.random())} | (counted(rng) if name != "lstm" else {})
    fields: Any = {"stage": "comparison", "outcome": "complete"}
    return Run(
        study="cues", name=name, trial=-1, seed=seed, spec={"kind": "NetworkSpec", "layers": []}, metrics=metrics,
        costs={"seconds": 60.0, "steps": 2000.0, "parameters": 900.0, "connections": 800.0}, **fields,
    )  # fmt: skip


def fired(rng: np.random.Generator, name: str, seed: int) -> SpikingEpisode:
    """Inputs of four units, and a layer of three, whose time constants training changed."""
    trace = MembraneTrace(1, [round(float(v), 4) for v in rng.uniform(0, 1, STEPS)], [1.0] * STEPS)
    layers = [
        FiringLayer(-1, 200, [0, 50, 100, 150], [_times(rng) for _ in range(4)], [], [], []),
        FiringLayer(0, 3, [0, 1, 2], [_times(rng), _times(rng), []], [trace], [5.0] * 3, [4.0, 6.5, 9.0]),
    ]
    return SpikingEpisode(SCHEMA, name, seed, STEPS, STEPS + 10, 20, 1.0, layers)


def _times(rng: np.random.Generator) -> list[int]:
    return np.flatnonzero(rng.random(STEPS) < 0.2).tolist()
