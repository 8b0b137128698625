"""One small bundle for the tests of what is done to bundles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plastic_search.export import bundle
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.precisions.integer import Integer
from plastic_search.tasks.digit_recall import DigitRecall


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle with nine examples."""
    task = DigitRecall(ways=3)
    net = Network(NetworkSpec((Layer(units=3, plastic=Pathway.INPUT),), Integer(4, 4, 8)), task.inputs)
    return bundle.write(net, tmp_path_factory.mktemp("small") / "bundle", task=task, about={}, examples=9).folder


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(small, tmp_path / "bundle"))
