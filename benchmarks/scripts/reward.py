"""How long does an update of the actor-critic in the maze take, beside a plain PyTorch loop of the same?

Run it as a file: `OMP_NUM_THREADS=1 python benchmarks/scripts/reward.py [rounds]`. 30 episodes of 200 steps, 100 units
with simple modulation (`search_spaces/published_maze_simple.py`), one network: actions, environment, loss, backward
pass and Adam. The loop is written as one writes it in torch: a graph is built while the network acts, and the loss is
differentiated through it. CPU time, one thread, the contenders in turn; the loss of both is compared first.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.loading import value
from plastic_search.environments.maze import Maze
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.training import environment_contract
from plastic_search.training.optimisers import Adam

MAZE = Maze(size=11, steps=200)
TRAINER = ActorCritic(steps=10_000, learning_rate=1e-4, batch=30, clip=4.0, optimiser=Adam(epsilon=1e-4))


class Weights(NamedTuple):
    """Of the same network, as a user of torch has them."""

    inputs: Tensor  # [units, 17]
    recurrent: Tensor  # [units, units]
    bias: Tensor  # [units]
    alpha: Tensor  # [units, units]
    modulator: Tensor  # [units]
    modulator_bias: Tensor  # [1]
    readout: Tensor  # [5, units]
    readout_bias: Tensor  # [5]

    @classmethod
    def of(cls, net: Network) -> Weights:
        hidden, last = net.parts()
        inputs = net.inputs
        tensors = (
            hidden.weight[0, :, :inputs], hidden.weight[0, :, inputs:], hidden.bias[0], hidden.alpha,
            hidden.modulation.weight, hidden.modulation.bias, last.weight[0], last.bias[0],
        )  # fmt: skip
        return cls(*(tensor.detach().clone().requires_grad_() for tensor in tensors))


class PlainLoop:
    """The same training as a loop over time in torch."""

    def __init__(self, net: Network, seed: int) -> None:
        self.weights = Weights.of(net)
        self.rng = torch.Generator().manual_seed(seed)
        self.adam = torch.optim.Adam(self.weights, TRAINER.learning_rate, eps=1e-4)
        self.loss = 0.0

    def update(self) -> None:
        w, batch = self.weights, TRAINER.batch
        # drawn as the trainer draws it, so that both play the same episodes
        noise = torch.empty(MAZE.steps, batch, MAZE.actions).exponential_(generator=self.rng).log()
        state, moment = MAZE.reset(batch, self.rng)
        h, trace = torch.zeros(batch, 100), torch.zeros(batch, 100, 100)
        outputs, actions, rewards = [], [], []
        for each in noise:
            drive = moment.observation @ w.inputs.T + w.bias + h @ w.recurrent.T
            now = torch.tanh(drive + torch.bmm(w.alpha * trace, h.unsqueeze(2)).squeeze(2))
            rate = torch.tanh(now @ w.modulator + w.modulator_bias)
            change = torch.bmm(now.unsqueeze(2), h.unsqueeze(1))
            trace = torch.clamp(trace + rate.view(-1, 1, 1) * change, -1.0, 1.0)
            h = now
            output = h @ w.readout.T + w.readout_bias
            action = (output[:, :-1].detach() - each).argmax(1)
            state, moment = MAZE.step(state, action, self.rng)
            outputs.append(output)
            actions.append(action)
            rewards.append(moment.reward)
        loss = self._loss(torch.stack(outputs), torch.stack(actions), rewards)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, TRAINER.clip)
        self.adam.step()
        self.loss = float(loss.detach())

    def _loss(self, outputs: Tensor, actions: Tensor, rewards: list[Tensor]) -> Tensor:
        total, returns = torch.zeros(TRAINER.batch), []
        for reward in reversed(rewards):
            total = reward + TRAINER.gamma * total
            returns.insert(0, total)
        logs, values = outputs[..., :-1].log_softmax(-1), outputs[..., -1]
        error = torch.stack(returns) - values
        chosen = logs.gather(2, actions.unsqueeze(2)).squeeze(2)
        policy = -chosen * error.detach() + TRAINER.concentration * logs.exp().square().sum(2)
        return (policy + TRAINER.value * error.square()).mean()


def seconds(work: Callable[[], object]) -> float:
    """Of CPU time."""
    began = time.process_time()
    work()
    return time.process_time() - began


def environment_alone(rng: Generator) -> None:
    """The steps that an update takes in the environment, with the checks of what it returns."""
    like = torch.zeros(1)
    actions = torch.randint(MAZE.actions, (MAZE.steps, TRAINER.batch), generator=rng)
    state, _ = environment_contract.begin(MAZE, TRAINER.batch, rng, like)
    for now in actions:
        state, _ = environment_contract.act(MAZE, state, now, rng, like)


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    net = Network(value("search_spaces", "published_maze_simple"), MAZE.inputs, seed=0)
    ours = TRAINER.begin(Population([net]), MAZE, (0,))
    five = TRAINER.begin(Population([net] * 5), MAZE, range(5))
    loop, rng = PlainLoop(net, 0), torch.Generator().manual_seed(0)
    for training in (ours, five):
        training.advance(1)
    loop.update()
    print(f"loss of the first update: ours {float(ours.running):.6f}, the loop's {loop.loss:.6f}")
    found: dict[str, list[float]] = {"ours": [], "loop": [], "environment": [], "five seeds": []}
    for _ in range(rounds):
        found["ours"].append(seconds(lambda: ours.advance(1)))
        found["loop"].append(seconds(loop.update))
        found["environment"].append(seconds(lambda: environment_alone(rng)))
        found["five seeds"].append(seconds(lambda: five.advance(1)) / 5)
    for name, times in found.items():
        print(f"{name:12} {statistics.median(times):.4f} s  ({min(times):.4f} to {max(times):.4f})")
    for name in ("ours", "five seeds"):
        ratios = [a / b for a, b in zip(found["loop"], found[name], strict=True)]
        shares = [a / b for a, b in zip(found["environment"], found[name], strict=True)]
        span = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(
            f"{name}: {statistics.median(ratios):.1f} times as fast as the loop ({span}),"
            f" environment {100 * statistics.median(shares):.0f} %"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
