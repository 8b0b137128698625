"""The command line. Heavy imports wait inside each command, so that `--help` answers at once."""

from __future__ import annotations

import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from plastic_search import __version__
from plastic_search.cli import bench, catalog, studies, table, topology
from plastic_search.core.errors import PlasticSearchError

__all__ = ["app", "main"]

app = typer.Typer(
    name="plastic-search",
    help="Search, quantize, export and compare plastic networks: W + alpha * H, under neuromodulation.",
    epilog="A first run: plastic-search run digit_recall, then quantize, export and report runs/digit_recall.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_GROUPS = {  # heading in --help -> commands
    "Questions": (
        studies.run,
        studies.quantize,
        studies.export,
        studies.report,
        table.table,
        studies.repair,
    ),
    "What is available": (catalog.list_, catalog.show, catalog.copy),
    "This machine": (bench.doctor, bench.bench),
}
_INTERRUPTED = 130  # exit code of the parser after Ctrl-C


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and exit code 1."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        code = app(prog_name="plastic-search", standalone_mode=False)
    except PlasticSearchError as error:
        print(f"plastic-search: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error of the parser's own
            _misused(error)
        raise
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    if code == _INTERRUPTED:
        print("plastic-search: stopped; the same command goes on from here", file=sys.stderr)
    if isinstance(code, int):
        sys.exit(code)


def _stop(number: int, frame: Any) -> None:
    """SIGTERM is handled like Ctrl-C: what is finished is kept, and worker processes end."""
    raise KeyboardInterrupt


def _misused(error: Any) -> NoReturn:
    """A usage error of the parser: one line where it has one, else the help."""
    text, context = error.format_message(), getattr(error, "ctx", None)
    if "\n" in text or not text:
        error.show()
    else:
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        print(f"plastic-search: {text}{hint}", file=sys.stderr)
    sys.exit(error.exit_code)


def _version(asked: bool) -> None:
    if asked:
        print(f"plastic-search {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


for heading, commands in _GROUPS.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), rich_help_panel=heading)(command)
app.add_typer(topology.app, name="topology", rich_help_panel="Questions")
