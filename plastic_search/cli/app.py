"""The command line. Heavy imports wait inside each command, so that `--help` answers at once."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from plastic_search import __version__
from plastic_search.cli import bench, table, topology
from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.loading import VARIABLES
from plastic_search.core.part import OPEN_SETS

__all__ = ["app", "main"]

app = typer.Typer(
    name="plastic-search",
    help="Search, quantize, export and compare plastic networks: W + alpha * H, under neuromodulation.",
    epilog="A first run: plastic-search run digit_recall, then quantize, export and report runs/digit_recall.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Parts = Annotated[list[Path], typer.Option("--parts", help="A Python file with parts of your own. May be repeated.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="How many networks are trained at a time.")]
Folder = Annotated[Path, typer.Argument(help="A run folder, such as runs/digit_recall.")]

_INTERRUPTED = 130  # what the parser answers when Ctrl-C ended a command
_CORES = max(1, min(len(os.sched_getaffinity(0)), 8)) if hasattr(os, "sched_getaffinity") else 2


def main() -> None:
    """Run the command line; a mistake in what was asked is one line on standard error and exit code 1."""
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
    """A polite kill is answered like Ctrl-C: what is finished is kept, and workers and semaphores go."""
    raise KeyboardInterrupt


def _misused(error: Any) -> NoReturn:
    """One line where one will do; the whole help where nothing was asked."""
    text, context = error.format_message(), getattr(error, "ctx", None)
    if "\n" in text or not text:
        error.show()
    else:
        hint = f" ({context.command_path} --help tells more)" if context is not None else ""
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


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help=f"One of: {', '.join((*OPEN_SETS, *VARIABLES))}. Default: all.")] = "",
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """List the parts that networks are made of, and the studies, spaces and reports at hand."""
    from plastic_search.cli.console import print_table
    from plastic_search.core import loading
    from plastic_search.core.part import discover, equation, open_set

    if what and what not in (*OPEN_SETS, *VARIABLES):
        raise unknown("list", what, (*OPEN_SETS, *VARIABLES))
    loading.load_parts(parts)
    told: dict[str, dict[str, str]] = {}
    for axis in (a for a in OPEN_SETS if what in ("", a)):
        told[axis] = {name: equation(kind) for name, kind in discover(open_set(axis)).items()}
    for shelf in (s for s in VARIABLES if what in ("", s)):
        told[shelf] = {name: loading.sentence(shelf, name) for name in loading.names(shelf)}
    if as_json:
        _print_json(told)
        return
    for title, members in told.items():
        print_table(title, ("name", "is"), members.items())
        print()


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="One of `list studies`, or a Python file of yours that defines STUDY.")],
    sets: Annotated[
        list[str], typer.Option("--set", help="ADDRESS=VALUE, such as trainer.steps=200. Repeatable.")
    ] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="The run folder. Default: runs/STUDY.")] = None,
    workers: Workers = _CORES,
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Search a space (TPE, and random search of equal budget), then train the winners and their controls.

    A study may also be a comparison of named networks, or a sweep: networks that differ in one thing.

    A run that was stopped, even by kill -9, goes on when the same command is given again.
    """
    from plastic_search.cli.console import follow, say, summary, summary_table
    from plastic_search.core import loading
    from plastic_search.experiments import runner
    from plastic_search.experiments.study import Study
    from plastic_search.records import run as runs

    loading.load_parts(parts)
    path = loading.find("studies", study)
    value = _with_sets(loading.value("studies", study), sets, path)
    folder = out or Path("runs") / path.stem
    command = {"study": study, "sets": sets, "parts": [str(p) for p in parts], "out": str(out or "")}
    follow(runner.run(value, path.stem, folder, workers, (*parts, *_own(path)), command))
    record = runs.load(folder)
    if not isinstance(value, Study):
        _print_json(summary(record)) if as_json else summary_table(record)
        say(f"next: plastic-search report {shlex.quote(str(folder))}")
        return
    held = len({r.trial for r in record.stage("search", "tpe")})
    if held > value.trials:
        say(
            f"{folder} holds {held} trials of each search already, more than the {value.trials} asked for; all are kept"
        )
    if as_json:
        _print_json(summary(record))
        return
    summary_table(record)
    say(f"next: {_next(folder, parts, _own(path))}")


