"""The run folder of a comparison that no network was trained for: networks of growing and of fixed size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from plastic_search.records import run as runs
from plastic_search.records.files import write_text
from plastic_search.records.run import Run

CASES = {  # name -> label, group, loss and units at the end
    "grows": ("grows, hard text", "hard", 10.4, 37.0),
    "fixed-20": ("20 units, hard text", "hard", 13.5, 20.0),
    "fixed-75": ("75 units, hard text", "hard", 13.4, 75.0),
    "grows-easy": ("grows, easy text", "easy", 9.1, 14.0),
}
METRICS = [
    {"name": "loss", "label": "loss", "better": "lower", "unit": "nats per window", "limit": 11.0,
     "published": {"grows": "10.2", "fixed-20": "13 to 14", "fixed-75": "13 to 14"}},
    {"name": "units", "label": "units", "better": "", "unit": "", "limit": None, "published": {"grows": "37"}},
]  # fmt: skip


def comparison(folder: Path, seeds: tuple[int, ...] = tuple(range(10)), axis: bool = False, planned: int = 0) -> Path:
    """Two metrics, curves of loss and units, published values, a limit and reference levels.

    Args:
        planned: how many seeds were asked for, where that is more than have run.
    """
    cases = [
        {"name": name, "label": label, "about": "adds and deletes its own units" * name.startswith("grows"),
         "group": group, "at": units if axis else None}
        for name, (label, group, _, units) in CASES.items()
    ]  # fmt: skip
    about = {
        "schema": "plastic_search/comparison/1",
        "name": "growing_units",
        "question": "Does a network that may add and delete its own units find the size that its task needs?",
        "task": {},
        "study": {"kind": "Comparison"},
        "trials": len(cases),
        "seeds": list(range(max(planned, len(seeds)))),
        "cases": cases,
        "reference": "grows",
        "metrics": METRICS,
        "axis": "units" if axis else "",
        "floor": {} if axis else {"hard text": 9.59, "easy text": 8.69},
        "notes": ["The paper trained for 100,000 updates with 20 seeds; here it is 2,000 with 10."],
        "versions": {"plastic-search": "0.1.0", "torch": "2.13.0"},
        "machine": {"processor": "a processor", "cores": "2 of 2"},
        "code": "0123abc",
        "created": "2026-11-24T03:42:00+00:00",
        "command": {"study": "growing_units", "sets": ["trainer.steps=2000"], "parts": [], "out": str(folder)},
    }
    write_text(folder / runs.STUDY, json.dumps(about))
    rng = np.random.default_rng(3)
    runs.append(folder, [_run(rng, case, seed) for case in cases for seed in seeds])
    return folder


def _run(rng: np.random.Generator, case: dict[str, Any], seed: int) -> Run:
    _, _, loss, units = CASES[case["name"]]
    end = loss + 0.4 * float(rng.standard_normal()) - 3.0 * (case["name"] == "fixed-75" and seed % 4 == 0)
    size = units + case["name"].startswith("grows") * float(rng.integers(-3, 4))
    curve: Any = [
        [float(step), end + 30 * float(np.exp(-step / 300)), None, 40 * size, 0.0, max(size * min(step / 800, 1), 1.0)]
        for step in range(100, 2001, 100)
    ]
    fields: Any = {"stage": "comparison", "outcome": "complete"}
    return Run(
        study="growing_units",
        name=case["name"],
        trial=-1,
        seed=seed,
        spec={"kind": "NetworkSpec", "layers": []},
        choices={"group": case["group"], "at": case["at"]},
        metrics={"loss": end, "units": size},
        curve=curve,
        costs={"seconds": 60.0 + units, "steps": 2000.0, "parameters": 55.0 * units, "connections": 40.0 * units},
        **fields,
    )
