"""Time stamps rewritten in the bytes of finished files: no muxer writes wrong ones."""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Maps the presentation time stamp of a packet to the one to write, in units of the file; None removes the stamp.
# Decoding time stamps move along. A shift rather than a value, because a file holds both.
Shift = Callable[[int], int | None]

PES_START, VIDEO = b"\x00\x00\x01", 0xE0
WRAP = 1 << 33


class _Header(NamedTuple):
    """Where a PES packet of video begins, where its stamp lies, and whether a decoding stamp follows."""

    start: int
    stamp: int
    has_decoding: bool


def transport_stamps(data: bytes, packet: int = 188) -> list[int]:
    """Returns the presentation stamps of the video in a transport stream, in storage order, in 1/90000 s."""
    return [_read_stamp(data, header.stamp) for header in _transport_headers(data, packet)]


def program_stamps(data: bytes) -> list[int]:
    """Returns the presentation stamps of the video in a program stream, in storage order, in 1/90000 s."""
    return [_read_stamp(data, header.stamp) for header in _program_headers(data)]


def retime_transport(data: bytes, shift: Shift, packet: int = 188) -> bytes:
    """Changes the stamps of the video in a transport stream; `packet` is 192 in files of camcorders."""
    return _retime(data, _transport_headers(data, packet), shift)


def retime_program(data: bytes, shift: Shift) -> bytes:
    """Changes the stamps of the video in a program stream, MPEG-1's or MPEG-2's."""
    return _retime(data, _program_headers(data), shift)


def _transport_headers(data: bytes, packet: int) -> Iterator[_Header]:
    for start in range(packet - 188, len(data) - 187, packet):
        begins, control = data[start + 1] & 0x40, data[start + 3] >> 4 & 3
        at = start + 4 + (data[start + 4] + 1 if control == 3 else 0)
        if begins and control & 1:
            yield from _header(data, at)


def _program_headers(data: bytes) -> Iterator[_Header]:
    at = 0
    while (at := data.find(PES_START, at)) >= 0 and at + 19 < len(data):
        yield from _header(data, at)
        is_video = data[at + 3] & 0xF0 == VIDEO
        at += 6 + int.from_bytes(data[at + 4 : at + 6], "big") if is_video else 3


def _header(data: bytes, start: int) -> Iterator[_Header]:
    """Yields the header of a PES packet, if it is one of video and has a stamp."""
    if data[start : start + 3] != PES_START or data[start + 3] & 0xF0 != VIDEO:
        return
    at = start + 6
    if data[at] & 0xC0 == 0x80:  # MPEG-2
        if data[at + 1] & 0x80:
            yield _Header(start, at + 3, bool(data[at + 1] & 0x40))
        return
    while data[at] == 0xFF:
        at += 1
    if data[at] & 0xC0 == 0x40:  # size of the buffer
        at += 2
    if data[at] & 0xE0 == 0x20:
        yield _Header(start, at, bool(data[at] & 0x10))


def _retime(data: bytes, headers: Iterator[_Header], shift: Shift) -> bytes:
    out = bytearray(data)
    for start, at, has_decoding in headers:
        old = _read_stamp(data, at)
        new = shift(old)
        if new is not None:
            out[at : at + 5] = _stamp(data[at] >> 4, new)
            if has_decoding:
                out[at + 5 : at + 10] = _stamp(1, _read_stamp(data, at + 5) + new - old)
            continue
        end = at + (10 if has_decoding else 5)
        if data[start + 6] & 0xC0 == 0x80:
            out[start + 7] &= 0x3F
            out[at:end] = b"\xff" * (end - at)
        else:  # MPEG-1 has its filling first and a mark at the end
            before = data[start + 6 : at]
            out[start + 6 : end] = b"\xff" * (end - at - 1) + before + b"\x0f"
    return bytes(out)


def _read_stamp(data: bytes, at: int) -> int:
    field = data[at : at + 5]
    return (field[0] >> 1 & 7) << 30 | field[1] << 22 | field[2] >> 1 << 15 | field[3] << 7 | field[4] >> 1


