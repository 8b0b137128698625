"""What a layer's two functions in Triton have in common: sizes, addresses, and where an episode's things begin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from plastic_search.kernels.gpu_lines import Lines, constant_name
from plastic_search.kernels.gpu_tiles import Tiles, Vectors
from plastic_search.kernels.lanes import Axis
from plastic_search.kernels.memory import Sizes
from plastic_search.kernels.table import LITERALS, Area, Kind

__all__ = ["Part", "held"]

_HELD = 128 * 128  # numbers of a trace that registers hold


def held(kind: Kind, s: Sizes) -> bool:
    """Whether a trace stays in registers for the whole sequence."""
    longest = max(_block(s.post_room), _block(s.pre_room) if kind.traced.shares else 0)
    return _block(s.post_room) * longest <= _HELD


def _block(count: int) -> int:
    """The next power of two, which the length of a vector must be."""
    return max(16, 1 << (count - 1).bit_length())


class Part:
    """What the two functions have in common."""

    name = ""

    def __init__(self, kind: Kind, s: Sizes) -> None:
        self.kind, self.s, self.lines = kind, s, Lines()
        self.plastic = kind.traced.shares is not None
        self.retroactive = kind.traced.shares is not None and kind.traced.shares.retroactive
        self.post, self.pre, self.held = _block(s.post_room), _block(s.pre_room), held(kind, s)
        longest = max(self.post, self.pre if self.plastic else 0)
        self.rows = self.post if self.held else max(1, min(self.post, _HELD // longest))
        self.tiles = Tiles(kind, self.lines, self.held) if self.plastic else None

    def begin(self, own: tuple[str, ...]) -> None:
        """Constants, and where this episode's things begin; `own` are those with a place for each episode."""
        s, kind, lines = self.s, self.kind, self.lines
        sizes = {
            "POST": s.post, "WIDTH": s.width, "POST_ROOM": s.post_room, "PRE_ROOM": s.pre_room, "OWN": s.heard,
            "EVERY": s.every, "POST_BLOCK": self.post, "PRE_BLOCK": self.pre, "ROWS": self.rows,
            "SYNAPSES": s.post * s.pre_room,
        }  # fmt: skip
        lines(*(f"{name}: tl.constexpr = {value}" for name, value in sizes.items()))
        lines(f"NUMBER: tl.constexpr = tl.float{64 if kind.double else 32}")
        lines("pid = tl.program_id(0).to(tl.int64)", "member = pid // BATCH", "episode = pid % BATCH")
        lines("i = tl.arange(0, POST_BLOCK)", "im = i < POST", "j = tl.arange(0, PRE_BLOCK)", "jm = j < WIDTH")
        for k, value in enumerate((*kind.constants, *LITERALS)):
            lines(f"{constant_name(value)} = tl.load(constants + {k})")
        lines(*(f"{name} = tl.load(limits + {k})" for k, name in enumerate(("limit", "level", "top"))))
        if self.held:
            lines("r = i", "rm = im", "tile = r[:, None] * PRE_ROOM + j[None, :]", "inside = rm[:, None] & jm[None, :]")
        shared = {"params": self.size(kind.params), "own_weight": kind.traced.drives * s.post * s.post_room}
        shared |= dict.fromkeys(("alpha", "weight", *kind.matrices), s.post * s.pre_room)
        if not self.plastic:
            del shared["alpha"]
        if not kind.own_plastic:
            del shared["weight"]
        if not kind.recurrent:
            del shared["own_weight"]
        lines(*(f"{name} += member * {size}" for name, size in shared.items()))
        lines(*(f"{name} += pid * SYNAPSES" for name in own))

    def size(self, area: Area) -> int:
        return area.size(self.s.post_room, self.s.pre_room, self.kind.number.lanes)

    def row(self, area: Area, base: str, axis: Axis, number: int) -> str:
        """The address of a row of an area."""
        first = area.first(axis, number, self.s.post_room, self.s.pre_room, self.kind.number.lanes)
        return f"{base} + {first}"

    def at(self, name: str, when: str) -> str:
        """Where what belongs to a time of this episode lies; `when` counts times and episodes."""
        kind, s = self.kind, self.s
        sizes = {
            "drive": kind.traced.drives * s.post_room, "output": s.post_room, "pre": s.pre_room, "dither": 1,
            "state": self.size(kind.state), "tape": self.size(kind.tape.area), "traces": s.post * s.pre_room,
            "eligibilities": s.post * s.pre_room,
        }  # fmt: skip
        return f"{name} + {when} * {sizes[name.removeprefix('d_')]}"

    def drive(self, name: str, when: str, number: int) -> str:
        return f"{self.at(name, when)} + {number * self.s.post_room}"

    def taped(self, name: str, when: str) -> str:
        """Where one of a step's vectors lies on its tape; "" where there is none."""
        rows = self.kind.tape
        if name not in rows.post + rows.pre + rows.ones:
            return ""
        return self.row(rows.area, self.at("tape", when), *rows.find(name))

    def writes(self, when: str) -> Vectors:
        aliases, pre = self.kind.aliases, self.at("pre", when)
        v = tuple(pre if alias else self.taped(f"v{k}", when) for k, alias in enumerate(aliases))
        u = tuple(self.taped(f"u{k}", when) for k in range(len(aliases)))
        return Vectors(u, v, *(self.taped(name, when) for name in ("row", "column", "write", "eta")))

    @contextmanager
    def some_rows(self) -> Iterator[None]:
        """The lines below are for some rows `r` of a matrix at a time."""
        if self.held:
            yield
            return
        with self.lines.block("for block in range(0, POST, ROWS)"):
            self.lines("r = block + tl.arange(0, ROWS)", "rm = r < POST")
            yield

    def own_weight(self, drive: int) -> None:
        """W, a tile of what the layer hears of itself by connections that are not plastic."""
        place = f"own_weight + {drive * self.s.post * self.s.post_room} + r[:, None] * POST_ROOM + i[None, :]"
        self.lines(f"W = tl.load({place}, mask=rm[:, None] & im[None, :], other=0.0)")
