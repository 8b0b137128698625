"""The mazes: where one can go, what one sees, and what a policy that does not learn scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Moment
from plastic_search.environments._grid import grid
from plastic_search.environments.maze import Maze, Start
from plastic_search.environments.meta_maze import MetaMaze
from plastic_search.testing.environments import played_by, uniform

SEVEN = """\
#######
#.....#
#.#.#.#
#..@..#
#.#.#.#
#.....#
#######"""
NINE = """\
#########
#.......#
#.#.#.#.#
#.......#
#.#.@.#.#
#.......#
#.#.#.#.#
#.......#
#########"""


@pytest.mark.parametrize(("size", "drawing"), [(7, SEVEN), (9, NINE)])
def test_pillars_stand_at_even_cells_and_the_centre_is_free(size: int, drawing: str) -> None:
    maze = Maze(size)
    state, _ = maze.reset(1, torch.Generator().manual_seed(0))
    drawn = maze.frame(state, 0)
    assert drawn.count("*") == 1
    assert drawn.replace("*", ".") == drawing


def test_the_published_sizes() -> None:
    assert len(grid(11).places) == 81 - 16
    assert len(grid(13).places) == 121 - 24
    assert Maze().inputs == 17


def test_a_walk_by_hand() -> None:
    """From the centre of size 7, (3, 3): up, up against a wall, left to the reward at (1, 2), then elsewhere."""
    maze = Maze(7, steps=10, wall_penalty=0.5)
    rng = torch.Generator().manual_seed(0)
    state, moment = maze.reset(1, rng)
    places = grid(7).places
    state = state._replace(goal=np.array([4 * places.index((1, 2))]))
    landing = places[state.landings[3, 0] // 4]
    assert moment.observation[0].tolist() == [1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0]
    rewards, seen = [], []
    for action in (0, 0, 0, 2):
        state, moment = maze.step(state, torch.tensor([action]), rng)
        rewards.append(moment.reward.item())
        seen.append(moment.observation[0])
    assert rewards == [0.0, 0.0, -0.5, 10.0]
    assert seen[0][:9].tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 0], "at (2, 3), between two pillars"
    assert seen[2][9:].tolist() == pytest.approx([0, 1, 0.3, -0.5, 1, 0, 0, 0])
    assert seen[3][9:].tolist() == pytest.approx([0, 1, 0.4, 10, 0, 0, 1, 0])
    row, column = landing
    around = [(row + i, column + j) not in places for i in (-1, 0, 1) for j in (-1, 0, 1)]
    assert seen[3][:9].tolist() == around, "what is seen after the reward is the place where one landed"


@pytest.mark.parametrize(("size", "low", "high"), [(11, 6.0, 8.0), (13, 4.0, 7.0)])
def test_a_policy_that_draws_actions_scores_as_published(size: int, low: float, high: float) -> None:
    maze = Maze(size)
    found = maze.metrics(played_by(uniform(maze), maze, 2000, seed=0))
    assert low < found["reward"].mean() < high


def test_who_knows_the_way_scores_far_more() -> None:
    maze = Maze(7, steps=60)
    tables = grid(7)
    cells = len(tables.places)
    distance = torch.full((cells, cells), 99)
    distance.fill_diagonal_(0)
    step = torch.from_numpy(tables.after // 4).view(cells, 4)
    for _ in range(cells):
        distance = torch.minimum(distance, 1 + distance[step].amin(1))  # [from, to]
    rng = torch.Generator().manual_seed(0)
    state, moment = maze.reset(100, rng)
    total = torch.zeros(100)
    for _ in range(60):
        cell, goal = torch.from_numpy(state.cell // 4), torch.from_numpy(state.goal // 4)
        state, moment = maze.step(state, distance[step[cell], goal.unsqueeze(1)].argmin(1), rng)
        total += moment.reward
        assert (state.cell != state.goal).all()
    assert total.mean() / 10 > 60 / 5.5, "a reward at least every five steps or so"


def test_a_random_start_is_anywhere_but_at_the_reward() -> None:
    maze = Maze(7, start=Start.RANDOM)
    state, _ = maze.reset(3000, torch.Generator().manual_seed(0))
    assert not (state.cell == state.goal).any()
    for found, missing in ((state.cell, ()), (state.goal, (grid(7).centre,))):
        counts = np.bincount(found // 4, minlength=len(grid(7).places))
        assert [k for k, count in enumerate(counts) if not count] == list(missing)
    assert not (state.landings == state.goal).any()


def test_an_episode_of_metamaze_is_over_where_one_lands_on_the_reward() -> None:
    maze = MetaMaze(7, steps=400)

    def policy(moment: Moment, rng: Generator) -> Tensor:
        return torch.randint(4, moment.reward.shape, generator=rng)

    episodes = played_by(policy, maze, 400, seed=0)
    assert maze.inputs == 15
    last = (episodes.weights > 0).sum(0)
    early = last < 400
    assert 0.1 < early.float().mean() < 0.9
    ended = episodes.rewards[last - 1, torch.arange(400)][early]
    assert (ended == 10).all(), "with a reward, after which one landed on it"


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Maze(8), "Maze.size must be odd and at least 5, outer wall included, but is 8"),
    (lambda: MetaMaze(3), "MetaMaze.size must be odd"),
    (lambda: Maze(steps=0), "steps must be above 0"),
    (lambda: Maze(wall_penalty=-1.0), "wall_penalty must be at least 0"),
])  # fmt: skip
def test_a_maze_that_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        make()  # type: ignore[operator]
