"""Encodes numbered pictures and writes them, at any time stamps that a muxer takes, into any container."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.clock import fields
from benchmarks.clock.codings import CODINGS, FIELDS, GROUP, Coding
from benchmarks.clock.pictures import draw

os.environ.setdefault("SVT_LOG", "0")
logging.getLogger("libav").setLevel(logging.CRITICAL)

TICK = Fraction(1, 90000)
GLOBAL_HEADER = 1 << 22
SOUND_RATE = 48000


@dataclass(frozen=True)
class Track:
    """A video track.

    Attributes:
      coding: how it is coded.
      numbers: `[N]` what its pictures show.
      stamps: `[N]` seconds, the stamps of presentation that are written.
      rate: frames per second that its headers say.
      parts: lengths of the stretches that are encoded each for itself; they sum to N.
      dropped: packets left out at the start.
    """

    coding: Coding
    numbers: NDArray[np.int64]
    stamps: NDArray[np.float64]
    rate: Fraction
    parts: tuple[int, ...] = ()
    dropped: int = 0


@dataclass(frozen=True)
class Sound:
    """A track of silence: its encoder, and its start and end in seconds."""

    encoder: str
    start: float
    end: float


@dataclass(frozen=True)
class Muxer:
    """A container as PyAV writes it.

    Attributes:
      name: of the muxer in FFmpeg.
      options: its options.
      strict: whether decoding stamps must rise, rather than not fall.
      joins_fields: whether both fields of a frame are one packet.
    """

    name: str
    options: dict[str, str] = field(default_factory=dict)
    strict: bool = True
    joins_fields: bool = False


class Stored(NamedTuple):
    """The packets of a track in storage order: `[N]` places in presentation order, and `[N]` whether a key frame."""

    order: NDArray[np.int64]
    keys: NDArray[np.bool_]


def write(path: Path, muxer: Muxer, tracks: Sequence[Track], sounds: Sequence[Sound] = ()) -> list[Stored]:
    """Writes a file; returns what each video track holds."""
    stored = []
    packets: list[tuple[float, Any]] = []
    with av.open(str(path), "w", format=muxer.name, options=dict(muxer.options)) as container:
        streams = [_add(container, track) for track in tracks]
        voices = [
            container.add_stream(sound.encoder, rate=SOUND_RATE, layout="mono", bit_rate=64000) for sound in sounds
        ]
        for stream, track in zip(streams, tracks, strict=True):
            if track.coding is CODINGS[FIELDS]:
                coded, track = _in_fields(stream, track, muxer.joins_fields)
            else:
                coded = _encode(stream, track)
            order = np.array([packet.pts for packet in coded])
            keys = np.array([packet.is_keyframe for packet in coded])
            stored.append(Stored(order[track.dropped :], keys[track.dropped :]))
            packets += _stamped(coded, order, track, muxer.strict)[track.dropped :]
        for voice, sound in zip(voices, sounds, strict=True):
            packets += _silence(voice, sound)
        for _, packet in sorted(packets, key=lambda entry: entry[0]):
            container.mux(packet)
    return stored


def _add(container: Any, track: Track) -> Any:
    if track.coding is CODINGS[FIELDS]:
        raw = b"".join(field.data for field in fields.encode(track.numbers[:2], track.rate, *track.coding.size))
        with av.open(BytesIO(raw), format="h264") as template:
            return container.add_stream_from_template(template.streams.video[0])
    stream = container.add_stream(track.coding.encoder, rate=track.rate, options=dict(track.coding.options))
    _set_up(stream.codec_context, track)
    return stream


def _set_up(context: Any, track: Track) -> None:
    context.height, context.width = track.coding.size
    context.pix_fmt = track.coding.pixels
    context.thread_count = 1
    if track.coding.options.get("g") is None:
        context.gop_size = GROUP
    context.max_b_frames = track.coding.b_frames
    if track.coding.encoder == "mjpeg":
        context.color_range = 2  # JPEG's


def _encode(stream: Any, track: Track) -> list[Any]:
    """Returns the packets; their `pts` are places in presentation order."""
    packets: list[Any] = []
    start = 0
    for part in track.parts or (len(track.numbers),):
        context: Any = stream.codec_context
        if start:
            context = av.CodecContext.create(track.coding.encoder, "w")
            _set_up(context, track)
            context.options = dict(track.coding.options)
            context.framerate, context.time_base = track.rate, 1 / track.rate
            context.flags |= stream.codec_context.flags & GLOBAL_HEADER
        coded = []
        for place, number in enumerate(track.numbers[start : start + part].tolist()):
            frame = av.VideoFrame.from_ndarray(draw(number, *track.coding.size))
            frame.pts, frame.time_base = place, 1 / track.rate
            coded += context.encode(frame)
        coded += context.encode(None)
        assert len(coded) == part, f"{track.coding.encoder}: {len(coded)} packets of {part} pictures"
        for packet in coded:
            packet.pts += start
            packet.stream = stream
        packets += coded
        start += part
    return packets


def _in_fields(stream: Any, track: Track, joined: bool) -> tuple[list[Any], Track]:
    """Returns packets as `_encode`, and the track with a stamp for each: half a frame after the first field's."""
    coded = fields.encode(track.numbers, track.rate, *track.coding.size)
    stamps = track.stamps
    if joined:
        coded = [fields.Field(one.data + two.data, True) for one, two in zip(coded[::2], coded[1::2], strict=True)]
    else:
        usual = float(1 / track.rate)
        later = np.minimum(np.append(np.diff(stamps), usual), usual) / 2
        stamps = np.stack((stamps, stamps + later), 1).ravel()
    packets = []
    for place, (data, is_key) in enumerate(coded):
        packet = av.Packet(data)
        packet.pts, packet.stream, packet.is_keyframe = place, stream, is_key
        packets.append(packet)
    return packets, replace(track, stamps=stamps)


