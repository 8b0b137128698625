"""The parameters of one episode by name; rounded ones as integers and their step."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.module import Network
from plastic_search.network.pytree import unflatten
from plastic_search.network.quantization import codes, parameter_rounder
from plastic_search.network.state import State, named
from plastic_search.network.step import Ready, start
from plastic_search.precisions import Role

__all__ = ["Codes", "first_state", "parameters", "prepared"]


class Codes(NamedTuple):
    """A rounded tensor: value = codes * step, bit for bit."""

    codes: Tensor  # int8, or int16 above 8 bits
    step: Tensor  # [], float32
    bits: int

    @property
    def width(self) -> int:
        """Bits of each integer in step.onnx: 4, 8 or 16."""
        return next(width for width in (4, 8, 16) if width >= self.bits)

    @property
    def packed(self) -> int | None:
        """Bits of each integer in parameters.safetensors: 4, 2 or 1; None where they are not packed."""
        if self.bits > 4:
            return None
        return 4 if self.bits > 2 else 2 if self.bits == 2 or bool((self.codes == 0).any()) else 1

    @property
    def nbytes(self) -> int:
        """Bytes in step.onnx."""
        return -(-self.codes.numel() * self.width // 8) + self.step.nbytes

    @property
    def value(self) -> Tensor:
        """The float32 tensor that the network computes with."""
        return self.codes * self.step


def prepared(net: Network) -> tuple[Ready, ...]:
    """The parameters as one episode uses them, gated and rounded, on the CPU and without gradients.

    Raises:
        PlasticSearchError: the network is not in float32.
    """
    ready = net.resolve()
    wrong = [f"{name} is {t.dtype}" for name, t in named(ready).items() if t.dtype is not torch.float32]
    if wrong:
        raise PlasticSearchError(f"only float32 networks can be exported, but {wrong[0]}; call net.float() first")
    copies = (t.detach().cpu().clone(memory_format=torch.contiguous_format) for t in named(ready).values())
    return unflatten(ready, copies)


def first_state(net: Network, ready: tuple[Ready, ...], batch: int) -> State:
    """The state at the start of `batch` episodes, in float32 on the CPU; `ready` is `prepared(net)`."""
    return State(start(net.spec, net.shapes, batch, torch.zeros(()), ready))


def parameters(net: Network) -> dict[str, Tensor | Codes]:
    """Every tensor of `prepared` by its path (`layers.1.rule.both`); weight and alpha as codes where rounded.

    Raises:
        PlasticSearchError: a weight or an alpha does not lie on the levels of its format.
    """
    found: dict[str, Tensor | Codes] = dict(named(prepared(net)))
    for i, params in enumerate(net.parts()):
        for role, scale_of in ((Role.WEIGHT, None), (Role.ALPHA, params.alpha)):
            form, name = net.spec.precision.format(role), f"layers.{i}.{role.value}"
            if form is None or name not in found:
                continue
            value = cast(Tensor, found[name])
            # alpha is rounded before it is gated, so its largest value, which sets the step, may have been removed
            rounded = value if scale_of is None else parameter_rounder(form)(scale_of.detach().cpu())
            found[name] = _coded(name, value, codes(rounded, form)[1], form.top.bit_length() + 1)
    return found


def _coded(name: str, value: Tensor, step: float, bits: int) -> Codes:
    whole = torch.round(value / step).to(torch.int8 if bits <= 8 else torch.int16)
    coded = Codes(whole, torch.tensor(step, dtype=torch.float32), bits)
    if not torch.equal(coded.value, value):
        raise PlasticSearchError(
            f"{name} does not lie on the levels of its {bits}-bit format, so it cannot be stored as integers; "
            "the structure's gates must be exactly 0 or 1"
        )
    return coded
