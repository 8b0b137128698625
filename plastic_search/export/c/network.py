"""A whole network as the two files `NAME.c` and `NAME.h`."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from plastic_search import __version__
from plastic_search.export.c.float_function import FloatFunction
from plastic_search.export.c.golden_network import Golden
from plastic_search.export.c.integer_function import IntegerFunction
from plastic_search.export.c.integer_numbers import helpers
from plastic_search.export.c.layer import LayerPlan, plan
from plastic_search.export.c.state import Member, members
from plastic_search.export.c.text import FILES, Constants, block, number, width
from plastic_search.export.parameters import first_state, parameters, prepared
from plastic_search.network.formats import formats
from plastic_search.network.module import Network

__all__ = ["Arithmetic", "Source", "source"]

_HEAD = 8  # bytes before the numbers of a saved state: which network, how many
_TAIL = 4  # after them: their checksum


class Arithmetic(Enum):
    """The numbers in which a network in C computes."""

    FLOAT = "float"  # single precision, as the reference
    INTEGER = "integer"  # fixed point, of a network whose weights, alphas and traces are rounded


class Source(NamedTuple):
    """A network in C.

    Args:
        members: of its state, in the order in which they are saved.
        parameters: bytes of the arrays that do not change.
        state: bytes of the state.
        golden: what integers compute, in NumPy; None of floats.
    """

    code: str
    header: str
    members: tuple[Member, ...]
    parameters: int
    state: int
    golden: Golden | None = None


def source(net: Network, name: str, arithmetic: Arithmetic = Arithmetic.FLOAT) -> Source:
    """The text of a network, whose functions are `NAME_init`, `NAME_step`, `NAME_save` and `NAME_restore`.

    Raises:
        PlasticSearchError: a layer has no form in C; the message says which and why.
    """
    ready, kept = prepared(net), parameters(net)
    forms = formats(net.spec)
    plans = [
        plan(i, layer, shape, form, params, kept[f"layers.{i}.weight"], arithmetic is Arithmetic.INTEGER)
        for i, (layer, shape, form, params) in enumerate(zip(net.spec.layers, net.shapes, forms, ready, strict=True))
    ]
    first = first_state(net, ready, 1)
    each = [members(p, state) for p, state in zip(plans, first, strict=True)]
    constants, functions, golden = Constants(), [], None
    if arithmetic is Arithmetic.INTEGER:
        golden = Golden(plans, kept, each)
        each = golden.members
    for k, (p, found) in enumerate(zip(plans, each, strict=True)):
        if golden is None:
            functions += FloatFunction(p, constants, found, name).text()
        else:
            functions += IntegerFunction(golden.layers[k].layer, constants, found, name, golden.forms).text()
    functions = [*helpers("\n".join(functions), constants), *functions]
    every = tuple(member for found in each for member in found)
    held = [member for member in every if member.start.size]  # of a layer without plastic synapses, no trace
    functions += _init(held, constants, name)
    body = "\n".join([*constants.text, *functions])
    mark = zlib.crc32(body.encode())
    size = sum(m.start.size * width(m.kind) for m in every)
    code = "\n".join([*_start(name, golden), body, *_step(plans, name, each[-1][0].kind), *_saving(held, name, mark)])
    return Source(code, _header(net, held, name, size, golden), every, constants.bytes, size, golden)


def _start(name: str, golden: Golden | None) -> list[str]:
    return [
        f"/* Written by plastic_search {__version__}; {name}.h says how it is used. */",
        *["#include <math.h>"] * (golden is None),
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        f'#include "{name}.h"',
        "",
    ]


def _init(every: Sequence[Member], constants: Constants, name: str) -> list[str]:
    lines = []
    for member in every:
        start = member.start
        first = number(start[0]) if member.kind == "float" else str(start[0])
        value = first if (start == start[0]).all() else ""
        value = value or f"{constants.array(f'{member.name}_start', start, member.kind)}[k]"
        lines += block(f"for (size_t k = 0; k < {len(start)}; k++)", [f"state->{member.name}[k] = {value};"])
    return [*block(f"void {name}_init({name}_state *state)", lines), ""]


def _step(plans: Sequence[LayerPlan], name: str, sent: str) -> list[str]:
    upper, last = name.upper(), plans[-1]
    lines = [f"{p.name}(state, input);" for p in plans]
    copy = [f"output[k] = state->{last.name}_output[k];"]
    lines += block(f"for (size_t k = 0; k < {last.shape.post}; k++)", copy)
    head = f"void {name}_step({name}_state *state, const {sent} input[{upper}_INPUTS], {sent} output[{upper}_OUTPUTS])"
    return [*block(head, lines), ""]


def _saving(every: Sequence[Member], name: str, mark: int) -> list[str]:
    """Save and restore: a mark of the network, the numbers, and a checksum, all of them little-endian."""
    upper = name.upper()
    count = sum(len(member.start) for member in every)
    puts, gets, file = [], [], "saving.c" if every[0].kind == "float" else "saving_integers.c"
    for m in every:
        size, head = width(m.kind), f"for (size_t k = 0; k < {len(m.start)}; k++"
        if m.kind == "float":
            puts.append(f"at = put(at, state->{m.name}, {len(m.start)});")
            gets.append(f"at = get(at, state->{m.name}, {len(m.start)});")
        else:
            puts.append(f"{head}) at = put(at, (uint32_t)state->{m.name}[k], {size});")
            gets.append(f"{head}, at += {size}) state->{m.name}[k] = ({m.kind})get(at, {size});")
    return [
        *(FILES / file).read_text().splitlines(),
        "",
        *block(
            f"void {name}_save(const {name}_state *state, unsigned char bytes[{upper}_SAVED])",
            [
                f"unsigned char *at = put_word(put_word(bytes, 0x{mark:08X}u), {count}u);",
                *puts,
                f"put_word(at, checksum(bytes, {upper}_SAVED - {_TAIL}));",
            ],
        ),
        "",
        *block(
            f"int {name}_restore({name}_state *state, const unsigned char bytes[{upper}_SAVED])",
            [
                f"const unsigned char *at = bytes + {_HEAD};",
                f"if (word(bytes) != 0x{mark:08X}u || word(bytes + 4) != {count}u) return 1;",
                f"if (word(bytes + {upper}_SAVED - {_TAIL}) != checksum(bytes, {upper}_SAVED - {_TAIL})) return 2;",
                *gets,
                f"return at == bytes + {upper}_SAVED - {_TAIL} ? 0 : 3;",
            ],
        ),
        "",
    ]


def _header(net: Network, every: Sequence[Member], name: str, size: int, golden: Golden | None) -> str:
    upper, sent = name.upper(), "float" if golden is None else "int16_t"
    fields = [f"    {m.kind} {m.name}[{len(m.start)}]; /* {m.about} */" for m in every]
    return "\n".join(
        [
            f"/* A plastic network in C99, written by plastic_search {__version__}. It keeps learning while it runs.",
            "",
            f"   {name}_state state;",
            f"   {name}_init(&state);                  an episode begins: activity and traces are reset",
            f"   {name}_step(&state, input, output);   one time step; the traces are written",
            "",
            "   It allocates nothing, and keeps nothing but the state. Parameters are constants of the code. */",
            f"#ifndef {upper}_H",
            f"#define {upper}_H",
            "",
            *["#include <stdint.h>", ""] * (golden is not None),
            f"#define {upper}_INPUTS {net.inputs}",
            f"#define {upper}_OUTPUTS {net.outputs}",
            f"#define {upper}_SAVED {_HEAD + size + _TAIL} /* bytes of a saved state */",
            *_scales(upper, golden),
            "",
            f"typedef {sent} {name}_number; /* of inputs and outputs */",
            "",
            "typedef struct {",
            *fields,
            f"}} {name}_state;",
            "",
            f"void {name}_init({name}_state *state);",
            f"void {name}_step({name}_state *state, const {name}_number input[{upper}_INPUTS],",
            f"    {name}_number output[{upper}_OUTPUTS]);",
            "",
            "/* The state as bytes, the same on every machine. */",
            f"void {name}_save(const {name}_state *state, unsigned char bytes[{upper}_SAVED]);",
            "",
            "/* The state again, and 0. Or 1, where the bytes are of another network, and 2, where they were changed:",
            "   then the state is as it was. */",
            f"int {name}_restore({name}_state *state, const unsigned char bytes[{upper}_SAVED]);",
            "",
            "#endif",
            "",
        ]
    )


def _scales(upper: str, golden: Golden | None) -> list[str]:
    """By which powers of two integers are numbers."""
    if golden is None:
        return []
    return [
        f"#define {upper}_INPUT_BITS {golden.forms[0].fraction} /* of its fraction: a number is integer * 2^-bits */",
        f"#define {upper}_OUTPUT_BITS {golden.forms[-1].fraction} /* likewise */",
    ]
