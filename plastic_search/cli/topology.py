"""The commands `topology show`, `diff`, `draw`, `export` and `shrink`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app"]

app = typer.Typer(help="Show, compare, draw, export and shrink the graphs of networks.", no_args_is_help=True)

_SOURCE = "A run folder, such as runs/digit_recall, or a .json or .graphml file of a network."
Source = Annotated[Path, typer.Argument(metavar="WHAT", help=_SOURCE)]
_NAME = "The graph of a run folder, or of a GraphML file with several. Default: the first winner's, winner-0."
Name = Annotated[str, typer.Option(help=_NAME)]
Seed = Annotated[int, typer.Option(help="Seed of the random graphs and of the search for communities.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


@app.command()
def show(source: Source, name: Name = "", seed: Seed = 0, as_json: Json = False) -> None:
    """Measure a graph: density, degrees, loops, clusters, motifs, communities, paths."""
    from plastic_search.cli.console import print_line, print_table
    from plastic_search.topology.files import find
    from plastic_search.topology.metrics import metrics

    label, graph = find(source, name)
    measures: dict[str, Any] = {"name": label} | metrics(graph, seed)
    if as_json:
        _print_json(measures)
        return
    parts, motifs, degrees = (measures.pop(key, {}) for key in ("projections", "motifs", "degrees"))
    notes = measures.pop("notes")
    rows = [(key.replace("_", " "), _figure(value)) for key, value in measures.items()]
    print_table(str(source), ("measure", "value"), rows)
    columns = ("from", "to", "edges", "density", "plastic")
    print_line()
    print_table("edges from layer to layer", columns, [[_figure(p[c]) for c in columns] for p in parts], whole=5)
    print_line()
    rows = [(way, *(_figure(d[c]) for c in ("mean", "median", "most", "idle"))) for way, d in degrees.items()]
    print_table("degrees", ("direction", "mean", "median", "maximum", "nodes of degree 0"), rows, whole=5)
    if motifs:
        print_line()
        rows = [(m, *(_figure(v[c]) for c in ("count", "random", "z"))) for m, v in motifs.items()]
        print_table("connected triads", ("motif", "count", "in random graphs", "z"), rows, whole=4)
    for note in notes:
        print_line(note)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help=_SOURCE)],
    b: Annotated[Path, typer.Argument(help="Another; or the same run folder, with --name-b.")],
    name_a: Annotated[str, typer.Option(help="The graph of the first run folder. Default: winner-0.")] = "",
    name_b: Annotated[str, typer.Option(help="The graph of the second.")] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare two graphs of one size edge by edge, with the overlap expected by chance."""
    from plastic_search.cli.console import print_line, print_table
    from plastic_search.topology.comparison import compare
    from plastic_search.topology.files import find

    (first, left), (second, right) = find(a, name_a), find(b, name_b)
    data: dict[str, Any] = {"a": first, "b": second} | compare(left, right, seed)
    if as_json:
        _print_json(data)
        return
    chance, degree = data["by_chance"], data["by_degree"]
    rows = [
        (f"only in {first} (a)", data["only_a"]),
        (f"only in {second} (b)", data["only_b"]),
        ("shared", data["shared"]),
        ("shared by chance", chance["shared"]),
        ("standard deviations above chance", chance["z"]),
        ("shared by graphs of equal degrees", degree["shared"]),
        ("shared / union (Jaccard)", data["jaccard"]),
        ("... by chance", chance["jaccard"]),
        ("... by graphs of equal degrees", degree["jaccard"]),
        ("shared, plastic in both", data["plastic_both"]),
        ("shared, plastic only in a", data["plastic_only_a"]),
        ("shared, plastic only in b", data["plastic_only_b"]),
    ]
    print_table("edges", ("edges", "value"), [(name, _figure(value)) for name, value in rows])
    print_line()
    measured = [(key.replace("_", " "), *map(_figure, pair)) for key, pair in data["metrics"].items()]
    print_table("measures that differ", ("measure", "a", "b"), measured, whole=3)
    print_line("lists of the edges: --json")


@app.command()
def draw(
    source: Source,
    out: Annotated[Path, typer.Option(help="The picture: *.svg or *.html.")],
    name: Name = "",
    seed: Seed = 0,
) -> None:
    """Draw a graph: layers in columns, plastic edges in orange, matrices, and communities side by side."""
    from plastic_search.cli.console import print_line
    from plastic_search.core.errors import PlasticSearchError
    from plastic_search.core.printable import printable
    from plastic_search.records.files import destination, write_text
    from plastic_search.report.figures import topology
    from plastic_search.topology.files import find, to_json
    from plastic_search.topology.metrics import communities

    if out.suffix not in (".svg", ".html"):
        raise PlasticSearchError(f"a picture is called *.svg or *.html, but {str(out)!r} is not; choose one with --out")
    destination(out)
    label, graph = find(source, name)
    data = topology.read(label, [], to_json(graph))
    if data is None:
        raise PlasticSearchError(f"{source} has no layers to draw")
    sheet = topology.sheet(data, communities(graph, seed))
    write_text(out, printable(sheet if out.suffix == ".svg" else topology.page(data, sheet)))
    print_line(out)


@app.command()
def export(
    source: Source,
    out: Annotated[Path, typer.Option(help="The file: *.graphml or *.json.")],
    name: Name = "",
) -> None:
    """Write a graph as GraphML or node-link JSON, for other programs."""
    from plastic_search.cli.console import print_line
    from plastic_search.records.files import destination
    from plastic_search.topology.files import find, write

    destination(out)
    print_line(write(find(source, name)[1], out))


@app.command()
def shrink(
    folder: Annotated[Path, typer.Argument(help="A run folder, such as runs/digit_recall.")],
    name: Annotated[str, typer.Option(help="The network: winner, another finalist or a quantized one.")] = "winner",
    seed: Annotated[int | None, typer.Option(help="The seed of its training. Default: the study's first.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the smaller network's bundle. Default: none.")] = None,
    parts: Annotated[list[Path], typer.Option("--parts", help="A Python file with user-defined parts.")] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Remove dead units from a trained network, with unchanged outputs, and report the savings in size and time."""
    from plastic_search.cli.console import print_line, print_table
    from plastic_search.core import loading
    from plastic_search.experiments import shrink as shrunk

    loading.load_parts(parts)
    result = shrunk.shrunk(folder, name, seed, out)
    if as_json:
        _print_json(result)
        return
    before, after = result["before"], result["after"]
    rows = [(key, _figure(before[key]), _figure(after[key])) for key in before]
    rows += [
        (f"seconds, {how} of {at}", *map(_figure, both))
        for how, each in result["seconds"].items()
        for at, both in each.items()
    ]
    print_table(f"{result['name']}, seed {result['seed']}", ("measure", "before", "after"), rows, whole=3)
    for how, each in result["faster"].items():
        faster = ", ".join(f"{times:.2f} times as fast for {at}" for at, times in each.items())
        print_line(f"{how}: {faster} ({result['timed']})")
    for reason in result["kept"]:
        print_line(reason)
    if out is not None:
        print_line(out)


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return ", ".join(map(_figure, value))
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=1))
