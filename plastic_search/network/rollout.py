"""A network in an environment: single steps without gradients, then the whole recording again with gradients.

Actions that were sampled from the output of a step are scored in the replay, which runs the recorded inputs as one
sequence by the kernel that is fastest for sequences; autograd stores nothing during the rollout itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.controls import chosen
from plastic_search.network.kernels.dispatch import steppers
from plastic_search.network.module import Network
from plastic_search.network.state import State, describe, load_named, named, same_shapes
from plastic_search.network.step import LayerState, layer_inputs

__all__ = ["Rollout"]


class Rollout:
    """Episodes in progress: `step` or `run` without gradients, then `replay` with gradients.

    Args:
        net: the network; its parameters, and what its parts read beside their arguments, must not change between a
            step and the replay.
        batch: number of episodes that run in parallel.
        state: the state from which they continue; None starts new ones.

    Raises:
        PlasticSearchError: `batch` is not a whole number from 1, or `state` is that of another network or batch.

    Example:
        net = Network(NetworkSpec((Layer(16, plastic=Pathway.BOTH), Layer(2))), inputs=3)
        rollout, x, actions = Rollout(net, batch=4), torch.zeros(4, 3), []
        for _ in range(5):
            actions.append(torch.distributions.Categorical(logits=rollout.step(x)).sample())
            x = torch.randn(4, 3)  # from the environment, given the actions
        logits, state = rollout.replay()  # [time, batch, 2]
        torch.distributions.Categorical(logits=logits).log_prob(torch.stack(actions)).mean().backward()
        rollout.forget()  # the episodes continue, and the next replay begins here
    """

    def __init__(self, net: Network, batch: int, state: tuple[LayerState, ...] | None = None) -> None:
        if not isinstance(net, Network):
            raise PlasticSearchError(f"net must be a Network, but is {describe(net)}")
        if type(batch) is not int or batch < 1:
            raise PlasticSearchError(f"batch must be a whole number from 1, but is {batch!r}")
        self._net, self._batch = net, batch
        with torch.no_grad():
            self._ready = net.resolve()
        fresh = net.initial_state(batch)
        given = fresh if state is None else same_shapes(state, fresh)
        self._begin(load_named({name: value.clone() for name, value in named(given).items()}, given))

    @property
    def state(self) -> State:
        """The state after the last step."""
        return State(stepper.state() for stepper in self._steppers)

    @torch.no_grad()
    def _begin(self, state: State) -> None:
        net = self._net
        self._first, self._recorded = state, []
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
        """Several time steps, equal to as many calls of `step`.

        Args:
            x: [time, batch, inputs]. The buffers for the last few values of `time` are kept, so that calls are cheap.

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
            sizes = ", ".join(map(str, shape))
            raise PlasticSearchError(
                f"x must be {axes} = [{sizes}] of {like.dtype} on {like.device}, but is {describe(x)}"
            )

    @torch.no_grad()
    def _run(self, x: Tensor) -> Tensor:
        self._recorded.append(x.clone())
        outputs = [x]
        for shape, stepper in zip(self._net.shapes, self._steppers, strict=True):
            outputs.append(stepper.run(layer_inputs(shape, outputs)))
        return outputs[-1]

    def replay(self) -> tuple[Tensor, State]:
        """Run the recorded inputs again, with gradients.

        Returns:
            The outputs [time, batch, outputs], equal to those of the steps up to rounding errors; and the last state.

        Raises:
            PlasticSearchError: nothing is recorded.
        """
        if not self._recorded:
            raise PlasticSearchError("there is nothing to replay: no step was taken")
        return self._net(torch.cat(self._recorded), self._first)

    @torch.inference_mode(False)
    @torch.no_grad()
    def forget(self) -> None:
        """Delete the recorded inputs while the episodes continue: the next replay begins here (truncated gradients).

        Inputs are recorded until then or until `reset`; call this now and then if you never replay.
        """
        self._first, self._recorded = self.state, []

    def reset(self, which: Tensor) -> None:
        """Start some episodes anew, and begin a new recording.

        Args:
            which: [batch], true where an episode begins.

        Raises:
            PlasticSearchError: `which` is not such a tensor.
        """
        if not isinstance(which, Tensor) or which.shape != (self._batch,) or which.dtype != torch.bool:
            raise PlasticSearchError(f"which must be [batch] = [{self._batch}] of torch.bool, but is {describe(which)}")
        with torch.no_grad():
            fresh = self._net.initial_state(self._batch)
            self._begin(chosen(which, fresh, self.state))
