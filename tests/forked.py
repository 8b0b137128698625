"""Work in a fresh process that need not import torch: it is forked from one that has imported it and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NamedTuple

PRELOADED = ("torch._dynamo", "torch._inductor.standalone_compile", "optuna", "brevitas.core.quant")


class Ended(NamedTuple):
    """How a process ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def processes() -> ForkServerContext:
    """Fresh processes in which what takes seconds to import is there already; `plastic_search` is not."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([*PRELOADED])
    return server


def in_a_fresh_process(
    work: Callable[[], object], cwd: Path, path: Sequence[Path], argv: Sequence[str], env: Mapping[str, str]
) -> Ended:
    """What `python -W error` would do: `work` with `path` before all other modules; an exit code of 1 if it raises."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        process = processes().Process(target=_run, args=(work, cwd, [*map(str, path)], [*argv], {**env}, files))
        process.start()
        process.join()
        assert process.exitcode is not None
        return Ended(process.exitcode, *(file.read_text() for file in files))


def command_line() -> None:
    """The program itself, with the words in `sys.argv`."""
    from plastic_search.cli.app import main

    main()


def program() -> None:
    """The program text in `sys.argv[1]`."""
    sys.modules["__main__"] = module = types.ModuleType("__main__")
    exec(compile(sys.argv[1], "<string>", "exec"), module.__dict__)


def _run(
    work: Callable[[], object], cwd: Path, path: list[str], argv: list[str], env: dict[str, str], files: list[Path]
) -> None:
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv
    sys.path[:0] = path
    sys.warnoptions[:] = ["error"]
    warnings.resetwarnings()
    warnings.simplefilter("error")
    work()
