"""Archives of data sets: in the folder that PLASTIC_SEARCH_DATA names, in the user's cache, or downloaded into it.

pooch keeps the cache, downloads and tries again. An archive is compared with its digests before any of it is read, and
is read in memory: nothing is unpacked, so no member's path can leave a folder.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from plastic_search.core.errors import PlasticSearchError

__all__ = ["FOLDER", "Archive", "DataMissing", "folders", "members", "obtain"]

FOLDER = "PLASTIC_SEARCH_DATA"
LARGEST = 64 * 2**20  # bytes of an archive
TIMEOUT = 30  # seconds without an answer
RETRIES = 1


class DataMissing(PlasticSearchError):  # noqa: N818, the name states the condition
    """The data is not on this machine, and could not be fetched."""


class Archive(NamedTuple):
    """One file that holds a data set, in one of the forms in which it is published."""

    path: str  # relative to the data folder
    digests: tuple[tuple[str, str], ...]  # (kind, hex): sha256, md5, or git, which is the blob's id in git
    url: str | None = None


def obtain(archives: tuple[Archive, ...]) -> tuple[Archive, bytes]:
    """The first of `archives` that is found, and its bytes; they are forms of the same data, best first.

    Raises:
        DataMissing: there is none on this machine, and none could be downloaded.
        PlasticSearchError: a file does not match its digest.
    """
    for folder in folders():
        for archive in archives:
            path = folder / archive.path
            if path.is_file():
                return archive, _checked(archive, _read(path), str(path))
    archive = next((a for a in archives if a.url), None)
    if archive is None or archive.url is None:
        raise _missing(archives, "and nobody offers it for download")
    try:
        return archive, _fetch(archive, archive.url)
    except OSError as error:
        raise _missing(archives, f"and {archive.url} could not be reached ({error})") from None


def members(archive: Archive, data: bytes, ending: str, largest: int, most: int) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file in an archive whose name has this ending, in the archive's order.

    Args:
        data: the archive's bytes, a zip or a tar.
        largest: the most bytes of a member.
        most: the most members.

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


def folders() -> Iterator[Path]:
    """The folders in which data is looked for, in this order: the one that the user names, and the cache."""
    named = os.environ.get(FOLDER)
    if named:
        yield Path(named).expanduser()
    yield _cache()


def _cache() -> Path:
    import pooch

    return pooch.os_cache("plastic_search")


def _read(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise PlasticSearchError(f"{path} is larger than any archive of ours: {path.stat().st_size} bytes")
    return path.read_bytes()


def _fetch(archive: Archive, url: str) -> bytes:
    """Download an archive into the cache, and read it; a file that does not match its digests is not kept."""
    import pooch

    def download(url: str, output_file: Any, pooch: Any) -> None:
        _download(url, Path(output_file))
        _checked(archive, Path(output_file).read_bytes(), url)  # here, since pooch has no digests of git's

    with _storage() as folder:
        files = pooch.create(
            folder, base_url="", registry={archive.path: None}, urls={archive.path: url}, retry_if_failed=RETRIES
        )
        return Path(files.fetch(archive.path, downloader=download)).read_bytes()  # type: ignore[arg-type]


@contextmanager
def _storage() -> Iterator[Path]:
    """The cache; where it cannot be written, a temporary folder, and the data is downloaded again next time."""
    cache = _cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        writable = os.access(cache, os.W_OK)
    except OSError:
        writable = False
    if writable:
        yield cache
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def _download(url: str, path: Path) -> None:
    """Write what `url` sends to a file, at most LARGEST bytes."""
    import pooch

    if not url.startswith("https://"):
        raise PlasticSearchError(f"data is fetched over https only, but the address is {url}")
    with path.open("wb") as file:
        pooch.HTTPDownloader(timeout=TIMEOUT)(url, _Bounded(file, url), None)


class _Bounded:
    """A file that takes at most LARGEST bytes: pooch's downloaders have no limit."""

    def __init__(self, file: BinaryIO, url: str) -> None:
        self._file, self._url, self.flush = file, url, file.flush

    def write(self, data: bytes) -> None:
        if self._file.tell() + len(data) > LARGEST:
            raise PlasticSearchError(f"{self._url} sends more than {LARGEST} bytes")
        self._file.write(data)


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


def _missing(archives: tuple[Archive, ...], why: str) -> DataMissing:
    names = " or ".join(a.path for a in archives)
    return DataMissing(
        f"{names} is neither in the folder that {FOLDER} names nor in {_cache()}, {why}; "
        f"set {FOLDER} to a folder that holds it"
    )
