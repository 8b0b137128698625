"""Recordings of spoken digits: the Free Spoken Digit Dataset, or a folder of files that are named as in it."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks._archives import Archive, members, obtain

__all__ = ["Recording", "recordings"]

_FSDD = (
    Archive(
        "fsdd/fsdd-v1.0.10-recordings.tar.xz",
        (("sha256", "e4e57b8bc067718022f6dffdd46aec8fbb4cba2b186a8081dc29f9f2d1666777"),),
    ),
    Archive(  # GitHub packs it anew now and then, so that not the archive but all recordings in it have a digest
        "fsdd/free-spoken-digit-dataset-1.0.10.tar.gz",
        (),
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
    ),
)
_DIGEST = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959"  # of what sha256sum prints of all files
_LARGEST, _MOST = 200_000, 3000  # bytes of a recording of FSDD, and how many there are
_LARGEST_OWN = 20_000_000  # bytes of a recording of a user's
_NAME = re.compile(r"([0-9])_([^_/]+)_([0-9]{1,6})\.wav")


class Recording(NamedTuple):
    """One spoken digit."""

    name: str  # of its file
    digit: int
    speaker: str
    number: int  # among the recordings of this digit by this speaker
    data: bytes  # the file


@cache
def recordings(folder: Path | None) -> tuple[Recording, ...]:
    """All recordings in a folder, by name; without a folder, those of FSDD.

    Raises:
        DataMissing: FSDD is not on this machine, and could not be fetched.
        PlasticSearchError: there is no such folder, no wav file in it, or one of another name than `7_jackson_32.wav`.
    """
    return _published() if folder is None else _own(folder)


def _published() -> tuple[Recording, ...]:
    archive, data = obtain(_FSDD)
    files = {name.rpartition("/")[2]: wav for name, wav in members(archive, data, ".wav", _LARGEST, _MOST)}
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    if hashlib.sha256(sums.encode()).hexdigest() != _DIGEST:
        raise PlasticSearchError(
            f"the recordings in {archive.path} are not those of FSDD v1.0.10; delete the file and try again"
        )
    return tuple(_recording(name, files[name]) for name in sorted(files))


def _own(folder: Path) -> tuple[Recording, ...]:
    if not folder.is_dir():
        raise PlasticSearchError(f"there is no folder {folder}; name one with files such as 7_jackson_32.wav")
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise PlasticSearchError(f"there is no wav file in {folder}; put files such as 7_jackson_32.wav there")
    for file in files:
        if file.stat().st_size > _LARGEST_OWN:
            raise PlasticSearchError(f"{file} is larger than {_LARGEST_OWN} bytes; cut it to one spoken digit")
    return tuple(_recording(file.name, file.read_bytes(), str(file)) for file in files)


def _recording(name: str, data: bytes, path: str = "") -> Recording:
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise PlasticSearchError(
            f"{path or name} is not named as digit, speaker and number of the recording, such as 7_jackson_32.wav"
        )
    return Recording(path or name, int(parts[1]), parts[2], int(parts[3]), data)
