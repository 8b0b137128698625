"""Networks that act in environments: whole episodes, recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple, cast

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Environment, Moment, Played
from plastic_search.network.interventions import Given
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.rollout import Rollout
from plastic_search.training import environment_contract as contract

__all__ = ["Ablation", "Recording", "act", "member", "play", "stepped"]

Ablation = Callable[[int], Given]  # from the number of steps to arguments of `Network.forward`
Step = Callable[[Tensor, Tensor | None], Tensor]  # see `act`


class Recording(NamedTuple):
    """Episodes of several networks, whose tensors have an axis over networks before all others.

    Args:
        played: the episodes.
        alive: whether an episode was still going on when an action was taken [member, time, batch]; None: each was.
    """

    played: Played
    alive: Tensor | None


def play(
    net: Network | Population, environment: Environment, batch: int, rng: Generator | Sequence[Generator],
    ablation: Ablation | None = None,
) -> Played:  # fmt: skip
    """Play a batch of episodes, without gradients.

    Where actions are an index, they are drawn from the softmax of the first `actions` outputs; where they are
    continuous, those outputs are the action, clamped to [-1, 1]. Further outputs, such as a value, are not read.

    Args:
        rng: on the CPU, the source of all chance: a generator, or of a population one a member.
        ablation: what is imposed on the network: from the number of steps to arguments of `Network.forward`, such as
            `evaluation.frozen`.

    Returns:
        The episodes. Of a population, every tensor has an axis over members before all others.

    Raises:
        PlasticSearchError: the environment returns something else than `environments.Environment` describes, or the
            network's sizes do not fit it.
    """
    rngs = [rng] if isinstance(rng, Generator) else list(rng)
    many = isinstance(net, Population)
    members = len(net) if many else 1
    if len(rngs) != members:
        raise PlasticSearchError(f"{members} networks want as many generators, but there are {len(rngs)}")
    contract.check_network(environment, net)
    with torch.no_grad():
        given = ablation(environment.steps) if ablation else None
        step = stepped(Rollout(net, batch, steps=0), given, single=not many)
        played = act(step, environment, batch, rngs, next(net.parameters())).played
    return played if many else member(played, 0)


def member(played: Played, k: int) -> Played:
    """The episodes of one network of a `Recording`."""
    *others, marks = played
    own = [None if each is None else each[k] for each in others]
    return Played(*own, marks={name: each[k] for name, each in marks.items()})  # type: ignore[arg-type]


def act(
    step: Step, environment: Environment, batch: int, rngs: Sequence[Generator], like: Tensor,
    watch: Callable[[Any], None] | None = None,
) -> Recording:  # fmt: skip
    """Play a batch of episodes of each of several networks, side by side.

    Args:
        step: takes a time step of all networks: from observations [member, batch, inputs], and which episodes' cells
            are cleared before [member, batch] (None: none), to outputs [member, batch, outputs].
        rngs: one a network, the only source of chance in its episodes.
        like: a tensor of the type and device of the networks.
        watch: receives the environment's state of each network, at the start and after each action.

    Raises:
        PlasticSearchError: the environment returns something else than `environments.Environment` describes.
    """
    noise = None if environment.continuous else _noise(environment, batch, rngs)
    games = [_Game(environment, batch, rng, like, watch) for rng in rngs]
    actions: list[Tensor] = []
    for t in range(environment.steps):
        x = torch.stack([game.moment.observation for game in games]).to(like.device)
        outputs = step(x, _clear(games))[..., : environment.actions].cpu()
        actions.append(outputs.clamp(-1.0, 1.0) if noise is None else (outputs - noise[:, t]).argmax(-1))
        for game, own in zip(games, actions[-1], strict=True):
            game.step(own)
        if all(game.over for game in games):
            break
    return _recording(games, torch.stack(actions, 1), like.device)


class _Game:
    """The episodes of one network, as far as they were played."""

    def __init__(
        self, environment: Environment, batch: int, rng: Generator, like: Tensor, watch: Callable[[Any], None] | None
    ) -> None:
        self._environment, self._rng, self._like, self._watch = environment, rng, like, watch
        self._state, self.moment = contract.begin(environment, batch, rng, like)
        if watch:
            watch(self._state)
        self.before: list[Moment] = []  # of each action
        self.after: list[Moment] = []
        self.over = False

    def step(self, actions: Tensor) -> None:
        """Act, unless all episodes are over."""
        self.before.append(self.moment)
        if not self.over:
            self._state, self.moment = contract.act(self._environment, self._state, actions, self._rng, self._like)
            self.over = self.moment.done is not None and bool(self.moment.done.all())
            if self._watch:
                self._watch(self._state)
        self.after.append(self.moment)

    def alive(self) -> Tensor | None:
        """Whether each episode is going on when an action is taken [time, batch]; None where none ends early."""
        if all(moment.done is None for moment in self.before):
            return None
        none = torch.zeros(self.moment.reward.shape, dtype=torch.bool)
        return ~(torch.stack([none if m.done is None else m.done for m in self.before]).cumsum(0) > 0)

    def played(self, actions: Tensor) -> Played:
        """The episodes [time, batch, ...]."""
        rewards = torch.stack([moment.reward for moment in self.after])
        one = torch.ones_like(rewards[0])
        weights = torch.stack([one if m.weight is None else m.weight.to(one.dtype) for m in self.before])
        if (alive := self.alive()) is not None:
            rewards, weights = torch.where(alive, rewards, 0.0), weights * alive
        trials = None
        if any(moment.trial is not None for moment in self.after):
            none = torch.full(one.shape, -1)
            trials = torch.stack([none if m.trial is None else m.trial for m in self.after])
        observations = torch.stack([moment.observation for moment in self.before])
        contract.check_marks(self._environment, self.after)
        marks = {name: torch.stack([m.marks[name] for m in self.after]) for name in self.after[0].marks}
        return Played(observations, actions, rewards, weights, trials, marks)


def _recording(games: list[_Game], actions: Tensor, device: torch.device) -> Recording:
    """All episodes of all networks, on a device."""
    each = [game.played(own) for game, own in zip(games, actions, strict=True)]

    def together(tensors: Sequence[Tensor | None]) -> Any:
        return None if tensors[0] is None else torch.stack(cast(list[Tensor], tensors)).to(device)

    marks = {name: together([one.marks[name] for one in each]) for name in each[0].marks}
    tensors = [together([one[i] for one in each]) for i in range(5)]  # type: ignore[misc]
    return Recording(Played(*tensors, marks=marks), together([game.alive() for game in games]))


def _noise(environment: Environment, batch: int, rngs: Sequence[Generator]) -> Tensor:
    """What is subtracted from logits, so that the largest is drawn from their softmax [member, time, batch, actions].

    argmax(logit - log e) of e ~ Exp(1) is a draw from the softmax (Gumbel 1954).
    """
    size, tiny = (environment.steps, batch, environment.actions), torch.finfo(torch.get_default_dtype()).tiny
    return torch.stack([torch.empty(size).exponential_(generator=rng) for rng in rngs]).clamp_min_(tiny).log_()


def _clear(games: list[_Game]) -> Tensor | None:
    """Which episodes' cells are cleared before the next step [member, batch]; None where none is."""
    found = [game.moment.clear for game in games]
    if all(each is None or not bool(each.any()) for each in found):
        return None
    none = torch.zeros(games[0].moment.reward.shape, dtype=torch.bool)
    return torch.stack([none if each is None else each for each in found])


def stepped(rollout: Rollout, given: Given | None = None, single: bool = False) -> Step:
    """The steps of a rollout, as `act` takes them.

    Args:
        given: what is imposed, by step: freeze, clamp and shuffle, as those of `Network.forward`.
        single: whether it is of one network, whose tensors have no axis over members.
    """
    imposed: Any = dict(given or {})
    if others := imposed.keys() - {"freeze", "clamp", "shuffle"}:
        raise PlasticSearchError(f"in an environment an ablation can freeze, clamp and shuffle, but not {min(others)}")
    seeds = imposed.pop("shuffle", None)
    time = count()

    def step(x: Tensor, clear: Tensor | None) -> Tensor:
        t = next(time)
        if seeds is not None and int(seeds[t]) >= 0:
            rollout.shuffle(int(seeds[t]))
        here = {name: value[t] if value.dim() > 1 else value[t].item() for name, value in imposed.items()}
        if clear is not None:
            here["clear"] = clear[0] if single else clear
        return rollout.step(x[0], **here).unsqueeze(0) if single else rollout.step(x, **here)

    return step
