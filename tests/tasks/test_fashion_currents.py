"""Fashion-MNIST: real images as currents that last, or row by row."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
import torch
from torch import Generator

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks import Split, fashion_currents
from plastic_search.tasks._archives import FOLDER, DataMissing
from plastic_search.tasks.fashion_currents import FashionCurrents, Scan, _idx, _images


def test_images_and_splits() -> None:
    try:
        found = {split: _images(split) for split in Split}
    except DataMissing as missing:
        pytest.skip(str(missing))
    assert [len(each.kinds) for each in found.values()] == [50_000, 10_000, 10_000]
    assert found[Split.TEST].kinds.bincount().tolist() == [1000] * 10
    mean = found[Split.TRAIN].pixels.float().mean() / 255
    assert mean.item() == pytest.approx(0.286, abs=0.001)
    whole = FashionCurrents(steps=3).episodes(4, Split.TEST, Generator().manual_seed(0))
    rows = FashionCurrents(Scan.ROWS, steps=2).episodes(4, Split.TEST, Generator().manual_seed(0))
    assert whole.inputs.shape == (3, 4, 784)
    assert rows.inputs.shape == (56, 4, 28)
    assert torch.equal(whole.inputs[0], whole.inputs[2])
    assert torch.equal(rows.inputs[::2].transpose(0, 1).flatten(1), whole.inputs[0])
    assert torch.equal(rows.inputs[::2], rows.inputs[1::2])
    assert torch.equal(rows.targets, whole.targets)


def test_a_file_that_is_no_idx_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(bytes((0, 0, 8, 3)) + b"\0\0\0\2" * 3 + bytes(7))
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / "a.gz").write_bytes(packed)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setitem(fashion_currents._DIGESTS, "a.gz", hashlib.sha256(packed).hexdigest())
    with pytest.raises(PlasticSearchError, match=r"a\.gz is not an IDX file of bytes with 3 axes"):
        _idx("a.gz", 3)
