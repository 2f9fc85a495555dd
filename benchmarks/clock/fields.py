"""H.264 in field pictures, as camcorders and broadcasts write it: two pictures a frame. No encoder of PyAV makes it.

Every macroblock is stored as it is (I_PCM), so there is nothing to predict or transform.
"""

import re
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.clock.pictures import draw

BLOCK = 16  # pixels along the side of a macroblock
GREY = bytes([128]) * (BLOCK * BLOCK // 2)  # both planes of colour of a macroblock


class Field(NamedTuple):
    """An access unit with one field, and whether decoding can start there."""

    data: bytes
    is_key: bool


class _Bits:
    """Collects the bits of a unit of H.264."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def put(self, value: int, width: int) -> None:
        self._text.append(f"{value:0{width}b}")

    def golomb(self, *values: int) -> None:
        for value in values:
            self.put(value + 1, 2 * (value + 1).bit_length() - 1)

    def take(self) -> bytes:
        """Returns the bits so far, filled up with zeros, and begins anew."""
        text = "".join(self._text)
        text += "0" * (-len(text) % 8)
        self._text = []
        return int(text, 2).to_bytes(len(text) // 8, "big")

    def end(self) -> bytes:
        """Returns the bits so far with the mark of the end of a unit."""
        self.put(1, 1)
        return self.take()


def encode(numbers: NDArray[np.int64], rate: Fraction, height: int, width: int) -> list[Field]:
    """Returns two fields per number, the top one first.

    Args:
      numbers: `[N]` what the frames show.
      rate: frames per second that the header says.
      height: of a frame in pixels, a multiple of 32.
      width: of a frame in pixels, a multiple of 16.
    """
    head = _sequence(rate, height, width) + _unit(0x68, _picture_settings())
    fields = []
    for place, number in enumerate(numbers.tolist()):
        light = draw(number, height, width)[..., 0]
        fields.append(Field(head + _field(light[0::2], place % 2, is_first=True), True))
        fields.append(Field(_field(light[1::2], 0, is_first=False), False))
    return fields


def _unit(kind: int, content: bytes) -> bytes:
    """Returns a unit with its start code; no three bytes inside may look like one."""
    return b"\0\0\0\1" + bytes([kind]) + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", content)


def _sequence(rate: Fraction, height: int, width: int) -> bytes:
    bits = _Bits()
    for value in (77, 0, 30):  # main profile, level 3
        bits.put(value, 8)
    bits.golomb(0, 0, 2, 1)  # identifier, 4 bits of frame number, order of output is that of storage, one reference
    bits.put(0, 1)
    bits.golomb(width // BLOCK - 1, height // BLOCK // 2 - 1)
    bits.put(0b0010, 4)  # not frames only, no mixture inside a frame, 8x8 direct, no cropping ...
    bits.put(1, 1)  # ... and a description of use follows
    bits.put(0, 4)  # no shape of pixels, overscan, video signal, chroma place
    bits.put(1, 1)
    bits.put(rate.denominator, 32)
    bits.put(2 * rate.numerator, 32)  # fields
    bits.put(0b10000, 5)  # a fixed rate; no buffer models, structure or limits
    return _unit(0x67, bits.end())


def _picture_settings() -> bytes:
    bits = _Bits()
    bits.golomb(0, 0)
    bits.put(0b00, 2)  # variable-length codes
    bits.golomb(0, 0, 0)  # one group of slices, one reference in either list
    bits.put(0b000, 3)
    bits.golomb(0, 0, 0)
    bits.put(0b100, 3)  # the deblocking filter is set per slice
    return bits.end()


def _field(light: NDArray[np.uint8], instant: int, is_first: bool) -> bytes:
    """Returns the slice of a field; `instant` tells a key frame from the one before it."""
    bits = _Bits()
    bits.golomb(0, 7, 0)  # from the first macroblock, intra
    bits.put(0, 4)
    bits.put(0b10 if is_first else 0b11, 2)  # a field, top or bottom
    if is_first:
        bits.golomb(instant)
        bits.put(0b00, 2)
    else:
        bits.put(0, 1)
    bits.golomb(0)
    bits.golomb(1)  # no deblocking
    content = b""
    for top in range(0, light.shape[0], BLOCK):
        for left in range(0, light.shape[1], BLOCK):
            bits.golomb(25)  # I_PCM
            content += bits.take() + light[top : top + BLOCK, left : left + BLOCK].tobytes() + GREY
    return _unit(0x65 if is_first else 0x61, content + bytes([0x80]))
