"""Emits LLVM assembly line by line: loops, arithmetic on vectors, and exp, tanh and sigmoid.

Vectors have 64 bytes (`Number.lanes` numbers) whatever the processor's registers hold; LLVM splits what is too wide.
Rows in memory are padded to whole vectors, so no loop has a remainder.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from plastic_search.network.kernels.layout import DOUBLE, FLOAT, Number

__all__ = ["Emitter"]

_UNARY = {"sqrt": "sqrt", "abs": "fabs", "floor": "floor", "ceil": "ceil", "round": "roundeven", "trunc": "trunc"}
_LIBRARY = {"log": "log", "sin": "sin", "cos": "cos"}
_COMPARE = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
_BINARY = {"add": "fadd contract", "sub": "fsub contract", "mul": "fmul contract", "div": "fdiv"}


class Emitter:
    """One function's text. Values are names of LLVM registers; types are given beside them."""

    def __init__(self, number: Number, rows: int = 4) -> None:
        self.number, self.rows = number, rows
        self.vector = f"<{number.lanes} x {number.name}>"
        self.lines: list[str] = []
        self.entry: list[str] = []  # allocas
        self.declared: set[str] = set()
        self._count = 0

    def fresh(self, stem: str = "v") -> str:
        self._count += 1
        return f"%{stem}{self._count}"

    def line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def let(self, text: str) -> str:
        """A new register that holds what `text` computes."""
        name = self.fresh()
        self.line(f"{name} = {text}")
        return name

    # -- whole numbers and addresses

    def add(self, a: str, b: str) -> str:
        return self.let(f"add i64 {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.let(f"sub i64 {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        return self.let(f"mul i64 {a}, {b}")

    def at(self, base: str, offset: str) -> str:
        """The address `offset` numbers after `base`."""
        return self.let(f"getelementptr {self.number.name}, ptr {base}, i64 {offset}")

    def load(self, address: str, type_: str | None = None) -> str:
        return self.let(f"load {type_ or self.vector}, ptr {address}, align {self._align(type_)}")

    def store(self, value: str, address: str, type_: str | None = None) -> None:
        self.line(f"store {type_ or self.vector} {value}, ptr {address}, align {self._align(type_)}")

    def _align(self, type_: str | None) -> int:
        return 8 if type_ == "i64" or type_ == "ptr" else self.number.bytes

    def slot(self, type_: str) -> str:
        """A slot for one value, which LLVM keeps in a register."""
        name = self.fresh("slot")
        self.entry.append(f"  {name} = alloca {type_}")
        return name

    # -- control

    @contextmanager
    def loop(self, count: str, start: str = "0", step: str = "1") -> Iterator[str]:
        """`for i in range(start, count, step)`."""
        self._count += 1
        n, index = self._count, self.fresh("i")
        before, head, body, latch, end = (f"{w}{n}" for w in ("before", "head", "body", "latch", "end"))
        self.line(f"br label %{before}")
        self.lines.append(f"{before}:")
        self.line(f"br label %{head}")
        self.lines.append(f"{head}:")
        self.line(f"{index} = phi i64 [ {start}, %{before} ], [ {index}n, %{latch} ]")
        self.line(f"{index}c = icmp slt i64 {index}, {count}")
        self.line(f"br i1 {index}c, label %{body}, label %{end}")
        self.lines.append(f"{body}:")
        yield index
        self.line(f"br label %{latch}")
        self.lines.append(f"{latch}:")
        self.line(f"{index}n = add i64 {index}, {step}")
        self.line(f"br label %{head}")
        self.lines.append(f"{end}:")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        self._count += 1
        then, end = f"then{self._count}", f"endif{self._count}"
        self.line(f"br i1 {condition}, label %{then}, label %{end}")
        self.lines.append(f"{then}:")
        yield
        self.line(f"br label %{end}")
        self.lines.append(f"{end}:")

    def groups(self, count: str, body: Callable[[str, int], None], shared: int = 1) -> None:
        """Emit `body(i, n)` for n rows from i on: for whole groups, then for each row that is left.

        Args:
            shared: how many episodes use a row; the more, the fewer rows fill the registers.
        """
        group = max(1, self.rows // shared)
        whole = self.mul(self.let(f"sdiv i64 {count}, {group}"), str(group))
        with self.loop(whole, step=str(group)) as i:
            body(i, group)
        with self.loop(count, start=whole) as i:
            body(i, 1)

    # -- arithmetic; `type_` is the floating type or the vector of it

    def splat(self, scalar: str, element: str | None = None) -> str:
        """A vector of the same number, or truth value, throughout."""
        lanes, element = self.number.lanes, element or self.number.name
        type_ = f"<{lanes} x {element}>"
        one = self.let(f"insertelement {type_} poison, {element} {scalar}, i32 0")
        return self.let(f"shufflevector {type_} {one}, {type_} poison, <{lanes} x i32> zeroinitializer")

    def inside(self, offset: str, count: str) -> str:
        """Which lanes of the block that begins at `offset` come before `count`."""
        lanes = self.number.lanes
        left = self.let(f"trunc i64 {self.sub(count, offset)} to i32")
        one = self.let(f"insertelement <{lanes} x i32> poison, i32 {left}, i32 0")
        many = self.let(f"shufflevector <{lanes} x i32> {one}, <{lanes} x i32> poison, <{lanes} x i32> zeroinitializer")
        order = ", ".join(f"i32 {i}" for i in range(lanes))
        return self.let(f"icmp slt <{lanes} x i32> <{order}>, {many}")

    def true(self, type_: str) -> str:
        """The constant true, for every lane of `type_`."""
        return "splat (i1 true)" if type_.startswith("<") else "true"

    def constant(self, value: float, type_: str | None = None) -> str:
        return self._spread(self.literal(value), type_)

    def literal(self, value: float) -> str:
        """A floating constant, exactly."""
        if self.number is FLOAT:
            value = struct.unpack("f", struct.pack("f", value))[0]
        return f"0x{struct.unpack('>Q', struct.pack('>d', value))[0]:016X}"

    def _spread(self, text: str, type_: str | None, scalar: str | None = None) -> str:
        if type_ is not None and not type_.startswith("<"):
            return text
        return f"splat ({scalar or self.number.name} {text})"

    def binary(self, op: str, a: str, b: str, type_: str | None = None) -> str:
        return self.let(f"{_BINARY[op]} {type_ or self.vector} {a}, {b}")

    def maximum(self, a: str, b: str) -> str:
        """The larger lanes of two vectors; NaN where one is."""
        return self._call("maximum", self.vector, f"{self.vector} {a}, {self.vector} {b}", 2)

    def compare(self, op: str, a: str, b: str, type_: str | None = None) -> str:
        return self.let(f"fcmp {_COMPARE[op]} {type_ or self.vector} {a}, {b}")

    def select(self, condition: str, a: str, b: str, type_: str | None = None) -> str:
        type_ = type_ or self.vector
        return self.let(f"select {self.bool_type(type_)} {condition}, {type_} {a}, {type_} {b}")

    def bool_type(self, type_: str) -> str:
        """The type of a comparison of two values of `type_`."""
        return f"<{self.number.lanes} x i1>" if type_.startswith("<") else "i1"

    def fma(self, a: str, b: str, c: str, type_: str | None = None) -> str:
        type_ = type_ or self.vector
        return self._call("fma", type_, f"{type_} {a}, {type_} {b}, {type_} {c}", 3)

    def clamp(self, value: str, low: str, high: str, type_: str | None = None) -> str:
        """`value` within [low, high]; NaN stays NaN."""
        value = self.select(self.compare("gt", value, high, type_), high, value, type_)
        return self.select(self.compare("lt", value, low, type_), low, value, type_)

    def apply(self, op: str, args: Sequence[str], type_: str | None = None) -> str:
        """What a node with such an operation computes from its arguments."""
        type_ = type_ or self.vector
        if op == "select":
            return self.select(args[0], args[1], args[2], type_)
        if op in _COMPARE:
            return self.compare(op, args[0], args[1], type_)
        if op in ("and", "or"):
            return self.let(f"{op} {self.bool_type(type_)} {args[0]}, {args[1]}")
        if op == "not":
            return self.let(f"xor {self.bool_type(type_)} {args[0]}, {self.true(type_)}")
        return self.binary(op, args[0], args[1], type_) if len(args) == 2 else self.unary(op, args[0], type_)

    def unary(self, op: str, a: str, type_: str | None = None) -> str:
        type_ = type_ or self.vector
        if op == "neg":
            return self.let(f"fneg {type_} {a}")
        if op in _UNARY:
            return self._call(_UNARY[op], type_, f"{type_} {a}")
        if op in _LIBRARY:
            return self._call(_LIBRARY[op], type_, f"{type_} {a}")
        return {"exp": self._exp, "tanh": self._tanh, "sigmoid": self._sigmoid}[op](a, type_)

    # -- sums over the lanes of vectors

    def sum_slot(self, first: float = 0.0) -> str:
        """A slot for a vector of sums, or of maxima, and what they begin as."""
        slot = self.slot(self.vector)
        self.store(self.constant(first), slot)
        return slot

    def accumulate(self, slot: str, a: str, b: str, mask: str = "") -> None:
        """slot += a * b, in the lanes of the mask, if there is one"""
        old = self.load(slot)
        total = self.fma(a, b, old)
        self.store(self.select(mask, total, old) if mask else total, slot)

    def store_sums(self, slots: list[list[str]], targets: list[str], i: str, add: bool) -> None:
        """For some slots of each target, store the sums of their lanes from its row `i` on, or add them to it."""
        size, totals = sum(map(len, slots)), self.totals([self.load(slot) for rows in slots for slot in rows])
        for k, (rows, target) in enumerate(zip(slots, targets, strict=True)):
            value, type_ = totals if len(slots) == 1 else self._part(totals[0], size, k * len(rows), len(rows))
            address = self.at(target, i)
            if add:
                value = self.binary("add", value, self.load(address, type_), type_)
            self.store(value, address, type_)

    def total(self, value: str, op: str = "fadd") -> str:
        """The sum of a vector's lanes, or, by fmaximum, the largest."""
        one, name = self.number.name, f"@llvm.vector.reduce.{op}.{self._suffix(self.vector)}"
        types, args = (f"{one}, ", f"{one} {self.literal(0.0)}, ") if op == "fadd" else ("", "")
        self.declared.add(f"declare {one} {name}({types}{self.vector})")
        return self.let(f"call reassoc {one} {name}({args}{self.vector} {value})")

    def totals(self, values: list[str]) -> tuple[str, str]:
        """The sum of each vector's lanes, as one small vector, and its type; of a single vector, a number.

        Vectors are first merged in pairs within 16 bytes, which a processor shuffles cheaply, and then halved.
        """
        if len(values) == 1:
            return self.total(values[0]), self.number.name
        lanes, near, mixed, count = self.number.lanes, 16 // self.number.bytes, 1, len(values)
        while len(values) > 1 and mixed < near:
            values = [self._mixed(a, b, mixed, near) for a, b in zip(values[::2], values[1::2], strict=True)]
            mixed *= 2
        while lanes > mixed:
            lanes //= 2
            values = [self._halved(value, lanes) for value in values]
        while len(values) > 1:
            values = [self._joined(a, b, lanes) for a, b in zip(values[::2], values[1::2], strict=True)]
            lanes *= 2
        return values[0], f"<{count} x {self.number.name}>"

    def _part(self, value: str, size: int, first: int, count: int) -> tuple[str, str]:
        """`count` numbers of a small vector of `size`, and their type."""
        if count == 1:
            return self.let(f"extractelement <{size} x {self.number.name}> {value}, i32 {first}"), self.number.name
        chosen = self._shuffled(value, "poison", size, range(first, first + count))
        return chosen, f"<{count} x {self.number.name}>"

    def _mixed(self, a: str, b: str, mixed: int, near: int) -> str:
        """Partial sums of `a` and of `b`, `mixed` lanes each in turn, within every `near` lanes."""
        lanes, order = self.number.lanes, ([], [])
        for start in range(0, lanes, near):
            for half, where in enumerate(order):
                for k in range(start + half * near // 2, start + (half + 1) * near // 2, mixed):
                    where += [*range(k, k + mixed), *range(lanes + k, lanes + k + mixed)]
        low, high = (self._shuffled(a, b, lanes, where) for where in order)
        return self.binary("add", low, high)

    def _halved(self, value: str, lanes: int) -> str:
        """The first and the last `lanes` of a vector of twice as many, added."""
        low, high = (self._shuffled(value, "poison", 2 * lanes, range(k, k + lanes)) for k in (0, lanes))
        return self.binary("add", low, high, f"<{lanes} x {self.number.name}>")

    def _joined(self, a: str, b: str, lanes: int) -> str:
        return self._shuffled(a, b, lanes, range(2 * lanes))

    def _shuffled(self, a: str, b: str, lanes: int, order: Sequence[int]) -> str:
        type_ = f"<{lanes} x {self.number.name}>"
        chosen = ", ".join(f"i32 {k}" for k in order)
        return self.let(f"shufflevector {type_} {a}, {type_} {b}, <{len(order)} x i32> <{chosen}>")

    def _suffix(self, type_: str) -> str:
        short = "f32" if self.number is FLOAT else "f64"
        return f"v{self.number.lanes}{short}" if type_.startswith("<") else short

    def _call(self, name: str, type_: str, args: str, arity: int = 1) -> str:
        intrinsic = f"@llvm.{name}.{self._suffix(type_)}"
        self.declared.add(f"declare {type_} {intrinsic}({', '.join([type_] * arity)})")
        return self.let(f"call {type_} {intrinsic}({args})")

    # -- exp, tanh and sigmoid, all from exp(r) - 1 on |r| <= ln(2) / 2

    def _split(self, a: str, type_: str, less: int = 0) -> tuple[str, str]:
        """2^(k - less) and exp(r) - 1, where a = k ln(2) + r; `a` must be within the range of exp."""
        n = self.number
        integer = f"<{n.lanes} x {n.integer}>" if type_.startswith("<") else n.integer
        magic = self.constant(1.5 * 2.0**n.mantissa, type_)  # a number this large has no bits left for a fraction
        shifted = self.fma(a, self.constant(1.0 / math.log(2.0), type_), magic, type_)
        k = self.let(f"fsub {type_} {shifted}, {magic}")
        high = _rounded(math.log(2.0), n.mantissa // 2)
        r = self.fma(k, self.constant(-high, type_), a, type_)
        r = self.fma(k, self.constant(-(math.log(2.0) - high), type_), r, type_)
        poly = self.constant(1.0 / math.factorial(n.degree), type_)
        for power in range(n.degree - 1, 0, -1):
            poly = self.fma(poly, r, self.constant(1.0 / math.factorial(power), type_), type_)
        minus_one = self.binary("mul", poly, r, type_)
        bits = self.let(f"bitcast {type_} {shifted} to {integer}")
        bits = self.let(f"add {integer} {bits}, {self._spread(str(n.bias - less), type_, n.integer)}")
        bits = self.let(f"shl {integer} {bits}, {self._spread(str(n.mantissa), type_, n.integer)}")
        return self.let(f"bitcast {integer} {bits} to {type_}"), minus_one

    def _exp(self, a: str, type_: str) -> str:
        n = self.number
        low, high = self.constant(n.smallest, type_), self.constant(n.largest, type_)
        half, rest = self._split(self.clamp(a, low, high, type_), type_, 1)  # at the upper end, 2^k is one too far
        value = self.fma(half, rest, half, type_)
        value = self.binary("add", value, value, type_)
        value = self.select(self.compare("gt", a, high, type_), self.constant(math.inf, type_), value, type_)
        return self.select(self.compare("lt", a, low, type_), self.constant(0.0, type_), value, type_)

    def _tanh(self, a: str, type_: str) -> str:
        """(e - 1) / (e + 1) with e = exp(2a); e - 1 is found without cancellation."""
        most = self.constant(20.0 if self.number is DOUBLE else 10.0, type_)
        least = self.constant(-20.0 if self.number is DOUBLE else -10.0, type_)
        twice = self.clamp(a, least, most, type_)
        scale, rest = self._split(self.binary("add", twice, twice, type_), type_)
        minus = self.binary("sub", scale, self.constant(1.0, type_), type_)
        above = self.fma(scale, rest, minus, type_)
        return self.binary("div", above, self.binary("add", above, self.constant(2.0, type_), type_), type_)

    def _sigmoid(self, a: str, type_: str) -> str:
        e = self._exp(self.unary("neg", a, type_), type_)
        one = self.constant(1.0, type_)
        return self.binary("div", one, self.binary("add", one, e, type_), type_)


def _rounded(value: float, bits: int) -> float:
    """`value` with so few bits that its product with a small whole number is exact."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)
