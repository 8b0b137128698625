"""How a page becomes HTML."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from plastic_search.report import formatting
from plastic_search.report.statistics import Estimate


def _render(page: dict[str, Any], drawings: dict[str, str]) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "address": _address,
        "bits": formatting.bits,
        "change": formatting.change,
        "count": formatting.count,
        "duration": formatting.duration,
        "estimate": lambda made, signed=False: formatting.estimate(Estimate(**made) if made else None, signed),
        "percent": formatting.percent,
        "score": formatting.score,
        "size": formatting.size,
    }
    return environment.get_template("report.html.j2").render(page=page, drawings=drawings)


def _template(name: str) -> str:
    return (files("plastic_search.report") / "templates" / name).read_text("utf-8")


def _address(text: Any) -> Any:
    """An address that a narrow column may break after each dot."""
    from markupsafe import Markup, escape

    return Markup(".<wbr>").join(escape(part) for part in str(text).split("."))
