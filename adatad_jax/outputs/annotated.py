"""A copy of a video with its detections drawn into the frames, for use where subtitles are not enough."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from adatad_jax.errors import UserError
from adatad_jax.files import whole_file
from adatad_jax.outputs.overlay import Overlay
from adatad_jax.outputs.sound import Packets, add_sound, timed
from adatad_jax.postprocessing.detections import Detection
from adatad_jax.video.decode import Filling, VideoReader, open_video
from adatad_jax.video.packets import open_container
from adatad_jax.video.scan import PacketIndex, scan

BATCH, BATCH_BYTES = 32, 2**25  # most frames, and most bytes of them, decoded at a time
FINE = Fraction(1, 90000)  # seconds; the time base of repaired times, which need not be on the file's own ticks
QUALITY = {"preset": "veryfast", "crf": "21"}  # libx264 options


def write_annotated(
    source: Path,
    target: Path,
    detections: Sequence[Detection],
    fps: float | None = None,
    progress: Callable[[float], object] | None = None,
    filling: Filling | None = None,
) -> list[str]:
    """Writes an mp4 (H.264) whose frames show the labels of the active detections and a bar of all detections.

    The frames are written upright. Every frame keeps its time relative to the first one. A side with an odd number of
    pixels grows by one.

    Args:
      source: the video.
      target: the file to write.
      detections: the detections to draw, best first (`selection.to_show`).
      fps: frames per second on the clock of the detections, if it is not the file's own.
      progress: called now and then with the number of seconds written so far, on that clock.
      filling: as for `open_video`.

    Returns:
      Notes on the sound where it is not simply copied; at most a few lines.

    Raises:
      UserError: the video cannot be read, or the file cannot be written; no partial file is left.
    """
    reader = open_video(source, filling)
    if target.exists() and target.samefile(source):
        raise UserError(f"{target}: is the video itself; choose another folder for what is written")
    index = scan(source)
    clock = index.clock(fps)
    frames = _drawn(reader, Overlay(detections, clock[:-1], clock[1:], reader.size), clock[1:], progress)
    notes: list[str] = []
    # The file's own clock, if it has one that can be used, keeps pictures and sound together.
    seconds = index.clock(fps if index.problem else None)[:-1]
    original, pictures = open_container(source, index.stream)
    with original, whole_file(target) as partial:
        base = pictures.time_base if index.has_own_times else FINE
        try:
            with av.open(f"file:{partial}", "w", format="mp4") as output:
                stream = _add_pictures(output, pictures, reader, base)
                sound = _sound(original, output, index, notes)
                stamps = np.rint(seconds / float(base)).astype(np.int64)
                for _, packet in heapq.merge(_encoded(stream, frames, stamps), sound, key=itemgetter(0)):
                    output.mux(packet)
        except av.error.FFmpegError as error:
            raise UserError(
                f"{target}: cannot be written ({error.strerror}); make room, or leave out --annotate"
            ) from error
    return notes


def _drawn(
    reader: VideoReader, overlay: Overlay, ends: NDArray[np.float64], progress: Callable[[float], object] | None
) -> Iterator[NDArray[np.uint8]]:
    """Yields the frames `[H, W, 3]` with what is drawn into them; `ends` [N] are the seconds at which they end."""
    height, width = reader.size
    batch = min(max(1, BATCH_BYTES // (height * width * 3)), BATCH)
    for first in range(0, reader.frame_count, batch):
        indices = range(first, min(first + batch, reader.frame_count))
        for index, frame in zip(indices, reader.read(indices), strict=True):
            overlay.draw(frame, index)
            yield frame
        if progress is not None:
            progress(float(ends[indices[-1]]))


def _sound(original: Any, output: Any, index: PacketIndex, notes: list[str]) -> Packets:
    """Adds the sound, unless the clock of the pictures was repaired: the sound would not be in step."""
    if index.has_own_times or index.places is None:
        return add_sound(original, output, index.start, notes)
    if original.streams.best("audio") is not None:
        notes.append("without its sound: the time stamps of the pictures were repaired, and it would not be in step")
    return iter(())


def _add_pictures(output: Any, pictures: Any, reader: VideoReader, base: Fraction) -> Any:
    """Adds the video stream: sides made even; clock, colours and pixel aspect ratio as in the original."""
    rate = Fraction(reader.fps).limit_denominator(1001) or 1  # only a hint for the encoder: the times decide
    stream = output.add_stream("h264", rate=rate, options=QUALITY)
    height, width = reader.size
    stream.height, stream.width = height + height % 2, width + width % 2
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_type = "AUTO"  # PyAV's default leaves cores idle
    stream.time_base = stream.codec_context.time_base = base
    context, old = stream.codec_context, pictures.codec_context
    context.color_range = ColorRange.MPEG
    context.colorspace, context.color_primaries, context.color_trc = _matrix(old), old.color_primaries, old.color_trc
    if pictures.sample_aspect_ratio:
        turned = (height, width) != (old.height, old.width)
        context.sample_aspect_ratio = 1 / pictures.sample_aspect_ratio if turned else pictures.sample_aspect_ratio
    return stream


def _matrix(context: Any) -> int:
    """Returns a stream's YCbCr matrix as FFmpeg's AVColorSpace; whatever decoding treats as BT.601 is unspecified."""
    known = (1, 4, 5, 6, 7, 9)  # BT.709, FCC, BT.601 (twice), SMPTE 240M, BT.2020
    return context.colorspace if context.colorspace in known else 2


def _encoded(
    stream: Any, frames: Iterator[NDArray[np.uint8]], stamps: NDArray[np.int64]
) -> Iterator[tuple[float, Any]]:
    """Encodes RGB frames `[H, W, 3]`, given their times in the stream's time base; yields seconds and packet."""
    context = stream.codec_context
    base = context.time_base  # opening the output may change the stream's
    # swscale's numbers are those of AVColorSpace, except for BT.601, its default
    space = context.colorspace if context.colorspace in (1, 4, 7, 9) else None
    to_yuv = VideoReformatter()  # reused: setting it up costs more than converting a small frame
    for stamp, frame in zip(stamps.tolist(), frames, strict=True):
        padding = (0, context.height - frame.shape[0]), (0, context.width - frame.shape[1]), (0, 0)
        if np.any(padding):
            frame = np.pad(frame, padding, mode="edge")
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture = to_yuv.reformat(picture, format="yuv420p", dst_colorspace=space, dst_color_range=ColorRange.MPEG)
        picture.pts, picture.time_base = stamp, base
        yield from timed(stream.encode(picture))
    yield from timed(stream.encode())
