"""A network in integers on a Cortex-M4: linked for its memory, and run by QEMU beside the golden model."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export.c.exact import differs, inputs_of, saved
from plastic_search.export.c.network import Source

__all__ = ["FILES_OF", "OnDevice", "emulator", "linked", "linker", "measured"]

FILES_OF = ("cortex_m4.c", "cortex_m4.ld")  # what lies beside the network
_SECONDS = 300
_TICKS = 168e6 / 1e9  # of SysTick in an instruction: the clock of QEMU's machine, and one instruction a nanosecond


class OnDevice(NamedTuple):
    """What a network takes on a Cortex-M4, its start and the check included.

    Args:
        flash: bytes of code and constants.
        ram: bytes of the state, an input, an output, and the stack where it is deepest.
        stack: those of the stack.
        instructions: of one step, in the mean; 0 where it was not run.
        steps: how many were compared with the golden model; 0 where there is no QEMU.
    """

    flash: int
    ram: int
    stack: int
    instructions: float
    steps: int


def linker() -> str | None:
    """The compiler for Arm; None where there is none."""
    return shutil.which("arm-none-eabi-gcc")


def emulator() -> str | None:
    """QEMU for Arm; None where there is none."""
    return shutil.which("qemu-system-arm")


def linked(folder: Path | str, flash: int = 2**20, ram: int = 2**16, stack: int = 2**13) -> Path:
    """Compile and link what lies in a folder, by its Makefile, for a device of so many bytes.

    Raises:
        PlasticSearchError: it does not fit, or the compiler warns; the message has its first words.
    """
    folder, sizes = as_path(folder), [f"FLASH={flash}", f"RAM={ram}", f"STACK={stack}"]
    done = subprocess.run(
        ["make", "--silent", "cortex-m4", *sizes],
        cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode or done.stderr:
        raise PlasticSearchError(f"no program for a Cortex-M4 of {', '.join(sizes)}: {done.stderr.strip()[:500]}")
    return folder / "cortex_m4.elf"


def measured(folder: Path | str, source: Source, inputs: int, outputs: int, steps: int, seed: int) -> OnDevice:
    """Run the program that `linked` left in a folder, and compare every step of it with the golden model.

    Raises:
        PlasticSearchError: an integer differs, or the program does not come to its end.
    """
    folder = as_path(folder)
    golden, program, machine = deepcopy(source.golden), folder / "cortex_m4.elf", emulator()
    assert golden is not None
    flash, data = _sizes(program)
    if machine is None:
        return OnDevice(flash, data, 0, 0.0, 0)
    xs = list(inputs_of(inputs, steps, seed))
    (folder / "inputs").write_bytes(b"".join(x.tobytes() for x in xs))
    found = _output(machine, folder)
    size = source.state + 12
    record = np.dtype(
        [("y", "<i2", (outputs,)), ("head", "V8"), ("state", f"V{source.state}"), ("sum", "<u4"), ("ticks", "<u4")]
    )
    if len(found) != size + steps * record.itemsize + 4:
        raise PlasticSearchError(f"on a Cortex-M4 the network wrote {len(found)} bytes, and stopped; do not use it")
    if found[8 : size - 4] != saved(golden, source):
        raise differs("before its first step on a Cortex-M4")
    rows = np.frombuffer(found[size:-4], record)
    for step, (x, row) in enumerate(zip(xs, rows, strict=True)):
        same = np.array_equal(golden.step(x), row["y"]) and row["state"].tobytes() == saved(golden, source)
        if not same or row["sum"] != zlib.crc32(row["head"].tobytes() + row["state"].tobytes()):
            raise differs(f"in step {step} on a Cortex-M4")
    stack = int.from_bytes(found[-4:], "little")
    return OnDevice(flash, data + stack, stack, float(rows["ticks"].mean() / _TICKS), steps)


def _output(machine: str, folder: Path) -> bytes:
    """What the program writes; one instruction takes one nanosecond of the timer's time."""
    command = [machine, "-M", "netduinoplus2", "-icount", "shift=0", "-display", "none", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting", "-kernel", "cortex_m4.elf"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise PlasticSearchError(
            f"the program for a Cortex-M4 did not end in {_SECONDS} seconds; do not use it"
        ) from None
    if done.returncode:
        raise PlasticSearchError(
            f"on a Cortex-M4 the network stops with exit code {done.returncode} (9: a fault, such as of too small a "
            f"stack); do not use it. {done.stderr.strip()[:300]}"
        )
    return (folder / "outputs").read_bytes()


def _sizes(program: Path) -> tuple[int, int]:
    """Bytes in flash, and in RAM but for the stack."""
    command = ["arm-none-eabi-size", "-A", str(program)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    of = {words[0]: int(words[1]) for words in map(str.split, lines) if words and words[0].startswith(".")}
    data = of.get(".data", 0)
    return of[".text"] + data, data + of.get(".bss", 0)
