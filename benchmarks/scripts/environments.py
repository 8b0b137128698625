"""How many steps a second do the environments take on one thread, without any network, and a plastic network in one?

Run it as a file: `OMP_NUM_THREADS=1 python benchmarks/scripts/environments.py [batch]`. Actions are drawn in advance;
those of the network are drawn from its outputs.
"""

from __future__ import annotations

import sys
import time

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plastic_search.cells.linear import Linear
from plastic_search.environments import Environment
from plastic_search.environments.bandit import Bandit
from plastic_search.environments.cue_reward import CueReward
from plastic_search.environments.maze import Maze
from plastic_search.environments.meta_maze import MetaMaze
from plastic_search.environments.transitive_inference import TransitiveInference
from plastic_search.modulations.simple import Simple
from plastic_search.network.module import Network
from plastic_search.network.rollout import Rollout
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.structures.feed_forward import FeedForward

ENVIRONMENTS = (Maze(11), Maze(13, wall_penalty=0.1), MetaMaze(), CueReward(), TransitiveInference(), Bandit())
REPEATS = 7


class Counted(TorchDispatchMode):
    """Counts the operations of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        return func(*args, **(kwargs or {}))


def measured(environment: Environment, batch: int) -> tuple[float, float, int]:
    """The best of some runs: steps a second of CPU time with `reset`, without it, and the operations of a step."""
    rng = torch.Generator().manual_seed(0)
    actions = torch.randint(environment.actions, (environment.steps, batch), generator=rng)
    whole, steps = [], []
    for _ in range(REPEATS):
        began = time.process_time()
        state, _ = environment.reset(batch, rng)
        reset = time.process_time()
        for now in actions:
            state, _ = environment.step(state, now, rng)
        ended = time.process_time()
        whole.append(actions.numel() / (ended - began))
        steps.append(actions.numel() / (ended - reset))
    state, _ = environment.reset(batch, rng)
    with Counted() as counted:
        environment.step(state, actions[0], rng)
    return max(whole), max(steps), counted.operations


@torch.no_grad()
def agent(batch: int = 256, units: int = 100) -> tuple[float, float]:
    """The best of some runs of a plastic, modulated network in a maze: steps a second with the maze, and without it."""
    maze, rng = Maze(9), torch.Generator().manual_seed(0)
    readout = Layer(maze.actions + 1, Linear(), structure=FeedForward())
    net = Network(NetworkSpec((Layer(units, modulation=Simple(), plastic=Pathway.RECURRENT), readout)), maze.inputs)
    whole, alone = [], []
    for _ in range(REPEATS):
        rollout, network = Rollout(net, batch, steps=0), 0.0
        state, moment = maze.reset(batch, rng)
        rollout.step(moment.observation)  # compiles
        began = time.process_time()
        for _ in range(maze.steps):
            before = time.process_time()
            logits = rollout.step(moment.observation)[:, : maze.actions]
            network += time.process_time() - before
            actions = logits.softmax(1).multinomial(1, generator=rng).squeeze(1)
            state, moment = maze.step(state, actions, rng)
        whole.append(maze.steps * batch / (time.process_time() - began))
        alone.append(maze.steps * batch / network)
    return max(whole), max(alone)


def main(batch: int) -> None:
    torch.set_num_threads(1)
    print(f"{'environment':24}{'steps/s':>16}{'without reset':>16}{'operations a step':>20}  (batch {batch:,})")
    for environment in ENVIRONMENTS:
        whole, steps, operations = measured(environment, batch)
        print(f"{type(environment).__name__:24}{whole:16,.0f}{steps:16,.0f}{operations:20}")
    whole, alone = agent()
    print(f"a plastic network of 100 units, batch 256: {whole:,.0f} steps/s in Maze(9), {alone:,.0f} without the maze")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
