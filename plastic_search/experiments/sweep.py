"""A sweep: a comparison of networks that differ in one field of their structures, at several values of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part, field_types
from plastic_search.environments import Environment
from plastic_search.experiments.comparison import Case, Metric, Training, about, check_distinct
from plastic_search.network.spec import NetworkSpec
from plastic_search.records.run import SWEEP, Stage
from plastic_search.structures import Structure
from plastic_search.tasks import Task
from plastic_search.trainers import Trainer
from plastic_search.trainers.gradient import Gradient

__all__ = ["Group", "Sweep"]


@dataclass(frozen=True)
class Group(Part):
    """networks of one kind: the base with this structure in it

    Args:
        name: what they are called.
        structure: its field that the sweep varies is set to each value in turn.
    """

    name: str
    structure: Structure


@dataclass(frozen=True)
class Sweep(Part):
    """base, and base with each group's structure at each value, x task x trainer x seeds

    Args:
        question: what it asks, in one sentence.
        axis: what the values are, in a few words.
        base: the network that all others are measured against.
        base_name: what the base is called.
        groups: what is put into the base; the first is ours, the others are there to be compared with it.
        values: what `field` is set to in every group's structure.
        field: what is varied, a field of the structures; the base counts as 1.
        layers: which layers get the structure; () is all.
        budget: the metric that must come to a value times that of the base; "" for none.
        task: what the networks are trained for.
        trainer: how each network is trained.
        tuning: how each network is trained on after its gates have been made hard; None leaves that out.
        seeds: seeds of each case.
    """

    renamed: ClassVar[dict[str, str]] = {"places": "values"}

    question: str
    axis: str
    base: NetworkSpec
    groups: tuple[Group, ...]
    values: tuple[float, ...]
    task: Task | Environment
    base_name: str = "dense"
    field: str = "density"
    layers: tuple[int, ...] = ()
    budget: str = "connections"
    trainer: Trainer = Gradient(steps=1500)
    tuning: Trainer | None = None
    seeds: tuple[int, ...] = (0, 1, 2)

    def check(self) -> None:
        names = [self.base_name, *(group.name for group in self.groups)]
        check_distinct("sweep", seeds=self.seeds, values=self.values, names_of_groups=names)
        if self.budget not in ("", "connections", "plastic_connections"):
            raise PlasticSearchError(f"budget must be connections, plastic_connections or '', but is {self.budget!r}")
        for group in self.groups:
            known = field_types(type(group.structure))
            if self.field not in known:
                raise unknown(f"field of {type(group.structure).__name__}", self.field, known)
        if any(not 0 <= i < len(self.base.layers) for i in self.layers):
            raise PlasticSearchError(f"layers are 0 to {len(self.base.layers) - 1}, but got {list(self.layers)}")

    @property
    def cases(self) -> tuple[Case, ...]:
        """The base, and then each value with every group."""
        return tuple(training.case for training in self.trainings())

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What the networks are compared by."""
        return (Metric("score", label=self.task.score_name),)

    @property
    def stage(self) -> Stage:
        """What its runs are called."""
        return Stage.SWEEP

    @property
    def trials(self) -> int:
        """How many cases there are."""
        return 1 + len(self.groups) * len(self.values)

    def trainings(self) -> list[Training]:
        """What is trained with each seed; parameters and topologies of the first group are kept."""
        base = (Case(f"{self.base_name} 1", group=self.base_name, at=1.0), self.base)
        ours, others = self.groups[0].name, [self._case(group, value) for value in self.values for group in self.groups]
        return [
            Training(
                case, spec, self.task, self.trainer, self.tuning, keep=case.group == ours, graph=case.group == ours
            )
            for case, spec in (base, *others)
        ]

    def about(self) -> dict[str, Any]:
        """What study.json holds for a sweep alone."""
        return about(SWEEP, self.cases, self.metrics, self.base_name, self.task) | {
            "axis": self.axis,
            "ours": self.groups[0].name,
            "budget": self.budget,
        }

    def _case(self, group: Group, value: float) -> tuple[Case, NetworkSpec]:
        whole = field_types(type(group.structure))[self.field] is int and value == int(value)
        structure = replace(group.structure, **{self.field: int(value) if whole else value})
        chosen = self.layers or range(len(self.base.layers))
        layers = [
            replace(each, structure=structure) if i in chosen else each for i, each in enumerate(self.base.layers)
        ]
        spec = replace(self.base, layers=tuple(layers))
        return Case(f"{group.name} {value:g}", group=group.name, at=value), spec
