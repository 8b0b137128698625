"""The commands that work on a question: run, export, report, repair."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from plastic_search.cli.options import CORES, Folder, Json, Parts, Workers, print_json
from plastic_search.core.errors import PlasticSearchError

__all__ = ["export", "repair", "report", "run"]


def run(
    study: Annotated[str, typer.Argument(help="One of `list studies`, or a Python file of yours that defines STUDY.")],
    sets: Annotated[list[str], typer.Option("--set", help="PATH=VALUE, such as trainer.steps=200. Repeatable.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="The run folder. Default: runs/STUDY.")] = None,
    workers: Workers = CORES,
    parts: Parts = [],  # noqa: B006
    trial_timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds after which the training of a network is ended.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search a space (TPE, and random search of equal budget), then train the winners and their controls.

    A question may also be a comparison of named networks, or a sweep along one axis.

    A run that was stopped, even by kill -9, continues when the same command is given again.
    """
    from plastic_search.cli.console import follow, say, summary, summary_table
    from plastic_search.core import loading
    from plastic_search.experiments import runner
    from plastic_search.experiments.study import Study
    from plastic_search.experiments.variants import variants
    from plastic_search.records.run import Finalist, Outcome, Stage, load

    loading.load_parts(parts)
    path = loading.find("studies", study)
    value = _with_sets(loading.value("studies", study), sets, path)
    folder = out or Path("runs") / path.stem
    command = {"study": study, "sets": sets, "parts": [str(p) for p in parts], "out": str(out or "")}
    follow(runner.run(value, path.stem, folder, workers, (*parts, *_own(path)), command, trial_timeout))
    record = load(folder)
    recorded = len({r.trial for r in record.stage(Stage.SEARCH, "tpe")})
    if isinstance(value, Study) and recorded > value.trials:
        say(f"{folder} has {recorded} trials of each search already, more than the {value.trials} requested; all stay")
    print_json(summary(record)) if as_json else summary_table(record)
    winner = any(run.outcome == Outcome.COMPLETE for run in record.stage(Stage.FINAL, Finalist.WINNER))
    if winner and not as_json:
        count = len(variants()) * len(value.seeds)
        say(f"`quantize` makes up to {count} runs here; fewer with --bits, such as --bits 4")
        say(f"next: {_next(folder, parts, _own(path))}")
    elif not as_json:
        say(f"next: plastic-search report {shlex.quote(str(folder))}")


