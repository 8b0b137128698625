"""Integers of few bits, several in a byte: as ONNX has them, and back; and bytes that hold none are refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from plastic_search.export.packing import pack, unpack

TOPS = {1: 1, 2: 1, 4: 7}


@pytest.mark.parametrize("width", TOPS)
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (2, 2, 4)])
def test_they_come_back(width: int, shape: tuple[int, ...]) -> None:
    some = [-1, 1] if width == 1 else range(-TOPS[width], TOPS[width] + 1)
    codes = np.random.default_rng(0).choice(some, shape).astype(np.int8)
    data = pack(codes, width)
    assert data.dtype == np.uint8
    assert len(data) == -(-codes.size * width // 8)
    assert np.array_equal(unpack(data, width, shape, TOPS[width]), codes)


def test_bytes_are_as_worked_by_hand_and_as_onnx_has_them() -> None:
    codes = np.array([[1, -1, 7], [-7, 0, 3]], np.int8)
    assert pack(codes, 4).tolist() == [0xF1, 0x97, 0x30]
    assert pack(np.array([1, -1, 0, 1, -1], np.int8), 2).tolist() == [0b01_00_11_01, 0b11]
    assert pack(np.array([1, -1, 1], np.int8), 1).tolist() == [0b101]
    tensor = helper.make_tensor("codes", TensorProto.INT4, codes.shape, pack(codes, 4).tobytes(), raw=True)
    assert np.array_equal(numpy_helper.to_array(tensor).astype(np.int8), codes)


@pytest.mark.parametrize(
    ("data", "shape", "top", "message"),
    [
        ([1, 2], (3, 2), 7, r"6 integers of 4 bits are uint8 \[3\], but it is uint8 \[2\]"),
        ([1, 2, 3], (2**40, 2**40), 7, r"are uint8 \[\d{24}\]"),
        ([1, 0x10], (3,), 7, "bits after the last of its 3 integers are set"),
        ([0x08, 0], (3,), 7, "an integer is 8, but in its format at most 7: more bits than it holds"),
        ([0x04, 0], (3,), 3, "an integer is 4, but in its format at most 3: more bits than it holds"),
    ],
)
def test_other_bytes_are_refused(data: list[int], shape: tuple[int, ...], top: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack(np.array(data, np.uint8), 4, shape, top)
