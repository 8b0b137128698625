"""SHD, SSC and N-MNIST, on files of their published form that the tests write."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks import Split, Task, nmnist, shd, ssc
from plastic_search.tasks._archives import FOLDER, DataMissing
from plastic_search.tasks._events import address_events
from plastic_search.tasks.nmnist import NMNIST
from plastic_search.tasks.shd import SHD
from plastic_search.tasks.ssc import SSC
from plastic_search.testing import task_promises

needs_h5py = pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="h5py is not installed")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder; what other tests have read of files is forgotten."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for cached in (shd._file, shd._split, ssc._file, nmnist._files):
        cached.cache_clear()
    return tmp_path


def write(path: Path, times: list[Any], units: list[Any], labels: list[int], speakers: list[int] | None) -> None:
    """A file as Cramer et al. publish theirs: rows of different lengths, times in float16 seconds."""
    import h5py

    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, rows, kind in (("times", times, "f2"), ("units", units, "u2")):
            stored = file.create_dataset(f"spikes/{name}", (len(rows),), h5py.vlen_dtype(np.dtype(kind)))
            for k, row in enumerate(rows):
                stored[k] = np.asarray(row, kind)
        file["labels"] = np.asarray(labels, "u2")
        if speakers is not None:
            file["extra/speaker"] = np.asarray(speakers, "u2")


def random_spikes(path: Path, count: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(200, 400, count)
    times, units = [rng.random(n) for n in lengths], [rng.integers(0, 700, n) for n in lengths]
    write(path, times, units, rng.integers(0, classes, count).tolist(), rng.integers(0, 4, count).tolist())


@needs_h5py
def test_spikes_are_counted_by_step_and_group(data: Path) -> None:
    write(data / "shd" / "shd_test.h5", [[0.0, 0.1, 0.125, 1.375, 2.0], []], [[0, 69, 70, 699, 5], []], [3, 19], [4, 5])
    task = SHD(channels=10, steps=14)
    inputs, targets, query_step = task.episodes(2, Split.TEST, Generator().manual_seed(0))
    first = inputs[:, targets.tolist().index(3)]
    expected = torch.zeros(14, 10)
    expected[0, 0] = 1  # unit 69 at 0.1 s, which in float16 is 0.09998
    expected[0, 0] += 1
    expected[1, 1] = 1
    expected[13, 9] = 1
    assert torch.equal(first, expected), "what is later than 1.4 s is left out"
    assert not inputs[:, targets.tolist().index(19)].any()
    assert query_step == 0


@needs_h5py
def test_shd_and_ssc_keep_the_promises_of_tasks(data: Path) -> None:
    for seed, name in enumerate(("shd/shd_train", "shd/shd_test", "ssc/ssc_train", "ssc/ssc_valid", "ssc/ssc_test")):
        random_spikes(data / f"{name}.h5", 60, 20 if "shd" in name else 35, seed)
    task_promises(SHD(channels=100, steps=10, held_out=(2,)))
    task_promises(SSC(channels=100, steps=10))
    spikes, rows = shd._split(SHD(held_out=(2,)), Split.VALIDATION)
    assert spikes.speakers is not None
    assert set(spikes.speakers[rows].tolist()) == {2}
    _, others = shd._split(SHD(held_out=(2,)), Split.TRAIN)
    assert len(rows) + len(others) == 60
    with pytest.raises(PlasticSearchError, match=r"leaves nothing for validation; speakers of shd_train\.h5: 0, 1, 2"):
        shd._split(SHD(held_out=(7,)), Split.VALIDATION)


FAULTS: dict[str, tuple[Any, str]] = {
    "a label too many": (([[0.1]], [[1]], [0, 1], None), "it has 1 times, 1 units and 2 labels"),
    "a class too many": (([[0.1]], [[1]], [20], None), "labels must be whole numbers from 0 to 19"),
    "a unit too many": (([[0.1]], [[1, 2]], [0], None), "as many times as units"),
    "a unit too high": (([[0.1]], [[700]], [0], None), "units from 0 to 699"),
    "a time that is none": (([[np.nan]], [[1]], [0], None), "times must be finite"),
    "a speaker too few": (([[0.1], [0.2]], [[1], [2]], [0, 1], [3]), "it has 1 speakers and 2 labels"),
}


@needs_h5py
@pytest.mark.parametrize("name", FAULTS)
def test_files_of_another_form_are_refused_by_name(name: str, data: Path) -> None:
    content, message = FAULTS[name]
    write(data / "shd" / "shd_test.h5", *content)
    with pytest.raises(PlasticSearchError, match=rf"shd_test\.h5 is not a file of spikes as .*{message}"):
        SHD().episodes(1, Split.TEST, Generator())


@needs_h5py
def test_what_is_no_hdf5_or_has_no_spikes_is_refused_by_name(data: Path) -> None:
    import h5py

    path = data / "shd" / "shd_test.h5"
    path.parent.mkdir()
    path.write_bytes(b"\x1f\x8b, as if it were still packed")
    with pytest.raises(PlasticSearchError, match=r"shd_test\.h5 is not a file of spikes .*OSError"):
        SHD().episodes(1, Split.TEST, Generator())
    for fill in (
        lambda file: None,
        lambda file: file.create_group("spikes/times"),
        lambda file: file.create_group("labels"),
    ):
        with h5py.File(path, "w") as file:
            fill(file)
        with pytest.raises(PlasticSearchError, match=r"shd_test\.h5 is not a file of spikes"):
            SHD().episodes(1, Split.TEST, Generator())


@needs_h5py
def test_a_training_file_without_speakers_is_refused(data: Path) -> None:
    write(data / "shd" / "shd_train.h5", [[0.1]], [[1]], [0], None)
    with pytest.raises(PlasticSearchError, match=r"shd_train\.h5 names no speakers \(extra/speaker\)"):
        SHD().episodes(1, Split.TRAIN, Generator())


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(("task", "command"), [
    (SHD(), r"curl .*zenkelab.org/datasets/shd_train\.h5\.gz && md5sum --check .* && gunzip shd_train\.h5\.gz"),
    (SSC(), r"curl .*zenkelab.org/datasets/ssc_train\.h5\.gz"),
    (NMNIST(), r"unzip Train\.zip` after a download of Train\.zip from `https://www\.garrickorchard\.com"),
], ids=["shd", "ssc", "nmnist"])  # fmt: skip
def test_what_is_missing_is_explained_with_its_command(task: Task, command: str) -> None:
    with pytest.raises(DataMissing, match=command):
        task.episodes(1, Split.TRAIN, Generator())


@needs_h5py
def test_a_missing_h5py_is_explained(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(data / "shd" / "shd_test.h5", [[0.1]], [[1]], [0], None)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(PlasticSearchError, match=r'python -m pip install "plastic-search\[spiking\]"'):
        SHD().episodes(1, Split.TEST, Generator())


def event(column: int, row: int, polarity: int, time: int) -> bytes:
    return ((column << 32) | (row << 24) | (polarity << 23) | time).to_bytes(5, "big")


def test_events_of_forty_bits(tmp_path: Path) -> None:
    path = tmp_path / "00001.bin"
    path.write_bytes(event(5, 33, 1, 70_000) + event(0, 240, 0, 0) + event(33, 2, 0, 8_388_607))
    assert address_events(path, 34).tolist() == [[70_000, 33, 5, 1], [8_388_607 + 8192, 2, 33, 0]]
    path.write_bytes(b"")
    assert address_events(path, 34).shape == (0, 4)
    path.write_bytes(event(1, 1, 1, 1)[:4])
    with pytest.raises(PlasticSearchError, match=r"00001\.bin ends within an event: 4 bytes"):
        address_events(path, 34)
    path.write_bytes(event(34, 1, 1, 1))
    with pytest.raises(PlasticSearchError, match=r"00001\.bin has events outside of 34 x 34 pixels"):
        address_events(path, 34)


def test_nmnist_keeps_the_promises_of_tasks(data: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("Train", "Test"):
        for digit in range(10):
            (data / "n-mnist" / folder / str(digit)).mkdir(parents=True)
            for k in range(6):
                events = zip(rng.integers(0, 34, 300), rng.integers(0, 34, 300), rng.integers(0, 2, 300),
                             rng.integers(0, 300_000, 300), strict=True)  # fmt: skip
                file = data / "n-mnist" / folder / str(digit) / f"{k:05}.bin"
                file.write_bytes(b"".join(event(*map(int, each)) for each in events))
    task_promises(NMNIST(pool=2, steps=3))
    assert [len(nmnist._files(split)) for split in Split] == [50, 10, 60]
    inputs, targets, _ = NMNIST(pool=1, steps=10).episodes(60, Split.TEST, Generator().manual_seed(0))
    assert inputs.shape == (10, 60, 2 * 34 * 34)
    assert inputs.sum().item() == 60 * 300, "no event is lost"
    assert targets.bincount().tolist() == [6] * 10
    one = data / "n-mnist" / "Test" / "0" / "00000.bin"
    when, row, column, polarity = address_events(one, 34)[0]
    assert NMNIST(pool=1, steps=10)._counts(address_events(one, 34))[
        when // 30_000, polarity * 1156 + row * 34 + column
    ]
