"""Does an exported step do what `step.step` does? Run beside it, from the same states and freely, and measured.

Two things make that question subtle. Where a product differs in its last bit, and stood at a rounding threshold, an
integer trace comes out one level apart, and either answer is right: such ties are counted and bounded. And some
networks magnify a last bit: there a difference is allowed if the network itself, told its inputs with their last bit
changed, would differ as much.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.export.parameters import prepared
from plastic_search.network import step as law
from plastic_search.network.module import Network
from plastic_search.network.pytree import unflatten
from plastic_search.network.quantization import step_size
from plastic_search.network.state import State, load_named, named
from plastic_search.precisions import Role

__all__ = ["ALLOWED", "SESSION", "TIES", "Parity", "check", "open_session"]

ALLOWED = 1e-5  # of any difference, as Parity measures it
TIES = 1e-4  # of all trace values written
SESSION = {"session.disable_quant_qdq": "1"}  # else onnxruntime fuses DequantizeLinear with what follows, and rounds
_FEW = 4  # ties that say nothing, however few values were written
_BATCH, _ALONE = 3, 8  # episodes beside one another; steps for which one is also tried alone
_LAST_BIT = 2.0**-23
_MAGNIFIED, _NUDGES = 10.0, 4  # how many times what changed last bits make is put down to rounding; how often tried


class Parity(NamedTuple):
    """How closely an exported step follows the reference.

    A difference is in units of the episode's largest value in that tensor, where that is above 1.
    """

    steps: int  # compared from the reference's states: fewer than asked for where the network itself overflows
    compared: int  # compared in the free run: up to the first tie, or to where the network's own last bits decide
    largest: float  # difference of any output or state in the free run
    stepwise: float  # the same where every step starts from the reference's state, ties left out
    ties: int  # trace values one level apart, in the stepwise comparison
    free_ties: int  # the same where the free run ended; 0 where it did not, or the network itself magnified a last bit


class _Gaps(NamedTuple):
    """What differs in one step."""

    of: dict[str, float]  # name -> difference, ties left out
    ties: int

    @property
    def largest(self) -> float:
        return max(self.of.values())


def open_session(path: Path) -> Any:
    """An onnxruntime session of an exported step: one thread, and no fusing across DequantizeLinear.

    Raises:
        PlasticSearchError: onnxruntime does not take the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in SESSION.items():
        options.add_session_config_entry(key, value)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise PlasticSearchError(f"onnxruntime does not take {path}: {str(error)[:300]}") from error


def check(net: Network, path: Path, steps: int = 200, seed: int = 0) -> Parity:
    """Compare an exported step with `net` over `steps` steps of seeded random inputs.

    Raises:
        PlasticSearchError: its inputs or outputs are not the network's; it differs by more than `ALLOWED`, and the
            message says by how much and where; or there are too many ties.
    """
    if steps < 1:
        raise PlasticSearchError(f"a comparison needs at least one step, but got steps={steps}")
    beside = _Comparison(net, path)
    beside.walk(1, min(steps, _ALONE), seed)
    return beside.walk(_BATCH, steps, seed)


