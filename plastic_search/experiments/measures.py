"""What is measured of a trained network, whether it was trained for a task or in an environment."""

from __future__ import annotations

import math

import torch

from plastic_search.environments import Environment
from plastic_search.experiments.firing import fires
from plastic_search.experiments.jobs import Measure
from plastic_search.network.footprint import count_numbers
from plastic_search.network.module import Network
from plastic_search.network.operations import count_operations
from plastic_search.network.spec import Pathway
from plastic_search.network.writes import count_writes
from plastic_search.tasks import Split, Task
from plastic_search.training.contract import draw
from plastic_search.training.evaluation import Ablation, evaluate, frozen, shuffled
from plastic_search.training.reward import clamped, mean_rate, measured

__all__ = ["measure", "not_finite"]

_EPISODES = 2000  # behind a score of a task
_PLAYED = 500  # behind one of an environment
_COUNTED = 20  # behind the operations of a network with units that fire


def measure(measures: tuple[Measure, ...], net: Network, task: Task | Environment) -> dict[str, float]:
    """The scores of a trained network; those of its trace are left out where nothing is plastic.

    For a task, where its test score is measured and it has units that fire, also what `network.operations` counts in
    20 of the test's episodes, which are means of an episode: `spikes` per unit and step, of each layer `spikes.0`,
    ..., `accumulates`, `multiply_accumulates`, `trace_writes`, and the estimate `energy` in nJ.
    `Measure.BITS` adds what `network.footprint` counts, `bytes.weight`, ..., `step.multiply_accumulates`, ...,
    `step.energy`, and for a task what `network.writes` finds in 20 of the test's episodes, `writes.LAYER.stored`, ...
    In an environment also each of its metrics by name, and the reward of each trial, `trial.0`, `trial.1`, ..., on the
    test split; and the score with the plasticity rate held at its mean, where that is modulated.
    """
    found = _in(task, net, measures) if isinstance(task, Environment) else _for(task, net, measures)
    if Measure.BITS in measures:
        found |= _footprint(net) | (_writes(task, net) if isinstance(task, Task) else {})
    return {name: round(value, 6) for name, value in found.items()}


def _for(task: Task, net: Network, measures: tuple[Measure, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in measures:
        match each:
            case Measure.VALIDATION:
                score = evaluate(net, task, Split.VALIDATION, _EPISODES)
            case Measure.TEST:
                score = evaluate(net, task, Split.TEST, _EPISODES)
            case Measure.FROZEN if _is_plastic(net):
                score = evaluate(net, task, Split.TEST, _EPISODES, frozen)
            case Measure.SHUFFLED if _is_plastic(net):
                first = draw(task, 1, Split.TRAIN, torch.Generator().manual_seed(0), next(net.parameters()))
                score = evaluate(net, task, Split.TEST, _EPISODES, shuffled(first.query_step))
            case _:
                continue
        found[each.value] = score
    if Measure.TEST in measures and fires(net):
        found |= _operations(task, net)
    return found


def _operations(task: Task, net: Network) -> dict[str, float]:
    rng = torch.Generator().manual_seed(_COUNTED)
    counted = count_operations(net, draw(task, _COUNTED, Split.TEST, rng, next(net.parameters())).inputs)
    by_layer = {f"spikes.{i}": rate for i, rate in counted.spikes.items()}
    return {"spikes": counted.rate} | by_layer | {
        "accumulates": counted.accumulates,
        "multiply_accumulates": counted.multiply_accumulates,
        "trace_writes": counted.writes,
        "energy": counted.energy,
    }  # fmt: skip


def _footprint(net: Network) -> dict[str, float]:
    taken = count_numbers(net).footprint(net.spec.precision)
    known = {f"bytes.{name}": float(getattr(taken, name)) for name in ("weight", "alpha", "trace", "other", "state")}
    known |= {f"step.{name}": float(getattr(taken, name)) for name in ("multiply_accumulates", "writes")}
    return known | ({} if taken.energy is None else {"step.energy": taken.energy})


def _writes(task: Task, net: Network) -> dict[str, float]:
    rng = torch.Generator().manual_seed(_COUNTED)
    found = count_writes(net, draw(task, _COUNTED, Split.TEST, rng, next(net.parameters())).inputs)
    shown = ("size", "stored", "stalled", "saturated", "saturated_late")
    return {f"writes.{each.layer}.{name}": getattr(each, name) for each in found for name in shown}


def _in(environment: Environment, net: Network, measures: tuple[Measure, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    if Measure.VALIDATION in measures:
        found[Measure.VALIDATION] = evaluate(net, environment, Split.VALIDATION, _PLAYED)
    if Measure.TEST in measures:
        metrics, trials = measured(net, environment, Split.TEST, _PLAYED)
        found[Measure.TEST] = next(iter(metrics.values()))
        more = metrics | {f"trial.{k}": reward for k, reward in enumerate(trials)}
        own = {each.value for each in Measure}  # which a metric of the environment does not replace
        found |= {name: value for name, value in more.items() if math.isfinite(value) and name not in own}
    ablations: dict[Measure, Ablation] = {}
    if _is_plastic(net):
        ablations = {Measure.FROZEN: frozen, Measure.SHUFFLED: shuffled(0)}
        if Measure.CLAMPED in measures and (rate := mean_rate(net, environment)) is not None:
            ablations[Measure.CLAMPED] = clamped(rate)
    for each, ablation in ablations.items():
        if each in measures:
            found[each] = evaluate(net, environment, Split.TEST, _PLAYED, ablation)
    return {str(name): value for name, value in found.items()}


def _is_plastic(net: Network) -> bool:
    return any(layer.plastic is not Pathway.NONE for layer in net.spec.layers)


def not_finite(metrics: dict[str, float], task: Task | Environment) -> str:
    """Which scores of a network are not finite, as the note of a run that diverged; "" where all are."""
    where = {
        Measure.VALIDATION: "the validation split",
        Measure.TEST: "the test split",
        Measure.FROZEN: "the test split with its trace held at zero",
        Measure.SHUFFLED: "the test split with its trace shuffled",
        Measure.CLAMPED: "the test split with its plasticity rate held",
    }
    first = next((text for name, text in where.items() if not math.isfinite(metrics.get(name, 0.0))), "")
    return f"the score of {type(task).__name__} is not finite on {first}" if first else ""
