"""Run folders that no network was trained for, with numbers as a real study has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from plastic_search.records import run as runs
from plastic_search.records.files import write_text
from plastic_search.records.run import CurvePoint, Outcome, Record, Run, Stage

STUDY = "digit_recall"
HOSTILE = "<script>alert(1)</script>"
SIZES = (69, 37, 5)
_VERSIONS = {"plastic-search": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "optuna": "5.0.0"}
_RULES = ("ABCD", "BCM", "Delta", "Hebb", "Oja")
_PARTS = {
    "RNN": ("cell", "y = tanh(drive)", "A tanh unit (Elman 1990)."),
    "Linear": ("cell", "y = drive", "A unit that passes its drive on."),
    "Hebb": ("rule", "dH = post (x) pre - decay * H", "Fire together, wire together (Hebb 1949)."),
    "Oja": ("rule", "dH = post (x) pre - post^2 * H", "Hebb with a brake (Oja 1982)."),
    "Delta": ("rule", "dH = (post - H pre) (x) pre", "Write only what is not yet recalled."),
    "Simple": ("modulation", "rate = tanh(w . output)", "A signal that the network makes itself."),
    "Constant": ("modulation", "rate = eta", "The same at every step."),
    "Gated": ("structure", "exists = top(s, density)", "Which connections exist, learned by gradient."),
    "FeedForward": ("structure", "every unit receives every source", "No recurrent block."),
    "Integer": ("precision", "q(x) = s round(x / s)", "Symmetric integers."),
}
_FINALS = {  # name -> score, parameters, connections, plastic
    "winner": (0.934, 4210, 1300, True),
    "best_random": (0.921, 5120, 1612, True),
    "dense": (0.941, 4210, 3083, True),
    "fixed": (0.412, 4266, 4140, False),
    "fixed_lstm": (0.551, 4304, 4190, False),
}


def full(folder: Path, trials: int = 24, seeds: tuple[int, ...] = (0, 1, 2)) -> Path:
    """A study that was run to its end."""
    study(folder, trials=trials, seeds=seeds)
    rng = np.random.default_rng(7)
    result = search(rng, trials)
    result += finals(rng, result, seeds)
    result += quantized(rng, result, seeds)
    result += exported(result)
    runs.append(folder, result)
    importances = {"layers.1.rule": 0.41, "layers.0.units": 0.27, "layers.1.structure.density": 0.2}
    importances |= {"layers.1.rule.Hebb.decay": 0.07, "layers.0.cell": 0.05}
    write_text(folder / runs.IMPORTANCES, json.dumps(importances))
    for seed in seeds:
        write_text(folder / runs.TOPOLOGIES / f"winner-{seed}.json", json.dumps(graph(seed)))
    return folder


def partly(folder: Path) -> Path:
    """A search that is half done, and nothing after it."""
    study(folder)
    runs.append(folder, search(np.random.default_rng(7), 9))
    return folder


def empty(folder: Path) -> Path:
    """A study that was begun and stopped at once."""
    study(folder)
    return folder


def hostile(folder: Path) -> Record:
    """A whole study in which every name that can be is markup."""
    record = runs.load(full(folder, trials=8))
    nasty = json.loads(
        json.dumps(record.study).replace("layers.1.rule", f'{HOSTILE}\\" onload=\\"x').replace("Hebb", "$<b>H_{e$")
    )
    nasty |= {"name": HOSTILE, "question": f"Is {HOSTILE} safe?"}
    nasty["task"] |= {"score_name": "<i>accuracy</i>", "about": "a & b </style><img src=x onerror=alert(2)>"}
    nasty["versions"] = {HOSTILE: "</title>"}
    changed = [_nasty(run) for run in record.runs]
    importances = {f'"><img src=x onerror="{HOSTILE}': 0.7, "$\\frac": 0.2, "\u0007\u4e2d": 0.1}
    topologies = {f"winner-{HOSTILE}": _nasty_graph(record.topologies["winner-0"])}
    return Record(HOSTILE, folder, nasty, changed, importances, topologies)


def study(
    folder: Path, name: str = STUDY, trials: int = 24, seeds: tuple[int, ...] = (0, 1, 2), chance: float | None = 0.2
) -> None:
    """What a study writes before its first trial."""
    about = {
        "schema": "plastic_search/study/1",
        "name": name,
        "question": "Does a plastic network recall digits after one look, and how small can it be?",
        "task": {"kind": "DigitRecall", "score_name": "accuracy", "chance": chance, "about": "five digits shown once"},
        "trainer": {"kind": "Gradient", "steps": 2000, "learning_rate": 0.01, "batch": 64},
        "trials": trials,
        "trial_seeds": [0],
        "seeds": list(seeds),
        "objectives": ["score", "connections"],
        "parts": {n: {"axis": a, "equation": e, "source": s} for n, (a, e, s) in _PARTS.items()},
        "search_parameters": {
            "layers.0.units": {"kind": "IntegerRange", "low": 32, "high": 96, "log": True},
            "layers.1.rule": {"kind": "Choice", "options": list(_RULES)},
            "layers.1.rule.Hebb.decay": {"kind": "RealRange", "low": 0.0, "high": 1.0, "log": False},
            "layers.1.structure.density": {"kind": "RealRange", "low": 0.15, "high": 0.5, "log": False},
        },
        "study": {"kind": "Study", "trainer": {"kind": "Gradient", "steps": 600}},
        "versions": _VERSIONS,
        "created": "2026-11-24T03:42:00+00:00",
    }
    write_text(folder / runs.STUDY, json.dumps(about))


def search(rng: np.random.Generator, trials: int) -> list[Run]:
    """Two searches: TPE learns, random search does not; some trials are pruned, one cannot be built."""
    result = []
    for arm, gain in (("tpe", 0.12), ("random", 0.0)):
        for trial in range(trials):
            rule = str(rng.choice(_RULES))
            choices: dict[str, Any] = {"layers.0.units": int(rng.integers(32, 97)), "layers.1.rule": rule}
            if rule == "Hebb":
                choices["layers.1.rule.Hebb.decay"] = round(float(rng.random()), 4)
            choices["layers.1.structure.density"] = round(float(rng.uniform(0.15, 0.5)), 4)
            if arm == "random" and trial == 3:
                result.append(_infeasible(arm, trial, choices))
                continue
            score = min(0.93, 0.55 + 0.3 * float(rng.beta(2, 2)) + gain * min(1.0, trial / 12))
            outcome = Outcome.PRUNED if rng.random() < 0.25 and trial > 4 else Outcome.COMPLETE
            curve = _curve(rng, score, 600 if outcome is Outcome.COMPLETE else 180)
            connections = float(rng.integers(600, 2600))
            score = curve[-1].score or 0.0
            metrics = {"score": score, "validation": score, "connections": connections}
            result.append(_run(Stage.SEARCH, arm, trial, 0, choices, metrics, curve, 7268, outcome, arm))
    return result


def finals(rng: np.random.Generator, searched: list[Run], seeds: tuple[int, ...]) -> list[Run]:
    """The winner and its controls."""
    tpe, random = (_best(searched, arm) for arm in ("tpe", "random"))
    result = []
    for name, (score, parameters, connections, plastic) in _FINALS.items():
        source = random if name == "best_random" else tpe
        for seed in seeds:
            test = round(score + 0.006 * float(rng.standard_normal()), 6)
            metrics = {"score": test, "test": test, "validation": round(test + 0.004, 6), "connections": connections}
            if plastic:
                metrics |= {"frozen": round(0.2 + 0.004 * seed, 6), "shuffled": round(0.21 + 0.003 * seed, 6)}
            curve = _curve(rng, score, 2000)
            run = _run(
                Stage.FINAL,
                name,
                source.trial,
                seed,
                source.choices,
                metrics,
                curve,
                parameters,
                Outcome.COMPLETE,
                name,
            )
            keeps = name in ("winner", "best_random")
            result.append(Run(**{**vars(run), "spec": source.spec if keeps else run.spec}))
    return result


def quantized(rng: np.random.Generator, before: list[Run], seeds: tuple[int, ...]) -> list[Run]:
    """The winner in few bits, as `plastic-search quantize` makes it."""
    winners = {r.seed: r for r in before if r.name == "winner" and r.stage is Stage.FINAL}
    result = [_longer(r) for r in winners.values()]
    for tuned in (False, True):
        for rounding in ("nearest", "stochastic"):
            widths = [(b, b, b) for b in (8, 4, 3, 2)] + [(4, 4, 8)] + [(None, None, b) for b in (8, 4, 3, 2)]
            if rounding == "nearest":
                widths += [(b, None, None) for b in (8, 4, 3, 2)] + [(None, b, None) for b in (8, 4, 3, 2)]
            for weight, alpha, trace in widths:
                name = f"w{weight or 32}a{alpha or 32}t{trace or 32}-{rounding}" + ("-tuned" if tuned else "")
                loss = sum((0.5 if tuned else 2.0) / 2 ** (1.5 * b) for b in (weight, alpha) if b)
                loss += (3.0 if rounding == "nearest" else 0.8) * (0.5 if tuned else 1) / 2 ** (1.4 * (trace or 32))
                for seed in seeds:
                    score = max(0.2, winners[seed].metrics["score"] - loss + 0.003 * float(rng.standard_normal()))
                    choices = {"weight": weight, "alpha": alpha, "trace": trace, "rounding": rounding, "tuned": tuned}
                    metrics = {"score": round(score, 6), "connections": 1300.0}
                    spec = winners[seed].spec | {"precision": {"kind": "Integer", "weight": weight}}
                    run = _rounded(name, winners[seed], choices, metrics)
                    result.append(Run(**{**vars(run), "spec": spec}))
    return result


def _longer(winner: Run) -> Run:
    """The float winner, trained on as long as the rounded ones."""
    choices = {"weight": None, "alpha": None, "trace": None, "rounding": "nearest", "tuned": True}
    metrics = {"score": round(winner.metrics["score"] + 0.002, 6), "connections": 1300.0}
    run = _rounded("w32a32t32-tuned", winner, choices, metrics)
    return Run(**{**vars(run), "spec": winner.spec})


def _rounded(name: str, winner: Run, choices: dict[str, Any], metrics: dict[str, float]) -> Run:
    trial, seed = winner.trial, winner.seed
    return _run(Stage.QUANTIZED, name, trial, seed, choices, metrics, [], 4210, Outcome.COMPLETE, "")


def _infeasible(arm: str, trial: int, choices: dict[str, Any]) -> Run:
    return Run(
        study=STUDY, stage=Stage.SEARCH, name=arm, trial=trial, seed=-1, outcome=Outcome.INFEASIBLE, spec={},
        choices=choices, note="cannot be built",
    )  # fmt: skip


def exported(before: list[Run]) -> list[Run]:
    """One bundle."""
    source = next(r for r in before if r.name == "w4a4t8-stochastic-tuned")
    metrics = {"stepwise": 2.4e-7, "parity": 1.19e-7, "compared": 160.0, "steps": 200.0, "ties": 3.0, "free_ties": 1.0}
    metrics |= {"score": 0.93, "bytes": 48211.0}
    extra = {"stage": Stage.EXPORTED, "metrics": metrics, "choices": source.choices | {"bundle": "bundle"}}
    return [Run(**{**vars(source), **extra})]


def graph(seed: int, sizes: tuple[int, ...] = SIZES, edges: int = 1300) -> dict[str, Any]:
    """A learned graph in node-link JSON: two layers, the second of which receives the input too."""
    rng = np.random.default_rng(seed)
    names = [[f"input.{i}" for i in range(sizes[0])]]
    names += [[f"layers.{k}.{i}" for i in range(n)] for k, n in enumerate(sizes[1:])]
    nodes = [
        {"id": name, "layer": layer - 1, "index": i} for layer, row in enumerate(names) for i, name in enumerate(row)
    ]
    places = [(a, b, False) for a in names[0] for b in names[1]]
    places += [(a, b, True) for a in names[1] + names[0] for b in names[2]]
    result = []
    for at in sorted(rng.choice(len(places), min(edges, len(places)), replace=False)):
        source, target, may = places[at]
        plastic = bool(may and rng.random() < 0.7)
        weight, alpha = (round(float(v), 6) for v in rng.standard_normal(2) * 0.2)
        result.append(
            {"source": source, "target": target, "weight": weight, "alpha": alpha * plastic, "plastic": plastic}
        )
    return {"directed": True, "multigraph": False, "graph": {"inputs": sizes[0]}, "nodes": nodes, "edges": result}


def _run(
    stage: Stage, name: str, trial: int, seed: int, choices: dict[str, Any], metrics: dict[str, float],
    curve: list[CurvePoint], parameters: int, outcome: Outcome, salt: str,
) -> Run:  # fmt: skip
    steps = curve[-1].step if curve else 0.0
    costs = {"seconds": round(2.0 + 0.01 * steps, 3), "steps": steps, "parameters": float(parameters)}
    costs["connections"] = float(metrics["connections"])
    rule = {"kind": choices.get("layers.1.rule", "Hebb"), "decay": choices.get("layers.1.rule.Hebb.decay", 0.0)}
    layer = {"kind": "Layer", "units": 5, "cell": {"kind": "Linear"}, "rule": rule, "structure": {"kind": "Gated"}}
    first = {"kind": "Layer", "units": choices.get("layers.0.units", 37), "cell": {"kind": "RNN"}}
    spec = {"kind": "NetworkSpec", "layers": [first, layer | {"salt": f"{salt} {trial}"}]}
    return Run(
        study=STUDY, stage=stage, name=name, trial=trial, seed=seed, outcome=outcome, spec=spec, choices=choices,
        metrics=metrics, curve=curve, costs=costs, versions=_VERSIONS,
    )  # fmt: skip


def _curve(rng: np.random.Generator, score: float, steps: int) -> list[CurvePoint]:
    """Ten points of a network that learns from chance to `score`."""
    rows = []
    for step in range(steps // 10, steps + 1, steps // 10):
        now = score - (score - 0.2) * np.exp(-4 * step / 600) + 0.004 * rng.standard_normal()
        rows.append(CurvePoint(float(step), round(1.6 * float(np.exp(-step / 400)) + 0.05, 6), round(float(now), 6)))
    return rows


def _best(searched: list[Run], arm: str) -> Run:
    complete = [r for r in searched if r.name == arm and r.outcome is Outcome.COMPLETE]
    return max(complete, key=lambda r: r.metrics["score"])


def _nasty(run: Run) -> Run:
    text = json.dumps(vars(run)).replace("layers.1.rule", f'{HOSTILE}\\" onload=\\"x').replace("Hebb", "$<b>H_{e$")
    name = run.name if run.name in ("tpe", "random", "winner") else f"{HOSTILE}{run.name}"
    return Run.from_json({**json.loads(text), "name": name, "note": HOSTILE, "study": HOSTILE})


def _nasty_graph(graph: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(graph).replace("input.", "<img src=x onerror=alert(3)>."))
