"""Every setting has a line of meaning, in `help` and for `plastic-search show`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import pydoc
from dataclasses import dataclass
from typing import Any

import pytest

import plastic_search
from plastic_search.core.part import OPEN_SETS, Part, SearchParameter, meanings
from plastic_search.rules.bcm import BCM
from plastic_search.structures.gated import Gated
from plastic_search.trainers.gradient import Gradient


def shipped() -> list[type[Part]]:
    """Every value of ours that users make."""
    for module in pkgutil.walk_packages(plastic_search.__path__, "plastic_search."):
        if not module.name.startswith("plastic_search.network.kernels"):
            importlib.import_module(module.name)
    ours = [kind for kind in Part.kinds.values() if kind.__module__.startswith("plastic_search.")]
    return [kind for kind in ours if not inspect.isabstract(kind) and not issubclass(kind, SearchParameter)]


@pytest.mark.parametrize("kind", shipped(), ids=lambda kind: kind.__name__)
def test_help_explains_every_setting_of_a_shipped_value(kind: type[Part]) -> None:
    text = " ".join(pydoc.plain(pydoc.render_doc(kind)).replace("|", " ").split())
    for name, meaning in meanings(kind).items():
        assert meaning, f"{kind.__name__}.{name} has no line below `Args:` in the docstring"
        assert meaning in text, f"help({kind.__name__}) does not explain {name}: {meaning}"


RETURNED = [
    getattr(module, name)
    for module in (importlib.import_module(f"plastic_search.{axis}") for axis in OPEN_SETS)
    for name in module.__all__
    if hasattr(getattr(module, name), "_fields")
]


@pytest.mark.parametrize("kind", RETURNED, ids=lambda kind: kind.__name__)
def test_help_explains_every_field_of_what_a_users_part_receives_or_returns(kind: Any) -> None:
    for name in kind._fields:
        assert f"\n    {name}: " in str(inspect.getdoc(kind)), f"{kind.__name__}.{name} has no line below `Args:`"


def test_the_values_are_those_that_users_make() -> None:
    assert {kind.__name__ for kind in RETURNED} >= {"Episodes", "Change", "Response", "Rate", "Gates", "Progress"}
    names = {kind.__name__ for kind in shipped()}
    assert names >= {"Layer", "NetworkSpec", "Study", "Sweep", "Comparison", "Case", "Report", "Benchmark", "Gated"}


def test_a_meaning_is_one_line_whatever_its_length() -> None:
    assert meanings(Gated)["width"] == (
        "scale of the sigmoid that carries the gradient, in standard deviations of the scores"
    )
    assert meanings(Gradient)["clip"] == "largest norm of the whole gradient; a longer one is scaled down to it"


def test_a_users_part_may_explain_its_settings_or_not() -> None:
    @dataclass(frozen=True)
    class Explained(BCM):
        """dH = explained

        Attributes:
            rate (float, optional): of the threshold,
                in a step.

            first, second: both
              of them.

        Returns:
            third: is not meant here.
        """

        first: float = 0.0
        second: float = 0.0
        third: float = 0.0

    @dataclass(frozen=True)
    class Silent(Explained):
        fourth: float = 0.0

    expected = {"rate": "of the threshold, in a step", "first": "both of them", "second": "both of them", "third": ""}
    assert meanings(Explained) == expected
    assert meanings(Silent) == expected | {"fourth": ""}
    assert meanings(BCM)["rate"].startswith("share of the way that the threshold moves")
