"""How many steps a second do the environments take on one thread, without any network?

Run it as a file: `OMP_NUM_THREADS=1 python benchmarks/scripts/environments.py [batch]`. Actions are drawn in advance.
"""

from __future__ import annotations

import sys
import time

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plastic_search.environments import Environment
from plastic_search.environments.bandit import Bandit
from plastic_search.environments.cue_reward import CueReward
from plastic_search.environments.maze import Maze
from plastic_search.environments.meta_maze import MetaMaze
from plastic_search.environments.transitive_inference import TransitiveInference

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


def main(batch: int) -> None:
    torch.set_num_threads(1)
    print(f"{'environment':24}{'steps/s':>16}{'without reset':>16}{'operations a step':>20}  (batch {batch:,})")
    for environment in ENVIRONMENTS:
        whole, steps, operations = measured(environment, batch)
        print(f"{type(environment).__name__:24}{whole:16,.0f}{steps:16,.0f}{operations:20}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
