"""Where everything lies that a compiled function reads and writes: areas of rows, and one table of addresses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from plastic_search.network.kernels.tracing.ir import Axis
from plastic_search.network.kernels.tracing.program import Leaves, Program, Traced, ordered, stored
from plastic_search.network.spec import Bound
from plastic_search.precisions import Rounding

__all__ = [
    "LITERALS",
    "SIZES",
    "TOGETHER",
    "Area",
    "Kind",
    "Reading",
    "Rows",
    "Writes",
]

SIZES = (
    "post",
    "width",
    "times",
    "batch",
    "post_room",
    "pre_room",
    "own",
    "every",
    "short",
    "keep",
    "keep_pre",
)
FORWARD = ("drive", "output", "pre", "state", "tape", "trace", "eligibility", "traces", "eligibilities")
BACKWARD = ("d_drive", "d_output", "d_pre", "d_state", "d_params", "d_trace", "d_eligibility", "d_alpha")
PARAMETERS = ("alpha", "weight", "own_weight", "params", "constants", "limits", "phases", "dither")
TOGETHER = 2  # episodes that are run side by side, so that what they share is loaded once for both
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
        """Where a row begins."""
        return {
            Axis.POST: number * post,
            Axis.PRE: self.post * post + number * pre,
            Axis.ONE: self.post * post + self.pre * pre + number * lanes,
        }[axis]


class Rows(NamedTuple):
    """An area whose rows have names."""

    post: tuple[str, ...] = ()
    pre: tuple[str, ...] = ()
    ones: tuple[str, ...] = ()

    @property
    def area(self) -> Area:
        return Area(len(self.post), len(self.pre), len(self.ones))

    def find(self, name: str) -> tuple[Axis, int]:
        for axis, names in ((Axis.POST, self.post), (Axis.PRE, self.pre), (Axis.ONE, self.ones)):
            if name in names:
                return axis, names.index(name)
        raise KeyError(name)


class Writes(NamedTuple):
    """Addresses of one step's vectors, which say what is written."""

    u: tuple[str, ...]
    v: tuple[str, ...]
    row: str
    column: str
    write: str
    eta: str
    dither: str  # one number: the noise that rounds what is written


class Reading(NamedTuple):
    """Addresses of one step's vectors, which say what is read; or, backwards, of the derivatives of what was."""

    pre: str
    answer: str
    recall: str  # "" where the rule does not ask


@dataclass(frozen=True, eq=False)
class Kind:
    """All that decides what code a layer needs; sizes, settings and parameters are given when it is called.

    It is known by its identity, and what follows from it is worked out once.
    """

    traced: Traced
    double: bool
    bound: Bound
    recurrent: bool  # whether it hears itself
    own_plastic: bool  # ... by plastic connections
    rounding: Rounding | None  # how its trace is written; None: as it is

    @property
    def number(self) -> Number:
        return DOUBLE if self.double else FLOAT

    @cached_property
    def recalls(self) -> bool:
        """Whether the rule asks what the trace alone would answer."""
        return self.traced.forward.uses("recall")

    @cached_property
    def apart(self) -> tuple[int, ...]:
        """The drives whose own connections are not read together with their trace."""
        drives = range(self.traced.drives) if self.recurrent else ()
        return tuple(d for d in drives if not (self.own_plastic and d == self.traced.plastic))

    @cached_property
    def state(self) -> Area:
        return _area(self.traced.state)

    @cached_property
    def params(self) -> Area:
        return _area(self.traced.params)

    @cached_property
    def aliases(self) -> tuple[bool, ...]:
        """For each outer product, whether its second vector is what the layer hears, and need not be stored."""
        rows = [o for o in self.traced.forward.outputs if o.buffer == "v"]
        return tuple(o.lane.op == "input" and o.lane.slot[0] == "pre" for o in rows)

    @cached_property
    def forward(self) -> Program:
        """What is computed in a step, without copies of what is there."""
        outputs = self.traced.forward.outputs
        aliased = self.aliases
        return Program(tuple(o for o in outputs if o.buffer != "v" or not aliased[o.number]))

    @cached_property
    def backward(self) -> Program:
        """The derivative of a step."""
        unplastic = self.traced.shares is None
        return Program(
            tuple(o for o in self.traced.backward.outputs if not (unplastic and o.buffer in ("pre", "recall")))
        )

    @cached_property
    def tape(self) -> Rows:
        """What a step leaves behind for the backward pass."""
        shares = self.traced.shares
        if shares is None:
            return Rows()
        terms = len(shares.matrices)
        post = ["recall"] * self.recalls + [f"u{k}" for k in range(terms)] + ["row"] * shares.row
        pre = [f"v{k}" for k in range(terms) if not self.aliases[k]] + ["column"] * shares.column
        return Rows(tuple(post + ["write"] * shares.retroactive), tuple(pre), ("eta",) if shares.retroactive else ())

    @cached_property
    def adjoints(self) -> Rows:
        """Derivatives of a step's vectors, and a row of zeros."""
        shares = self.traced.shares
        if shares is None:
            return Rows(("zero",), (), ())
        terms = len(shares.matrices)
        post = ["zero", "recall", *(f"u{k}" for k in range(terms)), "row", "write"]
        return Rows(tuple(post), ("nothing", "pre", *(f"v{k}" for k in range(terms)), "column"), ("eta",))

    @cached_property
    def temporary(self) -> Area:
        """Room for lanes that one loop leaves for another."""
        lanes = [stored(program) for program in (self.forward, self.backward)]
        post, pre = (max(sum(x.axis is axis for x in some) for some in lanes) for axis in (Axis.POST, Axis.PRE))
        return Area(post, pre, 0)

    @cached_property
    def constants(self) -> tuple[float, ...]:
        """The settings of its parts, which are given when it is called."""
        programs = (self.forward, self.backward)
        lanes = [x for program in programs for x in ordered([o.lane for o in program.outputs]) if x.op == "constant"]
        return tuple(dict.fromkeys(x.value for x in lanes if x.value not in LITERALS))

    @cached_property
    def matrices(self) -> tuple[str, ...]:
        """Names of the coefficients that have a number for every synapse."""
        shares = self.traced.shares
        if shares is None:
            return ()
        return tuple(f"coef{k}" for k, there in enumerate(shares.matrices) if there) + ("decay",) * shares.matrix

    @cached_property
    def table(self) -> tuple[str, ...]:
        """The order of the table that a compiled function is given."""
        d_matrices = tuple(f"d_{name}" for name in self.matrices)
        return (*SIZES, *FORWARD, *PARAMETERS, *self.matrices, *BACKWARD, *d_matrices)

    def scratch(self, post: int, pre: int, rows: int, every: int, short: int) -> int:
        """Numbers of room that one thread needs; `every` and `short` are those of `Sizes`, or 1."""
        lanes, shares = self.number.lanes, self.traced.shares
        segment = rows * pre * ((every - 1) // short) if shares else 0
        own = self.adjoints.area.size(post, pre, lanes) + self.state.size(post, pre, lanes) + segment
        own += segment if shares and shares.retroactive else 0
        return self.temporary.size(post, pre, lanes) + TOGETHER * own


def _area(leaves: Leaves) -> Area:
    ones, post, pre = leaves.counts
    return Area(post, pre, ones)


class Number(NamedTuple):
    """A floating type, and what its bits mean."""

    name: str  # LLVM's
    integer: str  # of the same width
    lanes: int  # in 64 bytes
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
