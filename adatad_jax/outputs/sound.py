"""The sound of a video file, for a new mp4 of the same pictures: its packets as they are where mp4 holds them."""

from collections.abc import Iterator
from typing import Any

import av

# What players take in mp4; other kinds are encoded anew.
COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
USUAL_RATE = 48000

Packets = Iterator[tuple[float, Any]]  # seconds, and a packet to mux


def add_sound(source: Any, output: Any, zero: float, notes: list[str]) -> Packets:
    """Adds a stream for the sound of an opened file to an opened output, and gives its packets in order of time.

    Args:
      source: the container; its best sound stream is taken.
      output: the container, of which nothing is written yet.
      zero: seconds in `source` that become 0; what sounds before is left out.
      notes: told here in words: what is changed or left out, as soon as it is known.
    """
    stream = source.streams.best("audio")
    if stream is None:
        return iter(())
    if stream.codec_context is None:
        notes.append("without its sound, which FFmpeg cannot decode")
        return iter(())
    kind = stream.codec_context.name
    if stream.codec_context.codec.canonical_name in COPIED:
        return _copied(source, stream, output.add_stream_from_template(stream), zero, notes)
    rate, rates = stream.codec_context.rate, av.Codec("aac", "w").audio_rates or ()
    target = output.add_stream("aac", rate=rate if rate in rates else USUAL_RATE)
    target.codec_context.layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    notes.append(f"its sound encoded anew: mp4 players do not take {kind}")
    return _encoded(source, stream, target, zero, notes)


def _copied(source: Any, stream: Any, target: Any, zero: float, notes: list[str]) -> Packets:
    shift, last = round(zero / stream.time_base), None
    for packet in _packets(source, stream, notes):
        # the packet that ends at 0 stays: decoders of AAC need one ahead of the first that is heard
        if packet.pts is None or packet.dts is None or packet.pts + (packet.duration or 0) < shift:
            continue
        if last is not None and packet.dts <= last:  # mp4 cannot hold it
            continue
        last = packet.dts
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = target
        yield float(packet.dts * packet.time_base), packet


def _encoded(source: Any, stream: Any, target: Any, zero: float, notes: list[str]) -> Packets:
    lost = 0
    for packet in _packets(source, stream, notes):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            lost += 1
            continue
        for frame in frames:
            if frame.time is None or frame.time < zero:
                continue
            frame.pts -= round(zero / frame.time_base)
            yield from timed(target.encode(frame))
    yield from timed(target.encode())
    if lost:
        notes.append(f"without {lost} packets of its sound that do not decode")


def _packets(source: Any, stream: Any, notes: list[str]) -> Iterator[Any]:
    """Those of the stream, as far as the container can be read."""
    packets = source.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            notes.append(f"its sound ends early: reading fails ({error.strerror})")
            return
        if packet.size:
            yield packet


def timed(packets: Any) -> Packets:
    """The packets with the seconds at which each is decoded."""
    return ((float(packet.dts * packet.time_base), packet) for packet in packets)
