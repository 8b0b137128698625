"""Data is looked for in order, checked before it is read, read in memory, and its absence is explained once."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import ClassVar

import pytest

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks import _archives
from plastic_search.tasks._archives import Archive, DataMissing, members, obtain
from plastic_search.tasks._archives import _download as really_download

FILES = {"a/1.png": b"one", "a/2.png": b"two", "a/readme.txt": b"words" * 100, "b/3.png": b""}


def tarred(files: dict[str, bytes]) -> bytes:
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w:xz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        tar.addfile(_link("a/link.png"))
    return stored.getvalue()


def _link(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


def zipped(files: dict[str, bytes]) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as folder:
        folder.mkdir("a")
        for name, content in files.items():
            folder.writestr(name, content)
    return stored.getvalue()


TAR, ZIP = tarred(FILES), zipped(FILES)
OURS = Archive("set/data.tar.xz", (("sha256", hashlib.sha256(TAR).hexdigest()),))
THEIRS = Archive(
    "set/data.zip",
    (("md5", hashlib.md5(ZIP).hexdigest()), ("git", hashlib.sha1(b"blob %d\0" % len(ZIP) + ZIP).hexdigest())),
    "https://example.org/data.zip",
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder that the user names, and the cache; both empty."""
    named, cache = tmp_path / "named", tmp_path / "cache" / "plastic_search"
    monkeypatch.setenv(_archives.FOLDER, str(named))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return named, cache


def put(folder: Path, archive: Archive, data: bytes) -> None:
    path = folder / archive.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def offer(monkeypatch: pytest.MonkeyPatch, data: bytes) -> list[str]:
    requested: list[str] = []

    def download(url: str, path: Path) -> None:
        requested.append(url)
        path.write_bytes(data)

    monkeypatch.setattr(_archives, "_download", download)
    monkeypatch.setattr(_archives, "RETRIES", 0)
    return requested


def test_the_named_folder_comes_before_the_cache_and_the_cache_before_the_network(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    named, cache = places
    requested = offer(monkeypatch, ZIP)
    assert obtain((OURS, THEIRS)) == (THEIRS, ZIP)
    assert requested == ["https://example.org/data.zip"]
    assert (cache / THEIRS.path).read_bytes() == ZIP
    assert [p.name for p in (cache / "set").iterdir()] == ["data.zip"], "no temporary file is left"
    assert obtain((OURS, THEIRS)) == (THEIRS, ZIP)
    assert len(requested) == 1, "what was downloaded is not downloaded again"
    put(named, OURS, TAR)
    assert obtain((OURS, THEIRS)) == (OURS, TAR)


def test_a_cache_that_cannot_be_written_does_no_harm(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cache = places
    offer(monkeypatch, ZIP)
    cache.parent.mkdir()
    cache.write_text("a file where the folder would be")
    assert obtain((OURS, THEIRS)) == (THEIRS, ZIP)


def test_a_file_that_is_not_what_its_digest_says_is_refused(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(places[0], OURS, TAR[:-1] + b"x")
    with pytest.raises(PlasticSearchError, match=r"set/data\.tar\.xz is not the file it should be: its sha256 is"):
        obtain((OURS, THEIRS))
    (places[0] / OURS.path).unlink()
    offer(monkeypatch, ZIP + b"x")
    with pytest.raises(PlasticSearchError, match=r"https://example\.org/data\.zip is not the file .* its md5 is"):
        obtain((OURS, THEIRS))
    assert not (places[1] / THEIRS.path).exists(), "and is not kept"
    offer(monkeypatch, ZIP)
    wrong = THEIRS._replace(digests=(THEIRS.digests[0], ("git", "0" * 40)))
    with pytest.raises(PlasticSearchError, match=f"its git is {THEIRS.digests[1][1]}, not {'0' * 40}"):
        obtain((wrong,))


def test_a_git_digest_is_that_of_git() -> None:
    assert _archives._digest("git", b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_what_is_nowhere_is_explained(places: tuple[Path, Path]) -> None:
    with pytest.raises(DataMissing) as caught:
        obtain((OURS, THEIRS))
    text = str(caught.value)
    assert "set/data.tar.xz or set/data.zip is neither in the folder that PLASTIC_SEARCH_DATA names" in text
    assert "https://example.org/data.zip could not be reached" in text
    assert text.endswith("set PLASTIC_SEARCH_DATA to a folder that holds it")
    with pytest.raises(DataMissing, match="and nobody offers it for download"):
        obtain((OURS,))


@pytest.mark.parametrize(("archive", "data"), [(OURS, TAR), (THEIRS, ZIP)], ids=["tar", "zip"])
def test_members_are_read_in_memory(archive: Archive, data: bytes) -> None:
    found = dict(members(archive, data, ".png", largest=3, most=3))
    assert found == {name: content for name, content in FILES.items() if name.endswith(".png")}, "no folder, no link"
    with pytest.raises(PlasticSearchError, match=r"is not what it should be: a/1\.png is larger than 2 bytes"):
        list(members(archive, data, ".png", largest=2, most=3))
    with pytest.raises(PlasticSearchError, match="more than 2 files"):
        list(members(archive, data, ".png", largest=3, most=2))


class Response:
    """What a server sends, in chunks."""

    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    def raise_for_status(self) -> None: ...

    def iter_content(self, chunk_size: int) -> tuple[bytes, ...]:
        return self.chunks


def test_downloads_are_over_https_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.zip"
    with pytest.raises(PlasticSearchError, match="over https only"):
        really_download("http://example.org/data.zip", path)
    monkeypatch.setattr("requests.get", lambda url, **how: Response(b"ab", b"c"))
    really_download("https://example.org/data.zip", path)
    assert path.read_bytes() == b"abc"
    monkeypatch.setattr(_archives, "LARGEST", 2)
    with pytest.raises(PlasticSearchError, match="sends more than 2 bytes"):
        really_download("https://example.org/data.zip", path)


def test_a_broken_download_is_tried_again(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [ZIP[:-1], ZIP]
    monkeypatch.setattr(_archives, "_download", lambda url, path: path.write_bytes(sent.pop(0)))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert obtain((THEIRS,)) == (THEIRS, ZIP)
    assert not sent


def test_a_file_too_large_is_not_read(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    put(places[0], OURS, TAR)
    monkeypatch.setattr(_archives, "LARGEST", 10)
    with pytest.raises(PlasticSearchError, match="larger than any archive of ours"):
        obtain((OURS,))
