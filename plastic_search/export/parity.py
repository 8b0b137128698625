"""Verifies an exported step against `step.step`: from the same states at every step, and over a free run.

Two differences are legitimate. Where a product differs in its last bit, at a rounding threshold, an integer trace, or
activity, comes out one level apart, and at a unit's threshold, a spike comes or does not: such ties are counted and
bounded; an episode with a tie of activity is not compared any further in that step, since what follows from it differs
too. And some networks amplify a last bit: there a difference is allowed if the reference itself, with the last bits of
its inputs changed, would differ as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export import manifest, runner
from plastic_search.export.parameters import first_state, prepared
from plastic_search.network.formats import formats
from plastic_search.network.module import Network
from plastic_search.network.pytree import unflatten
from plastic_search.network.quantization import step_size
from plastic_search.network.state import State, load_named, named
from plastic_search.network.step import step as reference_step
from plastic_search.precisions import Role

__all__ = ["ALLOWED", "TIES", "Exported", "ExportedStep", "Parity", "check", "compared"]

ALLOWED = 1e-5  # of any difference, as Parity measures it
TIES = 1e-4  # of all values of trace and activity written
_FEW = 4  # ties that are allowed however few values were written
_BATCH, _SINGLE_STEPS = 3, 8  # episodes; steps over which a batch of one is compared too
_LAST_BIT = 2.0**-23
# A difference is attributed to rounding up to so many times the largest of several effects of changed last bits.
_MARGIN, _NUDGES = 10.0, 4


class Parity(NamedTuple):
    """How closely an exported step follows the reference.

    A difference is relative to the episode's largest value in that tensor, where that is above 1.
    """

    steps: int  # compared from the reference's states: fewer than requested if the network itself overflows
    compared: int  # compared in the free run: up to the first tie, or until the network itself amplifies last bits
    largest: float  # difference of any output or state in the free run
    stepwise: float  # the same where every step starts from the reference's state, ties excluded
    ties: int  # values of trace or activity one level apart, in the stepwise comparison
    free_ties: int  # the same at the step that ended the free run; 0 if none did


class _Gaps(NamedTuple):
    """The differences of one step."""

    of: dict[str, float]  # name -> difference, ties excluded
    ties: int

    @property
    def largest(self) -> float:
        return max(self.of.values())


def check(net: Network, path: Path | str, steps: int = 200, seed: int = 0) -> Parity:
    """Compare an exported step with `net` over `steps` steps of seeded random inputs.

    Raises:
        PlasticSearchError: its inputs or outputs are not the network's; it differs by more than `ALLOWED`, and the
            message states by how much and where; or there are too many ties.
    """
    if steps < 1:
        raise PlasticSearchError(f"a comparison needs at least one step, but got steps={steps}")
    return compared(net, ExportedStep(path), steps, seed)


def compared(net: Network, exported: Exported, steps: int, seed: int) -> Parity:
    """`check` of an exported step that is running, by whatever runs it."""
    comparison = _Comparison(net, exported)
    comparison.run(1, min(steps, _SINGLE_STEPS), seed)
    return comparison.run(_BATCH, steps, seed)


class Exported(Protocol):
    """An exported step: `results = step(x, state)`, by name, `y` and every `<name>.next`.

    Attributes:
        name: what it is, in messages.
        inputs, outputs: names of what it reads and writes.
        unstored: by name of a result, which of the numbers of an episode it does not keep, since nothing reads them.
    """

    name: str
    inputs: list[str]
    outputs: list[str]
    unstored: Mapping[str, Tensor]

    def __call__(self, x: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]: ...


class ExportedStep:
    """A step in ONNX, as a bundle's runner runs it.

    Raises:
        PlasticSearchError: a runner would refuse the file, or onnxruntime cannot load it.
    """

    def __init__(self, path: Path | str) -> None:
        self.name = str(path)
        self.unstored: Mapping[str, Tensor] = {}
        with manifest.refusals():
            self.session = runner.open_session(as_path(path).read_bytes())
        self.inputs, self.outputs = (
            [each.name for each in some] for some in (self.session.get_inputs(), self.session.get_outputs())
        )

    def __call__(self, x: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        feeds = {"x": x.numpy()} | {name: value.numpy() for name, value in state.items()}
        try:
            values = self.session.run(None, feeds)
        except Exception as error:
            raise PlasticSearchError(
                f"onnxruntime cannot run the exported step on {len(x)} episodes: {str(error)[:300]}"
            ) from error
        return {name: torch.from_numpy(value) for name, value in zip(self.outputs, values, strict=True)}


class _Comparison:
    """A network and its exported step."""

    def __init__(self, net: Network, exported: Exported) -> None:
        self.net, self.ready, self.exported = net, prepared(net), exported
        form = net.spec.precision.format(Role.TRACE)
        self.levels = {
            f"layers.{i}.trace.next": (step_size(form, layer.limit) / 2**form.remainder, layer.limit)
            for i, layer in enumerate(net.spec.layers)
            if form is not None
        }
        self.activity = {
            f"layers.{i}.output.next": (2.0 if each.activity.bits == 1 else 1.0 / each.activity.top)
            for i, each in enumerate(formats(net.spec))
            if each.activity is not None
        }
        self.activity |= {
            f"layers.{i}.output.next": 1.0 for i, layer in enumerate(net.spec.layers) if layer.cell.spiking
        }
        self._check_names()

    def run(self, batch: int, steps: int, seed: int) -> Parity:
        """Run both on the same random inputs.

        Raises:
            PlasticSearchError: they differ by more than rounding explains.
        """
        rng = torch.Generator().manual_seed(seed)
        state = self._start(batch)
        free_state, free, stepwise = dict(named(state)), [], []
        writes, running, free_ties, written = 0, True, 0, {*self.levels, *self.activity}
        for t in range(steps):
            x = torch.randn(batch, self.net.inputs, generator=rng)
            expected, after = self._reference(x, state)
            if not all(bool(value.isfinite().all()) for value in expected.values()):
                break
            stepwise.append(self._gaps(self.exported(x, named(state)), expected))
            self._check_step(stepwise[-1], expected, x, state, t)
            writes += sum(value.numel() for name, value in expected.items() if name in written)
            if running:
                results = self.exported(x, free_state)
                gaps = self._gaps(results, expected)
                free_ties = gaps.ties
                running = gaps.ties == 0 and (gaps.largest <= ALLOWED or self._still_follows(gaps, batch, t, seed))
                free += [gaps] * running
                free_state = {name: results[f"{name}.next"] for name in free_state}
            state = after
        return self._parity(free, stepwise, writes, free_ties)

    def _start(self, batch: int) -> State:
        return first_state(self.net, self.ready, batch)

    def _reference(self, x: Tensor, state: State, nudge: Generator | None = None) -> tuple[dict[str, Tensor], State]:
        """The results of an exact export, and the next state. `nudge` changes the last bit of every argument."""
        ready = self.ready
        if nudge is not None:
            x = _nudged(x, nudge)
            state = load_named({name: _nudged(value, nudge) for name, value in named(state).items()}, state)
            ready = unflatten(ready, (_nudged(value, nudge) for value in named(ready).values()))
        y, after = reference_step(self.net.spec, self.net.shapes, ready, state, x)
        return {"y": y} | {f"{name}.next": value for name, value in named(after).items()}, State(after)

    def _gaps(self, results: dict[str, Tensor], expected: dict[str, Tensor]) -> _Gaps:
        tied_episodes, ties = self._tied_activity(results, expected)
        gaps = {}
        for name, want in expected.items():
            if results[name].shape != want.shape:
                raise PlasticSearchError(
                    f"the exported step's {name} has shape {list(results[name].shape)}, "
                    f"the network's {list(want.shape)}"
                )
            want = want.double()
            gap = (results[name] - want).abs()
            gap[tied_episodes] = 0.0
            if name in self.exported.unstored:
                gap = gap.masked_fill(self.exported.unstored[name], 0.0)
            if name in self.levels:
                level, limit = self.levels[name]
                tied = (gap - level).abs() <= 1e-6 * limit
                gap, ties = gap.masked_fill(tied, 0.0), ties + int(tied.sum())
            size = want.abs().reshape(len(want), -1).amax(1).clamp_min(1.0)
            gaps[name] = float((gap.reshape(len(want), -1).amax(1) / size).nan_to_num(nan=torch.inf).max())
        return _Gaps(gaps, ties)

    def _tied_activity(self, results: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[Tensor, int]:
        """The episodes [batch] in which some unit's activity is one level apart, and how many values are."""
        tied_episodes, ties = torch.zeros(len(expected["y"]), dtype=torch.bool), 0
        for name, level in self.activity.items():
            tied = ((results[name] - expected[name]).abs() - level).abs() <= 1e-6
            tied_episodes, ties = tied_episodes | tied.any(1), ties + int(tied.sum())
        return tied_episodes, ties

    def _check_step(self, gaps: _Gaps, expected: dict[str, Tensor], x: Tensor, state: State, step: int) -> None:
        """Refuse a step from the reference's state that differs by more than rounding explains."""
        if gaps.largest <= ALLOWED:
            return
        nudge = torch.Generator().manual_seed(step)
        effects = [self._gaps(self._reference(x, state, nudge)[0], expected).of for _ in range(_NUDGES)]
        for name, gap in gaps.of.items():
            if gap > max(ALLOWED, *(_MARGIN * effect[name] for effect in effects)):
                raise _difference(gap, name, step, "from the same state")

    def _still_follows(self, gaps: _Gaps, batch: int, step: int, seed: int) -> bool:
        """False where the reference with nudged inputs has left the reference too; an error where it has not."""
        rng, nudge = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
        state = nudged_state = self._start(batch)
        largest = 0.0
        for _ in range(step + 1):
            x = torch.randn(batch, self.net.inputs, generator=rng)
            expected, state = self._reference(x, state)
            nudged, nudged_state = self._reference(x, nudged_state, nudge)
            now = self._gaps(nudged, expected)
            largest = max(largest, now.largest, torch.inf if now.ties else 0.0)
        if gaps.largest > _MARGIN * largest:
            raise _difference(gaps.largest, max(gaps.of, key=gaps.of.__getitem__), step, "in the free run")
        return False

    def _parity(self, free: list[_Gaps], stepwise: list[_Gaps], writes: int, free_ties: int) -> Parity:
        if not stepwise:
            raise PlasticSearchError("the network's first step is not finite, so there is nothing to compare with")
        ties = sum(gaps.ties for gaps in stepwise)
        levels = [limit / level for level, limit in self.levels.values()] + [1.0 / x for x in self.activity.values()]
        finest = max(levels, default=0.0)
        allowed = max(TIES, 5e-7 * finest)  # the finer the levels, the more values are at a threshold
        if ties > max(_FEW, allowed * writes):
            raise PlasticSearchError(
                f"{ties} of {writes} exported values of trace or activity are one level away from the network's; "
                f"at most a share of {allowed:.0e} is allowed, so it computes or rounds in another way; do not use it"
            )
        return Parity(
            steps=len(stepwise),
            compared=len(free),
            largest=max((gaps.largest for gaps in free), default=0.0),
            stepwise=max(gaps.largest for gaps in stepwise),
            ties=ties,
            free_ties=free_ties,
        )

    def _check_names(self) -> None:
        """Refuse a step whose inputs and outputs are not those of the network."""
        state, step = named(self._start(1)), self.exported
        inputs, outputs = ["x", *state], ["y", *(f"{name}.next" for name in state)]
        for kind, expected, found in (("inputs", inputs, step.inputs), ("outputs", outputs, step.outputs)):
            if found != expected:
                raise PlasticSearchError(
                    f"{step.name} has the {kind} {', '.join(found)}, but the network's step has "
                    f"{', '.join(expected)}; it is the step of another network"
                )


def _nudged(value: Tensor, rng: Generator) -> Tensor:
    """Every number up or down by its last bit; integers unchanged."""
    if not value.is_floating_point():
        return value
    return value * (1.0 + _LAST_BIT * (2.0 * torch.randint(2, value.shape, generator=rng) - 1.0))


def _difference(gap: float, name: str, step: int, how: str) -> PlasticSearchError:
    return PlasticSearchError(
        f"the exported step differs from the network's by {gap:.1e} at {name}, step {step}, {how}; "
        f"at most {ALLOWED:.0e} is allowed, so it must not be used"
    )