def _stamp(mark: int, value: int) -> bytes:
    value %= WRAP
    return bytes(
        (
            mark << 4 | value >> 30 << 1 | 1,
            value >> 22 & 0xFF,
            (value >> 15 & 0x7F) << 1 | 1,
            value >> 7 & 0xFF,
            (value & 0x7F) << 1 | 1,
        )
    )


class _Tag(NamedTuple):
    """Where a tag of video begins, its stamp of presentation, and where its offset from decoding lies; 0: nowhere."""

    start: int
    stamp: int
    offset: int


def flash_stamps(data: bytes) -> list[int]:
    """Returns the presentation stamps of the video in an FLV file, in storage order, in milliseconds."""
    return [tag.stamp for tag in _flash_tags(data)]


def retime_flash(data: bytes, shift: Shift) -> bytes:
    """Changes the stamps of the video in an FLV file; none can be removed."""
    out = bytearray(data)
    for at, old, offset in _flash_tags(data):
        new = shift(old)
        assert new is not None
        decoding = max(0, _decoding(data, at) + new - old)
        out[at + 4 : at + 7] = (decoding & 0xFFFFFF).to_bytes(3, "big")
        out[at + 7] = decoding >> 24
        if offset:
            out[offset : offset + 3] = (new - decoding).to_bytes(3, "big", signed=True)
    return bytes(out)


def _decoding(data: bytes, tag: int) -> int:
    return int.from_bytes(data[tag + 4 : tag + 7], "big") | data[tag + 7] << 24


def _flash_tags(data: bytes) -> Iterator[_Tag]:
    at = int.from_bytes(data[5:9], "big") + 4
    while at + 11 < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        kind, is_extended = data[at + 11] & 15, data[at + 11] & 0x80
        offset, has_picture = 0, data[at] == 9
        if is_extended:  # 1 has an offset after the codec's name, 3 has none
            offset, has_picture = (at + 16 if kind == 1 else 0), has_picture and kind in (1, 3)
        elif kind == 7:  # H.264: 0 is the decoder's configuration, 2 the end
            offset, has_picture = at + 13, has_picture and data[at + 12] == 1
        if has_picture:
            late = int.from_bytes(data[offset : offset + 3], "big", signed=True) if offset else 0
            yield _Tag(at, _decoding(data, at) + late, offset)
        at += 11 + size + 4


def asf_stamps(data: bytes) -> list[int]:
    """Returns the stamps of the first stream of an ASF file, in storage order, in milliseconds."""
    return [int.from_bytes(data[at : at + 4], "little") for at in _asf_stamps(data)]


def retime_asf(data: bytes, shift: Shift) -> bytes:
    """Changes the stamps of the first stream of an ASF file; none can be removed."""
    out = bytearray(data)
    for at in _asf_stamps(data):
        new = shift(int.from_bytes(data[at : at + 4], "little"))
        if new is not None:
            out[at : at + 4] = new.to_bytes(4, "little")
    return bytes(out)


def _asf_stamps(data: bytes) -> Iterator[int]:
    """Yields where the stamps of the first stream lie: one per payload, so several per large picture."""
    start = int.from_bytes(data[16:24], "little")  # the header ends, and the packets begin behind a head of 50 bytes
    size, count = (int.from_bytes(data[start + at : start + at + 8], "little") for at in (16, 40))
    step = (size - 50) // count
    for packet in range(start + 50, start + size, step):
        at = packet + 1 + (data[packet] & 15 if data[packet] & 0x80 else -1)
        sizes, kinds = data[at], data[at + 1]
        at += 2 + sum(_width(sizes >> place) for place in (5, 1, 3)) + 6
        several = sizes & 1
        payloads, length = (data[at] & 63, _width(data[at] >> 6)) if several else (1, 0)
        at += several
        for _ in range(payloads):
            stream = data[at] & 127
            at += 1 + _width(kinds >> 4) + _width(kinds >> 2)
            width = _width(kinds)
            extra = int.from_bytes(data[at : at + width], "little")
            at += width
            if stream == 1 and extra >= 8:
                yield at + 4
            at += extra
            at += length + int.from_bytes(data[at : at + length], "little")


def _width(kind: int) -> int:
    """Returns how many bytes a field of ASF has, of which two bits say the kind."""
    return (0, 1, 2, 4)[kind & 3]


