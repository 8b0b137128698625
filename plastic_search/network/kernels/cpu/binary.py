"""Products of matrices of -1 and 1, 64 numbers a word: XNOR and popcount (Hubara et al. 2016, arXiv 1602.02830).

Of n products of signs, those of unlike signs are the ones in the exclusive or of the words, so that
a . b = n - 2 popcount(a ^ b). A register holds one word of eight columns beside each other, so nothing is summed across
it; ones are counted for each byte, up to 31 words, before the bytes are added up. LLVM writes a count as the
instruction that the processor has for vectors (AVX-512 BITALG, NEON), and else as look-ups of half bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.network.kernels.cpu.assembler import Emitter
from plastic_search.network.kernels.cpu.compiler import compiled
from plastic_search.network.kernels.layout import FLOAT

__all__ = ["Signs", "binary_product", "pack", "unpack"]

_ROWS, _COLUMNS = 4, 8  # of the product, whose counts stay in registers together
_WORD = 64
_WORDS_A_BYTE = 31  # whose ones a byte can count, 8 of each
_PANEL = 16 * 2**10  # bytes of columns that are read again for each group of rows, from the nearest cache
_WORDS, _BYTES, _NUMBERS = f"<{_COLUMNS} x i64>", f"<{8 * _COLUMNS} x i8>", f"<{_COLUMNS} x i32>"  # vectors
_TABLE = ("a", "b", "out", "groups", "blocks", "words", "bits", "panel")


class Signs(NamedTuple):
    """A matrix of -1 and 1, packed: bit k of word j in a row is 1 where number 64 j + k is, and 0 beyond the last."""

    words: Tensor  # [rows, words], int64
    size: int  # numbers in a row


def pack(x: Tensor) -> Signs:
    """The signs of a matrix [rows, size] on the CPU: -1 below 0, else 1, as `Integer(activity=1)` rounds."""
    _check(x.dim() == 2, f"pack takes a matrix [rows, size], but got a tensor of shape {tuple(x.shape)}")
    bits = np.packbits((x.detach() >= 0).numpy(), axis=1, bitorder="little")
    rows, size = x.shape
    padded = np.zeros((rows, -(-size // _WORD) * 8), np.uint8)
    padded[:, : bits.shape[1]] = bits
    return Signs(torch.from_numpy(padded.view("<i8").astype(np.int64)), size)


def unpack(signs: Signs, dtype: torch.dtype = torch.float32) -> Tensor:
    """The matrix [rows, size] of -1 and 1 that was packed."""
    data = signs.words.numpy().astype("<i8").view(np.uint8)
    bits = np.unpackbits(data, axis=1, count=signs.size, bitorder="little")
    return torch.from_numpy(bits).to(dtype) * 2 - 1


def binary_product(a: Signs, b: Signs) -> Tensor:
    """The product of every row of `a` with every row of `b`, exactly: unpack(a) @ unpack(b).T.

    Args:
        a, b: [rows of a, size] and [rows of b, size], packed; a weight [post, pre] is packed as it is.

    Returns:
        [rows of a, rows of b], int32. One thread computes them.

    Raises:
        PlasticSearchError: the sizes of their rows differ.

    Example:
        activity, weight = torch.randn(5, 300), torch.randn(10, 300)
        drive = binary_product(pack(activity), pack(weight))  # [5, 10]
    """
    _check(a.size == b.size, f"rows of the same size have a product, but these have {a.size} and {b.size}")
    rows, columns, words = len(a.words), len(b.words), -(-a.size // _WORD)
    for given in (a.words.shape[1], b.words.shape[1]):
        _check(given == words, f"{given} words of {_WORD} hold no rows of {a.size}: `pack` makes {words} of them")
    left, right = _side_by_side(a.words, _ROWS), _side_by_side(b.words, _COLUMNS)
    out = torch.empty(len(left) * _ROWS, len(right) * _COLUMNS, dtype=torch.int32)
    panel = max(1, _PANEL // (8 * _COLUMNS * max(words, 1)))
    table = np.array(
        [left.data_ptr(), right.data_ptr(), out.data_ptr(), len(left), len(right), words, a.size, panel], np.int64
    )
    _code()(table.ctypes.data, None, 0, 0)
    return out[:rows, :columns]


def _side_by_side(words: Tensor, count: int) -> Tensor:
    """[groups, words, count]: word k of `count` rows beside each other; the last group is filled with rows of 0."""
    rows, width = words.shape
    padded = torch.nn.functional.pad(words, (0, 0, 0, -rows % count))
    return padded.view(-(-rows // count), count, width).transpose(1, 2).contiguous()


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise PlasticSearchError(otherwise)


@cache
def _code() -> Any:
    return compiled(_assembly(), ("product",)).functions["product"]


def _assembly() -> str:
    e = Emitter(FLOAT)
    at = {n: e.load(e.let(f"getelementptr i64, ptr %table, i64 {i}"), "i64") for i, n in enumerate(_TABLE)}
    for name in ("a", "b", "out"):
        at[name] = e.let(f"inttoptr i64 {at[name]} to ptr")
    row = e.mul(at["blocks"], str(_COLUMNS))
    with e.loop(at["blocks"], step=at["panel"]) as first:
        last = _smaller(e, e.add(first, at["panel"]), at["blocks"])
        with e.loop(at["groups"]) as i, e.loop(last, start=first) as j:
            counts = _counts(e, at, i, j)
            for r, count in enumerate(counts):
                _write(e, at, count, e.add(e.mul(e.add(e.mul(i, str(_ROWS)), str(r)), row), e.mul(j, str(_COLUMNS))))
    head = 'define void @product(ptr %table, ptr %scratch, i64 %first, i64 %last) "prefer-vector-width"="512" {'
    declared = (
        f"declare {_BYTES} @llvm.ctpop.v{8 * _COLUMNS}i8({_BYTES})",
        "declare i64 @llvm.smin.i64(i64, i64)",
    )
    return "\n".join([*declared, head, "entry:", *e.entry, *e.lines, "  ret void", "}", ""])


def _counts(e: Emitter, at: dict[str, str], i: str, j: str) -> list[str]:
    """For each row of group `i`, how many numbers have another sign than those of each column of block `j`."""
    totals, bytes_of = [e.slot(_WORDS) for _ in range(_ROWS)], [e.slot(_BYTES) for _ in range(_ROWS)]
    for slot in totals:
        e.store("zeroinitializer", slot, _WORDS)
    left = e.let(f"getelementptr i64, ptr {at['a']}, i64 {e.mul(e.mul(i, at['words']), str(_ROWS))}")
    right = e.let(f"getelementptr i64, ptr {at['b']}, i64 {e.mul(e.mul(j, at['words']), str(_COLUMNS))}")
    with e.loop(at["words"], step=str(_WORDS_A_BYTE)) as first:
        for slot in bytes_of:
            e.store("zeroinitializer", slot, _BYTES)
        with e.loop(_smaller(e, e.add(first, str(_WORDS_A_BYTE)), at["words"]), start=first) as w:
            column = e.let(f"load {_WORDS}, ptr {_offset(e, right, e.mul(w, str(_COLUMNS)))}, align 8")
            for r, slot in enumerate(bytes_of):
                one = e.load(_offset(e, left, e.add(e.mul(w, str(_ROWS)), str(r))), "i64")
                unlike = e.let(f"xor {_WORDS} {_spread(e, one)}, {column}")
                as_bytes = e.let(f"bitcast {_WORDS} {unlike} to {_BYTES}")
                ones = e.let(f"call {_BYTES} @llvm.ctpop.v{8 * _COLUMNS}i8({_BYTES} {as_bytes})")
                e.store(e.let(f"add {_BYTES} {e.load(slot, _BYTES)}, {ones}"), slot, _BYTES)
        for slot, total in zip(bytes_of, totals, strict=True):
            each = e.let(f"bitcast {_BYTES} {e.load(slot, _BYTES)} to {_WORDS}")
            e.store(e.let(f"add {_WORDS} {e.load(total, _WORDS)}, {_sum_of_bytes(e, each)}"), total, _WORDS)
    return [e.load(slot, _WORDS) for slot in totals]


def _sum_of_bytes(e: Emitter, value: str) -> str:
    """The sum of the eight bytes of each word."""
    for bits, mask in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0xFFFFFFFF)):
        high = e.let(f"lshr {_WORDS} {value}, splat (i64 {bits})")
        low, high = (e.let(f"and {_WORDS} {half}, splat (i64 {mask})") for half in (value, high))
        value = e.let(f"add {_WORDS} {low}, {high}")
    return value


def _write(e: Emitter, at: dict[str, str], count: str, offset: str) -> None:
    """The products, n - 2 count."""
    twice = e.let(f"shl {_WORDS} {count}, splat (i64 1)")
    product = e.let(f"sub {_WORDS} {_spread(e, at['bits'])}, {twice}")
    short = e.let(f"trunc {_WORDS} {product} to {_NUMBERS}")
    e.store(short, e.let(f"getelementptr i32, ptr {at['out']}, i64 {offset}"), _NUMBERS)


def _offset(e: Emitter, base: str, words: str) -> str:
    return e.let(f"getelementptr i64, ptr {base}, i64 {words}")


def _spread(e: Emitter, one: str) -> str:
    """A vector of the same word throughout."""
    alone = e.let(f"insertelement {_WORDS} poison, i64 {one}, i32 0")
    return e.let(f"shufflevector {_WORDS} {alone}, {_WORDS} poison, <{_COLUMNS} x i32> zeroinitializer")


def _smaller(e: Emitter, a: str, b: str) -> str:
    return e.let(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")
