"""The run folder of a comparison in an environment that no network was trained for: a maze, three cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from plastic_search.records import episodes, run
from plastic_search.records.episodes import SCHEMA, Episode, PlasticLayer
from plastic_search.records.files import write_text
from plastic_search.records.run import Run, Stage

CASES = {"modulated": 160.0, "plastic": 95.0, "rnn": 60.0}  # reward at the end of training
SIZE, STEPS = 5, 40


def rewards(folder: Path, seeds: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Path:
    """Curves, rewards by trial, ablations, quantized and exported agents, and an episode of each network."""
    cases = [
        {"name": name, "label": name, "about": "", "group": "", "at": None, "task": {"kind": "Maze", "size": SIZE}}
        for name in CASES
    ]
    metric = {"name": "score", "label": "reward", "better": "higher", "unit": "", "limit": None, "published": {}}
    about = {
        "schema": "plastic_search/comparison/1",
        "name": "maze",
        "question": "Does a network that modulates its plasticity find a reward sooner?",
        "task": {"kind": "Maze", "about": "find the reward", "score_name": "reward", "chance": None},
        "study": {"kind": "Comparison"},
        "trials": len(cases),
        "seeds": list(seeds),
        "cases": cases,
        "reference": "plastic",
        "metrics": [metric],
        "axis": "",
        "floor": {},
        "notes": [],
    }
    write_text(folder / run.STUDY, json.dumps(about))
    rng = np.random.default_rng(3)
    runs = [_run(rng, name, seed) for name in CASES for seed in seeds]
    run.append(folder, [*runs, *_rounded(runs)])
    for each in runs:
        episodes.write(folder, episode(rng, each.name, each.seed), f"{each.name}-{each.seed}")
    return folder


def _run(rng: np.random.Generator, name: str, seed: int) -> Run:
    end = CASES[name] + 12 * float(rng.standard_normal())
    metrics = {"score": end, "validation": end - 1.0}
    metrics |= {f"trial.{k}": end / 20 * (1 - 0.7 * 0.8**k) + float(rng.standard_normal()) for k in range(20)}
    if name != "rnn":
        metrics |= {"frozen": 0.3 * end, "shuffled": 0.35 * end}
    if name == "modulated":
        metrics["clamped"] = 0.6 * end
    curve: Any = [[float(s), -0.1 * s, end * (1 - np.exp(-s / 400)) - 20] for s in range(100, 2001, 100)]
    fields: Any = {"stage": "comparison", "outcome": "complete"}
    return Run(
        study="maze", name=name, trial=-1, seed=seed, spec={"kind": "NetworkSpec", "layers": []}, metrics=metrics,
        curve=curve, costs={"seconds": 60.0, "steps": 2000.0, "parameters": 900.0, "connections": 800.0}, **fields,
    )  # fmt: skip


def _rounded(runs: list[Run]) -> list[Run]:
    """The modulated agents in 4/4/8 bits, and the first of them exported."""
    fields: Any = {"study": "maze", "trial": -1, "outcome": "complete", "spec": {"kind": "NetworkSpec", "layers": []}}
    choices = {"weight": 4, "alpha": 4, "trace": 8, "rounding": "stochastic", "tuned": False, "network": "modulated"}
    name, mine = "modulated-w4a4t8-stochastic", [each for each in runs if each.name == "modulated"]
    found = [
        Run(
            stage=Stage.QUANTIZED,
            name=name,
            seed=each.seed,
            choices=choices,
            metrics={"score": each.metrics["score"] - 4.0},
            **fields,
        )
        for each in mine
    ]
    exported = {"score": found[0].metrics["score"] + 0.5, "parity": 1e-7, "stepwise": 1e-7}
    more = {"bundle": "bundle"}
    return [
        *found,
        Run(stage=Stage.EXPORTED, name=name, seed=mine[0].seed, choices=choices | more, metrics=exported, **fields),
    ]


def episode(rng: np.random.Generator, name: str, seed: int) -> Episode:
    """An agent that walks along the corridors of a maze, its reward in the middle."""
    ring = [(1, c) for c in range(1, SIZE)] + [(r, SIZE) for r in range(1, SIZE)]
    ring += [(SIZE, c) for c in range(SIZE, 1, -1)] + [(r, 1) for r in range(SIZE, 1, -1)]
    goal = ring[7]
    found = [10.0 if ring[(t + 1 + seed) % len(ring)] == goal else 0.0 for t in range(STEPS)]
    received = np.array([0.0, *found[:-1]])
    signal = 0.1 + 0.5 * (received > 0) + 0.05 * rng.standard_normal(STEPS)
    layer = PlasticLayer(0, signal.tolist(), np.abs(signal).tolist(), (0.1 + 0.01 * np.cumsum(received)).tolist())
    return Episode(
        schema=SCHEMA, name=name, seed=seed, draw=0, environment={"kind": "Maze", "size": SIZE}, score_name="reward",
        score=sum(found), frames=[_frame(ring[(t + seed) % len(ring)], goal) for t in range(STEPS + 1)], rewards=found,
        trials=[t // 10 for t in range(STEPS)], layers=[layer] * (name != "rnn"),
    )  # fmt: skip


def _frame(agent: tuple[int, int], goal: tuple[int, int]) -> str:
    side = SIZE + 2
    lines = [
        ["#" if {r, c} & {0, side - 1} or (r % 2 == c % 2 == 0) else "." for c in range(side)] for r in range(side)
    ]
    lines[goal[0]][goal[1]], lines[agent[0]][agent[1]] = "*", "@"
    return "\n".join(map("".join, lines))
