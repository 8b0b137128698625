"""A network in an environment: one step at a time without gradients, then the whole episode again with them.

Actions that were sampled from a step's output can be scored when the recorded inputs are run again as one sequence,
by the kernel that is fastest for sequences; nothing of the rollout itself has to be remembered by autograd.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network import step as law
from plastic_search.network.kernels.dispatch import steppers
from plastic_search.network.module import Network
from plastic_search.network.state import State, load_named, named, same_shapes

__all__ = ["Rollout"]


class Rollout:
    """`y = rollout.step(x)`, or `rollout.run(x)` for several steps, and then `y, state = rollout.replay()`.

    Args:
        net: its parameters must not change between a step and the replay.
        batch: how many episodes run side by side.
        state: where they go on from; None starts them.

    Raises:
        PlasticSearchError: `batch` is no whole number from 1, or `state` is of another network or batch.
    """

    def __init__(self, net: Network, batch: int, state: State | None = None) -> None:
        if not isinstance(net, Network):
            raise PlasticSearchError(f"net must be a Network, but is a {type(net).__name__}")
        if type(batch) is not int or batch < 1:
            raise PlasticSearchError(f"batch must be a whole number from 1, but is {batch!r}")
        self._net, self._batch = net, batch
        with torch.no_grad():
            self._ready = net.resolve()
        fresh = net.start(batch)
        given = fresh if state is None else same_shapes(state, fresh)
        self._begin(load_named({name: value.clone() for name, value in named(given).items()}, given))

    @property
    def state(self) -> State:
        """Where the episodes stand."""
        return tuple(stepper.state() for stepper in self._steppers)

    @torch.no_grad()
    def _begin(self, state: State) -> None:
        net = self._net
        self._first, self._heard = state, []
        self._steppers = steppers(net.spec, net.shapes, self._ready, state, net.kernel)

    def step(self, x: Tensor) -> Tensor:
        """One time step.

        Args:
            x: [batch, inputs].

        Returns:
            The outputs [batch, outputs]; `state` holds the state after the step.

        Raises:
            PlasticSearchError: `x` has the wrong shape or type.
        """
        self._check(x, "[batch, inputs]", (self._batch, self._net.inputs))
        return self._run(x.unsqueeze(0))[0]

    def run(self, x: Tensor) -> Tensor:
        """Several time steps, as `step` takes one after the other; a call costs little, since all is laid out already.

        Args:
            x: [time, batch, inputs]. Memory is kept for the last few numbers of steps that were asked for.

        Returns:
            The outputs [time, batch, outputs]; `state` holds the state after the last step.

        Raises:
            PlasticSearchError: `x` has the wrong shape or type, or no step.
        """
        times = max(len(x), 1) if isinstance(x, Tensor) and x.dim() else "time"
        self._check(x, "[time, batch, inputs]", (times, self._batch, self._net.inputs))
        return self._run(x)

    def _check(self, x: Tensor, axes: str, shape: tuple[int | str, ...]) -> None:
        like = next(self._net.parameters())
        if not isinstance(x, Tensor) or x.shape != shape or x.dtype != like.dtype or x.device != like.device:
            asked = ", ".join(map(str, shape))
            raise PlasticSearchError(
                f"x must be {axes} = [{asked}] of {like.dtype} on {like.device}, but is {_formed(x)}"
            )

    @torch.no_grad()
    def _run(self, x: Tensor) -> Tensor:
        self._heard.append(x.clone())
        said = [x]
        for shape, stepper in zip(self._net.shapes, self._steppers, strict=True):
            said.append(stepper.run(law.layer_inputs(shape, said)))
        return said[-1]

    def replay(self) -> tuple[Tensor, State]:
        """Run all that was heard again, with gradients.

        Returns:
            The outputs [time, batch, outputs], equal to those of the steps but for rounding, and the last state.

        Raises:
            PlasticSearchError: nothing was heard yet.
        """
        if not self._heard:
            raise PlasticSearchError("there is nothing to replay: no step was taken")
        return self._net(torch.cat(self._heard), self._first)

    @torch.inference_mode(False)
    @torch.no_grad()
    def forget(self) -> None:
        """Forget what was heard, while episodes go on: the next replay begins here, as truncated gradients want it.

        What is heard is kept until then, or until `reset`; who never replays, forgets now and again.
        """
        self._first, self._heard = self.state, []

    def reset(self, which: Tensor) -> None:
        """Start some episodes anew, and forget what was heard: what comes is another recording.

        Args:
            which: [batch], true where an episode begins.

        Raises:
            PlasticSearchError: `which` is no such tensor.
        """
        if not isinstance(which, Tensor) or which.shape != (self._batch,) or which.dtype != torch.bool:
            raise PlasticSearchError(f"which must be [batch] = [{self._batch}] of torch.bool, but is {_formed(which)}")
        with torch.no_grad():
            fresh, now = named(self._net.start(self._batch)), named(self.state)
            for name, value in now.items():
                mask = which.view(-1, *[1] * (value.dim() - 1))
                now[name] = torch.where(mask, fresh[name], value)
        self._begin(load_named(now, self._first))


def _formed(given: Any) -> str:
    if not isinstance(given, Tensor):
        return f"a {type(given).__name__}"
    return f"{list(given.shape)} of {given.dtype} on {given.device}"
