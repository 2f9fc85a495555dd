"""Field pictures of H.264: interlaced video that stores the two fields of a frame as two pictures.

A packet then holds half a frame. Nothing but the picture's own header tells (ITU-T H.264, sections 7.3.2.1 and 7.3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

SLICE, IDR_SLICE, SEQUENCE, PICTURE = 1, 5, 7, 8  # types of NAL units
# Profiles whose sequence parameters hold the chroma format and scaling lists.
_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_HEADER_BYTES = 64  # the fields that are read lie within these first bytes of a slice


class _Sequence(NamedTuple):
    """What a sequence parameter set says of slice headers."""

    separate_planes: bool
    frame_number_bits: int


class _Field(NamedTuple):
    """A field picture: its frame's number in decoding order, and whether it holds the bottom lines."""

    frame_number: int
    bottom: bool


def make_field_finder(context: Any) -> Callable[[bytes], bool] | None:
    """Makes a function that takes the packets of a stream in decoding order.

    Args:
      context: PyAV's codec context of the stream.

    Returns:
      The function; it returns whether a packet is the second field of the frame that the packet before began. None for
      streams without field pictures, whose packets need not be looked at.
    """
    extradata = context.extradata
    if context.name != "h264" or not extradata:
        return None
    boxed = extradata[0] == 1  # avcC: NAL units with their length in front; else Annex B: start codes between them
    length = (extradata[4] & 3) + 1 if boxed and len(extradata) > 4 else 4
    units = _units_of_avcc(extradata) if boxed else _units_between_start_codes(extradata)
    sequences = [sequence for unit in units if unit[0] & 31 == SEQUENCE and (sequence := _read_sequence(unit))]
    if not sequences:
        return None
    sequence, waiting = sequences[0], None

    def is_second(packet: bytes) -> bool:
        nonlocal waiting
        fields = []
        for unit in _units_of_length(packet, length) if boxed else _units_between_start_codes(packet):
            if unit[0] & 31 in (SLICE, IDR_SLICE):
                fields.append(_read_field(unit, sequence))
                if fields[-1] is None:
                    break
        first, before = (fields[0] if fields else None), waiting
        if first is None or any(field != first for field in fields):  # a frame, or both fields in one packet
            waiting = None
            return False
        second = before is not None and before.frame_number == first.frame_number and before.bottom != first.bottom
        waiting = None if second else first
        return second

    return is_second


class _Bits:
    """Reads bits from the front of a NAL unit, without the bytes that keep start codes out of it."""

    def __init__(self, unit: bytes) -> None:
        content = unit.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(content)
        self._left = 8 * len(content)

    def take(self, count: int) -> int:
        """Returns the next bits as a number; raises `ValueError` past the end."""
        self._left -= count
        if self._left < 0:
            raise ValueError("past the end")
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """Returns the next unsigned Exp-Golomb number."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        """Returns the next signed Exp-Golomb number."""
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -code // 2


def _read_sequence(unit: bytes) -> _Sequence | None:
    """Reads a sequence parameter set; returns None if its pictures are all frames, or if it cannot be read."""
    bits = _Bits(unit[1:])
    try:
        profile = bits.take(8)
        bits.take(16)
        bits.golomb()
        separate = False
        if profile in _HIGH_PROFILES:
            chroma = bits.golomb()
            separate = chroma == 3 and bool(bits.take(1))
            bits.golomb(), bits.golomb(), bits.take(1)
            if bits.take(1):
                _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
        frame_number_bits = bits.golomb() + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.take(1), bits.golomb(), bits.golomb()
            for _ in range(bits.golomb()):
                bits.golomb()
        bits.golomb(), bits.take(1), bits.golomb(), bits.golomb()
        only_frames = bits.take(1)
    except ValueError:
        return None
    return None if only_frames else _Sequence(separate, frame_number_bits)


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for place in range(count):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if place < 6 else 64):
            if following:
                following = (last + bits.signed_golomb()) % 256
            last = following or last


def _read_field(unit: bytes, sequence: _Sequence) -> _Field | None:
    """Reads the header of a slice; returns None for a slice of a frame."""
    bits = _Bits(unit[1 : _HEADER_BYTES + 1])
    try:
        bits.golomb(), bits.golomb(), bits.golomb()
        if sequence.separate_planes:
            bits.take(2)
        number = bits.take(sequence.frame_number_bits)
        return _Field(number, bool(bits.take(1))) if bits.take(1) else None
    except ValueError:
        return None


def _units_of_length(content: bytes, length: int) -> Iterator[bytes]:
    """Yields NAL units that have their length in front."""
    place = 0
    while place + length < len(content):
        size = int.from_bytes(content[place : place + length])
        place += length
        if size:
            yield content[place : place + size]
        place += size


def _units_between_start_codes(content: bytes) -> Iterator[bytes]:
    """Yields NAL units with start codes between them."""
    for unit in content.split(b"\0\0\1")[1:]:
        if unit:
            yield unit


def _units_of_avcc(extradata: bytes) -> Iterator[bytes]:
    """Yields the parameter sets of an avcC record (ISO/IEC 14496-15)."""
    place = 6
    for _ in range(extradata[5] & 31 if len(extradata) > 5 else 0):
        size = int.from_bytes(extradata[place : place + 2])
        if size:
            yield extradata[place + 2 : place + 2 + size]
        place += 2 + size
