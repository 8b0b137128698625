"""A report: one self-contained page about a run folder, and its JSON companion. It does not need torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part
from plastic_search.core.paths import as_path
from plastic_search.records.run import Record
from plastic_search.report import comparison_page, spiking_page, study_page, sweep_page
from plastic_search.report.figures import Figure, figures
from plastic_search.report.html import write_page

__all__ = ["Report", "write"]


@dataclass(frozen=True)
class Report(Part):
    """What an author adds to what the numbers say.

    Args:
        study: the name of the study that the page is about.
        title: of the page; "" names it after the study.
        answer: prose in plain text; an empty line separates paragraphs.
        figures: which to show, by name; () shows all. Pages of comparisons and sweeps always show all of theirs.
    """

    study: str
    title: str = ""
    answer: str = ""
    figures: tuple[str, ...] = ()


def write(record: Record, out: Path | str, report: Report | None = None) -> Path:
    """Write `out`/report.html and, with every number that the page shows, `out`/report.json.

    Where `out` is called NAME.html, these are NAME.html and NAME.json. The kind of page follows from the schema in
    study.json: a study, a comparison or a sweep. The same record always gives the same two files, byte for byte.

    Raises:
        PlasticSearchError: the report is about another study or asks for a figure that there is not, or `out`
            cannot be written.
    """
    report, out = report or Report(record.name), as_path(out)
    if report.study != record.name:
        raise PlasticSearchError(f"this report is about {report.study!r}, but the run folder holds {record.name!r}")
    kind = str(record.study.get("schema", "")).rpartition("/")[0]
    if kind == "plastic_search/sweep":
        return sweep_page.write(record, out, report.title, report.answer)
    if kind == "plastic_search/comparison":
        return comparison_page.write(record, out, report.title, report.answer)
    shown = {figure: figure.data(record) for figure in _chosen(report)}
    page = study_page.contents(record, report.title, report.answer, shown)
    drawings = {figure.name: figure.draw(data) for figure, data in shown.items() if data is not None}
    fired = {"spiking": spiking_page.drawings(record, page["spiking"])}
    return write_page(out, "report.html.j2", page, drawings=drawings | fired)


def _chosen(report: Report) -> list[Figure]:
    known = figures()
    for name in report.figures:
        if name not in known:
            raise unknown("figure", name, known)
    return [figure for name, figure in known.items() if name in (report.figures or known)]
