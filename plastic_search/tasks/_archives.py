"""Where real data lies: the folder that PLASTIC_SEARCH_DATA names, the user's cache, or its authors' own address.

Whatever is found is checked against digests before any of it is read, and is read in memory: nothing is unpacked.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from plastic_search.core.errors import PlasticSearchError

__all__ = ["Archive", "DataMissing", "members", "obtain"]

FOLDER = "PLASTIC_SEARCH_DATA"
LARGEST = 64 * 2**20  # bytes of an archive
PATIENCE = 30  # seconds that a silent server is waited for


class DataMissing(PlasticSearchError):  # noqa: N818, it says what is the matter
    """The data is not on this machine, and could not be fetched."""


class Archive(NamedTuple):
    """One file that holds a data set, in one of the forms it is found in."""

    path: str  # below the data folder
    digests: tuple[tuple[str, str], ...]  # (kind, hex): sha256, md5, or git, which is the blob's id in git
    url: str | None = None


def obtain(archives: tuple[Archive, ...]) -> tuple[Archive, bytes]:
    """The first of `archives` that is found, and what is in it; they are forms of the same data, best first.

    Raises:
        DataMissing: there is none here, and none could be downloaded.
        PlasticSearchError: a file is not what its digest says.
    """
    for folder in _folders():
        for archive in archives:
            path = folder / archive.path
            if path.is_file():
                return archive, _checked(archive, _read(path), str(path))
    archive = next((a for a in archives if a.url), None)
    if archive is None or archive.url is None:
        raise _missing(archives, "and nobody offers it for download")
    try:
        data = _download(archive.url)
    except OSError as error:
        raise _missing(archives, f"and {archive.url} could not be reached ({error})") from None
    data = _checked(archive, data, archive.url)
    _save(_cache() / archive.path, data)
    return archive, data


def members(archive: Archive, data: bytes, ending: str, largest: int, most: int) -> Iterator[tuple[str, bytes]]:
    """Each file in an archive whose name has this ending, with its bytes, in the archive's order.

    Args:
        data: the archive's own bytes, a zip or a tar.
        largest: bytes that a member may have.
        most: members that there may be.

    Raises:
        PlasticSearchError: a member is larger, or there are more.
    """
    found = _zip(data, largest) if archive.path.endswith(".zip") else _tar(data, largest)
    count = 0
    for name, content in found:
        if name.endswith(ending):
            count += 1
            if content is None or count > most:
                what = f"{name} is larger than {largest} bytes" if content is None else f"more than {most} files"
                raise PlasticSearchError(f"{archive.path} is not what it should be: {what}")
            yield name, content


def _tar(data: bytes, largest: int) -> Iterator[tuple[str, bytes | None]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|*") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() and member.size <= largest else None
            if member.isfile():
                yield member.name, None if file is None else file.read(largest)


def _zip(data: bytes, largest: int) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(io.BytesIO(data)) as folder:
        for member in folder.infolist():
            if not member.is_dir():
                yield member.filename, None if member.file_size > largest else folder.read(member)


def _folders() -> Iterator[Path]:
    named = os.environ.get(FOLDER)
    if named:
        yield Path(named).expanduser()
    yield _cache()


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "plastic_search"


def _read(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise PlasticSearchError(f"{path} is larger than any archive of ours: {path.stat().st_size} bytes")
    return path.read_bytes()


def _download(url: str) -> bytes:
    if not url.startswith("https://"):
        raise PlasticSearchError(f"data is fetched over https only, but the address is {url}")
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        data = answer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise PlasticSearchError(f"{url} sends more than {LARGEST} bytes")
    return data


def _checked(archive: Archive, data: bytes, where: str) -> bytes:
    for kind, wanted in archive.digests:
        found = _digest(kind, data)
        if found != wanted:
            raise PlasticSearchError(
                f"{where} is not the file it should be: its {kind} is {found}, not {wanted}; delete it and try again"
            )
    return data


def _digest(kind: str, data: bytes) -> str:
    if kind == "git":
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return hashlib.new(kind, data, usedforsecurity=False).hexdigest()


def _save(path: Path, data: bytes) -> None:
    """Keep a download; where the cache cannot be written, it is fetched again next time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _missing(archives: tuple[Archive, ...], why: str) -> DataMissing:
    names = " or ".join(a.path for a in archives)
    return DataMissing(
        f"{names} is neither in the folder that {FOLDER} names nor in {_cache()}, {why}; "
        f"set {FOLDER} to a folder that holds it"
    )
