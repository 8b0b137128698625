"""The command line. Heavy imports wait inside each command, so that `--help` answers at once."""

from __future__ import annotations

import faulthandler
import signal
import sys
import traceback
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from plastic_search import __version__
from plastic_search.cli import bench, catalog, play, quantizing, studies, table, topology
from plastic_search.core.errors import PlasticSearchError, Stopped, one_line
from plastic_search.core.loading import staying

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
        quantizing.quantize,
        studies.export,
        studies.report,
        play.play,
        table.table,
        studies.repair,
    ),
    "What is available": (catalog.list_, catalog.show, catalog.copy),
    "This machine": (bench.doctor, bench.bench),
}
_INTERRUPTED = 130  # exit code of the parser after Ctrl-C


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and exit code 1."""
    if not faulthandler.is_enabled():
        with suppress(AttributeError, OSError, ValueError):  # standard error is no file
            faulthandler.enable(all_threads=False)  # where a part's code crashes, Python says in which line
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):  # not what runs in the background and ignores it
            signal.signal(number, _stop)
    try:
        with staying():
            code = app(prog_name="plastic-search", standalone_mode=False)
    except BaseException as error:
        _failed(error)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if code == _INTERRUPTED:
        _failed(Stopped())
    if isinstance(code, int):
        sys.exit(code)


def _stop(number: int, frame: Any) -> None:
    """Ctrl-C and SIGTERM: what is finished is kept, and worker processes end."""
    raise Stopped


def _failed(error: BaseException) -> NoReturn:
    """Say how a command ended, and leave."""
    from plastic_search.cli.console import fail, say

    if type(error).__name__ == "Abort" and error.__cause__:  # the parser's own, for an EOFError
        error = error.__cause__
    if isinstance(error, PlasticSearchError):
        fail(str(error))
    elif isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
        sys.exit(error.code)  # the reader of a pipe has left
    elif isinstance(error, Stopped):
        fail("stopped; the same command goes on from here")
        sys.exit(_INTERRUPTED)
    elif hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error of the parser's own
        _misused(error)
    else:
        from plastic_search.network.diagnostics import attributed, is_users

        if isinstance(error, OSError) and not is_users(error):
            fail(f"{error.strerror or one_line(error)}{f': {error.filename}' if error.filename else ''}")
        elif isinstance(error, Exception) and not is_users(error):  # a fault of ours
            say("".join(traceback.format_exception(error)))
        else:  # of a part: SystemExit too, which nothing of ours raises inside a command
            fail(str(attributed(error, " ".join(["plastic-search", *sys.argv[1:2]]))))
    sys.exit(1)


def _misused(error: Any) -> NoReturn:
    """A usage error of the parser: one line where it has one, else the help."""
    from plastic_search.cli.console import fail

    text, context = error.format_message(), getattr(error, "ctx", None)
    if not text or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        fail(f"{text}{f' (see {context.command_path} --help)' if context is not None else ''}")
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

if __name__ == "__main__":  # python -m plastic_search.cli.app, where the command is not on the path
    main()