def _stamped(packets: list[Any], order: NDArray[np.int64], track: Track, strict: bool) -> list[tuple[float, Any]]:
    """Gives packets their stamps; returns each with the second at which a muxer is to take it."""
    shown = np.round(track.stamps / float(TICK)).astype(np.int64)
    steps = np.append(np.diff(shown), round(1 / track.rate / TICK))
    if len(steps) > 1 and steps[-2] > 0:
        steps[-1] = min(steps[-2], 10 * steps[-1]) if steps[-1] else steps[-2]
    decoding = decoding_stamps(shown, order, strict)
    for packet, place, stamp in zip(packets, order.tolist(), decoding.tolist(), strict=True):
        packet.pts, packet.dts, packet.time_base = int(shown[place]), stamp, TICK
        packet.duration = max(0, int(steps[place]))
    return [(stamp * float(TICK), packet) for stamp, packet in zip(decoding.tolist(), packets, strict=True)]


def decoding_stamps(shown: NDArray[np.int64], order: NDArray[np.int64], strict: bool) -> NDArray[np.int64]:
    """Returns decoding stamps in storage order.

    Args:
      shown: `[N]` stamps of presentation, in presentation order.
      order: `[N]` places in presentation order, in storage order.
      strict: whether they must rise.
    """
    count, delay = len(order), max(0, int((np.arange(len(order)) - order).max()))
    stored = shown[order]
    if (np.diff(shown) > 0).all():
        step = int(np.median(np.diff(shown))) if count > 1 else 1
        lead = shown[0] - step * np.arange(delay, 0, -1)
        decoding: NDArray[np.int64] = np.concatenate((lead, shown))[:count]
        assert (decoding <= stored).all()
        return decoding
    # wrong stamps: as late as the later packets allow
    slope = np.arange(count) * 90 if strict else np.zeros(count, np.int64)  # 90 ticks are the millisecond of ASF
    result: NDArray[np.int64] = np.minimum.accumulate((stored - slope)[::-1])[::-1] + slope
    return result


def _silence(stream: Any, sound: Sound) -> list[tuple[float, Any]]:
    packets: list[Any] = []
    stream.codec_context.open()
    size = stream.codec_context.frame_size or 1024
    kind = stream.codec_context.format
    shape = (1, size)
    start, end = round(sound.start * SOUND_RATE), round(sound.end * SOUND_RATE)
    for at in range(start, end, size):
        dtype = np.float32 if kind.name.startswith("flt") else np.int16
        frame = av.AudioFrame.from_ndarray(np.zeros(shape, dtype), format=kind.name, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, at, Fraction(1, SOUND_RATE)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return [(float(packet.pts * packet.time_base), packet) for packet in packets]
