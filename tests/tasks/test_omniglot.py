"""Omniglot: real drawings, alphabets that are never shared, ink 1 and paper 0."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator

from plastic_search.tasks import Split
from plastic_search.tasks._archives import DataMissing, members, obtain
from plastic_search.tasks.omniglot_recall import _BACKGROUND, OmniglotRecall, _alphabets, _characters, _drawings

SIDE = 21


@pytest.fixture(autouse=True)
def _data_is_here() -> None:
    try:
        obtain(_BACKGROUND)
    except DataMissing as missing:
        pytest.skip(str(missing))


def test_no_two_splits_share_an_alphabet() -> None:
    splits = {split: _alphabets(split) for split in Split}
    assert [len(splits[split]) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)] == [25, 5, 20]
    assert len(set().union(*splits.values())) == 50
    assert splits[Split.VALIDATION] == {"Futurama", "Grantha", "N_Ko", "Syriac_(Estrangelo)", "Tagalog"}, "for good"


def test_every_character_is_there_with_its_twenty_drawings() -> None:
    found = {split: _characters(split, SIDE) for split in Split}
    assert [len(c.images) for c in found.values()] == [964 - 142, 142, 659]
    for classes in found.values():
        assert classes.images.shape[1:] == (20, SIDE * SIDE)
        assert set(classes.counts.tolist()) == {20}
        assert classes.images.min() == 0.0
        assert classes.images.max() == 1.0
        assert 0.05 < classes.images.mean() < 0.1, "ink is 1, and scarce"


def test_drawings_are_those_of_the_files_in_blocks_of_five() -> None:
    archive, data = obtain(_BACKGROUND)
    name, png = next(members(archive, data, ".png", 4096, 20_000))
    paper = np.asarray(Image.open(io.BytesIO(png)).convert("L")) / 255
    assert paper.mean() > 0.8
    first = sorted(n for n in _drawings(_BACKGROUND) if n.split("/")[-2] in _alphabets(Split.TRAIN))
    drawn = _characters(Split.TRAIN, SIDE).images[first.index(name.rpartition("/")[0]), 0].view(SIDE, SIDE)
    for row, column in ((0, 0), (10, 5), (8, 3), (14, 9), (20, 20)):
        block = paper[5 * row : 5 * row + 5, 5 * column : 5 * column + 5]
        assert drawn[row, column].item() == pytest.approx(1 - block.mean(), abs=1e-6)


def test_an_episode() -> None:
    task = OmniglotRecall(ways=3)
    inputs, targets, query_step = task.episodes(40, Split.TEST, Generator().manual_seed(0))
    images, labels = inputs.split([SIDE * SIDE, 3], dim=2)
    assert inputs.shape == (4, 40, task.inputs)
    assert query_step == 3
    assert torch.equal(labels[:3].sum(0), torch.ones(40, 3)), "each label once"
    assert not labels[3].any(), "the last drawing has none"
    for b in range(40):
        shown = labels[:3, b].argmax(1).tolist().index(int(targets[b]))
        assert not torch.equal(images[shown, b], images[3, b]), "it is another drawing of the same character"
    known = {image.numpy().tobytes(): c for c, row in enumerate(_characters(Split.TEST, SIDE).images) for image in row}
    classes = [[known[images[t, b].numpy().tobytes()] for t in range(4)] for b in range(40)]
    assert all(len(set(row[:3])) == 3 for row in classes)
    wanted = [row[labels[:3, b].argmax(1).tolist().index(int(targets[b]))] for b, row in enumerate(classes)]
    assert [row[3] for row in classes] == wanted
