"""An episode of a trained network of a run folder."""

from __future__ import annotations

from pathlib import Path

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Environment
from plastic_search.experiments.episode import record_episode
from plastic_search.experiments.export import best_case
from plastic_search.experiments.load import trained
from plastic_search.records.episodes import Episode
from plastic_search.records.folder import RunFolder

__all__ = ["play"]


def play(path: Path | str, name: str | None = None, seed: int | None = None, draw: int = 0) -> Episode:
    """Let a trained network act for an episode. Nothing is written.

    Args:
        path: a run folder whose question is about an environment.
        name: of a case, or a finalist; None is the winner, or the case of the highest mean score.
        seed: with which it was trained; None is the first of the question.
        draw: of the episode's chance.

    Raises:
        PlasticSearchError: as `load.load`, or the network was trained for a task, which nobody acts in.

    Example:
        >>> play("runs/bandit", "modulated", seed=1).rewards
    """
    found = trained(path, name or best_case(RunFolder(path)) or None, seed)
    if not isinstance(found.task, Environment):
        raise PlasticSearchError(
            f"{path}: {found.run.name} was trained for the task {type(found.task).__name__}, and only in an "
            "environment is there an episode to play; name a run folder whose question has one"
        )
    return record_episode(found.net, found.task, draw, found.run.name, found.run.seed)
