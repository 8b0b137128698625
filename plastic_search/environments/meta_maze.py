"""MetaMaze: the maze of Backpropamine as gymnax (Lange 2022) has it, to compare with what is reported there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.environments import Environment, Moment
from plastic_search.environments._grid import check_size, drawn, grid

_UP_RIGHT_DOWN_LEFT = ((-1, 0), (0, 1), (1, 0), (0, -1))
_REWARD, _TIME, _INPUTS = 13, 14, 15  # 9 walls, 4 for the last action, reward, steps so far


class _State(NamedTuple):
    time: int
    cell: Tensor  # [batch] free cell times 4, a row of the tables
    goal: Tensor  # [batch] that of the reward, times 4
    landings: Tensor  # [steps, batch] where one lands who has found it, times 4
    done: Tensor  # [batch]


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
        goal = torch.randint(cells, (batch,), generator=rng) * 4
        landings = torch.randint(cells, (self.steps, batch), generator=rng) * 4
        cell, done = torch.full((batch,), 4 * maze.centre), torch.zeros(batch, dtype=torch.bool)
        moment = Moment(_seen(self.size)[cell], torch.zeros(batch), done=done)
        return _State(0, cell, goal, landings, done), moment

    def step(self, state: _State, actions: Tensor, rng: Generator) -> tuple[_State, Moment]:
        time, cell, goal, landings, done = state
        cell = grid(self.size, _UP_RIGHT_DOWN_LEFT).after.index_select(0, cell + actions)
        found = cell == goal
        reward = (found & ~done) * 10.0
        cell = torch.where(found, landings[time], cell)
        done = done | (cell == goal)
        observation = _seen(self.size).index_select(0, cell + actions)
        observation[:, _REWARD] = reward
        observation[:, _TIME] = time + 1
        state = state._replace(time=time + 1, cell=cell, done=done)
        return state, Moment(observation, reward, done=done if time + 1 < self.steps else torch.ones_like(done))

    def frame(self, state: _State, episode: int) -> str:
        places = grid(self.size, _UP_RIGHT_DOWN_LEFT).places
        return drawn(places, int(state.cell[episode]) // 4, int(state.goal[episode]) // 4)


@cache
def _seen(size: int) -> Tensor:
    """The inputs in every cell after every action, but for reward and time [4 * cells, inputs]."""
    maze = grid(size, _UP_RIGHT_DOWN_LEFT)
    return torch.cat([maze.windows, maze.last, torch.zeros(len(maze.last), 2)], 1)
