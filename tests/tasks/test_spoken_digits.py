"""Spoken digits: what is read and refused of sound, the filters against tones, and splits that share no recording."""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from plastic_search.core.errors import PlasticSearchError
from plastic_search.encoders.send_on_delta import SendOnDelta
from plastic_search.tasks import Split
from plastic_search.tasks._archives import FOLDER, DataMissing
from plastic_search.tasks._cochlea import Bank, blurred, centres, currents, levels, profile, stretched
from plastic_search.tasks._recordings import _published, recordings
from plastic_search.tasks._wav import sound
from plastic_search.tasks.spoken_digits import SpokenDigits, _split

RATE = 8000
BANK = Bank(RATE, 32, 80.0, 3800.0, 0.008, 40.0)


def tone(frequency: float = 440.0, seconds: float = 0.2, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def pcm(samples: np.ndarray, bits: int = 16, channels: int = 1, rate: int = RATE) -> bytes:
    """A wav file as Python's own module writes it."""
    whole = np.round(samples * (2 ** (bits - 1) - 1)).astype("<i4")
    shifted = (whole + 128 if bits == 8 else whole).astype("<i4")
    raw = shifted.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
    stored = io.BytesIO()
    with wave.open(stored, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(raw)
    return stored.getvalue()


def riff(code: int, bits: int, raw: bytes, rate: int = RATE, extra: bytes = b"") -> bytes:
    form = struct.pack("<HHIIHH", code, 1, rate, rate * bits // 8, bits // 8, bits) + extra
    chunks = [(b"fmt ", form), (b"LIST", b"odd"), (b"data", raw)]
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_pcm_of_every_width_is_read(bits: int) -> None:
    assert np.abs(sound(pcm(tone(), bits), "a.wav", RATE) - tone()).max() < 2.0 ** (2 - min(bits, 24))


@pytest.mark.parametrize(("code", "kind"), [(3, "<f4"), (3, "<f8"), (0xFFFE, "<f4")])
def test_floats_and_the_extensible_form_are_read(code: int, kind: str) -> None:
    extra = struct.pack("<HHIH", 22, 32, 4, 3) + bytes(14) if code == 0xFFFE else b""
    data = riff(code, 8 * np.dtype(kind).itemsize, tone().astype(kind).tobytes(), extra=extra)
    assert np.abs(sound(data, "a.wav", RATE) - tone()).max() < 1e-6


def test_channels_are_averaged_and_other_rates_resampled() -> None:
    both = np.stack([tone(), np.zeros(1600)], 1).flatten()
    assert np.abs(sound(pcm(both, channels=2), "a.wav", RATE) - tone() / 2).max() < 1e-3
    for rate in (16_000, 44_100):
        heard = sound(pcm(tone(rate=rate), rate=rate), "a.wav", RATE)
        assert len(heard) == 1600
        assert np.abs(heard - tone())[100:-100].max() < 0.01


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty file": (lambda: b"", "is not a wav file"),
    "text": (lambda: b"digits, as text, in a file called wav", "is not a wav file"),
    "no samples": (lambda: pcm(np.zeros(0)), "holds no sound: its length is 0"),
    "cut short": (lambda: pcm(tone())[:-100], "ends early: its part 'data' has 3100 of 3200 bytes"),
    "no format": (lambda: b"RIFF\x04\0\0\0WAVE", "does not state the format"),
    "compressed": (lambda: riff(6, 8, bytes(100)), "sound of 8 bits in format 6; convert it to a wav of PCM"),
    "slow": (lambda: pcm(tone(rate=4000), rate=4000), "has 4000 samples a second, but at least 8000 are needed"),
    "not finite": (lambda: riff(3, 32, np.full(100, np.nan, "<f4").tobytes()), "samples that are not finite"),
    "no rate": (lambda: riff(1, 16, bytes(100), rate=0), "states 1 channels and 0 samples a second"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_name_of_its_file(name: str, tmp_path: Path) -> None:
    data, message = REFUSED[name]
    (tmp_path / "7_ann_12.wav").write_bytes(data())
    with pytest.raises(PlasticSearchError, match=message) as caught:
        SpokenDigits(recordings=tmp_path).episodes(1, Split.TRAIN, Generator())
    assert str(tmp_path / "7_ann_12.wav") in str(caught.value)


def test_mutated_files_are_read_or_refused() -> None:
    data, rng = bytearray(pcm(tone(seconds=0.01), channels=2)), np.random.default_rng(0)
    for _ in range(300):
        mutated = bytearray(data)
        for at in rng.integers(0, 48, 3):
            mutated[at] = rng.integers(256)
        with contextlib.suppress(PlasticSearchError):
            assert np.isfinite(sound(bytes(mutated), "a.wav", RATE)).all()


def test_a_tone_is_loudest_in_the_filter_of_its_frequency() -> None:
    for k in (3, 12, 20, 28):
        heard = currents(levels(tone(centres(BANK)[k]).astype(np.float32), BANK), BANK)
        assert heard.shape == (25, 32), "0.2 s"
        assert heard[10].argmax() == k
        assert heard.max() == 1.0
    assert not currents(levels(np.zeros(800, np.float32), BANK), BANK).any()


def test_a_decibel_less_is_a_step_less_and_the_level_of_a_recording_does_not_matter() -> None:
    loud = tone().astype(np.float32)
    quieter = np.concatenate([loud, 0.1 * loud])  # 20 of 40 decibels
    heard = currents(levels(quieter, BANK), BANK)
    channel = heard[10].argmax()
    assert heard[10, channel] - heard[35, channel] == pytest.approx(0.5, abs=0.01)
    assert np.abs(currents(levels(0.01 * quieter, BANK), BANK) - heard).max() < 1e-4


def test_a_speaker_s_mean_spectrum_is_taken_off() -> None:
    """A filter that is the same for all words of a speaker, such as a microphone's, leaves no difference."""
    words = [levels(tone(centres(BANK)[k]).astype(np.float32), BANK) for k in (5, 15, 25)]
    through = np.linspace(0.0, -20.0, 32)
    coloured = [word + through - (word + through).max() for word in words]
    plain = [currents(word, BANK, profile(words), equal=1.0) for word in words]
    same = [currents(word, BANK, profile(coloured), equal=1.0) for word in coloured]
    before = max(
        float(np.abs(currents(a, BANK) - currents(b, BANK)).max()) for a, b in zip(words, coloured, strict=True)
    )
    after = max(float(np.abs(a - b).mean()) for a, b in zip(plain, same, strict=True))
    assert before > 0.2
    assert after < 0.05


def test_each_band_is_brought_to_the_spread_of_another() -> None:
    """A speaker whose levels rise and fall half as far, in each band, gives the currents of the other."""
    rng = np.random.default_rng(0)
    wide = rng.normal(-20.0, 6.0, (200, 8)).clip(-60.0, 0.0)
    flat = wide.mean(0) + 0.5 * (wide - wide.mean(0))
    assert np.abs(currents(wide, BANK) - currents(flat, BANK)).mean() > 0.03
    known = profile([flat])
    assert known is not None
    one, other = (
        currents(wide, BANK, profile([wide]), 1.0),
        currents(flat, BANK, known, 1.0, wide.std(0) / known.spread),
    )
    assert np.abs(one - other).max() < 1e-5
    silence = np.full((5, 8), -1000.0)
    assert profile([silence]) is None


def test_currents_are_blurred_over_channels() -> None:
    click = np.zeros((1, 9), np.float32)
    click[0, 4] = 1.0
    found = blurred(click, 1.0)[0]
    assert np.allclose(found[2:7] / found[4], np.exp([-2.0, -0.5, 0.0, -0.5, -2.0]), atol=0.01)
    assert np.allclose(blurred(np.ones((2, 9), np.float32), 1.0), 1.0), "the edges are means too"


def test_the_spoken_part_is_stretched_to_a_span() -> None:
    word = np.zeros((40, 2), np.float32)
    word[12:22, 0], word[22:32, 1] = 1.0, 0.5
    fast = np.concatenate([word[12:32:2], np.zeros((5, 2), np.float32)])
    for each in (word, fast):
        found = stretched(each, 20)
        assert found.shape == (20, 2)
        assert found[0, 0] == 1.0
        assert found[-1, 1] == 0.5
        assert np.abs(found[:9, 0] - 1.0).max() < 1e-6
        assert np.abs(found[11:, 1] - 0.5).max() < 1e-6


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """Two digits by two speakers, recordings 0 to 11, each a tone of its own."""
    for digit in (3, 7):
        for s, speaker in enumerate(("ann", "bob")):
            for index in range(12):
                frequency = 200 + 400 * digit + 37 * index + 11 * s
                (tmp_path / f"{digit}_{speaker}_{index}.wav").write_bytes(pcm(tone(frequency, 0.05 + 0.01 * index)))
    return tmp_path


def test_an_episode_of_ones_own_recordings(spoken: Path) -> None:
    task = SpokenDigits(recordings=spoken, channels=16, steps=20, listen=5, encoder=SendOnDelta())
    inputs, targets, query_step = task.episodes(8, Split.TEST, Generator().manual_seed(0))
    assert inputs.shape == (20, 8, task.inputs) == (20, 8, 32)
    assert set(targets.tolist()) == {3, 7}
    assert query_step == 5
    assert task.data_files == (spoken,)
    equal, _, _ = SpokenDigits(
        recordings=spoken, channels=16, steps=20, equal=1.0, spread=1.0, blur=1.0, span=12
    ).episodes(8, Split.TEST, Generator().manual_seed(0))
    assert not equal[12:].any()
    assert equal[:12].any(-1).all(), "the span is spoken"
    outputs = torch.zeros(20, 8, 10)
    outputs[:5, :, 0] = 100.0  # before the query step
    outputs[5:].scatter_(2, targets.view(1, 8, 1).expand(15, 8, 1), 1.0)
    assert task.scores(outputs, task.episodes(8, Split.TEST, Generator().manual_seed(0))).all()


def test_splits_are_by_number_or_by_speaker(spoken: Path) -> None:
    numbers = {split: {each.number for each in _split(spoken, "", split)} for split in Split}
    assert numbers == {
        Split.TEST: set(range(5)),
        Split.VALIDATION: set(range(5, 10)),
        Split.TRAIN: {10, 11},
    }
    assert {each.speaker for each in _split(spoken, "bob", Split.TEST)} == {"bob"}
    assert len(_split(spoken, "bob", Split.TEST)) == 24, "all of the speaker's"
    others = [*_split(spoken, "bob", Split.TRAIN), *_split(spoken, "bob", Split.VALIDATION)]
    assert {each.speaker for each in others} == {"ann"}
    with pytest.raises(PlasticSearchError, match=r"no speaker is called 'bo'; known: ann, bob\. Did you mean 'bob'"):
        _split(spoken, "bo", Split.TEST)


def test_folders_that_do_not_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlasticSearchError, match="there is no folder"):
        recordings(tmp_path / "nowhere")
    with pytest.raises(PlasticSearchError, match="there is no wav file in"):
        recordings(tmp_path)
    (tmp_path / "seven.wav").write_bytes(pcm(tone()))
    with pytest.raises(PlasticSearchError, match=r"seven\.wav is not named as digit, speaker and number"):
        recordings(tmp_path)


def test_an_archive_of_other_recordings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub's archive has no digest of its own; all recordings in it have one."""
    (tmp_path / "fsdd").mkdir()
    data = pcm(tone())
    with tarfile.open(tmp_path / "fsdd" / "free-spoken-digit-dataset-1.0.10.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("free-spoken-digit-dataset-1.0.10/recordings/7_jackson_32.wav")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PlasticSearchError, match=r"tar\.gz are not those of FSDD v1\.0\.10; delete the file"):
        _published()


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(PlasticSearchError, match="span lies from 0 to the 100 steps, but is 101"):
        SpokenDigits(span=101)
    with pytest.raises(PlasticSearchError, match=r"equal lies from 0 to 1, but is 1\.5"):
        SpokenDigits(equal=1.5)
    with pytest.raises(PlasticSearchError, match=r"blur must be at least 0, but is -1\.0"):
        SpokenDigits(blur=-1.0)
    with pytest.raises(PlasticSearchError, match="wants low < high < 4000 Hz, but got 80 and 5000"):
        SpokenDigits(high=5000.0)
    with pytest.raises(PlasticSearchError, match="listen must be from 0 to below the 100 steps, but is 100"):
        SpokenDigits(listen=100)


def test_fsdd_is_whole() -> None:
    try:
        found = {split: _split(None, "", split) for split in Split}
    except DataMissing as missing:
        pytest.skip(str(missing))
    assert [len(found[split]) for split in Split] == [2400, 300, 300]
    assert {each.speaker for each in found[Split.TEST]} == {
        "george", "jackson", "lucas", "nicolas", "theo", "yweweler",
    }  # fmt: skip
    assert [len(_split(None, "theo", split)) for split in Split] == [2250, 250, 500]
