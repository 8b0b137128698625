"""A network in an environment: single steps without gradients, then the whole recording with gradients.

Actions that were sampled from the output of a step are scored in the replay. Each step writes what the backward pass
of the sequence needs, so that a replay takes no second forward pass where a kernel runs the layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.controls import NOTHING, Controls, chosen, shuffled, stacked
from plastic_search.network.kernels.dispatch import replayed, sequences, steppers
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.pytree import map_tensors
from plastic_search.network.state import State, describe, same_shapes
from plastic_search.network.step import LayerState, layer_inputs

__all__ = ["Rollout"]


class Rollout:
    """Episodes in progress: `step` or `run` without gradients, then `replay` with gradients.

    Args:
        net: a network, or a population, whose tensors then have an axis over members before all others. Its parameters
            are read here and by `reset`.
        batch: number of episodes that run in parallel; of a population, for each member.
        state: the state from which they continue; None starts new ones.
        steps: how many steps will be recorded, for which there is memory then from the start; more may follow. 0: none
            is recorded, and nothing can be replayed. None: memory grows with the steps.

    Raises:
        PlasticSearchError: `batch` is not a whole number from 1 or `steps` one from 0, or `state` is that of another
            network or batch.

    Example:
        net = Network(NetworkSpec((Layer(16, plastic=Pathway.BOTH), Layer(2))), inputs=3)
        rollout, x, actions = Rollout(net, batch=4, steps=5), torch.zeros(4, 3), []
        for _ in range(5):
            actions.append(torch.distributions.Categorical(logits=rollout.step(x)).sample())
            x = torch.randn(4, 3)  # from the environment, given the actions
        logits, state = rollout.replay()  # [time, batch, 2]
        torch.distributions.Categorical(logits=logits).log_prob(torch.stack(actions)).mean().backward()
        rollout.forget()  # the episodes continue, and the next replay begins here
    """

    def __init__(
        self, net: Network | Population, batch: int, state: tuple[LayerState, ...] | None = None,
        steps: int | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(net, Network | Population):
            raise PlasticSearchError(f"net must be a Network or a Population, but is {describe(net)}")
        if type(batch) is not int or batch < 1:
            raise PlasticSearchError(f"batch must be a whole number from 1, but is {batch!r}")
        if steps is not None and (type(steps) is not int or steps < 0):
            raise PlasticSearchError(f"steps must be a whole number from 0, or None, but is {steps!r}")
        self._net, self._batch, self._steps = net, batch, steps
        self._members = (len(net),) if isinstance(net, Population) else ()
        self._like = next(net.parameters()).new_empty(0).detach()
        with torch.no_grad():
            fresh = net.initial_state(batch)
            self._begin(fresh if state is None else same_shapes(state, fresh), NOTHING)

    @property
    def state(self) -> State:
        """The state after the last step."""
        with torch.no_grad():
            return State(stepper.state() for stepper in self._steppers)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _begin(self, state: tuple[LayerState, ...], imposed: Controls | None = None) -> None:
        """Record from a state on, with the parameters that there are now.

        Args:
            imposed: an example of what may be imposed on a step; None: as before.
        """
        net = self._net
        self._first = map_tensors(torch.clone, State(state))
        self._ready = map_tensors(torch.clone, net.resolve())
        if imposed is None:
            for stepper, ready, before in zip(self._steppers, self._ready, self._first, strict=True):
                stepper.begin(ready, before)
        else:
            self._imposed = imposed
            example = stacked([imposed], imposed)
            self._steppers = steppers(net.spec, net.shapes, self._ready, self._first, net.kernel, example, self._steps)
        self._inputs: list[Tensor] = []
        self._controls: list[Controls] = []
        self._whole = True  # whether the steppers have recorded all steps

    def step(
        self, x: Tensor, clear: Tensor | bool | None = None, freeze: Tensor | bool | None = None,
        clamp: Tensor | float | None = None,
    ) -> Tensor:  # fmt: skip
        """One time step.

        Args:
            x: [batch, inputs]; of a population, [member, batch, inputs], or [batch, inputs] for all members.
            clear: truth values [batch], of a population also [member, batch], or one for all: before the step, outputs
                and states of cells and eligibility traces are set to 0.
            freeze: truth values of that shape, or one for all: the trace and the eligibility trace do not change.
            clamp: numbers of that shape, or one for all, in place of the plasticity rate; NaN leaves it as it is.
                An intervention that is not given at the first step costs a replay a second forward pass.

        Returns:
            The outputs [batch, outputs], or [member, batch, outputs]; `state` holds the state after the step.

        Raises:
            PlasticSearchError: an argument has the wrong shape or type.
        """
        with torch.no_grad():
            x, controls = self._checked(x).clone(), NOTHING
            if clear is not None or freeze is not None or clamp is not None:
                controls = self._controlled(clear, freeze, clamp)
            return self._step(x, controls).clone()

    def _step(self, x: Tensor, controls: Controls) -> Tensor:
        if self._steps != 0:
            self._inputs.append(x)
            self._controls.append(controls)
        outputs = [x]
        for shape, stepper in zip(self._net.shapes, self._steppers, strict=True):
            outputs.append(stepper.step(layer_inputs(shape, outputs), controls))
        return outputs[-1]

    def run(self, x: Tensor) -> Tensor:
        """Several time steps, equal to as many calls of `step`.

        Args:
            x: [time, batch, inputs], or [member, time, batch, inputs].

        Returns:
            The outputs [time, batch, outputs], or [member, time, batch, outputs]; `state` holds the state after the
            last step.

        Raises:
            PlasticSearchError: `x` has the wrong shape or type, or no step.
        """
        times = max(x.shape[-3], 1) if isinstance(x, Tensor) and x.dim() > 2 else "time"
        axes = "[member, time, batch, inputs]" if self._members else "[time, batch, inputs]"
        self._check(x, axes, (*self._members, times, self._batch, self._net.inputs))
        with torch.no_grad():
            x = x.clone()
            if self._steps != 0:
                self._inputs += x.unbind(-3)
                self._controls += [NOTHING] * x.shape[-3]
            outputs = [x]
            for shape, stepper in zip(self._net.shapes, self._steppers, strict=True):
                outputs.append(stepper.run(layer_inputs(shape, outputs)))
            return outputs[-1].clone()

    def _checked(self, x: Tensor) -> Tensor:
        """The inputs of a step, of all members."""
        shape = (self._batch, self._net.inputs)
        if self._members and isinstance(x, Tensor) and x.dim() == 2:
            self._check(x, "[batch, inputs]", shape)
            return x.expand(*self._members, *shape)
        self._check(x, "[member, batch, inputs]" if self._members else "[batch, inputs]", (*self._members, *shape))
        return x

    def _check(self, x: Tensor, axes: str, shape: tuple[int | str, ...]) -> None:
        like = self._like
        if not isinstance(x, Tensor) or x.shape != shape or x.dtype != like.dtype or x.device != like.device:
            sizes = ", ".join(map(str, shape))
            raise PlasticSearchError(
                f"x must be {axes} = [{sizes}] of {like.dtype} on {like.device}, but is {describe(x)}"
            )

    def _controlled(
        self, clear: Tensor | bool | None, freeze: Tensor | bool | None, clamp: Tensor | float | None
    ) -> Controls:
        """What is imposed on a step, for which the steppers are ready."""
        cleared = self._of_episodes("clear", clear, bool, torch.bool)
        frozen = self._of_episodes("freeze", freeze, bool, torch.bool)
        rate = self._of_episodes("clamp", clamp, float, self._like.dtype)
        clamped = None if rate is None else ~rate.isnan()
        rate = None if rate is None else rate.nan_to_num(0.0)
        given = Controls(frozen=frozen, clamped=clamped, rate=rate, cleared=cleared)
        if any(one is not None and known is None for one, known in zip(given, self._imposed, strict=True)):
            both = Controls(*(a if b is None else b for a, b in zip(given, self._imposed, strict=True)))
            before = self._first, self._inputs, self._controls
            self._begin(self.state, both)
            if before[1]:
                (self._first, self._inputs, self._controls), self._whole = before, False
        return given

    def _of_episodes(self, name: str, value: Any, kind: type, dtype: torch.dtype) -> Tensor | None:
        """A number for each episode [batch, 1], or [member, batch, 1]."""
        if value is None:
            return None
        if type(value) in (kind, *[int] * (kind is float)):
            return torch.full((*self._members, self._batch, 1), value, dtype=dtype, device=self._like.device)
        shapes = ((self._batch,), (*self._members, self._batch))
        if not isinstance(value, Tensor) or value.shape not in shapes or value.dtype != dtype:
            raise PlasticSearchError(
                f"{name} must be [batch] = [{self._batch}] of {dtype}, or one {kind.__name__}, but is {describe(value)}"
            )
        value = value.detach().to(self._like.device).unsqueeze(-1)
        return value.expand(*self._members, self._batch, 1).clone()

    def replay(self) -> tuple[Tensor, State]:
        """The recorded steps, with gradients. The episodes may go on before the backward pass.

        Where parameters have changed since, the recorded inputs run again, with the new ones.

        Returns:
            The outputs [time, batch, outputs], or [member, time, batch, outputs], equal to those of the steps up to
            rounding errors; and the last state.

        Raises:
            PlasticSearchError: nothing is recorded.
        """
        if not self._inputs:
            why = "steps=0" if self._steps == 0 else "no step was taken"
            raise PlasticSearchError(f"there is nothing to replay: {why}")
        net, x, controls = self._net, torch.stack(self._inputs, -3), stacked(self._controls, self._imposed)
        ready = net.resolve()
        if self._whole:
            found = replayed(net.shapes, self._steppers, ready, self._ready, self._first, x, controls)
            if found is not None:
                return found
        return sequences(net.spec, net.shapes, ready, self._first, x, net.kernel, controls)

    @torch.inference_mode(False)
    @torch.no_grad()
    def forget(self) -> None:
        """Delete what is recorded while the episodes continue: the next replay begins here (truncated gradients).

        Steps are recorded until then or until `reset`; call this now and then, or say `steps=0`, if you never replay.
        """
        if self._steps == 0:
            return
        self._first, self._inputs, self._controls, self._whole = self.state, [], [], True
        for stepper in self._steppers:
            stepper.forget()

    def reset(self, which: Tensor) -> None:
        """Start some episodes anew, and begin a new recording, with the parameters that there are now.

        Args:
            which: [batch], true where an episode begins.

        Raises:
            PlasticSearchError: `which` is not such a tensor.
        """
        if not isinstance(which, Tensor) or which.shape != (self._batch,) or which.dtype != torch.bool:
            raise PlasticSearchError(f"which must be [batch] = [{self._batch}] of torch.bool, but is {describe(which)}")
        with torch.no_grad():
            fresh = self._net.initial_state(self._batch)
            self._begin(chosen(which, fresh, self.state, len(self._members)))

    def shuffle(self, seed: int) -> None:
        """Permute the entries of each layer's trace among its synapses, and begin a new recording.

        Args:
            seed: of the permutation, the same in all episodes, as that of an intervention in `Network.forward`.

        Raises:
            PlasticSearchError: `seed` is not a whole number from 0.
        """
        if type(seed) is not int or seed < 0:
            raise PlasticSearchError(f"seed must be a whole number from 0, but is {seed!r}")
        self._begin(shuffled(self.state, seed))
