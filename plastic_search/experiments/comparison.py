"""A comparison: named networks, each trained with the same seeds and measured alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part
from plastic_search.core.space import override
from plastic_search.environments import Environment
from plastic_search.network.spec import NetworkSpec
from plastic_search.records.run import COMPARISON, Stage
from plastic_search.tasks import Task
from plastic_search.trainers import Trainer

__all__ = ["Better", "Case", "Change", "Comparison", "Floor", "Metric", "Published", "Training"]


class Better(Enum):
    """Which values of a metric are better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class Published(Part):
    """a figure of a paper, for one case

    Args:
        case: its name.
        text: the figure, as the paper prints it.
    """

    case: str
    text: str


@dataclass(frozen=True)
class Metric(Part):
    """one of a run's metrics, as a page shows it

    Args:
        name: of the metric in a run: score, validation, test, frozen, shuffled, connections; of a stream also loss,
            units, units_third, units_two_thirds, units_largest; beside a test score, of units that fire also spikes,
            accumulates, multiply_accumulates, trace_writes, energy.
        label: what a page calls it.
        better: higher or lower.
        unit: of its values.
        limit: a run at or beyond it has solved the task; None where there is no such value.
        published: figures of a paper.
    """

    name: str
    label: str = ""
    better: Better = Better.HIGHER
    unit: str = ""
    limit: float | None = None
    published: tuple[Published, ...] = ()

    def about(self) -> dict[str, Any]:
        """The metric in study.json."""
        return {
            "name": self.name,
            "label": self.label or self.name,
            "better": "" if self.better is Better.NEITHER else self.better.value,
            "unit": self.unit,
            "limit": self.limit,
            "published": {each.case: each.text for each in self.published},
        }


@dataclass(frozen=True)
class Floor(Part):
    """a line below which no loss can fall, drawn beside the curves

    Args:
        label: what the line is.
        value: the loss.
    """

    label: str
    value: float


@dataclass(frozen=True)
class Change(Part):
    """another value at one path of a network

    Args:
        path: such as `layers.0.units`.
        value: a number, a name, or a part.
    """

    path: str
    value: Any


@dataclass(frozen=True)
class Case(Part):
    """one network of a comparison, spec x task x trainer

    Args:
        name: what its runs are called.
        spec: the network; None takes the comparison's.
        changes: what differs from that network.
        task: what it is trained for; None takes the comparison's.
        trainer: how; None takes the comparison's.
        label: what a page calls it; "" takes the name.
        about: what it is, in one sentence.
        group: cases that belong together.
        at: its value on the axis; None where there is no axis.
    """

    name: str
    spec: NetworkSpec | None = None
    changes: tuple[Change, ...] = ()
    task: Task | Environment | None = None
    trainer: Trainer | None = None
    label: str = ""
    about: str = ""
    group: str = ""
    at: float | None = None

    def check(self) -> None:
        if not re.fullmatch(r"\w[\w .,+=-]*", self.name):
            raise PlasticSearchError(
                f"a case's name is part of file names: letters, digits, spaces and . , + = - _, but it is {self.name!r}"
            )

    def describe(self, common: Task | Environment | None) -> dict[str, Any]:
        """The case in study.json; `common` is the task of cases that have none of their own."""
        task = self.task or common
        return {
            "name": self.name,
            "label": self.label or self.name,
            "about": self.about,
            "group": self.group,
            "at": self.at,
            "task": task and task.to_json(),
        }


class Training(NamedTuple):
    """A case with all that it takes from its comparison."""

    case: Case
    spec: NetworkSpec
    task: Task | Environment
    trainer: Trainer
    tuning: Trainer | None  # how it is trained on once its gates are hard
    keep: bool  # whether its parameters are kept
    graph: bool  # whether its topology is kept


@dataclass(frozen=True)
class Comparison(Part):
    """cases x seeds

    Example:
        >>> STUDY = Comparison(
        ...     question="Does plasticity help recall?",
        ...     cases=(Case("plastic"), Case("fixed", changes=(Change("layers.0.plastic", Pathway.NONE),))),
        ...     spec=NetworkSpec((Layer(32, plastic=Pathway.RECURRENT), Layer(5))),
        ...     task=DigitRecall(ways=5),
        ...     trainer=Gradient(steps=1000),
        ...     reference="fixed",
        ... )

    Args:
        question: what it asks, in one sentence.
        cases: the networks, in the order in which a page shows them.
        spec: the network, where a case has no other.
        task: what they are trained for, where a case has no other.
        trainer: how, where a case has no other.
        tuning: how each is trained on after its gates have been made hard; None leaves that out.
        metrics: what they are compared by; the first is the main one.
        reference: the case that the others are compared with; "" is the first.
        seeds: of each case.
        floors: lines beside the curves of the loss.
        notes: sentences of the author: what was reduced, what the paper found.
    """

    question: str
    cases: tuple[Case, ...]
    spec: NetworkSpec | None = None
    task: Task | Environment | None = None
    trainer: Trainer | None = None
    tuning: Trainer | None = None
    metrics: tuple[Metric, ...] = (Metric("score"),)
    reference: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    floors: tuple[Floor, ...] = ()
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        names = [case.name for case in self.cases]
        check_distinct("comparison", cases=names, metrics=[m.name for m in self.metrics], seeds=self.seeds)
        if self.reference not in ("", *names):
            raise unknown("case", self.reference, names)
        for metric in self.metrics:
            for each in metric.published:
                if each.case not in names:
                    raise unknown("case", each.case, names, f"It has a published {metric.name}.")
        self.trainings()

    @property
    def stage(self) -> Stage:
        """What its runs are called."""
        return Stage.COMPARISON

    @property
    def trials(self) -> int:
        """How many cases there are."""
        return len(self.cases)

    def trainings(self) -> list[Training]:
        """What is trained with each seed; parameters are kept.

        Raises:
            PlasticSearchError: a case lacks its network, task or trainer, or a change of it is not possible.
        """
        found = []
        for case in self.cases:
            spec, task, trainer = case.spec or self.spec, case.task or self.task, case.trainer or self.trainer
            if spec is None or task is None or trainer is None:
                lacks = "spec" if spec is None else "task" if task is None else "trainer"
                raise PlasticSearchError(f"case {case.name} has no {lacks}; give it one, or give the comparison one")
            for change in case.changes:
                spec = override(spec, change.path, change.value)
            found.append(Training(case, spec, task, trainer, self.tuning, keep=True, graph=False))
        return found

    def about(self) -> dict[str, Any]:
        """What study.json holds for a comparison alone."""
        return about(COMPARISON, self.cases, self.metrics, self.reference, self.task) | {
            "floor": {floor.label: floor.value for floor in self.floors},
            "notes": list(self.notes),
        }


def about(
    schema: str, cases: Sequence[Case], metrics: Sequence[Metric], reference: str, task: Task | Environment | None
) -> dict[str, Any]:
    """What study.json holds for comparisons and sweeps alike."""
    return {
        "schema": schema,
        "cases": [case.describe(task) for case in cases],
        "metrics": [metric.about() for metric in metrics],
        "reference": reference,
        "axis": "",
        "floor": {},
        "notes": [],
    }


def check_distinct(kind: str, **values: Sequence[Any]) -> None:
    """Refuse values of which there are none, or two alike: a seed that is run twice is no evidence."""
    for name, each in values.items():
        if not each or len(set(each)) < len(each):
            raise PlasticSearchError(
                f"a {kind}'s {name.replace('_', ' ')} must all differ, and be there, but are {list(each)}"
            )
