"""How long does an update of the actor-critic in the maze take, beside a plain PyTorch loop of the same?

30 episodes of 200 steps, 100 units with simple modulation (`search_spaces/published_maze_simple.py`), one network:
actions, environment, loss, backward pass and Adam. The loop is written as one writes it in torch: a graph is built
while the network acts, and the loss is differentiated through it. Both play the same episodes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_search.core.loading import value
from plastic_search.environments.maze import Maze
from plastic_search.experiments.bench.side_by_side import SideBySide
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.trainers.actor_critic import ActorCritic
from plastic_search.training import environment_contract
from plastic_search.training.optimisers import Adam


def _settings() -> tuple[Maze, ActorCritic, Network]:
    """The paper's environment, trainer and network."""
    maze = Maze(size=11, steps=200)
    trainer = ActorCritic(steps=10_000, learning_rate=1e-4, batch=30, clip=4.0, optimiser=Adam(epsilon=1e-4))
    return maze, trainer, Network(value("search_spaces", "published_maze_simple"), maze.inputs, seed=0)


class _Weights(NamedTuple):
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
    def of(cls, net: Network) -> "_Weights":
        hidden, last = net.parts()
        inputs = net.inputs
        tensors = (
            hidden.weight[0, :, :inputs], hidden.weight[0, :, inputs:], hidden.bias[0], hidden.alpha,
            hidden.modulation.weight, hidden.modulation.bias, last.weight[0], last.bias[0],
        )  # fmt: skip
        return cls(*(tensor.detach().clone().requires_grad_() for tensor in tensors))


class _PlainLoop:
    """The same training as a loop over time in torch."""

    def __init__(self) -> None:
        self.maze, self.trainer, net = _settings()
        self.weights = _Weights.of(net)
        self.rng = torch.Generator().manual_seed(0)
        self.adam = torch.optim.Adam(self.weights, self.trainer.learning_rate, eps=1e-4)
        self.loss = 0.0

    def update(self) -> None:
        w, batch = self.weights, self.trainer.batch
        # drawn as the trainer draws it, so that both play the same episodes
        noise = torch.empty(self.maze.steps, batch, self.maze.actions).exponential_(generator=self.rng).log()
        state, moment = self.maze.reset(batch, self.rng)
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
            state, moment = self.maze.step(state, action, self.rng)
            outputs.append(output)
            actions.append(action)
            rewards.append(moment.reward)
        loss = self._loss(torch.stack(outputs), torch.stack(actions), rewards)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, self.trainer.clip)
        self.adam.step()
        self.loss = float(loss.detach())

    def _loss(self, outputs: Tensor, actions: Tensor, rewards: list[Tensor]) -> Tensor:
        total, returns = torch.zeros(self.trainer.batch), []
        for reward in reversed(rewards):
            total = reward + self.trainer.gamma * total
            returns.insert(0, total)
        logs, values = outputs[..., :-1].log_softmax(-1), outputs[..., -1]
        error = torch.stack(returns) - values
        chosen = logs.gather(2, actions.unsqueeze(2)).squeeze(2)
        policy = -chosen * error.detach() + self.trainer.concentration * logs.exp().square().sum(2)
        return (policy + self.trainer.value * error.square()).mean()


def plain_loop() -> Callable[[], None]:
    """A loop over time in torch."""
    return _PlainLoop().update


def actor_critic() -> Callable[[], None]:
    """`ActorCritic`, whose first loss is that of the loop."""
    maze, trainer, net = _settings()
    training, loop = trainer.begin(Population([net]), maze, (0,)), _PlainLoop()
    training.advance(1)
    loop.update()
    if abs(float(training.running) - loop.loss) > 1e-5:
        raise ValueError(f"the losses of the first update differ: {float(training.running)} and {loop.loss}")
    return lambda: training.advance(1)


def environment() -> Callable[[], None]:
    """The steps that an update takes in the environment, with the checks of what it returns."""
    maze, trainer, _ = _settings()
    rng, like = torch.Generator().manual_seed(0), torch.zeros(1)
    actions = torch.randint(maze.actions, (maze.steps, trainer.batch), generator=rng)

    def steps() -> None:
        state, _ = environment_contract.begin(maze, trainer.batch, rng, like)
        for now in actions:
            state, _ = environment_contract.act(maze, state, now, rng, like)

    return steps


BENCHMARK = SideBySide(
    question="How much faster than a plain PyTorch loop is an update of the actor-critic in the maze?",
    contenders=(plain_loop, actor_critic, environment),
)
