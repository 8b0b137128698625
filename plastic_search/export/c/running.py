"""Compiles a network in C with the compiler of this machine, and runs it step by step in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export.c.network import Source

__all__ = ["STRICT", "CompiledStep", "compiled", "compiler"]

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
_SECONDS = 300  # that a compilation may take


def compiler() -> str | None:
    """The C compiler of this machine; None where there is none."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def compiled(files: Sequence[Path | str], program: Path | str, flags: Sequence[str] = ("-O2",)) -> Path:
    """A program from files of C, by `STRICT`.

    Raises:
        PlasticSearchError: there is no compiler, or it refuses or warns; the message has its first words.
    """
    cc = compiler()
    if cc is None:
        raise PlasticSearchError("there is no C compiler here (cc, gcc or clang); install one")
    command = [cc, *flags, *STRICT, "-o", str(program), *map(str, files), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlasticSearchError(f"{cc} did not compile the network: {error}") from None
    if done.returncode:
        raise PlasticSearchError(f"{cc} refuses the network in C: {done.stderr.strip()[:500]}")
    return as_path(program)


class CompiledStep:
    """A network in C, of one episode at a time: `results = step(x, state)`, by name, as `ExportedStep` gives them.

    Attributes:
        unstored: by the name of a result, the synapses [post, pre] of which C keeps no number, since nothing reads it.

    Example:
        >>> with CompiledStep(program, source, net) as step:
        ...     results = step(x, state)
    """

    def __init__(self, program: Path | str, source: Source, inputs: int, outputs: int) -> None:
        self.name, self.members, self.sizes = "the network in C", source.members, (inputs, outputs)
        self.inputs = ["x", *(m.path for m in self.members)]
        self.outputs = ["y", *(f"{m.path}.next" for m in self.members)]
        self.unstored: Mapping[str, Tensor] = {
            f"{m.path}.next": _unstored(m.synapses) for m in self.members if m.synapses is not None
        }
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self.process.stdin
        assert self.process.stdout
        self._in: IO[Any] = self.process.stdin
        self._out: IO[Any] = self.process.stdout
        self.saved = source.state + 12
        self.first = self._read(self.saved)  # the state at the start of an episode

    def __enter__(self) -> CompiledStep:
        return self

    def __exit__(self, *_: object) -> None:
        self._in.close()
        self._out.close()
        self.process.wait(timeout=_SECONDS)

    def start(self) -> dict[str, Tensor]:
        """The state at the start of one episode, by path."""
        return self._tensors([self.first])

    def __call__(self, x: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        flat = np.concatenate([m.values(state[m.path]) for m in self.members], axis=1).astype("<f4")
        ys, after = [], []
        for row, one in zip(x.numpy(), flat, strict=True):
            self._in.write(_sealed(self.first[:8] + one.tobytes()) + row.astype("<f4").tobytes())
            ys.append(np.frombuffer(self._read(4 * self.sizes[1]), "<f4"))
            after.append(self._read(self.saved))
        tensors = self._tensors(after)
        return {"y": torch.from_numpy(np.array(ys))} | {f"{path}.next": t for path, t in tensors.items()}

    def _tensors(self, saved: Sequence[bytes]) -> dict[str, Tensor]:
        values = np.array([np.frombuffer(each[8:-4], "<f4") for each in saved])
        ends = np.cumsum([len(m.start) for m in self.members])[:-1]
        parts = np.split(values, ends, axis=1)
        return {m.path: m.tensor(part) for m, part in zip(self.members, parts, strict=True)}

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._out.read(count - len(data))
            if not part:
                raise PlasticSearchError(f"the network in C stopped (exit code {self.process.wait(timeout=10)})")
            data += part
        return data


def _unstored(synapses: Any) -> Tensor:
    held = torch.zeros(synapses.shape, dtype=torch.bool)
    held[synapses.post, synapses.pre] = True
    return ~held


def _sealed(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")
