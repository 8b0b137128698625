"""A whole network as the two files `NAME.c` and `NAME.h`."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from plastic_search import __version__
from plastic_search.export.c.function import LayerFunction
from plastic_search.export.c.layer import LayerPlan, plan
from plastic_search.export.c.state import Member, members
from plastic_search.export.c.text import Constants, block, number
from plastic_search.export.parameters import first_state, parameters, prepared
from plastic_search.network.formats import formats
from plastic_search.network.module import Network

__all__ = ["FILES", "Source", "source"]

FILES = Path(__file__).parent / "files"  # text that is the same for every network

_HEAD = 8  # bytes before the numbers of a saved state: which network, how many
_TAIL = 4  # after them: their checksum


class Source(NamedTuple):
    """A network in C.

    Args:
        members: of its state, in the order in which they are saved.
        parameters: bytes of the arrays that do not change.
        state: bytes of the state.
    """

    code: str
    header: str
    members: tuple[Member, ...]
    parameters: int
    state: int


def source(net: Network, name: str) -> Source:
    """The text of a network, whose functions are `NAME_init`, `NAME_step`, `NAME_save` and `NAME_restore`.

    Raises:
        PlasticSearchError: a layer has no form in C; the message says which and why.
    """
    ready, kept = prepared(net), parameters(net)
    forms = formats(net.spec)
    plans = [
        plan(i, layer, shape, form, params, kept[f"layers.{i}.weight"])
        for i, (layer, shape, form, params) in enumerate(zip(net.spec.layers, net.shapes, forms, ready, strict=True))
    ]
    first = first_state(net, ready, 1)
    each = [members(p, state) for p, state in zip(plans, first, strict=True)]
    constants, functions = Constants(), []
    for p, found in zip(plans, each, strict=True):
        functions += LayerFunction(p, constants, found, name).text()
    every = tuple(member for found in each for member in found)
    held = [member for member in every if member.start.size]  # of a layer without plastic synapses, no trace
    functions += _init(held, constants, name)
    body = "\n".join([*constants.text, *functions])
    mark = zlib.crc32(body.encode())
    count = sum(len(member.start) for member in every)
    code = "\n".join([*_start(name), body, *_step(plans, name), *_saving(held, name, mark)])
    return Source(code, _header(net, held, name, count), every, constants.bytes, 4 * count)


def _start(name: str) -> list[str]:
    return [
        f"/* Written by plastic_search {__version__}; {name}.h says how it is used. */",
        "#include <math.h>",
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
        value = number(start[0]) if (start == start[0]).all() else ""
        value = value or f"{constants.array(f'{member.name}_start', start, 'float')}[k]"
        lines += block(f"for (size_t k = 0; k < {len(start)}; k++)", [f"state->{member.name}[k] = {value};"])
    return [*block(f"void {name}_init({name}_state *state)", lines), ""]


def _step(plans: Sequence[LayerPlan], name: str) -> list[str]:
    upper, last = name.upper(), plans[-1]
    lines = [f"{p.name}(state, input);" for p in plans]
    copy = [f"output[k] = state->{last.name}_output[k];"]
    lines += block(f"for (size_t k = 0; k < {last.shape.post}; k++)", copy)
    head = f"void {name}_step({name}_state *state, const float input[{upper}_INPUTS], float output[{upper}_OUTPUTS])"
    return [*block(head, lines), ""]


def _saving(every: Sequence[Member], name: str, mark: int) -> list[str]:
    """Save and restore: a mark of the network, the numbers, and a checksum, all of them little-endian."""
    upper = name.upper()
    count = sum(len(member.start) for member in every)
    puts = [f"at = put(at, state->{m.name}, {len(m.start)});" for m in every]
    gets = [f"at = get(at, state->{m.name}, {len(m.start)});" for m in every]
    return [
        *(FILES / "saving.c").read_text().splitlines(),
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


def _header(net: Network, every: Sequence[Member], name: str, count: int) -> str:
    upper = name.upper()
    fields = [f"    float {m.name}[{len(m.start)}]; /* {m.about} */" for m in every]
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
            f"#define {upper}_INPUTS {net.inputs}",
            f"#define {upper}_OUTPUTS {net.outputs}",
            f"#define {upper}_SAVED {_HEAD + 4 * count + _TAIL} /* bytes of a saved state */",
            "",
            "typedef struct {",
            *fields,
            f"}} {name}_state;",
            "",
            f"void {name}_init({name}_state *state);",
            f"void {name}_step({name}_state *state, const float input[{upper}_INPUTS], float output[{upper}_OUTPUTS]);",
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
