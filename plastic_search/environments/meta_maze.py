"""MetaMaze: the maze of Backpropamine as gymnax (Lange 2022) has it, to compare with what is reported there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.environments import Environment, Moment
from plastic_search.environments._grid import check_size, drawn, grid

_UP_RIGHT_DOWN_LEFT = ((-1, 0), (0, 1), (1, 0), (0, -1))
_REWARD, _TIME, _INPUTS = 13, 14, 15  # 9 walls, 4 for the last action, reward, steps so far


class _State(NamedTuple):
    time: int
    cell: NDArray[np.int64]  # [batch] free cell times 4, a row of the tables
    goal: NDArray[np.int64]  # [batch] that of the reward, times 4
    landings: NDArray[np.int64]  # [steps, batch] where one lands who has found it, times 4
    done: NDArray[np.bool_]  # [batch]


@dataclass(frozen=True)
class MetaMaze(Environment):
    """reward 10 in one cell that cannot be seen; whoever finds it lands in any cell, and is done if it is the same

    As in `Maze`, but: the reward may lie in the centre, where episodes begin; one may land on it again, which ends the
    episode, as the end of a step on it does; actions are up, right, down and left; and the network receives the walls
    among the 3x3 cells around, the last action, one-hot, the last reward, and the number of steps so far: 15 inputs.
    gymnax' default is a maze of 9x9 inside the wall, and 201 steps, since an episode is over once more than 200 are.

    Args:
        size: of the square, odd, outer wall included.
        steps: the most of an episode.
    """

    size: int = 11
    steps: int = 201  # pyright: ignore[reportIncompatibleMethodOverride]

    def check(self) -> None:
        check_size("MetaMaze.size", self.size)
        positive(self, "steps")

    @property
    def inputs(self) -> int:
        return _INPUTS

    @property
    def actions(self) -> int:
        return 4

    def reset(self, batch: int, rng: Generator) -> tuple[_State, Moment]:
        maze = grid(self.size, _UP_RIGHT_DOWN_LEFT)
        cells = len(maze.places)
        goal = torch.randint(cells, (batch,), generator=rng).mul_(4).numpy()
        landings = torch.randint(cells, (self.steps, batch), generator=rng).mul_(4).numpy()
        state = _State(0, np.full(batch, 4 * maze.centre), goal, landings, np.zeros(batch, np.bool_))
        return state, _moment(_seen(self.size).take(state.cell, 0), np.zeros(batch, np.float32), state.done)

    def step(self, state: _State, actions: Tensor, rng: Generator) -> tuple[_State, Moment]:
        time, cell, goal, landings, done = state
        action = actions.numpy()
        cell = grid(self.size, _UP_RIGHT_DOWN_LEFT).after.take(cell + action)
        found = cell == goal
        reward = (found & ~done) * np.float32(10.0)
        np.copyto(cell, landings[time], where=found)
        done = done | (cell == goal) | (time + 1 == self.steps)
        observation = _seen(self.size).take(cell + action, 0)
        observation[:, _REWARD] = reward
        observation[:, _TIME] = time + 1
        return _State(time + 1, cell, goal, landings, done), _moment(observation, reward, done)

    def frame(self, state: _State, episode: int) -> str:
        places = grid(self.size, _UP_RIGHT_DOWN_LEFT).places
        return drawn(places, int(state.cell[episode]) // 4, int(state.goal[episode]) // 4)


def _moment(observation: NDArray[np.float32], reward: NDArray[np.float32], done: NDArray[np.bool_]) -> Moment:
    return Moment(torch.from_numpy(observation), torch.from_numpy(reward), done=torch.from_numpy(done))


@cache
def _seen(size: int) -> NDArray[Any]:
    """The inputs in every cell after every action, but for reward and time [4 * cells, inputs]."""
    maze = grid(size, _UP_RIGHT_DOWN_LEFT)
    return np.concatenate([maze.windows, maze.last, np.zeros((len(maze.last), 2), np.float32)], 1)
