"""Sound in wav files: what is read, and what is refused by its name.

Read are PCM of 8, 16, 24 and 32 bits and floats of 32 and 64, of up to 64 channels, at any rate from the wanted one up.
"""

from __future__ import annotations

import struct
from math import gcd
from typing import NamedTuple

import numpy as np

from plastic_search.core.errors import PlasticSearchError

__all__ = ["sound"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # codes of formats
_FASTEST = 768_000  # samples a second
_CHANNELS = 64


class _Format(NamedTuple):
    code: int
    channels: int
    rate: int  # samples a second
    bits: int


def sound(data: bytes, name: str, rate: int) -> np.ndarray:
    """The samples of a wav file, float32 from -1 to 1; the mean of its channels, resampled to `rate` samples a second.

    Args:
        data: the file's bytes.
        name: what errors call it.

    Raises:
        PlasticSearchError: it is no wav file, is compressed, ends early, is empty, holds what is not finite, or has
            fewer samples a second than `rate`.
    """
    chunks = _chunks(data, name)
    form = _format(chunks.get(b"fmt ", b""), name)
    if form.rate < rate:
        raise PlasticSearchError(
            f"{name} has {form.rate} samples a second, but at least {rate} are needed; take a recording that has them"
        )
    width = form.bits // 8 * form.channels
    raw = chunks.get(b"data", b"")
    if len(raw) < width:
        raise PlasticSearchError(f"{name} holds no sound: its length is 0")
    samples = _numbers(raw[: len(raw) // width * width], form).reshape(-1, form.channels).mean(1)
    if not np.isfinite(samples).all():
        raise PlasticSearchError(f"{name} holds samples that are not finite")
    return _resampled(samples, form.rate, rate).astype(np.float32)


def _chunks(data: bytes, name: str) -> dict[bytes, bytes]:
    """The chunks of a RIFF file by their names; of each name, the first."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise PlasticSearchError(f"{name} is not a wav file: it does not begin with RIFF and WAVE")
    found, at = dict[bytes, bytes](), 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            where = kind.decode("ascii", "backslashreplace")
            raise PlasticSearchError(f"{name} ends early: its part {where!r} has {len(data) - at - 8} of {size} bytes")
        found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found


def _format(chunk: bytes, name: str) -> _Format:
    if len(chunk) < 16:
        raise PlasticSearchError(f"{name} does not state the format of its sound")
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    if (code, bits) not in _READ:
        known = "PCM of 8, 16, 24 or 32 bits or floats of 32 or 64"
        raise PlasticSearchError(f"{name} holds sound of {bits} bits in format {code}; convert it to a wav of {known}")
    if not 1 <= channels <= _CHANNELS or not 1 <= rate <= _FASTEST:
        raise PlasticSearchError(f"{name} states {channels} channels and {rate} samples a second, which cannot be")
    return _Format(code, channels, rate, bits)


def _numbers(raw: bytes, form: _Format) -> np.ndarray:
    """The samples of all channels in turn, from -1 to 1."""
    if form.bits == 24:
        padded = np.zeros((len(raw) // 3, 4), np.uint8)  # the three bytes are the upper ones of 32 bits
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return padded.view("<i4")[:, 0] / 2.0**31
    values = np.frombuffer(raw, _READ[form.code, form.bits]).astype(np.float64)
    if form.code == _FLOAT:
        return values
    return values / 128 - 1 if form.bits == 8 else values / 2.0 ** (form.bits - 1)


_READ = {
    (_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4", (_FLOAT, 64): "<f8",
}  # fmt: skip


def _resampled(samples: np.ndarray, before: int, after: int) -> np.ndarray:
    if before == after:
        return samples
    from scipy.signal import resample_poly

    common = gcd(before, after)
    return resample_poly(samples, after // common, before // common)
