"""The study of networks that choose their size (Miconi 2016, arXiv 1606.06216, version B), at the scale of the paper.

out/
  growth.json                   what was asked, where and by what it was run
  conditions/NAME.jsonl         a line a seed, once all seeds of a condition are trained
  checkpoints/NAME.safetensors  a condition that is under way, with its curves so far
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from plastic_search.cells.linear import Linear
from plastic_search.core.errors import PlasticSearchError
from plastic_search.experiments.events import Event
from plastic_search.experiments.workers import begin
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.records import provenance
from plastic_search.records.files import made, read_json, write_text
from plastic_search.records.provenance import versions
from plastic_search.records.run import locked
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.grown import Grown
from plastic_search.tasks import Stream
from plastic_search.tasks.repeated_pairs import RepeatedPairs
from plastic_search.tasks.reversed_groups import ReversedGroups
from plastic_search.tasks.switched import Switched
from plastic_search.trainers.windowed import Windowed
from plastic_search.training.streaming import StreamingTraining

__all__ = ["CONDITIONS", "Condition", "grow"]

_MOST = 100  # units that a network may have
_RECORDED = 200  # times at which a curve is recorded
_SECONDS = 120.0  # between two checkpoints


class Condition(NamedTuple):
    """One kind of network, trained on one text."""

    name: str
    structure: Grown
    units: int
    task: Stream

    @property
    def spec(self) -> NetworkSpec:
        hidden = Layer(self.units, structure=self.structure)
        return NetworkSpec((hidden, Layer(self.task.outputs, Linear(), structure=FeedForward())))


def _fixed(units: int) -> Condition:
    """As many units from beginning to end, whose outgoing weights shrink all the same."""
    still = Grown(start=units, adds=0.0, deletes=0.0)
    return Condition(f"fixed-{units}", still, units, ReversedGroups())


_VARIABLE = Grown(spontaneous=1e-4)  # as the released code has it
CONDITIONS = (
    Condition("variable-hard", _VARIABLE, _MOST, ReversedGroups()),
    _fixed(37),
    Condition("variable-easy", _VARIABLE, _MOST, RepeatedPairs()),
    Condition("easy-hard-easy", _VARIABLE, _MOST, Switched()),
    _fixed(20),
    _fixed(75),
    _fixed(100),
)


def grow(out: Path, cycles: int = 100_000, seeds: int = 20, workers: int = 1) -> Iterator[Event]:
    """Train what is not trained yet; stopped, it goes on where it was.

    Args:
        cycles: updates of each network.
        seeds: networks in each condition, trained together.
        workers: how many conditions are trained at a time, each in a process of its own where there are several.

    Raises:
        PlasticSearchError: the folder holds the study with other cycles or seeds, or another process works in it.
    """
    if cycles < 1 or seeds < 1 or workers < 1:
        raise PlasticSearchError(
            f"cycles, seeds and workers must be at least 1, but are {cycles}, {seeds} and {workers}"
        )
    with locked(made(out)):
        _asked(out, cycles, seeds)
        left = [each for each in CONDITIONS if not _result(out, each).is_file()]
        steps = {each.name: cycles * (each not in left) for each in CONDITIONS}
        run = _here if workers == 1 or len(left) < 2 else _elsewhere
        for name, step in run(out, left, cycles, seeds, workers):
            steps[name] = step
            yield Event("growing", sum(steps.values()), cycles * len(CONDITIONS), None, f"{name} at {step}")


def _asked(out: Path, cycles: int, seeds: int) -> None:
    """Write what is asked, or see that what is there is the same."""
    path = out / "growth.json"
    asked = {
        "cycles": cycles,
        "seeds": seeds,
        "conditions": {c.name: {"spec": c.spec.to_json(), "task": c.task.to_json()} for c in CONDITIONS},
        "floors": {name: task.floor for name, task in (("hard", ReversedGroups()), ("easy", RepeatedPairs()))},
    }
    if path.is_file():
        old = read_json(path, "choose another folder with --out")
        for name, value in asked.items():
            if old.get(name) != value:
                told = f"{old.get(name)} {name}" if isinstance(value, int) else f"other {name}"
                raise PlasticSearchError(f"{out} holds this study with {told}; choose another folder with --out")
        return
    about = {"machine": provenance.machine(), "code": provenance.code(), "versions": versions()}
    write_text(path, json.dumps(asked | about, indent=1) + "\n")


def _result(out: Path, condition: Condition) -> Path:
    return out / "conditions" / f"{condition.name}.jsonl"


def _here(out: Path, left: list[Condition], cycles: int, seeds: int, workers: int) -> Iterator[tuple[str, int]]:
    with _one_thread():
        for condition in left:
            for step in _train(out, condition, cycles, seeds):
                yield condition.name, step


@contextmanager
def _one_thread() -> Iterator[None]:
    """What is this small is slowed down by a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(out: Path, condition: Condition, cycles: int, seeds: int) -> Iterator[int]:
    """Train all seeds of one condition together, and tell of each step at which curves are recorded."""
    course, record = _begun(out, condition, cycles, seeds)
    path, every, since = _checkpoint(out, condition), max(1, cycles // _RECORDED), time.monotonic()
    spent = since - record["seconds"]
    while course.step < cycles:
        course.advance(min(every, cycles - course.step))
        units = [each[0] for each in course.units()]
        for curve, loss, count in zip(record["curves"], course.running.tolist(), units, strict=True):
            curve.append([course.step, round(loss, 4), count])
        record["seconds"] = time.monotonic() - spent
        if time.monotonic() - since >= _SECONDS:
            _save(path, course, record)
            since = time.monotonic()
        yield course.step
    lines = [
        {"condition": condition.name, "seed": k, "cycles": cycles, "curve": curve, "seconds": record["seconds"] / seeds}
        for k, curve in enumerate(record["curves"])
    ]
    write_text(_result(out, condition), "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
    path.unlink(missing_ok=True)


def _begun(out: Path, condition: Condition, cycles: int, seeds: int) -> tuple[StreamingTraining, dict[str, Any]]:
    """A course, and its record, at the beginning or at the last checkpoint."""
    task = condition.task
    population = Population([Network(condition.spec, task.inputs, k, kernel="cpu") for k in range(seeds)])
    course = Windowed(steps=cycles).begin(population, task, range(seeds))
    path = _checkpoint(out, condition)
    if not path.is_file():
        return course, {"curves": [[] for _ in range(seeds)], "seconds": 0.0}
    with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
        course.restore({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118, it is no dict
        return course, json.loads(file.metadata()["record"])


def _checkpoint(out: Path, condition: Condition) -> Path:
    return out / "checkpoints" / f"{condition.name}.safetensors"


def _save(path: Path, course: StreamingTraining, record: dict[str, Any]) -> None:
    """Keep a course, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".part")
    save_file(course.saved(), temporary, {"record": json.dumps(record, allow_nan=False)})
    os.replace(temporary, path)


def _elsewhere(out: Path, left: list[Condition], cycles: int, seeds: int, workers: int) -> Iterator[tuple[str, int]]:
    """In processes, which end with this one."""
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    waiting, busy = list(left), {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                name = waiting.pop(0).name
                busy[name] = context.Process(target=_work, args=(os.getpid(), told, out, name, cycles, seeds))
                busy[name].start()
            try:
                name, step = told.get(timeout=1.0)
            except queue.Empty:
                _alive(busy)
                continue
            if step < 0:
                busy.pop(name).join()
            else:
                yield name, step
    finally:
        for process in busy.values():
            process.kill()


def _alive(busy: dict[str, Any]) -> None:
    for name, process in busy.items():
        if process.exitcode not in (None, 0):
            raise PlasticSearchError(
                f"a worker died while it trained {name} (out of memory?); what was finished is kept, and the same "
                "command goes on from there; try --workers 1"
            )


def _work(parent: int, told: Any, out: Path, name: str, cycles: int, seeds: int) -> None:
    """What a worker does."""
    begin(parent, [])
    condition = next(each for each in CONDITIONS if each.name == name)
    for each in _here(out, [condition], cycles, seeds, 1):
        told.put(each)
    told.put((name, -1))
