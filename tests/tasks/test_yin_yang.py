"""Yin-Yang: the points are those of the published data set, and their times those of the encoder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from plastic_search.encoders.analogue import Analogue
from plastic_search.tasks import Split
from plastic_search.tasks.yin_yang import YinYang, _points

PUBLISHED = Path(os.environ.get("PLASTIC_SEARCH_DATA", ".")) / "yin-yang"
DIGESTS = {
    Split.TRAIN: "8bd1547f4794f0521138ae3c54299088356919fec1d92fadf63b5cf0ca5004b6",
    Split.VALIDATION: "5b3e2fe2aead451aa67335d3aecca05d95aeb2d6a0c54de3d45d9306d049843e",
    Split.TEST: "1a80fe8c5b1a26e6fa7331b9ac2ae6a25361d09893ca6316111bd3316bce2d30",
}


@pytest.mark.parametrize("split", Split, ids=lambda split: split.value)
def test_points_are_those_of_the_published_files(split: Split) -> None:
    """By a digest of their coordinates in float32 and of their regions, taken of the published files."""
    points = _points(split)
    found = hashlib.sha256(points.coordinates.numpy().tobytes() + points.regions.numpy().tobytes()).hexdigest()
    assert found == DIGESTS[split]


def test_the_published_files_have_those_points() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip("PLASTIC_SEARCH_DATA names no folder with yin-yang/")
    for split, digest in DIGESTS.items():
        samples = np.load(PUBLISHED / f"{split.value}_samples.npy").astype(np.float32)
        labels = np.load(PUBLISHED / f"{split.value}_labels.npy").astype(np.int64)
        assert hashlib.sha256(samples.tobytes() + labels.tobytes()).hexdigest() == digest


def test_an_episode_is_five_numbers_that_last_or_five_spikes() -> None:
    currents = YinYang(steps=4, encoder=Analogue()).episodes(50, Split.TEST, Generator().manual_seed(0)).inputs
    assert torch.equal(currents[0].expand(4, -1, -1), currents)
    x, y, not_x, not_y, bias = currents[0].unbind(-1)
    assert torch.allclose(x + not_x, torch.ones(50))
    assert torch.allclose(y + not_y, torch.ones(50))
    assert (bias == 1).all()
    spikes = YinYang(steps=20).episodes(50, Split.TEST, Generator().manual_seed(0)).inputs
    assert (spikes.sum(0) == 1).all(), "each spikes once"
    assert torch.equal(spikes.argmax(0)[:, 0], ((1 - x) * 19).round().long()), "the larger, the earlier"
    whole = YinYang().episodes(1000, Split.TEST, Generator().manual_seed(1))
    assert torch.equal(whole.targets.bincount(), _points(Split.TEST).regions.bincount()), "each point once"
