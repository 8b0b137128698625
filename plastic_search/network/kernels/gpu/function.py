"""What a layer's two functions in Triton have in common: sizes, addresses, and where an episode's things begin."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.network.kernels.buffers import Sizes
from plastic_search.network.kernels.gpu.source import TILE, Lines, constant_name
from plastic_search.network.kernels.gpu.tiles import Tiles
from plastic_search.network.kernels.layout import LITERALS, Area, Kind, Writes
from plastic_search.network.kernels.tracing.ir import Axis, Lane

__all__ = ["Function", "Tile", "tile"]


class Tile(NamedTuple):
    """How a trace is cut."""

    post: int  # its rows, and its columns, as powers of two
    pre: int
    rows: int  # ... that are in registers at once
    held: bool  # whether that is the whole trace, which stays there for the whole sequence
    warps: int  # by how many groups of 32 threads an episode is run


def tile(kind: Kind, s: Sizes, most: int, passing: int, warps: int) -> Tile:
    """A trace is held where it has at most `most` numbers of 4 bytes; others pass, `passing` at a time, by `warps`."""
    words = 2 if kind.double else 1
    post, pre = _block(s.post_room), _block(s.pre_room) if kind.traced.shares else 1
    row = words * max(post, pre)
    if post * row <= most:
        return Tile(post, pre, post, True, 8 if post * row > 4096 else 4)
    return Tile(post, pre, max(1, min(post, passing // row)), False, 16 if row >= 1024 else warps)


def _block(count: int) -> int:
    """The next power of two, which the length of a vector must be."""
    return max(16, 1 << (count - 1).bit_length())


class Function:
    """The beginning of one of the two functions, for one episode."""

    name = ""
    most = 0  # numbers of 4 bytes of a trace that registers hold, beside what else is computed
    passing = 8192  # ... and of a tile of one that they do not hold
    warps = 8  # ... by how many groups of threads

    def __init__(self, kind: Kind, s: Sizes) -> None:
        self.kind, self.s, self.lines = kind, s, Lines()
        self.plastic = kind.traced.shares is not None
        self.retroactive = kind.traced.shares is not None and kind.traced.shares.retroactive
        self.tile = tile(kind, s, self.most, self.passing, self.warps)
        self.held = self.tile.held
        self.tiles = Tiles(kind, self.lines, self.held) if self.plastic else None

    def begin(self, own: tuple[str, ...]) -> None:
        """Constants, and where this episode's things begin; `own` are those with a place for each episode."""
        s, kind, lines = self.s, self.kind, self.lines
        sizes = {
            "POST": s.post, "WIDTH": s.width, "POST_ROOM": s.post_room, "PRE_ROOM": s.pre_room, "OWN": s.heard,
            "EVERY": s.every, "POST_BLOCK": self.tile.post, "PRE_BLOCK": self.tile.pre, "ROWS": self.tile.rows,
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
            lines("r = i", "rm = im", *TILE)
        shared = {"params": self.size(kind.params), "own_weight": kind.traced.drives * s.post * s.post_room}
        shared |= dict.fromkeys(("alpha", "weight", *kind.matrices), s.post * s.pre_room)
        there = {"alpha": self.plastic, "weight": kind.own_plastic, "own_weight": kind.recurrent}
        shared = {name: size for name, size in shared.items() if there.get(name, True)}
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

    def heard(self, lane: Lane) -> str:
        """Where a row lies that the layer's parts read at the time that the lines are about."""
        buffer, number = lane.slot
        match buffer:
            case "recall":
                return self.taped("recall", "at")
            case "params":
                return self.row(self.kind.params, "params", lane.axis, number)
            case "lengths":  # after the limits
                return f"limits + {3 + number}"
            case "drive":
                return self.drive("drive", "at", number)
            case "state":
                return self.row(self.kind.state, self.at("state", "st"), lane.axis, number)
        return self.at("pre", "at")

    def writes(self, when: str) -> Writes:
        """The vectors that say what is written at one time."""
        aliases, pre = self.kind.aliases, self.at("pre", when)
        v = tuple(pre if alias else self.taped(f"v{k}", when) for k, alias in enumerate(aliases))
        u = tuple(self.taped(f"u{k}", when) for k in range(len(aliases)))
        row, column, write, eta = (self.taped(name, when) for name in ("row", "column", "write", "eta"))
        return Writes(u, v, row, column, write, eta, self.at("dither", when))

    def own_weight(self, drive: int) -> None:
        """W, a tile of what the layer hears of itself by connections that are not plastic."""
        place = f"own_weight + {drive * self.s.post * self.s.post_room} + r[:, None] * POST_ROOM + i[None, :]"
        self.lines(f"W = tl.load({place}, mask=rm[:, None] & (i < POST_ROOM)[None, :], other=0.0)")
