"""Writes a network as C, after the C was compiled and compared with the reference step."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import torch

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_path
from plastic_search.export.c import cortex_m4
from plastic_search.export.c.exact import check_exact
from plastic_search.export.c.network import Arithmetic, Source, source
from plastic_search.export.c.running import CompiledStep, compiled, compiler
from plastic_search.export.c.text import FILES
from plastic_search.export.parameters import first_state, prepared
from plastic_search.export.parity import Parity, compared
from plastic_search.network.module import Network, check_network
from plastic_search.network.state import named
from plastic_search.records.files import destination, unwritable, write_text

__all__ = ["Target", "Written", "template", "write"]

_KEPT = ("main.c", "Makefile")  # left as they are where they are there already; so is what a target adds
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_TAKEN = ("main", "check", "cortex_m4")  # by files beside it


class Target(Enum):
    """What a network in C is written for."""

    HOST = "host"  # any machine
    CORTEX_M4 = "cortex-m4"  # in integers; with the start of its processor, and where its memory lies


class Written(NamedTuple):
    """A network that was written as C.

    Args:
        file: the file of code; its header, `main.c` and `Makefile` lie beside it.
        parity: how closely floats follow the reference; None of integers, and where nothing was checked.
        checked: how many steps were compared; 0 where there is no C compiler.
        parameters: bytes of the arrays that do not change.
        state: bytes of the state.
        kept: names of files beside it that were there before, and were left as they are.
        device: what it takes on its target; None where that is the host, and where there is no compiler for it.
    """

    file: Path
    parity: Parity | None
    checked: int
    parameters: int
    state: int
    kept: tuple[str, ...]
    device: cortex_m4.OnDevice | None = None


def write(
    net: Network,
    file: Path | str,
    steps: int = 200,
    seed: int = 0,
    arithmetic: Arithmetic = Arithmetic.FLOAT,
    target: Target = Target.HOST,
) -> Written:
    """Write `net` as C: `file`, its header, and where there are none yet `main.c`, a `Makefile` and more beside it.

    Where this machine has a C compiler, the code is compiled and compared with `step.step` first.

    Args:
        file: NAME.c; the functions are `NAME_init`, `NAME_step`, `NAME_save` and `NAME_restore`.
        steps, seed: over how many steps they are compared, and of which random inputs.
        arithmetic: integers are compared with their golden model, bit by bit, instead of the reference.
        target: for a Cortex-M4, its start and a linker script are written too; where this machine has the compiler,
            they are linked, and where it has QEMU, the program is run, and compared with the golden model.

    Raises:
        PlasticSearchError: `net` is no Network; a layer has no form in C, and the message says why; NAME is no name in
            C; the code differs from the reference; or a file cannot be written.

    Example:
        >>> from plastic_search.export import c
        >>> c.write(net, "device/network.c").parity  # None: not checked, there was no compiler
    """
    check_network(net)
    file = destination(as_path(file))
    name = file.stem
    if file.suffix != ".c" or not _NAME.fullmatch(name) or name in _TAKEN:
        raise PlasticSearchError(
            f"{file.name} names functions in C: it must be NAME.c, such as network.c, where NAME is of small letters, "
            f"digits and _, and none of {', '.join(_TAKEN)}"
        )
    if target is Target.CORTEX_M4 and arithmetic is Arithmetic.FLOAT:
        raise PlasticSearchError("a network for a Cortex-M4 is written in integers; ask for --arithmetic integer")
    code = source(net, name, arithmetic)
    beside = (*_KEPT, *(cortex_m4.FILES_OF if target is Target.CORTEX_M4 else ()))
    texts = {f"{name}.c": code.code, f"{name}.h": code.header} | {each: template(each, name) for each in beside}
    parity = _checked(net, name, code, steps, seed) if compiler() else None
    checked = steps if compiler() else 0
    device = _on_device(net, texts, code, steps, seed) if target is Target.CORTEX_M4 else None
    kept = _put(file.parent, texts, beside)
    return Written(file, parity, checked, code.parameters, code.state, kept, device)


def _put(folder: Path, texts: dict[str, str], beside: Sequence[str]) -> tuple[str, ...]:
    """Write files; those beside the network only where there is none, else they are returned."""
    kept = tuple(each for each in beside if (folder / each).exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each, text in texts.items():
            if each not in kept:
                write_text(folder / each, text)
    except OSError as error:
        raise unwritable(folder, error) from None
    return kept


def _on_device(net: Network, texts: dict[str, str], code: Source, steps: int, seed: int) -> cortex_m4.OnDevice | None:
    """What it takes on a Cortex-M4, where it can be linked here."""
    if cortex_m4.linker() is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        for each, text in texts.items():
            (Path(temporary) / each).write_text(text)
        cortex_m4.linked(Path(temporary))
        return cortex_m4.measured(Path(temporary), code, net.inputs, net.outputs, steps, seed)


def _checked(net: Network, name: str, code: Source, steps: int, seed: int) -> Parity | None:
    """How closely the code follows the reference, in its own process; None of integers, which equal their model."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for each, text in (
            (f"{name}.c", code.code),
            (f"{name}.h", code.header),
            ("check.c", template("check.c", name)),
        ):
            (folder / each).write_text(text)
        program = compiled([folder / "check.c", folder / f"{name}.c"], folder / "check")
        if code.golden is not None:
            check_exact(program, code, net.inputs, steps, seed)
            return None
        with CompiledStep(program, code, net.inputs, net.outputs) as step:
            wanted = named(first_state(net, prepared(net), 1))
            for path, value in step.start().items():
                if not torch.equal(value, wanted[path]):
                    raise PlasticSearchError(f"{path} begins in C as something else; do not use it")
            return compared(net, step, steps, seed)


def template(file: str, name: str) -> str:
    """A file that is the same for every network but for its name."""
    text = (FILES / file).read_text()
    return re.sub(r"\bNETWORK(?=_)", name.upper(), re.sub(r"\bnetwork(?=_|\.[cho]\b)", name, text))
