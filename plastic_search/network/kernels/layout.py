"""The memory layout of one layer's sequence: which rows every buffer has, and the order of the table of addresses.

The Hebbian trace H is too large to be stored for every time step, so backward recomputes it (gradient checkpointing,
Chen et al. 2016):

    checkpoint         H as forward stores it, every `segment_steps` steps
    segment            the steps from one checkpoint to the next
    inner checkpoint   H as backward recomputes it, every `inner_steps` steps of the current segment

    step                0   1   2   3   4   5   6   7   8   9  10  11  12      segment_steps = 6, inner_steps = 2
    checkpoints         H                       H                       H      in memory
    segments            |------ segment 0 ------|------ segment 1 ------|
    inner checkpoints           h       h               h       h              in scratch, which fits a core's cache

Backward takes the segments from last to first. In each it recomputes H forward from the checkpoint, storing the inner
checkpoints; then it goes back step by step, and recomputes the few steps since the last inner checkpoint in registers.
The GPU stores H at every step of the current segment (`inner_steps` is 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import BufferLayout, Program, StepProgram, stored

__all__ = [
    "DOUBLE", "FLOAT", "LITERALS", "SIZES", "STEPS", "TOGETHER", "Area", "KernelSignature", "Number", "Reads", "Rows",
    "area_of", "row_name",
]  # fmt: skip

# The table of a compiled function: which steps it takes, then sizes and flags, then addresses.
STEPS = ("first", "times", "written", "finish")
SIZES = (
    *STEPS, "post", "width", "batch", "post_padded", "pre_padded", "plastic_sources", "segment_steps", "inner_steps",
    "keep", "keep_d_pre",
)  # fmt: skip
FORWARD = (
    "drive", "output", "pre", "state", "tape", "trace", "eligibility", "checkpoints", "eligibility_checkpoints",
)  # fmt: skip
BACKWARD = (
    "d_drive", "d_output", "d_pre", "d_state", "d_params", "d_trace", "d_eligibility", "d_alpha", "d_signals",
)  # fmt: skip
PARAMETERS = (
    "alpha", "weight", "recurrent_weight", "params", "constants", "limits", "phases", "dither", "signals", "controls",
)  # fmt: skip
TOGETHER = 2  # episodes that a thread runs side by side, so that what they share is loaded once for both
LITERALS = (0.0, 1.0, -1.0, 2.0, 0.5, -2.0)  # constants that are written into the code


class Area(NamedTuple):
    """Rows over POST, then rows over PRE, then single numbers, each in a block of its own."""

    post: int = 0
    pre: int = 0
    ones: int = 0

    def size(self, post: int, pre: int, lanes: int) -> int:
        """How many numbers it holds, where rows are `post` and `pre` numbers long, padding included."""
        return self.post * post + self.pre * pre + self.ones * lanes

    def first(self, axis: Axis, number: int, post: int, pre: int, lanes: int) -> int:
        """The offset of a row."""
        if axis is Axis.POST:
            return number * post
        if axis is Axis.PRE:
            return self.post * post + number * pre
        return self.post * post + self.pre * pre + number * lanes


class Rows(NamedTuple):
    """An area whose rows have names."""

    post: tuple[str, ...] = ()
    pre: tuple[str, ...] = ()
    ones: tuple[str, ...] = ()

    @property
    def area(self) -> Area:
        return Area(len(self.post), len(self.pre), len(self.ones))

    def find(self, name: str) -> tuple[Axis, int] | None:
        """The axis and the number of a row; None if there is none of that name."""
        for axis, names in ((Axis.POST, self.post), (Axis.PRE, self.pre), (Axis.ONE, self.ones)):
            if name in names:
                return axis, names.index(name)
        return None


class Reads(NamedTuple):
    """Addresses of the vectors with which one step reads the trace; backward, of the derivatives of its results."""

    pre: str
    drives: tuple[str, ...]  # the sums of `KernelSignature.plastic_sums`
    recall: str  # "" where the rule does not use it


@dataclass(frozen=True, eq=False)
class KernelSignature:
    """All that decides which code a layer needs; sizes, settings and parameters are arguments of that code.

    Compared by identity. What follows from its fields is computed once.
    """

    program: StepProgram
    double: bool
    recurrent: bool  # whether the layer receives its own previous output
    recurrent_plastic: bool  # ... by plastic connections
    apart: bool  # whether these add to another sum than plastic connections from other layers do

    @property
    def number(self) -> Number:
        return DOUBLE if self.double else FLOAT

    @property
    def plastic(self) -> bool:
        return self.program.synapses is not None

    @property
    def retroactive(self) -> bool:
        return self.program.synapses is not None and self.program.synapses.retroactive

    @property
    def sends_on(self) -> bool:
        """Whether what a step sends is read again, by the step after it or by the backward pass.

        Where it is not, the derivatives of outputs, `d_output`, have no row for the output before the first step.
        """
        return self.recurrent or self.plastic

    @property
    def clears(self) -> bool:
        """Whether activity may be cleared before a step."""
        return "cleared" in self.program.controls

    @cached_property
    def uses_recall(self) -> bool:
        """Whether the rule reads `H @ pre`."""
        synapses = self.program.synapses
        return self.program.forward.uses("recall") or (synapses is not None and synapses.uses("recall"))

    @cached_property
    def uses_phases(self) -> bool:
        """Whether the trace is rounded stochastically."""
        return self.program.synapses is not None and self.program.synapses.uses("phases")

    @cached_property
    def separate_drives(self) -> tuple[tuple[int, int], ...]:
        """The drives whose recurrent weights are not read in the same loop as the trace, and the sum of each."""
        drives = enumerate(self.program.recurrent) if self.recurrent else ()
        return tuple((d, to) for d, to in drives if not (self.recurrent_plastic and d == self.program.plastic))

    @cached_property
    def plastic_sums(self) -> tuple[int, ...]:
        """The sums that a read of the trace adds to: one; or two, of other layers and of the layer itself."""
        direct, recurrent = self.program.plastic, self.program.recurrent[self.program.plastic]
        return (direct, recurrent) if self.apart else (recurrent if self.recurrent_plastic else direct,)

    @cached_property
    def state(self) -> Area:
        return area_of(self.program.state)

    @cached_property
    def params(self) -> Area:
        return area_of(self.program.params)

    @cached_property
    def backward(self) -> Program:
        """The derivative of a step of the units."""
        outputs = self.program.backward.outputs
        return Program(tuple(o for o in outputs if self.plastic or o.buffer not in ("pre", "recall")))

    @cached_property
    def tape(self) -> Rows:
        """What a step stores for its write to the trace, and for the backward pass."""
        post, pre, ones = self._rows(self.program.forward, "row")
        return Rows((*["recall"] * self.uses_recall, *post), pre, ones)

    @cached_property
    def adjoints(self) -> Rows:
        """Sums over the synapses' derivatives, the derivatives of what reads the trace, and rows of zeros.

        `unused` is the derivative of a cleared output.
        """
        first = ("zero", *["unused"] * self.clears)
        if not self.program.synapses:
            return Rows(first, (), ())
        post, pre, ones = self._rows(self.program.synapses.backward, "sum")
        return Rows((*first, "recall", *post), ("zero_pre", "pre", *pre), ones)

    def _rows(self, program: Program, buffer: str) -> Rows:
        """The rows that a program writes to one buffer."""
        of = {axis: [o.number for o in program.outputs if o.buffer == buffer and o.axis is axis] for axis in Axis}
        return Rows(*(tuple(row_name(axis, k) for k in sorted(of[axis])) for axis in (Axis.POST, Axis.PRE, Axis.ONE)))

    @cached_property
    def temporary(self) -> Area:
        """Rows for nodes that one loop stores for a later one."""
        nodes = [stored(program) for program in (self.program.derived, self.program.forward, self.backward)]
        post, pre = (max(sum(x.axis is axis for x in some) for some in nodes) for axis in (Axis.POST, Axis.PRE))
        return Area(post, pre, 0)

    @cached_property
    def constants(self) -> tuple[float, ...]:
        """The settings of its parts, which are arguments of the code."""
        synapses = self.program.synapses
        programs = [self.program.derived, self.program.forward, self.backward]
        nodes = [x for program in programs for x in program.nodes()] + (synapses.nodes() if synapses else [])
        nodes = [x for x in nodes if x.op == "constant"]
        return tuple(dict.fromkeys(x.value for x in nodes if x.value not in LITERALS))

    @cached_property
    def matrices(self) -> tuple[str, ...]:
        """Names of the constants of an episode that have a number for every synapse."""
        synapses = self.program.synapses
        return synapses.matrices if synapses else ()

    @cached_property
    def table(self) -> tuple[str, ...]:
        """The order of the table that a compiled function receives."""
        d_matrices = tuple(f"d_{name}" for name in self.matrices)
        return (*SIZES, *FORWARD, *PARAMETERS, *self.matrices, *BACKWARD, *d_matrices)

    def scratch(self, post: int, pre: int, rows: int, inner_checkpoints: int) -> int:
        """Numbers of scratch memory that one thread needs, for so many inner checkpoints in a segment."""
        lanes = self.number.lanes
        traces = rows * pre * inner_checkpoints * (self.plastic + self.retroactive)
        episode = self.adjoints.area.size(post, pre, lanes) + self.state.size(post, pre, lanes) + traces
        return self.temporary.size(post, pre, lanes) + TOGETHER * episode


def row_name(axis: Axis, number: int) -> str:
    """The name of a row that units write and synapses read, or the other way round."""
    return f"{axis.name.lower()}{number}"


def area_of(layout: BufferLayout) -> Area:
    ones, post, pre = layout.counts
    return Area(post, pre, ones)


class Number(NamedTuple):
    """A floating-point type."""

    name: str  # LLVM's
    integer: str  # of the same width
    lanes: int  # numbers in 64 bytes
    mantissa: int  # bits
    bias: int
    degree: int  # of the polynomial that gives exp(r) - 1 to the last bit
    largest: float  # beyond which exp overflows
    smallest: float  # below which exp is 0

    @property
    def bytes(self) -> int:
        return 64 // self.lanes


FLOAT = Number("float", "i32", 16, 23, 127, 8, 88.722839, -87.33655)
DOUBLE = Number("double", "i64", 8, 52, 1023, 13, 709.782712893384, -708.396418532264)