class _Comparison:
    """A network and a session of its exported step."""

    def __init__(self, net: Network, path: Path) -> None:
        self.net, self.ready, self.session = net, prepared(net), open_session(path)
        form = net.spec.precision.format(Role.TRACE)
        self.levels = {
            f"layers.{i}.trace.next": (step_size(form, layer.limit), layer.limit)
            for i, layer in enumerate(net.spec.layers)
            if form is not None
        }
        self._signature(path)

    def walk(self, batch: int, steps: int, seed: int) -> Parity:
        """Run both side by side, and refuse where they part."""
        rng = torch.Generator().manual_seed(seed)
        state = self._start(batch)
        own, free, each = dict(named(state)), [], []
        writes, together, tied = 0, True, 0
        for t in range(steps):
            x = torch.randn(batch, self.net.inputs, generator=rng)
            wanted, after = self._reference(x, state)
            if not all(bool(value.isfinite().all()) for value in wanted.values()):
                break
            each.append(self._gaps(self._exported(x, named(state)), wanted))
            self._accept(each[-1], wanted, x, state, t)
            writes += sum(value.numel() for name, value in wanted.items() if name in self.levels)
            if together:
                given = self._exported(x, own)
                gaps = self._gaps(given, wanted)
                tied = gaps.ties
                together = gaps.ties == 0 and (gaps.largest <= ALLOWED or self._follows(gaps, batch, t, seed))
                free += [gaps] * together
                own = {name: given[f"{name}.next"] for name in own}
            state = after
        return self._parity(free, each, writes, tied)

    def _start(self, batch: int) -> State:
        return law.start(self.net.spec, self.net.shapes, batch, torch.zeros(()), self.ready)

    def _reference(self, x: Tensor, state: State, nudge: Generator | None = None) -> tuple[dict[str, Tensor], State]:
        """What an exact export would return, and the next state; every last bit is changed where there is a nudge."""
        ready = self.ready
        if nudge is not None:
            x = _nudged(x, nudge)
            state = load_named({name: _nudged(value, nudge) for name, value in named(state).items()}, state)
            ready = unflatten(ready, (_nudged(value, nudge) for value in named(ready).values()))
        y, after = law.step(self.net.spec, self.net.shapes, ready, state, x)
        return {"y": y} | {f"{name}.next": value for name, value in named(after).items()}, after

    def _exported(self, x: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        feeds = {"x": x.numpy()} | {name: value.numpy() for name, value in state.items()}
        try:
            values = self.session.run(None, feeds)
        except Exception as error:
            raise PlasticSearchError(
                f"onnxruntime cannot run the exported step on {len(x)} episodes: {str(error)[:300]}"
            ) from error
        return {o.name: torch.from_numpy(v) for o, v in zip(self.session.get_outputs(), values, strict=True)}

    def _gaps(self, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> _Gaps:
        of, ties = {}, 0
        for name, want in wanted.items():
            if given[name].shape != want.shape:
                raise PlasticSearchError(
                    f"the exported step's {name} has shape {list(given[name].shape)}, the network's {list(want.shape)}"
                )
            want = want.double()
            gap = (given[name] - want).abs()
            if name in self.levels:
                level, limit = self.levels[name]
                tied = (gap - level).abs() <= 1e-6 * limit
                gap, ties = gap.masked_fill(tied, 0.0), ties + int(tied.sum())
            size = want.abs().reshape(len(want), -1).amax(1).clamp_min(1.0)
            of[name] = float((gap.reshape(len(want), -1).amax(1) / size).nan_to_num(nan=torch.inf).max())
        return _Gaps(of, ties)

    def _accept(self, gaps: _Gaps, wanted: dict[str, Tensor], x: Tensor, state: State, step: int) -> None:
        """Refuse a step, made from the reference's state, that differs more than rounding explains."""
        if gaps.largest <= ALLOWED:
            return
        nudge = torch.Generator().manual_seed(step)
        excuses = [self._gaps(self._reference(x, state, nudge)[0], wanted).of for _ in range(_NUDGES)]
        for name, gap in gaps.of.items():
            if gap > max(ALLOWED, *(_MAGNIFIED * excuse[name] for excuse in excuses)):
                raise _parted(gap, name, step, "from the same state")

    def _follows(self, gaps: _Gaps, batch: int, step: int, seed: int) -> bool:
        """False where the network, its inputs nudged from the start, has parted from itself too; else an error."""
        rng, nudge = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
        state = other = self._start(batch)
        largest = 0.0
        for _ in range(step + 1):
            x = torch.randn(batch, self.net.inputs, generator=rng)
            wanted, state = self._reference(x, state)
            given, other = self._reference(x, other, nudge)
            now = self._gaps(given, wanted)
            largest = max(largest, now.largest, torch.inf if now.ties else 0.0)
        if gaps.largest > _MAGNIFIED * largest:
            raise _parted(gaps.largest, max(gaps.of, key=gaps.of.__getitem__), step, "left to itself")
        return False

    def _parity(self, free: list[_Gaps], each: list[_Gaps], writes: int, tied: int) -> Parity:
        if not each:
            raise PlasticSearchError("the network's first step is not finite, so there is nothing to compare with")
        ties = sum(gaps.ties for gaps in each)
        finest = max((limit / level for level, limit in self.levels.values()), default=0.0)
        allowed = max(TIES, 5e-7 * finest)  # the finer the levels, the more values stand at a threshold
        if ties > max(_FEW, allowed * writes):
            raise PlasticSearchError(
                f"{ties} of {writes} values written to the exported trace are one level away from the network's; "
                f"at most a share of {allowed:.0e} is allowed, so it writes or rounds in another way; do not use it"
            )
        largest, stepwise = (max((gaps.largest for gaps in run), default=0.0) for run in (free, each))
        return Parity(len(each), len(free), largest, stepwise, ties, tied)

    def _signature(self, path: Path) -> None:
        """Refuse a file whose inputs and outputs are not those of the network."""
        state = named(self._start(1))
        takes, gives = ["x", *state], ["y", *(f"{name}.next" for name in state)]
        session = self.session
        for what, wanted, has in (("inputs", takes, session.get_inputs()), ("outputs", gives, session.get_outputs())):
            if [each.name for each in has] != wanted:
                raise PlasticSearchError(
                    f"{path} has the {what} {', '.join(each.name for each in has)}, but the network's step has "
                    f"{', '.join(wanted)}; it is the step of another network"
                )


def _nudged(value: Tensor, rng: Generator) -> Tensor:
    """Every number up or down by its last bit; counts are left alone."""
    if not value.is_floating_point():
        return value
    return value * (1.0 + _LAST_BIT * (2.0 * torch.randint(2, value.shape, generator=rng) - 1.0))


def _parted(gap: float, name: str, step: int, how: str) -> PlasticSearchError:
    return PlasticSearchError(
        f"the exported step differs from the network's by {gap:.1e} at {name}, step {step}, {how}; "
        f"at most {ALLOWED:.0e} is allowed, so it must not be used"
    )
