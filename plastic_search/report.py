"""A report: one self-contained page about a study, and its twin for programs. It needs neither torch nor a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from plastic_search import wording
from plastic_search.errors import PlasticSearchError, unknown
from plastic_search.figures import Figure, figures
from plastic_search.page import contents
from plastic_search.part import Part
from plastic_search.runs import Record, write_text
from plastic_search.statistics import Estimate

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


def _render(page: dict[str, Any], drawings: dict[str, str]) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "address": _address,
        "bits": wording.bits,
        "change": wording.change,
        "count": wording.count,
        "duration": wording.duration,
        "estimate": lambda made, signed=False: wording.estimate(Estimate(**made) if made else None, signed),
        "percent": wording.percent,
        "score": wording.score,
        "size": wording.size,
    }
    return environment.get_template("report.html.j2").render(page=page, drawings=drawings)


def _template(name: str) -> str:
    return (files("plastic_search") / "templates" / name).read_text(encoding="utf-8")


def _address(text: Any) -> Any:
    """An address that a narrow column may break after each dot."""
    from markupsafe import Markup, escape

    return Markup(".<wbr>").join(escape(part) for part in str(text).split("."))
