"""The sound of a video file, for a new mp4 of the same frames: packets are copied where mp4 can hold them."""

from collections.abc import Iterator
from typing import Any

import av

# Codecs that players accept in mp4; others are re-encoded.
COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
USUAL_RATE = 48000

Packets = Iterator[tuple[float, Any]]  # pairs of seconds and a packet to mux


def add_sound(source: Any, output: Any, zero: float, notes: list[str]) -> Packets:
    """Adds a stream for the sound of an opened file to an opened output.

    Args:
      source: the opened container; its best audio stream is used.
      output: the opened container; nothing may have been written to it yet.
      zero: the time in `source`, in seconds, that becomes 0; earlier sound is left out.
      notes: a list to which a note is appended for everything changed or left out, as soon as it is known.

    Returns:
      The packets in order of time, each with its seconds; none where there is no sound.
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
    notes.append(f"its sound re-encoded: mp4 players do not play {kind}")
    return _encoded(source, stream, target, zero, notes)


def _copied(source: Any, stream: Any, target: Any, zero: float, notes: list[str]) -> Packets:
    shift, last = round(zero / stream.time_base), None
    for packet in _packets(source, stream, notes):
        # The packet that ends at 0 is kept: AAC decoders need one packet before the first audible one.
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
    """Yields the packets of the stream, as far as the container can be read."""
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
    """Pairs each packet with the time at which it is decoded, in seconds."""
    return ((float(packet.dts * packet.time_base), packet) for packet in packets)
