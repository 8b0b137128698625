"""Results of a benchmark: times in seconds, ratios, bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Compiling", "Floor", "Learned", "Memory", "Results", "Row", "Stepped", "Threads"]

SCHEMA = "plastic_search/benchmark/5"

Spread = tuple[float, float]  # the lowest and the highest round


class Row(NamedTuple):
    """Times of one case: medians over rounds, and medians of the ratios within a round."""

    name: str
    batch: int
    time: int
    units: int
    reference: float  # the reference step, by autograd
    fast: float  # compiled
    plain: float  # torch's own layer of the same size, which is not plastic
    plain_name: str
    speedup: float  # reference / fast
    spread: Spread  # of the speedup
    over_plain: float  # fast / plain
    rate: float  # multiplications and additions per second that the work needs at least
    loop: float | None  # the same layer as a user of torch writes it; None where the benchmark has none
    over_loop: float | None  # loop / fast
    loop_spread: Spread | None  # of over_loop


class Stepped(NamedTuple):
    """Times of a case whose reference step is compiled by torch, or the reason why it could not be."""

    name: str
    batch: int
    time: int
    units: int
    reason: str  # why there are no times; "" where there are
    compiling: float | None = None  # not among those below
    reference: float | None = None
    stepped: float | None = None
    fast: float | None = None
    over_reference: float | None = None  # reference / stepped
    speedup: float | None = None  # stepped / fast
    spread: Spread | None = None  # of the speedup


class Learned(NamedTuple):
    """An update of training with a learned structure, and without."""

    structure: str
    batch: int
    time: int
    units: int
    dense: float
    learned: float
    ratio: float  # learned / dense, median over rounds
    spread: Spread


class Memory(NamedTuple):
    """Bytes by which a process grows at most, forward and backward, besides parameters and inputs."""

    name: str
    batch: int
    time: int
    units: int
    traces: int  # of the trace alone, if it were stored at every step
    cpu: int  # 0 where the system does not report it
    reference: int | None  # None where it was not run


class Floor(NamedTuple):
    """What one core does at most, as torch's matrix product and copy show: operations and bytes per second."""

    operations: float
    bytes: float


class Compiling(NamedTuple):
    """Seconds to the first output of a new layer, and in a later process, which finds it compiled."""

    first: float
    later: float


class Threads(NamedTuple):
    """How many times faster two threads are than one."""

    two: float
    spread: Spread
    cores: float


class Results(NamedTuple):
    """All results so far; the fields with None are measured last."""

    schema: str
    question: str
    versions: dict[str, str]
    machine: dict[str, str]
    code: str
    rounds: int
    own_rules: dict[str, str]  # equations of rules of the benchmark's own
    gpu: str  # its name; "" without one
    floor: Floor
    cases: tuple[Row, ...] = ()
    stepped: tuple[Stepped, ...] = ()
    memory: tuple[Memory, ...] = ()
    learned: tuple[Learned, ...] = ()
    on_gpu: tuple[Row, ...] = ()
    compile: Compiling | None = None
    threads: Threads | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {name: _plain(value) for name, value in self._asdict().items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        fields = getattr(value, "_asdict", None)
        return {k: _plain(v) for k, v in fields().items()} if fields else [_plain(v) for v in value]
    return value
