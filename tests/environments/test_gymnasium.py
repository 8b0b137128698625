"""Environments of Gymnasium, and the ant that loses a leg."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import _copies
from plastic_search.environments._copies import NotInstalled
from plastic_search.environments.crippled_ant import CrippledAnt, Leg
from plastic_search.environments.gymnasium import Gymnasium
from plastic_search.testing import environment_promises
from plastic_search.testing.environments import played_by, uniform

gymnasium = pytest.importorskip("gymnasium", reason="Gymnasium is not installed: the extra rl")


@pytest.fixture
def ours() -> Iterator[str]:
    """An environment of few lines: walk to 1.0 by actions from 0 to 0.5, or below 0; the episode is over there."""

    class Walk(gymnasium.Env):
        observation_space = gymnasium.spaces.Dict(
            {"at": gymnasium.spaces.Box(-9.0, 9.0, (1,)), "side": gymnasium.spaces.Discrete(2)}
        )
        action_space = gymnasium.spaces.Box(0.0, 0.5, (1,))

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.at = self.np_random.uniform(0.0, 0.1)
            return self._seen(), {}

        def step(self, action: Any) -> Any:
            self.at += float(action[0])
            return self._seen(), float(action[0]), self.at >= 1.0, False, {}

        def _seen(self) -> Any:
            return {"at": np.array([self.at], np.float32), "side": int(self.at > 0.5)}

    gymnasium.register("Walk-v0", entry_point=Walk, max_episode_steps=30)
    yield "Walk-v0"
    del gymnasium.registry["Walk-v0"]
    _copies.spaces.cache_clear()
    _copies._FREE.clear()


def test_actions_are_scaled_observations_flattened_and_episodes_end_alone(ours: str) -> None:
    walk = Gymnasium(ours)
    assert (walk.inputs, walk.actions, walk.steps, walk.continuous) == (3, 1, 30, True)
    pace = torch.tensor([[1.0], [-0.6], [-1.0]])  # 0.5, 0.1 and 0 a step
    episodes = played_by(lambda moment, rng: pace, walk, 3, seed=0)
    assert (episodes.weights > 0).sum(0).tolist() == [2, 10, 30]
    assert episodes.rewards[:, 0].tolist() == [0.5, 0.5] + 28 * [0.0]
    assert episodes.observations[2:, 0, 1:].unique(dim=0).tolist() == [[0.0, 1.0]], "at 0.5 it is on the other side"
    environment_promises(walk)


@pytest.mark.parametrize("environment", [
    Gymnasium("CartPole-v1", limit=60),  # has a version for batches
    Gymnasium("Acrobot-v1", limit=40),  # has none
    Gymnasium("Pendulum-v1", limit=40, options=(("g", 5.0),)),
])  # fmt: skip
def test_those_of_gymnasium_keep_the_promises(environment: Gymnasium) -> None:
    environment_promises(environment)


def test_an_episode_by_a_batch_and_one_by_one_is_the_same() -> None:
    """Each is played by its own pole; only the seeds differ, so the lengths of many episodes are compared."""
    environment = Gymnasium("CartPole-v1", limit=100)
    together = played_by(uniform(environment), environment, 400, seed=0).rewards.sum(0)
    recipe = _copies.Recipe("CartPole-v1", 100, ())
    alone = _copies.spaces(recipe)._replace(together=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_copies, "spaces", lambda recipe: alone)
        found = played_by(uniform(environment), environment, 400, seed=1).rewards.sum(0)
    assert together.mean() == pytest.approx(22, abs=2)
    assert found.mean() == pytest.approx(22, abs=2)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Gymnasium("CartPoll-v1").inputs, "Gymnasium cannot make 'CartPoll-v1'.*CartPole"),
    (lambda: Gymnasium(options=(("gravity", 1),)).inputs, "cannot make 'CartPole-v1' with .*'gravity'"),
    (lambda: Gymnasium(limit=0), "limit must be at least 1"),
    (lambda: Gymnasium(options=("gravity",)), "pairs of a name and a value, but holds 'gravity'"),
    (lambda: CrippledAnt(lost_at=1000), "lost_at must be 0 to 999"),
])  # fmt: skip
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(PlasticSearchError, match=message):
        make()


@pytest.mark.parametrize("missing", ["gymnasium", "mujoco"])
def test_what_is_not_installed_is_named_with_the_command_that_does(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    if missing == "mujoco":
        monkeypatch.setattr(gymnasium, "make", _without_mujoco)
    with pytest.raises(PlasticSearchError, match=r'pip install "plastic-search\[rl\]"'):
        _ = CrippledAnt(steps=77).inputs


def _without_mujoco(*args: Any, **kwargs: Any) -> Any:
    raise gymnasium.error.DependencyNotInstalled("MuJoCo is not installed")


@pytest.fixture
def _body() -> None:
    try:
        _ = CrippledAnt().inputs
    except NotInstalled as missing:
        pytest.skip(str(missing))


@pytest.mark.usefixtures("_body")
def test_motors_of_the_ant_are_in_the_order_of_legs() -> None:
    mujoco = pytest.importorskip("mujoco")
    body = gymnasium.make("Ant-v5")
    model = body.unwrapped.model  # type: ignore[attr-defined]
    joints = [model.actuator_trnid[k, 0] for k in range(model.nu)]
    names = [mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_JOINT, k) for k in joints]
    assert names == [f"{joint}_{leg}" for leg in (4, 1, 2, 3) for joint in ("hip", "ankle")]


@pytest.mark.usefixtures("_body")
def test_a_lost_leg_does_nothing_and_is_drawn_evenly() -> None:
    full = torch.ones(2, 8)

    def after(ant: CrippledAnt, steps: int, actions: Tensor = full) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        state, moment = ant.reset(2, rng)
        for _ in range(steps):
            state, moment = ant.step(state, actions, rng)
        return moment.observation

    intact = after(CrippledAnt(Leg.NONE, steps=9), 3)
    assert torch.equal(after(CrippledAnt(Leg.FRONT_LEFT, lost_at=3, steps=9), 3), intact)
    lost = after(CrippledAnt(Leg.FRONT_LEFT, lost_at=1, steps=9), 3)
    assert not torch.equal(lost, intact)
    assert not torch.equal(lost, after(CrippledAnt(Leg.BACK_LEFT, lost_at=1, steps=9), 3))
    without = full.clone()
    without[:, 2:4] = 0.0
    lost, intact = (after(CrippledAnt(leg, steps=9), 3, without) for leg in (Leg.FRONT_LEFT, Leg.NONE))
    assert torch.equal(lost, intact), "its motors are told nothing"
    state, _ = CrippledAnt(steps=9).reset(40, torch.Generator().manual_seed(0))
    assert len(state.motors.unique(dim=0)) == 4
    assert (state.motors.sum(1) == 6).all()