def export(
    folder: Folder,
    name: Annotated[str, typer.Option(help="Which network: winner, or a quantized one. Default: the best 4/4/8.")] = "",
    seed: Annotated[int | None, typer.Option(help="Of which seed. Default: the study's first.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The bundle's folder; or NAME.c, NAME.nir, NAME.qonnx, for these. Default: FOLDER/bundle."),
    ] = None,
    arithmetic: Annotated[str, typer.Option(help="Of C: float, or integer for a network in few bits.")] = "float",
    licence: Annotated[
        str, typer.Option("--license", help="For a bundle's model card, such as mit. Default: none.")
    ] = "",
    target: Annotated[
        str, typer.Option(help="Of C: host, or cortex-m4: start, linker script, a run in QEMU.")
    ] = "host",
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Write a bundle that runs, and keeps learning, outside torch; refuse if it differs from the reference.

    What acts in an environment plays it through onnxruntime. Example: plastic-search export runs/maze

    As C99 without libraries, for a device: plastic-search export runs/mine --out device/network.c
    For a Cortex-M4: the same with --name w4a4t8-nearest --arithmetic integer --target cortex-m4

    A spiking network goes to other tools as NIR: plastic-search export runs/mine --out mine.nir

    A network in few bits goes to tools that build circuits as QONNX: plastic-search export runs/mine --out mine.qonnx
    """
    from plastic_search.core import loading
    from plastic_search.experiments import export as exported

    loading.load_parts(parts)
    if out is not None and out.suffix.lower() == ".nir":
        _print_nir(exported.export_nir(folder, out, name, seed), as_json)
        return
    if out is not None and out.suffix.lower() == ".c":
        _print_c(exported.export_c(folder, out, name, seed, arithmetic, target), as_json)
        return
    if out is not None and out.suffix.lower() == ".qonnx":
        _print_qonnx(exported.export_qonnx(folder, out, name, seed), as_json)
        return
    _print_bundle(exported.export(folder, name, seed, out, licence), as_json)


def _print_bundle(result: dict[str, Any], as_json: bool) -> None:
    from plastic_search.cli.console import print_line

    if as_json:
        print_json(result)
        return
    files = {name: f"{size:,}" for name, size in result["files"].items()}
    acts = "by_torch" in result  # in an environment, and has no examples
    print_line(f"{result['bundle']}: {result['name']}, score {result['score']:.3f}{'' if acts else ' on its examples'}")
    step, rest = files.pop("step.onnx"), ", ".join(map(" ".join, files.items()))
    print_line(f"to be deployed: step.onnx, {step} bytes; beside it {rest}")
    print_line(
        f"against the reference, each of {result['steps']:.0f} steps: largest difference {result['stepwise']:.1e}"
    )
    print_line(f"running freely, the first {result['compared']:.0f} steps: largest difference {result['parity']:.1e}")
    print_line(result["examples"] if acts else f"its examples: {result['examples']}")
    print_line(f"run it without torch: {'Runner in' if acts else 'python'} {result['bundle']}/runner.py")


def _print_nir(result: dict[str, Any], as_json: bool) -> None:
    from plastic_search.cli.console import print_line

    if as_json:
        print_json(result)
        return
    print_line(f"{result['file']}: {result['name']} of seed {result['seed']}, {result['bytes']:,} bytes")
    print_line(
        f"other tools read its {result['connections']} connections; that {result['plastic']} of them are plastic is in "
        "metadata, which `plastic_search.export.nir.read` reads too"
    )


def _print_qonnx(result: dict[str, Any], as_json: bool) -> None:
    from plastic_search.cli.console import print_line

    if as_json:
        print_json(result)
        return
    print_line(f"{result['file']}: {result['name']} of seed {result['seed']}, {result['bytes']:,} bytes")
    print_line(f"one step of one episode, with {result['quantizers']} quantizers")
    if result["steps"]:
        print_line(
            f"run by qonnx, and against the reference, each of {result['steps']} steps: largest difference "
            f"{result['stepwise']:.1e}; running freely, the first {result['compared']}: {result['largest']:.1e}"
        )
    else:
        print_line("NOT checked: qonnx is not installed; python -m pip install qonnx, and export it again")


def _print_c(result: dict[str, Any], as_json: bool) -> None:
    from plastic_search.cli.console import print_line

    if as_json:
        print_json(result)
        return
    print_line(f"{result['file']}: {result['name']} of seed {result['seed']}")
    print_line(f"{result['parameters']:,} bytes of constants; {result['state']:,} bytes of state")
    if result["steps"] and "stepwise" not in result:
        print_line(f"compiled, and equal to its golden model in every bit over {result['steps']} steps")
    elif result["steps"]:
        print_line(
            f"compiled, and against the reference, each of {result['steps']} steps: largest difference "
            f"{result['stepwise']:.1e}; running freely, the first {result['compared']}: {result['largest']:.1e}"
        )
    else:
        print_line("NOT checked: there is no C compiler here; install gcc, and export it again")
    if "device" in result:
        _print_device(result["device"])
    for file in result["kept"]:
        print_line(f"{file} was there already, and is as it was")
    print_line("its header says how it is used; `make` beside it builds a program that reads inputs")


def _print_device(device: dict[str, Any] | None) -> None:
    from plastic_search.cli.console import print_line

    if device is None:
        print_line("NOT linked for a Cortex-M4: install gcc-arm-none-eabi, libnewlib-arm-none-eabi and make")
        return
    print_line(f"on a Cortex-M4: {device['flash']:,} bytes of flash, {device['ram']:,} of RAM")
    if device["steps"]:
        print_line(
            f"run by QEMU: {device['stack']:,} bytes of that are the stack; {device['instructions']:,.0f} instructions "
            f"a step; equal to its golden model in every bit over {device['steps']} steps"
        )
    else:
        print_line("NOT run there, and without the stack: install qemu-system-arm, and export it again")


def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="A folder, or the page itself, NAME.html. Default: FOLDER.")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained page about a run folder, and its JSON companion."""
    from plastic_search.cli.console import print_line
    from plastic_search.core import loading
    from plastic_search.records import run as runs
    from plastic_search.records.files import destination
    from plastic_search.report import report as page
    from plastic_search.report.html import page_path

    destination(page_path(out or folder))
    record = runs.load(folder)
    value = loading.value("reports", record.name) if record.name in loading.names("reports") else None
    path = page.write(record, out or folder, value)
    if as_json:
        print(path.with_suffix(".json").read_text())
    else:
        print_line(path)


def repair(folder: Folder) -> None:
    """Repair a run folder whose journal or runs are truncated; broken lines are set aside, never deleted."""
    from plastic_search.cli.console import print_line
    from plastic_search.experiments import repair as repairs

    for line in repairs.repair(folder) or ["nothing was broken"]:
        print_line(line)


def _with_sets(study: Any, sets: list[str], path: Path) -> Any:
    """The study with each PATH=VALUE applied; paths within its space may leave out `space.`."""
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
        at, equals, text = each.partition("=")
        if not equals:
            raise PlasticSearchError(f"--set needs PATH=VALUE, but got {each!r}")
        inside = isinstance(study, Study) and at.split(".")[0] in field_types(type(study.space))
        whole = f"space.{at}" if inside else at
        if at.split(".")[0] == "environment":
            whole = _in_environment(study, at)
        if given.setdefault(whole, text) != text:
            raise PlasticSearchError(f"--set gives {at} twice: {given[whole]} and {text}; keep one of them")
        study = override(study, whole, text, "space." if isinstance(study, Study) else "")
    return study


def _in_environment(study: Any, at: str) -> str:
    """The path of a setting of the environment, `task.size` for `environment.size`: both are names of it."""
    from plastic_search.environments import Environment

    if not isinstance(study.task, Environment):
        raise PlasticSearchError(
            f"--set {at}: there is no environment that all networks share; they do a task, task.PATH=VALUE"
        )
    return at.replace("environment", "task", 1)


def _own(path: Path) -> tuple[Path, ...]:
    """A user's study file may define parts, so worker processes must load it too."""
    from plastic_search.core import loading

    return () if path.parent == loading.folder("studies") else (path,)


def _next(folder: Path, parts: list[Path], own: tuple[Path, ...]) -> str:
    """The commands that come after `run`, with --parts where the study uses parts of the user's files."""
    from plastic_search.core.part import Part, source

    homes = {Path(source(kind)).resolve() for kind in Part.kinds.values()} if own else set()
    files = [*parts, *(f for f in own if f.resolve() in homes)]
    needed = "".join(f" --parts {shlex.quote(str(f))}" for f in dict.fromkeys(files))
    at = shlex.quote(str(folder))
    return f"plastic-search quantize {at}{needed}; plastic-search export {at}{needed}; plastic-search report {at}"
