"""A report: one self-contained page about a study, and its twin for programs. It needs neither torch nor a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part
from plastic_search.records.files import write_text
from plastic_search.records.run import Record
from plastic_search.report.figures import Figure, figures
from plastic_search.report.html import _render
from plastic_search.report.study_page import contents

__all__ = ["Report", "write"]


@dataclass(frozen=True)
class Report(Part):
    """What an author adds to what the numbers say.

    Args:
        study: the name of the study that the page is about.
        title: of the page; "" names it after the study.
        answer: prose in plain text; an empty line parts paragraphs.
        figures: which to show, by name; () shows all.
    """

    study: str
    title: str = ""
    answer: str = ""
    figures: tuple[str, ...] = ()


def write(record: Record, out: Path, report: Report | None = None) -> Path:
    """Write `out`/report.html and, with every number that the page shows, `out`/report.json.

    The same record always makes the same two files, byte for byte.

    Raises:
        PlasticSearchError: the report is about another study or asks for a figure that there is not, or `out`
            cannot be written.
    """
    report = report or Report(record.name)
    if report.study != record.name:
        raise PlasticSearchError(f"this report is about {report.study!r}, but the run folder holds {record.name!r}")
    shown = {figure: figure.data(record) for figure in _chosen(report)}
    page = contents(record, report.title, report.answer, shown)
    drawings = {figure.name: figure.draw(data) for figure, data in shown.items() if data is not None}
    write_text(out / "report.json", json.dumps(page, indent=1, allow_nan=False) + "\n")
    write_text(out / "report.html", _render(page, drawings))
    return out / "report.html"


def _chosen(report: Report) -> list[Figure]:
    known = figures()
    for name in report.figures:
        if name not in known:
            raise unknown("figure", name, known)
    return [figure for name, figure in known.items() if name in (report.figures or known)]
