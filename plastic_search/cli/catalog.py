"""The commands that list, show and copy what is available: parts, studies, search spaces, reports, benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plastic_search.cli.options import Json, Parts, print_json
from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.loading import VARIABLES
from plastic_search.core.part import OPEN_SETS

__all__ = ["copy", "list_", "show"]


def list_(
    what: Annotated[str, typer.Argument(help=f"One of: {', '.join((*OPEN_SETS, *VARIABLES))}. Default: all.")] = "",
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """List the parts of networks, and the studies, search spaces, reports and benchmarks that are available."""
    from plastic_search.cli.console import print_line, print_table
    from plastic_search.core import loading
    from plastic_search.core.part import discover, equation, open_set

    if what and what not in (*OPEN_SETS, *VARIABLES):
        raise unknown("list", what, (*OPEN_SETS, *VARIABLES))
    loading.load_parts(parts)
    lists: dict[str, dict[str, str]] = {}
    for name in (n for n in OPEN_SETS if what in ("", n)):
        lists[name] = {part: equation(kind) for part, kind in discover(open_set(name)).items()}
    for folder in (f for f in VARIABLES if what in ("", f)):
        lists[folder] = {name: loading.sentence(folder, name) for name in loading.names(folder)}
    if as_json:
        print_json(lists)
        return
    for title, members in lists.items():
        print_table(title, ("name", "is"), members.items())
        print_line()


def copy(
    what: Annotated[str, typer.Argument(help="Such as studies/digit_recall or search_spaces/one_shot.")],
    to: Annotated[Path, typer.Argument(help="The new file, or a folder.")] = Path("."),
) -> None:
    """Copy one of our studies, search spaces, reports or benchmarks, to change it."""
    from plastic_search.cli.console import print_line
    from plastic_search.core import loading
    from plastic_search.records.files import write_text

    folder, _, name = what.rpartition("/")
    source = loading.find(folder, name) if folder else loading.anywhere(name)
    target = to / source.name if to.is_dir() else to
    if target.exists():
        raise PlasticSearchError(f"{target} exists already; nothing was copied")
    write_text(target, source.read_text())
    print_line(target)


def show(
    what: Annotated[str, typer.Argument(help="A run folder, a bundle, a part (Oja), a study or a search space.")],
    parts: Parts = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Show a run folder's results, a bundle's manifest, a part's equation and settings, or what a study asks."""
    from plastic_search.cli.console import cut, print_line, print_table, summary_table
    from plastic_search.cli.show import asked, default_text
    from plastic_search.cli.show import show as find
    from plastic_search.core import loading

    loading.load_parts(parts)
    if (Path(what) / "runs.jsonl").exists() and not as_json:
        from plastic_search.records import run

        summary_table(run.load(Path(what)))
        return
    found = find(what)
    if as_json:
        print_json(found.data)
        return
    whole = " ".join(["plastic-search show", what, *(f"--parts {file}" for file in parts), "--json"])
    settings = found.data.pop("settings", None)
    if settings is None and found.short is not None:
        print_table(what, ("key", "value"), cut(found.short))
        print_line(f"the whole manifest: {whole}")
        return
    print_table(what, ("what", "value"), asked(found.data))
    if not settings:
        return
    print_line()
    if found.short is None:
        rows = [(name, each["type"], default_text(each), each["meaning"]) for name, each in settings.items()]
        print_table("settings", ("name", "type", "default", "meaning"), rows)
        return
    short = cut([(path, text) for path, text in found.short if path not in found.data])
    print_table("settings in short; --set PATH=VALUE changes any value", ("path", "value"), short)
    print_line(f"all {len(settings)} settings with their paths: {whole}")
