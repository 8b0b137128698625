"""What the two functions of a layer have in common in Triton: sizes, addresses, and where an episode's data begins."""

from __future__ import annotations

from typing import NamedTuple

from plastic_search.network.kernels.addresses import AddressBook
from plastic_search.network.kernels.buffers import Sizes
from plastic_search.network.kernels.gpu.source import TILE, Lines, constant_name
from plastic_search.network.kernels.gpu.tiles import Tiles
from plastic_search.network.kernels.layout import LITERALS, Area, KernelSignature
from plastic_search.network.kernels.tracing.ir import Axis

__all__ = ["BUDGETS", "Budget", "Function", "Tile", "tile"]


class Budget(NamedTuple):
    """How much of a trace fits registers, beside what else is computed, in numbers of 4 bytes."""

    whole: int  # a trace up to this size stays in registers for the whole sequence
    tile: int  # of a larger one, tiles of this size come from memory in turn
    warps: int  # by how many groups of 32 threads such an episode is run


BUDGETS = {"forward": Budget(16384, 8192, 16), "backward": Budget(16384, 8192, 8)}


class Tile(NamedTuple):
    """How a trace is cut into tiles."""

    post: int  # rows and columns of the trace, as powers of two
    pre: int
    rows: int  # of a tile
    whole: bool  # whether a tile is the whole trace, and stays in registers for the whole sequence
    warps: int


def tile(signature: KernelSignature, s: Sizes, function: str) -> Tile:
    """The tiles for `forward` or `backward`."""
    budget, words = BUDGETS[function], 2 if signature.double else 1
    post, pre = _power_of_two(s.post_padded), _power_of_two(s.pre_padded) if signature.plastic else 1
    row = words * max(post, pre)
    if post * row <= budget.whole:
        return Tile(post, pre, post, whole=True, warps=8 if post * row > 4096 else 4)
    rows = max(1, min(post, budget.tile // row))
    return Tile(post, pre, rows, whole=False, warps=16 if row >= 1024 else budget.warps)


def _power_of_two(count: int) -> int:
    """The next power of two, which the length of a vector in Triton must be."""
    return max(16, 1 << (count - 1).bit_length())


class Function(AddressBook[str]):
    """The source of `forward` or `backward`, for one episode.

    Addresses are Triton expressions. The moments of `at` are variables of the source that count times and episodes.
    """

    def __init__(self, signature: KernelSignature, s: Sizes, name: str, keep_d_pre: bool = False) -> None:
        super().__init__(signature)
        self.s, self.name, self.keep_d_pre, self.lines = s, name, keep_d_pre, Lines()
        self.tile = tile(signature, s, name)
        self.tiles = Tiles(signature, self.lines, self.tile.whole) if signature.plastic else None

    def begin(self, per_episode: tuple[str, ...]) -> None:
        """Constants, and where this episode's data begins; `per_episode` have one trace's size for each episode."""
        s, signature, lines = self.s, self.signature, self.lines
        sizes = {
            "POST": s.post, "WIDTH": s.width, "POST_PADDED": s.post_padded, "PRE_PADDED": s.pre_padded,
            "RECURRENT": s.plastic_sources, "SEGMENT_STEPS": s.segment_steps, "POST_BLOCK": self.tile.post,
            "PRE_BLOCK": self.tile.pre, "ROWS": self.tile.rows, "SYNAPSES": s.post * s.pre_padded,
        }  # fmt: skip
        lines(*(f"{name}: tl.constexpr = {value}" for name, value in sizes.items()))
        lines(f"NUMBER: tl.constexpr = tl.float{64 if signature.double else 32}")
        lines("pid = tl.program_id(0).to(tl.int64)", "member = pid // BATCH", "episode = pid % BATCH")
        lines("i = tl.arange(0, POST_BLOCK)", "im = i < POST", "j = tl.arange(0, PRE_BLOCK)", "jm = j < WIDTH")
        for k, value in enumerate((*signature.constants, *LITERALS)):
            lines(f"{constant_name(value)} = tl.load(constants + {k})")
        if self.tiles:
            self.tiles.static()
        if self.tile.whole:
            lines("r = i", "rm = im", *TILE)
        synapses = s.post * s.pre_padded
        per_member = {"params": self.size(signature.params)}
        per_member |= (
            {"recurrent_weight": self._drive_matrix * len(signature.program.recurrent)} if signature.recurrent else {}
        )
        per_member |= {"alpha": synapses} if signature.plastic else {}
        per_member |= {"weight": synapses} if signature.recurrent_plastic else {}
        per_member |= dict.fromkeys(signature.matrices, synapses)
        lines(*(f"{name} += member * {size}" for name, size in per_member.items()))
        lines(*(f"{name} += pid * SYNAPSES" for name in per_episode))

    @property
    def _drive_matrix(self) -> int:
        """Numbers in the recurrent weights of one drive."""
        return self.s.post * self.s.post_padded

    def size(self, area: Area) -> int:
        return area.size(self.s.post_padded, self.s.pre_padded, self.signature.number.lanes)

    def __getitem__(self, name: str) -> str:
        return name

    def number(self, base: str, index: int) -> str:
        return f"{base} + {index}"

    def row(self, area: Area, base: str, axis: Axis, number: int) -> str:
        first = area.first(axis, number, self.s.post_padded, self.s.pre_padded, self.signature.number.lanes)
        return f"{base} + {first}"

    def drive(self, base: str, number: int) -> str:
        return f"{base} + {number * self.s.post_padded}"

    def at(self, name: str, when: str) -> str:
        signature, s = self.signature, self.s
        synapses = s.post * s.pre_padded
        longer = ("output", "state", *["d_output"] * signature.sends_on)  # by a time
        moment = f"({when} + member * BATCH)" if name in longer else when
        sizes = {
            "drive": signature.program.sums * s.post_padded, "output": s.post_padded, "pre": s.pre_padded,
            "dither": 1, "controls": len(signature.program.controls), "signals": signature.program.signals,
            "state": self.size(signature.state), "tape": self.size(signature.tape.area),
            "checkpoints": synapses, "eligibility_checkpoints": synapses,
        }  # fmt: skip
        return f"{name} + {moment} * {sizes[name.removeprefix('d_')]}"

    def d_pre(self, when: str) -> str:
        return self.at("d_pre", when) if self.keep_d_pre else self.adjoint("adjoints", "pre")

    def or_else(self, when: str, row: str, address: str) -> str:
        own = "zero" if row == "zero" else "unused + pid * POST_PADDED"
        return f"tl.where(tl.load({self.cleared(when)}) > 0.5, {own}, {address})"

    def load_recurrent_weight(self, drive: int) -> None:
        """W, some rows of the recurrent weights that are not read together with the trace."""
        address = f"recurrent_weight + {drive * self._drive_matrix} + r[:, None] * POST_PADDED + i[None, :]"
        self.lines(f"W = tl.load({address}, mask=rm[:, None] & (i < POST_PADDED)[None, :], other=0.0)")
