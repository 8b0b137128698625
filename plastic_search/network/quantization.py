"""Rounding to a `Format`. The only module that imports Brevitas.

Weight and alpha are rounded once per episode by the integer quantizer of Brevitas; signs and powers of two by our own,
whose scale leaves alone what is 0, such as a connection that a structure removed. Trace and activity are rounded at
every step (in `step.layer_step`), where a call of Brevitas would cost several times the step itself; `round_trace` and
`round_activity` are therefore our own, straight-through, and tested for equality with Brevitas. The noise of stochastic
rounding is an additive recurrence (a Weyl sequence) kept in the state, not a random generator: it is uniform over steps
and over synapses, the same on every machine, and exported with the network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from plastic_search.precisions import Format, Rounding, Spacing

__all__ = [
    "codes", "half", "next_dither", "parameter_rounder", "phases", "power_of_two", "reading", "round_activity",
    "round_to_levels", "round_trace", "saturating", "shift", "start_dither", "step_size",
]  # fmt: skip

# Fractional parts of the golden ratio, and of the first two inverse powers of the plastic number: increments that fill
# [0, 1) most evenly. That of the batch is the square root of 7, lest one repeat the noise of a neighbour's column.
_TIME, _POST, _PRE, _BATCH = 0.6180339887498949, 0.7548776662466927, 0.5698402909980532, 0.6457513110645907


@cache
def parameter_rounder(form: Format) -> Callable[[Tensor], Tensor]:
    """A function that rounds a weight or an alpha of any shape to `form`, with a straight-through gradient."""
    if form.spacing is Spacing.POWERS:
        return partial(_to_powers, form=form)
    if form.bits == 1:
        return _to_signs
    return _even_levels(form)


def _to_signs(x: Tensor) -> Tensor:
    """s sign(x), s the mean magnitude of what is not 0; what is 0 stays 0. The gradient is 0 where |x| > 1.

    So a weight that is trained does not grow beyond 1 (Hubara et al. 2016); the scale is that of the least squared
    error (Rastegari et al. 2016, arXiv 1603.05279).
    """
    with torch.no_grad():
        # in float64, so that numbers that are all s have the mean s
        scale = (x.abs().sum(dtype=torch.float64) / (x != 0).sum().clamp_min(1)).to(x.dtype)
        rounded = x.sign() * scale
    return saturating(x, rounded)


def _to_powers(x: Tensor, form: Format) -> Tensor:
    """The nearest power of two in the logarithm, of the 2^(bits-1) - 1 below the largest; 0 below half the smallest."""
    if x.numel() == 0:
        return x
    with torch.no_grad():
        largest = power_of_two(x.abs().max())
        smallest = largest / form.top
        rounded = power_of_two(x).abs().clamp(smallest, largest).copysign(x)
        rounded = torch.where(x.abs() < smallest / 2, torch.zeros_like(x), rounded)
    return rounded + (x - x.detach())  # the difference is exactly 0


def _even_levels(form: Format) -> Callable[[Tensor], Tensor]:
    from brevitas.core.function_wrapper import Identity, RoundSte, TensorClampSte
    from brevitas.core.quant import IntQuant
    from brevitas.core.stats import AbsMax

    quant = IntQuant(
        narrow_range=True,
        signed=True,
        input_view_impl=Identity(),
        float_to_int_impl=RoundSte(),
        tensor_clamp_impl=TensorClampSte(),
    )
    largest = AbsMax()

    def rounded(x: Tensor) -> Tensor:
        if x.numel() == 0:
            return x
        scale = largest(x.detach()).clamp_min(torch.finfo(x.dtype).tiny * form.top) / form.top
        return quant(scale, x.new_zeros(()), x.new_tensor(float(form.bits)), x)

    return rounded


def codes(x: Tensor, form: Format) -> tuple[Tensor, float]:
    """The integer codes of a rounded weight or alpha, and the step between them: x = codes * step."""
    step = max(float(x.detach().abs().max()) if x.numel() else 0.0, torch.finfo(x.dtype).tiny * form.top) / form.top
    return torch.round(x.detach() / step).to(torch.int32), step


def step_size(form: Format, limit: float) -> float:
    """The distance between two levels of a trace bounded by `limit`."""
    return limit / form.top


def start_dither(batch: int, like: Tensor) -> Tensor:
    """The noise state [batch, 1, 1] at the start of an episode."""
    index = torch.arange(batch, dtype=torch.float64, device=like.device)
    return ((index * _BATCH) % 1.0).to(like.dtype).view(batch, 1, 1)


def next_dither(dither: Tensor) -> Tensor:
    """The noise state of the next step."""
    later = dither + _TIME
    return later - later.floor()


def round_trace(trace: Tensor, form: Format, limit: float, dither: Tensor) -> Tensor:
    """A bounded trace [batch, post, width], as it is kept in `form`, with a straight-through gradient.

    With error feedback that is the trace and what its rounding leaves over, together: the levels are so much finer.

    Args:
        trace: within [-limit, limit].
        form: its bits and its kind of rounding.
        limit: the value of the largest code.
        dither: [batch, 1, 1], uniform in [0, 1); read only by stochastic rounding.
    """
    noise = phases(trace.shape[1], trace.shape[2], trace) + dither if form.rounding is Rounding.STOCHASTIC else None
    fine = 2**form.remainder
    return round_to_levels(trace, step_size(form, limit) / fine, form.top * fine, shift(noise))


def reading(form: Format | None, limit: float) -> Callable[[Tensor], Tensor] | None:
    """From what is kept of a trace to the trace, without what rounding left over; None where nothing is left over."""
    if form is None or form.rounding is not Rounding.FEEDBACK:
        return None
    return partial(round_to_levels, step=step_size(form, limit), top=form.top, shift=half(form.remainder))


def half(remainder: int) -> float:
    """What is added to levels that have a fraction of so many bits, before the fraction is cut off.

    Halfway between two levels the upper one is taken, as integers do by `(code + 2^(remainder - 1)) >> remainder`; the
    last half of a bit keeps a float that is wrong in its last place on the right side.
    """
    return 0.5 + 0.5 ** (remainder + 1)


def shift(noise: Tensor | None) -> Any:
    """What is added to levels before their fraction is cut off.

    Args:
        noise: its fraction, which is uniform in [0, 1), rounds stochastically; None rounds to nearest.
    """
    return 0.5 if noise is None else noise - noise.floor()


def round_to_levels(trace: Tensor, step: Any, top: Any, shift: Any) -> Tensor:
    """A trace, rounded to whole steps, with a straight-through gradient.

    Args:
        step, top: the distance between two levels, and the largest code: numbers, or tensors that hold one.
        shift: added to a level before its fraction is cut off, from 0 to below 1: a number, or a tensor.
    """
    with torch.no_grad():
        levels = torch.floor(trace / step + shift).clamp(-top, top)
        rounded = levels * step
    return rounded + (trace - trace.detach())  # the difference is exactly 0


def round_activity(x: Tensor, form: Format) -> Tensor:
    """Activity of any shape, clipped to [-1, 1] and rounded to nearest among the levels of `form`.

    The gradient is 1 within [-1, 1] and 0 beyond (Hubara et al. 2016, arXiv 1602.02830; 2018). One bit is -1 below 0,
    and 1 elsewhere; halfway between two levels of more bits, the even one is taken.
    """
    with torch.no_grad():
        clipped = x.clamp(-1.0, 1.0)
        if form.bits == 1:
            rounded = 2.0 * clipped.floor().clamp(max=0.0) + 1.0
        else:
            rounded = (clipped * form.top).round() * (1.0 / form.top)
    return saturating(x, rounded)


def saturating(x: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, with the gradient of `x` where |x| is at most 1, and none beyond (Hubara et al. 2016, eq. 4)."""
    clipped = x.clamp(-1.0, 1.0)
    return rounded + (clipped - clipped.detach())  # the difference is exactly 0


def power_of_two(x: Tensor) -> Tensor:
    """AP2(x) = sign(x) 2^round(log2 |x|), exactly; 0 of 0. The gradient is straight-through (Hubara et al. 2016)."""
    with torch.no_grad():
        mantissa = torch.frexp(x).mantissa  # from 1/2 to below 1, and x / mantissa a power of two
        power = torch.where(mantissa.abs() < 0.5**0.5, 0.5, 1.0).to(x.dtype) * (x / mantissa)
        rounded = torch.where(x == 0, x, power.copysign(x))
    return rounded + (x - x.detach())  # the difference is exactly 0


def phases(post: int, pre: int, like: Tensor) -> Tensor:
    """The constant phase [post, pre] of each synapse's noise, evenly spread, so that neighbours round differently."""
    rows = torch.arange(post, dtype=torch.float64, device=like.device).view(-1, 1) * _POST
    columns = torch.arange(pre, dtype=torch.float64, device=like.device) * _PRE
    return ((rows + columns) % 1.0).to(like.dtype)
