"""No test fetches data: it is found where PLASTIC_SEARCH_DATA says, or beside the checkout, or missed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton; tests on a GPU set it to 0

from quick_code import compile_quickly

from plastic_search.core.part import Part
from plastic_search.tasks import _archives

settings.register_profile("steady", deadline=None, derandomize=True)  # a busy machine fails nothing
settings.load_profile("steady")

BESIDE = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every", action="store_true", help="every combination of parts, where else every pair is tested")
    parser.addoption("--mutations", type=int, default=400, help="how many damaged or random inputs such tests try")


@pytest.fixture
def every(request: pytest.FixtureRequest) -> bool:
    """Whether combinations of parts are all tested by slow means too, rather than some that hold every pair."""
    return request.config.option.every


@pytest.fixture(scope="session")
def mutations(request: pytest.FixtureRequest) -> int:
    """How many damaged or random inputs are tried."""
    return request.config.option.mutations


@pytest.fixture
def quick_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is computed over many parts, by whatever code (see `quick_code.py`)."""
    compile_quickly(monkeypatch)


@pytest.fixture(autouse=True)
def _data_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, path: Path) -> None:
        raise OSError("tests do not download")

    monkeypatch.setattr(_archives, "_download", refuse)
    if not os.environ.get(_archives.FOLDER) and BESIDE.is_dir():
        monkeypatch.setenv(_archives.FOLDER, str(BESIDE))


@pytest.fixture(autouse=True)
def _own_parts_are_forgotten() -> Iterator[None]:
    """Parts of a user's own are known to one test alone; ours, which it may be the first to import, to all."""
    before = set(Part.kinds)
    yield
    for name in set(Part.kinds) - before:
        if not Part.kinds[name].__module__.startswith("plastic_search."):
            del Part.kinds[name]