@app.command()
def quantize(
    folder: Folder,
    bits: Annotated[str, typer.Option(help="Widths to try, with commas.")] = "8,4,3,2",
    workers: Workers = _CORES,
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Round the winner's weight, alpha and trace to few bits, before and after fine-tuning."""
    from plastic_search.cli.console import follow, summary, summary_table
    from plastic_search.core import loading
    from plastic_search.experiments import quantize as quantized
    from plastic_search.records import run as runs

    loading.load_parts(parts)
    follow(quantized.quantize(folder, _widths(bits), workers, tuple(parts)))
    record = runs.load(folder)
    kept = record._replace(runs=record.stage("quantized"))
    if as_json:
        _print_json(summary(kept))
    else:
        summary_table(kept)


@app.command()
def export(
    folder: Folder,
    name: Annotated[str, typer.Option(help="Which network: winner, or a quantized one. Default: the best 4/4/8.")] = "",
    seed: Annotated[int | None, typer.Option(help="Of which seed. Default: the study's first.")] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle's folder. Default: FOLDER/bundle.")] = None,
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Write a bundle that runs, and goes on learning, outside torch; refuse where it differs from the reference."""
    from plastic_search.core import loading
    from plastic_search.experiments import export as exported

    loading.load_parts(parts)
    made = exported.export(folder, name, seed, out)
    if as_json:
        _print_json(made)
        return
    print(f"{made['bundle']}: {made['name']}, {made['bytes']:.0f} bytes, score {made['score']:.3f} on its examples")
    print(f"against the reference, each of {made['steps']:.0f} steps: largest difference {made['stepwise']:.1e}")
    print(f"left to itself, the first {made['compared']:.0f} steps: largest difference {made['parity']:.1e}")
    print(f"run it without torch: python {made['bundle']}/runner.py")


@app.command()
def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="Where the page goes. Default: FOLDER.")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained page about a run folder, and its JSON companion."""
    from plastic_search.core import loading
    from plastic_search.records import run as runs
    from plastic_search.report import report as page

    record = runs.load(folder)
    value = loading.value("reports", record.name) if record.name in loading.names("reports") else None
    path = page.write(record, out or folder, value)
    print((path.parent / "report.json").read_text() if as_json else path)


@app.command()
def copy(
    what: Annotated[str, typer.Argument(help="Such as studies/digit_recall or search_spaces/one_shot.")],
    to: Annotated[Path, typer.Argument(help="The new file, or a folder.")] = Path("."),
) -> None:
    """Copy one of our studies, spaces or reports, to make it your own."""
    from plastic_search.core import loading
    from plastic_search.records.files import write_text

    shelf, _, name = what.rpartition("/")
    source = loading.find(shelf, name) if shelf else loading.anywhere(name)
    target = to / source.name if to.is_dir() else to
    if target.exists():
        raise PlasticSearchError(f"{target} exists already; nothing was copied")
    write_text(target, source.read_text())
    print(target)


@app.command()
def show(
    what: Annotated[str, typer.Argument(help="A run folder, a bundle, a part (Oja), a study or a space.")],
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Show what a thing is: a run folder's figures, a bundle's manifest, a part, a study."""
    from plastic_search.cli import show as shown
    from plastic_search.cli.console import print_table, summary_table
    from plastic_search.core import loading

    loading.load_parts(parts)
    if (Path(what) / "runs.jsonl").exists() and not as_json:
        from plastic_search.records import run as runs

        summary_table(runs.load(Path(what)))
        return
    told = shown.show(what)
    if as_json:
        _print_json(told)
        return
    settings = told.pop("settings", {})
    print_table(what, ("what", "value"), [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in told.items()])
    if settings:
        print()
        print_table("settings: --set ADDRESS=VALUE changes any of them", ("address", "value"), settings.items())


@app.command()
def repair(folder: Folder) -> None:
    """Mend a run folder whose journal or runs were cut short; what is broken is set aside, never deleted."""
    from plastic_search.experiments import repair as mend

    for told in mend.repair(folder) or ["nothing was broken"]:
        print(told)


for command in (table.table, bench.bench, bench.doctor):
    app.command()(command)
app.add_typer(topology.app, name="topology")


def _with_sets(study: Any, sets: list[str], path: Path) -> Any:
    """The study with each ADDRESS=VALUE put in; addresses of the space may leave out `space.`."""
    from plastic_search.core.part import field_types
    from plastic_search.core.space import override
    from plastic_search.experiments.comparison import Comparison
    from plastic_search.experiments.study import Study
    from plastic_search.experiments.sweep import Sweep

    if not isinstance(study, Study | Sweep | Comparison):
        name = type(study).__name__
        article = "an" if name[0].lower() in "aeiou" else "a"
        raise PlasticSearchError(f"{path}: STUDY must be a Study, but is {article} {name}")
    given: dict[str, str] = {}
    for each in sets:
        address, equals, text = each.partition("=")
        if not equals:
            raise PlasticSearchError(f"--set wants ADDRESS=VALUE, but got {each!r}")
        inside = isinstance(study, Study) and address.split(".")[0] in field_types(type(study.space))
        whole = f"space.{address}" if inside else address
        if given.setdefault(whole, text) != text:
            raise PlasticSearchError(f"--set gives {address} twice: {given[whole]} and {text}; keep one of them")
        study = override(study, whole, text)
    return study


def _own(path: Path) -> tuple[Path, ...]:
    """A study file of the user's own may define parts, so workers must run it too."""
    from plastic_search.core import loading

    return () if path.parent == loading.folder("studies") else (path,)


def _next(folder: Path, parts: list[Path], own: tuple[Path, ...]) -> str:
    """The commands that come after `run`; those that build networks must know the files in which parts stand."""
    from plastic_search.core.part import Part, source

    homes = {Path(source(kind)).resolve() for kind in Part.kinds.values()} if own else set()
    files = [*parts, *(f for f in own if f.resolve() in homes)]
    needed = "".join(f" --parts {shlex.quote(str(f))}" for f in dict.fromkeys(files))
    at = shlex.quote(str(folder))
    return f"plastic-search quantize {at}{needed}; plastic-search export {at}{needed}; plastic-search report {at}"


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(","))
    except ValueError:
        raise PlasticSearchError(f"--bits wants whole numbers with commas, such as 8,4, but got {text!r}") from None


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=1))
