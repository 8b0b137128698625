"""Source lines of a Triton function: indented text, and programs as one line per node.

One instance of a function runs one episode. All its threads see what any of them stored before a barrier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from plastic_search.network.kernels.tracing.ir import Axis, Node, UnsupportedError
from plastic_search.network.kernels.tracing.program import Program

__all__ = ["HELPERS", "TILE", "Lines", "computed", "constant_name"]

_INDEX = {Axis.POST: "i", Axis.PRE: "j"}  # the index along a row
_MASK = {Axis.POST: "im", Axis.PRE: "jm"}
TILE = ("tile = r[:, None] * PRE_PADDED + j[None, :]", "inside = rm[:, None] & (j < PRE_PADDED)[None, :]")
_ADDED = {"params", "previous"}  # buffers whose rows are added to what is there
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


AddressOf = Callable[[str, Axis, int], str]


class Lines:
    """The body of a function."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.depth = 1

    def __call__(self, *lines: str) -> None:
        self.text += ["    " * self.depth + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """The lines below `head`."""
        self(f"{head}:")
        self.depth += 1
        yield
        self.depth -= 1

    @contextmanager
    def rows(self, all_rows: bool) -> Iterator[None]:
        """The lines below are for some rows `r` of a matrix at a time, unless `r` are all rows already."""
        if all_rows:
            yield
            return
        with self.block("for block in range(0, POST, ROWS)"):
            self("r = block + tl.arange(0, ROWS)", "rm = r < POST")
            yield

    def barrier(self) -> None:
        """After it, all threads see what any of them stored before."""
        self("tl.debug_barrier()")

    def run(self, program: Program, source: AddressOf, target: AddressOf) -> dict[tuple[str, int], str]:
        """A program. All inputs are loaded before any output is stored.

        Args:
            source, target: the address of a row that is read, or written, from its buffer, axis and number.

        Returns:
            The variable of each output, by buffer and number.
        """
        nodes = program.nodes()
        for node in nodes:
            if node.op == "input":
                buffer, number = node.slot
                self(f"x{node.index} = {_loaded(source(buffer, node.axis, number), node.axis)}")
        addresses = [target(o.buffer, o.axis, o.number) for o in program.outputs]
        outputs = list(zip(program.outputs, addresses, strict=True))
        added = [(o, address) for o, address in outputs if o.buffer in _ADDED]
        for k, (output, address) in enumerate(added):
            self(f"old{k} = {_loaded(address, output.axis)}")
        for node in nodes:
            if node.op not in ("input", "constant"):
                self(f"x{node.index} = {computed(node, _name)}")
        self.barrier()
        for output, address in outputs:
            value = _name(output.node)
            if output.buffer in _ADDED:
                value = f"old{added.index((output, address))} + {value}"
            self.store(address, output.axis, value)
        return {(o.buffer, o.number): _name(o.node) for o in program.outputs}

    def store(self, address: str, axis: Axis, value: str) -> None:
        """Store a row, its padding as zeros."""
        if axis is Axis.ONE:
            self(f"tl.store({address}, {value})")
            return
        index, length = _INDEX[axis], "POST_PADDED" if axis is Axis.POST else "PRE_PADDED"
        self(f"tl.store({address} + {index}, tl.where({_MASK[axis]}, {value}, 0.0), mask={index} < {length})")


def _loaded(address: str, axis: Axis) -> str:
    if axis is Axis.ONE:
        return f"tl.load({address})"
    return f"tl.load({address} + {_INDEX[axis]}, mask={_MASK[axis]}, other=0.0)"


def _name(node: Node) -> str:
    return constant_name(node.value) if node.op == "constant" else f"x{node.index}"


def constant_name(value: float) -> str:
    """The variable that holds a constant."""
    return "k" + float(value).hex().replace("-", "m").replace("+", "").replace(".", "_")


def computed(node: Node, name: Callable[[Node], str], exact: bool = False) -> str:
    """The expression of a node, from the variables of its arguments.

    Args:
        exact: whether to divide with correct rounding, which Triton does not do in single precision.
    """
    args = [name(a) for a in node.args]
    match node.op:
        case "sum":
            return f"tl.sum(tl.where({_MASK[node.args[0].axis]}, {args[0]}, 0.0), axis=0)"
        case "max":
            return f"tl.max(tl.where({_MASK[node.args[0].axis]}, {args[0]}, float('-inf')), axis=0)"
        case "select":
            return f"tl.where({args[0]}, {args[1]}, {args[2]})"
        case "not":
            return f"({args[0]} == 0)"
        case "neg":
            return f"-{args[0]}"
        case "div" if exact:
            return f"tl.div_rn({args[0]}, {args[1]})"
    if node.op in _SIGNS or node.op in _COMPARE:
        return f"{args[0]} {(_SIGNS | _COMPARE)[node.op]} {args[1]}"
    if node.op not in _CALLS:
        raise UnsupportedError(f"the operation {node.op}")
    return f"{_CALLS[node.op]}({args[0]})"
