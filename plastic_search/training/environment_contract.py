"""What an environment must return, checked wherever it enters; a fault names it, its file and line, and both shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import source
from plastic_search.environments import Environment, Moment, Played
from plastic_search.network.diagnostics import described, fault
from plastic_search.network.module import Network
from plastic_search.network.population import Population

__all__ = ["act", "begin", "check_environment", "check_marks", "check_network", "metrics_of", "what_is_not_finite"]


def check_environment(environment: Environment) -> None:
    """Refuse an environment whose sizes or name of its score are not what they must be."""
    for name in ("inputs", "actions", "steps"):
        if type(size := getattr(environment, name)) is not int or size < 1:
            raise fault(environment, name, f"{name} must be a whole number from 1, but is {described(size)}")
    if not isinstance(environment.score_name, str):
        found = described(environment.score_name)
        raise fault(environment, "score_name", f"score_name must be a text, but is {found}")


def check_network(environment: Environment, net: Network | Population) -> None:
    """Refuse an environment that is not what it must be, and a network that cannot act in it."""
    check_environment(environment)
    inputs, actions, outputs = environment.inputs, environment.actions, net.spec.layers[-1].units
    if net.inputs != inputs or outputs < actions:
        raise PlasticSearchError(
            f"{type(environment).__name__} wants a network of {inputs} inputs and at least {actions} outputs, one an "
            f"action, but it has {net.inputs} and {outputs}"
        )


def begin(environment: Environment, batch: int, rng: Generator, like: Tensor) -> tuple[Any, Moment]:
    """`environment.reset`, whose result is checked.

    Args:
        like: a tensor of the type that observations must have, such as a network's parameter.

    Raises:
        PlasticSearchError: it is not a state and a `Moment` as `environments.Moment` describes it.
    """
    return _checked(environment, "reset", environment.reset(batch, rng), batch, like)


def act(environment: Environment, state: Any, actions: Tensor, rng: Generator, like: Tensor) -> tuple[Any, Moment]:
    """`environment.step`, whose result is checked.

    Raises:
        PlasticSearchError: as `begin`.
    """
    return _checked(environment, "step", environment.step(state, actions, rng), len(actions), like)


def metrics_of(environment: Environment, played: Played) -> dict[str, Tensor]:
    """What is measured in each episode, by name, floats [batch] each; the first is the score.

    Raises:
        PlasticSearchError: it is something else.
    """
    found, batch = environment.metrics(played), played.rewards.shape[1]
    if not isinstance(found, dict) or not found:
        was = "none" if isinstance(found, dict) else described(found)
        wanted = "return a dict of tensors, of which the first is the score"
        raise fault(environment, "metrics", f"`metrics` must {wanted}, but returned {was}")
    for name, value in found.items():
        if not _is(value, batch) or not value.is_floating_point():
            wanted = f"floats [batch], here [{batch}]"
            raise fault(environment, "metrics", f"the metric {name} must be {wanted}, but is {_kind_of(value)}")
    return found


def check_marks(environment: Environment, after: Sequence[Moment]) -> None:
    """Refuse marks that are not the same after every step."""
    first = after[0].marks.keys()
    for moment in after:
        if moment.marks.keys() != first:
            name = sorted(moment.marks.keys() ^ first)[0]
            raise fault(environment, "step", f"the mark {name} must be there after every step, or after none")


def what_is_not_finite(environment: Environment, played: Played) -> str:
    """What of the episodes is not a finite number, and where the environment is defined; "" where all is."""
    for name, values in (("observation", played.observations), ("reward", played.rewards)):
        if not bool(values.isfinite().all()):
            kind = type(environment)
            return f"{name} of {kind.__name__} ({source(kind)}) that is not a finite number"
    return ""


def _checked(environment: Environment, method: str, result: Any, batch: int, like: Tensor) -> tuple[Any, Moment]:
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], Moment):
        what = f"`{method}` must return a state and a Moment, but returned {described(result)}"
        raise fault(environment, method, what)

    def refuse(name: str, wanted: str, value: Any) -> PlasticSearchError:
        return fault(environment, method, f"the {name} must be {wanted}, but is {_kind_of(value)}")

    moment: Moment = result[1]
    wanted = (batch, environment.inputs)
    if not isinstance(moment.observation, Tensor) or moment.observation.shape != wanted:
        raise refuse("observation", f"[batch, inputs], here {list(wanted)}", moment.observation)
    if moment.observation.dtype != like.dtype:
        raise refuse("observation", f"{like.dtype}, as the network's parameters are", moment.observation)
    if not _is(moment.reward, batch) or not moment.reward.is_floating_point():
        raise refuse("reward", f"floats [batch], here [{batch}]", moment.reward)
    if moment.weight is not None and not _is(moment.weight, batch):
        raise refuse("weight", f"[batch], here [{batch}], or None", moment.weight)
    if moment.trial is not None and (not _is(moment.trial, batch) or moment.trial.is_floating_point()):
        raise refuse("trial", f"integers [batch], here [{batch}], or None", moment.trial)
    for name, value in (("done", moment.done), ("clear", moment.clear)):
        if value is not None and (not _is(value, batch) or value.dtype != torch.bool):
            raise refuse(name, f"truth values [batch], here [{batch}], or None", value)
    for name, value in moment.marks.items():
        if not _is(value, batch):
            raise refuse(f"mark {name}", f"[batch], here [{batch}]", value)
    return result


def _is(value: Any, batch: int) -> bool:
    return isinstance(value, Tensor) and value.shape == (batch,)


def _kind_of(value: Any) -> str:
    """`of shape [3], torch.float32`, `a list`."""
    return f"of shape {list(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else described(value)