def retime_mp4(
    data: bytes, track: int, decoding: NDArray[np.int64], shown: NDArray[np.int64], without_edits: bool = False
) -> bytes:
    """Changes the stamps of a track of an mp4 file.

    Args:
      data: the file; its `moov` box comes last, or else positions in it would move.
      track: its place among the tracks.
      decoding: `[N]` stamps in storage order that never fall, in units of the track.
      shown: `[N]` stamps of presentation in storage order.
      without_edits: whether to remove the edit list.
    """
    steps = np.append(np.diff(decoding), max(1, int(np.median(np.diff(decoding))))) if len(decoding) > 1 else [1]
    times = struct.pack(">II", 0, len(decoding)) + b"".join(struct.pack(">II", 1, int(step)) for step in steps)
    offsets = struct.pack(">II", 1 << 24, len(shown)) + b"".join(
        struct.pack(">Ii", 1, int(late)) for late in shown - decoding
    )

    def change(kind: bytes, content: bytes) -> bytes | None:
        if kind == b"stbl":
            boxes = [(name, part) for name, part in _boxes(content) if name not in (b"stts", b"ctts")]
            boxes[1:1] = [(b"stts", times), (b"ctts", offsets)]
            return b"".join(_box(name, part) for name, part in boxes)
        if kind == b"edts" and without_edits:
            return b""
        return None

    return _in_track(data, track, change)


def edit_mp4(data: bytes, track: int, edits: list[tuple[float, int]]) -> bytes:
    """Gives a track of an mp4 file an edit list.

    Args:
      data: as in `retime_mp4`.
      track: its place among the tracks.
      edits: duration in seconds and start in units of the track's clock, or -1 for nothing.
    """
    scale = next(_scale(part) for kind, part in _boxes(_moov(data)) if kind == b"mvhd")
    table = struct.pack(">II", 0, len(edits)) + b"".join(
        struct.pack(">Iihh", round(duration * scale), start, 1, 0) for duration, start in edits
    )

    def change(kind: bytes, content: bytes) -> bytes | None:
        if kind == b"trak":
            boxes = [(name, part) for name, part in _boxes(content) if name != b"edts"]
            boxes.insert(1, (b"edts", _box(b"elst", table)))
            return b"".join(_box(name, part) for name, part in boxes)
        return None

    return _in_track(data, track, change)


def mp4_clock(data: bytes, track: int) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Returns the clock of a track of an mp4 file: units per second, and both kinds of stamps in storage order."""
    found: dict[bytes, bytes] = {}

    def look(kind: bytes, content: bytes) -> None:
        found[kind] = content

    _in_track(data, track, look)
    scale = _scale(found[b"mdhd"])
    steps = np.frombuffer(found[b"stts"][8:], ">u4").reshape(-1, 2).astype(np.int64)
    decoding = np.cumsum(np.repeat(steps[:, 1], steps[:, 0]))
    decoding = np.concatenate(([0], decoding[:-1]))
    if b"ctts" not in found:
        return scale, decoding, decoding
    late = np.frombuffer(found[b"ctts"][8:], ">i4").reshape(-1, 2).astype(np.int64)
    return scale, decoding, decoding + np.repeat(late[:, 1], late[:, 0])


def _scale(header: bytes) -> int:
    """Returns the units per second that a header of a film or track says."""
    at = 20 if header[0] else 12
    return int.from_bytes(header[at : at + 4], "big")


def _moov(data: bytes) -> bytes:
    return next(part for kind, part in _boxes(data) if kind == b"moov")


def _in_track(data: bytes, track: int, change: Callable[[bytes, bytes], bytes | None]) -> bytes:
    """Offers the boxes of a track to `change`, the outer one first; what it returns replaces the content."""
    seen = -1

    def walk(kind: bytes, content: bytes, inside: bool) -> bytes:
        nonlocal seen
        if kind == b"trak":
            seen += 1
            inside = seen == track
        if inside:
            new = change(kind, content)
            if new is not None:
                return new
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            return b"".join(_box(name, walk(name, part, inside)) for name, part in _boxes(content))
        return content

    boxes = list(_boxes(data))
    assert boxes[-1][0] == b"moov", "the tables must come last"
    head = data[: len(data) - len(boxes[-1][1]) - 8]
    return head + _box(b"moov", walk(*boxes[-1], False))


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content
