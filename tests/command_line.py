"""The command line as tests use it: in this process, or in one of its own."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from forked import Ended, command_line, in_a_fresh_process

from plastic_search.cli.app import main

HERE = Path(__file__).parent


def call(*words: str, cwd: Path | None = None) -> Ended:
    """The command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["plastic-search", *words])
        if cwd is not None:
            patch.chdir(cwd)
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
    return Ended(code, out.getvalue(), err.getvalue())


def spawn(*words: str, cwd: Path) -> Ended:
    """The command line in a process of its own, which knows nothing of earlier calls."""
    return in_a_fresh_process(command_line, cwd, (cwd, HERE, HERE.parent), ("plastic-search", *words), os.environ)


def refused(*words: str, cwd: Path | None = None) -> str:
    """The one line that reports a mistake."""
    return one_line(call(*words, cwd=cwd))


def one_line(ended: Ended) -> str:
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("plastic-search: ")
    return ended.stderr
