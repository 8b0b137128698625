"""Pages: one jinja environment, and the two files of a page. It needs neither torch nor a network."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastic_search.core.paths import as_path
from plastic_search.core.printable import printable
from plastic_search.core.statistics import Estimate
from plastic_search.records.files import destination, write_text
from plastic_search.report import formatting

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["page_path", "plain", "render", "write_page"]


def write_page(out: Path | str, template: str, page: dict[str, Any], **values: Any) -> Path:
    """Write a page from a template, and every number that it shows as JSON beside it.

    Args:
        out: a folder, for its report.html and report.json; or the page itself, NAME.html, for NAME.json beside it.
        page: JSON data; the template's variable `page`.
        values: further variables of the template, such as drawings, which are not in the JSON file.
    """
    path = page_path(out)
    companion = path.with_suffix(".json")
    destination(path)  # before its companion is there
    write_text(companion, json.dumps(page, indent=1, allow_nan=False) + "\n")
    write_text(path, render(template, page=page, companion=companion.name, **values))
    return path


def page_path(out: Path | str) -> Path:
    """The page's file: `out` itself where it is called NAME.html and is no folder, else `out`/report.html."""
    out = as_path(out)
    return out if out.suffix.lower() in (".html", ".htm") and not out.is_dir() else out / "report.html"


def render(template: str, **values: Any) -> str:
    """A template of this package, filled."""
    return _environment().get_template(template).render(**values)


def plain(value: Any) -> Any:
    """`value` as JSON data: named tuples become objects, numbers that are not finite become null."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {k: plain(v) for k, v in value._asdict().items()}  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: (files("plastic_search.report") / "templates" / name).read_text("utf-8")),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_printable,
    )  # fmt: skip
    environment.filters |= {
        "bits": formatting.bits,
        "change": formatting.change,
        "count": formatting.count,
        "duration": formatting.duration,
        "estimate": lambda e, signed=False: _noted(formatting.estimate(Estimate(**e) if e else None, signed)),
        "measure": lambda e, digits, signed=False: _noted(
            formatting.measure(Estimate(**e) if e else None, digits, signed)
        ),
        "path": _path,
        "percent": formatting.percent,
        "probability": formatting.probability,
        "score": formatting.score,
        "size": formatting.size,
    }
    return environment


def _noted(text: str) -> Any:
    """A number whose note, in brackets, a cell may break: 0.934 (one seed: no interval)"""
    from markupsafe import Markup, escape

    value, bracket, note = text.partition(" (")
    return escape(value) + (Markup(' <span class="note">(%s</span>') % note if bracket else "")


def _printable(value: Any) -> Any:
    """What a page shows, text and drawings, without marks that would reorder it."""
    return type(value)(printable(value)) if isinstance(value, str) else value


def _path(text: Any) -> Any:
    """A path that a narrow column may break after each dot."""
    from markupsafe import Markup, escape

    return Markup(".<wbr>").join(escape(part) for part in str(text).split("."))
