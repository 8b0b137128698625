"""What every kind of question has."""

from __future__ import annotations

from typing import Any, Protocol

from plastic_search.environments import Environment
from plastic_search.tasks import Task


class Question(Protocol):
    """What a run folder answers: a part with these."""

    @property
    def question(self) -> str: ...
    @property
    def task(self) -> Task | Environment | None: ...
    @property
    def trials(self) -> int: ...
    @property
    def seeds(self) -> tuple[int, ...]: ...

    def to_json(self) -> dict[str, Any]: ...

    def about(self) -> dict[str, Any]:
        """What study.json holds for this kind of question alone, with its `schema`."""
        ...
