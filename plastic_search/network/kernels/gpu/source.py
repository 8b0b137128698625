"""Lines of a Triton function: an indented text, and programs of lanes as one line a lane.

One instance of a function runs one episode. All its threads see what it stored before a barrier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from plastic_search.network.kernels.tracing.ir import Axis, Declined, Lane
from plastic_search.network.kernels.tracing.program import Output, Program, ordered

__all__ = ["HELPERS", "TILE", "Lines", "constant_name"]

_INDEX = {Axis.POST: "i", Axis.PRE: "j"}  # what counts the numbers of a row
_MASK = {Axis.POST: "im", Axis.PRE: "jm"}
TILE = ("tile = r[:, None] * PRE_ROOM + j[None, :]", "inside = rm[:, None] & (j < PRE_ROOM)[None, :]")
_ADDED = {"params"}  # rows that are added to what is there
_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|"}
_COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_CALLS = {
    "exp": "tl.exp", "log": "tl.log", "sin": "tl.sin", "cos": "tl.cos", "sqrt": "tl.sqrt", "abs": "tl.abs",
    "floor": "tl.floor", "ceil": "tl.ceil", "tanh": "tanh_", "sigmoid": "sigmoid_", "round": "round_",
    "trunc": "trunc_",
}  # fmt: skip

HELPERS = """
@triton.jit
def tanh_(x):
    e = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - e) / (1.0 + e)
    s = x * x
    near = x * (1.0 + s * (-0.3333333333333333 + s * (0.13333333333333333 + s * -0.05396825396825397)))
    return tl.where(tl.abs(x) < 0.03, near, tl.where(x < 0.0, -far, far))


@triton.jit
def sigmoid_(x):
    e = tl.exp(-tl.abs(x))
    return tl.where(x < 0.0, e / (1.0 + e), 1.0 / (1.0 + e))


@triton.jit
def round_(x):
    down = tl.floor(x)
    rest = x - down
    odd = down - 2.0 * tl.floor(0.5 * down)
    return tl.where((rest > 0.5) | ((rest == 0.5) & (odd > 0.5)), down + 1.0, down)


@triton.jit
def trunc_(x):
    return tl.where(x < 0.0, tl.ceil(x), tl.floor(x))
"""


class Lines:
    """A function's text."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.depth = 1

    def __call__(self, *lines: str) -> None:
        self.made += ["    " * self.depth + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """The lines below `head`."""
        self(f"{head}:")
        self.depth += 1
        yield
        self.depth -= 1

    @contextmanager
    def rows(self, held: bool) -> Iterator[None]:
        """The lines below are for some rows `r` of a matrix at a time; where all are held, they are known already."""
        if held:
            yield
            return
        with self.block("for block in range(0, POST, ROWS)"):
            self("r = block + tl.arange(0, ROWS)", "rm = r < POST")
            yield

    def barrier(self) -> None:
        """What any thread stored before, all see after."""
        self("tl.debug_barrier()")

    def run(
        self, program: Program, source: Callable[[Lane], str], target: Callable[[Output], str]
    ) -> dict[tuple[str, int], str]:
        """A program, all of whose inputs are loaded before an output is stored.

        Args:
            source, target: the address of the row that a lane reads, or an output writes.

        Returns:
            The variable of each output, by buffer and number.
        """
        lanes = ordered([o.lane for o in program.outputs])
        for lane in lanes:
            if lane.op == "input":
                self(f"x{lane.index} = {_loaded(source(lane), lane.axis)}")
        kept = [o for o in program.outputs if o.buffer in _ADDED]
        for k, output in enumerate(kept):
            self(f"old{k} = {_loaded(target(output), output.axis)}")
        for lane in lanes:
            if lane.op not in ("input", "constant"):
                self(f"x{lane.index} = {_computed(lane)}")
        self.barrier()
        for output in program.outputs:
            value = _name(output.lane)
            if output.buffer in _ADDED:
                value = f"old{kept.index(output)} + {value}"
            self.store(target(output), output.axis, value)
        return {(o.buffer, o.number): _name(o.lane) for o in program.outputs}

    def store(self, address: str, axis: Axis, value: str) -> None:
        """Store a row, its padding as zeros."""
        if axis is Axis.ONE:
            self(f"tl.store({address}, {value})")
            return
        index, room = _INDEX[axis], "POST_ROOM" if axis is Axis.POST else "PRE_ROOM"
        self(f"tl.store({address} + {index}, tl.where({_MASK[axis]}, {value}, 0.0), mask={index} < {room})")


def _loaded(address: str, axis: Axis) -> str:
    if axis is Axis.ONE:
        return f"tl.load({address})"
    return f"tl.load({address} + {_INDEX[axis]}, mask={_MASK[axis]}, other=0.0)"


def _name(lane: Lane) -> str:
    return constant_name(lane.value) if lane.op == "constant" else f"x{lane.index}"


def constant_name(value: float) -> str:
    """The variable that holds a constant."""
    return "k" + float(value).hex().replace("-", "m").replace("+", "").replace(".", "_")


def _computed(lane: Lane) -> str:
    args = [_name(a) for a in lane.args]
    match lane.op:
        case "sum":
            return f"tl.sum(tl.where({_MASK[lane.args[0].axis]}, {args[0]}, 0.0), axis=0)"
        case "select":
            return f"tl.where({args[0]}, {args[1]}, {args[2]})"
        case "not":
            return f"({args[0]} == 0)"
        case "neg":
            return f"-{args[0]}"
    if lane.op in _SIGNS or lane.op in _COMPARE:
        return f"{args[0]} {(_SIGNS | _COMPARE)[lane.op]} {args[1]}"
    if lane.op not in _CALLS:
        raise Declined(f"the operation {lane.op}")
    return f"{_CALLS[lane.op]}({args[0]})"
