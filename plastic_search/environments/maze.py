"""Maze: find an invisible reward, and return to it (Backpropamine, Miconi et al. 2019, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.environments import Environment, Moment, Played
from plastic_search.environments._grid import check_size, drawn, grid, others

_BIAS, _TIME, _REWARD, _INPUTS = 10, 11, 12, 17  # 9 walls, 1 unused, bias, time, reward, 4 for the last action


class Start(Enum):
    """Where an episode begins."""

    CENTRE = "centre"
    RANDOM = "random"  # in any free cell but that of the reward


class _State(NamedTuple):
    time: int
    cell: NDArray[np.int64]  # [batch] free cell times 4, a row of the tables
    goal: NDArray[np.int64]  # [batch] that of the reward, times 4
    landings: NDArray[np.int64]  # [steps, batch] where one lands who has found it, times 4


@dataclass(frozen=True)
class Maze(Environment):
    """reward 10 in one cell that is drawn for every episode and cannot be seen; whoever finds it lands in another

    A pillar stands at every cell of even row and column, but for the centre. The reward lies in any free cell but
    the centre, and stays; after it one lands in any free cell but that of the reward. Actions: up, down, left, right.
    Receives the walls among the 3x3 cells around, an unused 0, a bias of 1, time / steps, the last reward and the last
    action, one-hot: 17 inputs. At the start the last action is 0, as in the released code.

    Size 11 is the paper's (9x9 inside the wall), 13 that of the released command.

    Args:
        size: of the square, odd, outer wall included.
        steps: of an episode.
        reward: for the cell of the reward.
        wall_penalty: taken from the reward of a step against a wall.
        start: where an episode begins.
    """

    size: int = 11
    steps: int = 200  # pyright: ignore[reportIncompatibleMethodOverride]
    reward: float = 10.0
    wall_penalty: float = 0.0
    start: Start = Start.CENTRE

    def check(self) -> None:
        check_size("Maze.size", self.size)
        positive(self, "steps")
        if self.wall_penalty < 0:
            raise PlasticSearchError(f"Maze.wall_penalty must be at least 0, but is {self.wall_penalty}")

    @property
    def inputs(self) -> int:
        return _INPUTS

    @property
    def actions(self) -> int:
        return 4

    def reset(self, batch: int, rng: Generator) -> tuple[_State, Moment]:
        maze = grid(self.size)
        cells, centre = len(maze.places), torch.full((batch,), maze.centre)
        goal = others(centre, cells, (batch,), rng)
        cell = others(goal, cells, (batch,), rng) if self.start is Start.RANDOM else centre
        landings = others(goal, cells, (self.steps, batch), rng)
        state = _State(0, (4 * cell).numpy(), (4 * goal).numpy(), landings.mul_(4).numpy())
        return state, _moment(_seen(self.size).take(state.cell, 0), np.zeros(batch, np.float32))

    def step(self, state: _State, actions: Tensor, rng: Generator) -> tuple[_State, Moment]:
        time, cell, goal, landings = state
        maze, action = grid(self.size), actions.numpy()
        move = cell + action
        cell = maze.after.take(move)
        found = cell == goal
        reward = found * np.float32(self.reward)
        if self.wall_penalty:
            reward -= maze.bumps.take(move) * np.float32(self.wall_penalty)
        np.copyto(cell, landings[time], where=found)
        observation = _seen(self.size).take(cell + action, 0)
        observation[:, _TIME] = (time + 1) / self.steps
        observation[:, _REWARD] = reward
        return _State(time + 1, cell, goal, landings), _moment(observation, reward)

    def metrics(self, played: Played) -> dict[str, Tensor]:
        return {"reward": played.rewards.sum(0), "second half": played.rewards[self.steps // 2 :].sum(0)}

    def frame(self, state: _State, episode: int) -> str:
        return drawn(grid(self.size).places, int(state.cell[episode]) // 4, int(state.goal[episode]) // 4)


def _moment(observation: NDArray[np.float32], reward: NDArray[np.float32]) -> Moment:
    return Moment(torch.from_numpy(observation), torch.from_numpy(reward))


@cache
def _seen(size: int) -> NDArray[Any]:
    """The inputs in every cell after every action, but for time and reward [4 * cells, inputs]."""
    maze = grid(size)
    seen = np.zeros((len(maze.windows), _INPUTS), np.float32)
    seen[:, :9], seen[:, _BIAS], seen[:, _REWARD + 1 :] = maze.windows, 1.0, maze.last
    return seen
