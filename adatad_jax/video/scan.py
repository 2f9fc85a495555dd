"""The index of a video file, from its packets and without decoding: frame count, frame rate, order, key frames."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from adatad_jax.errors import UserError

# Most frames that a container may declare at its end but not hold, or that may fail to decode there.
MISSING_FRAMES_ALLOWED = 5
# A longer gap without a frame, in seconds, counts as lost data in a video of otherwise constant rate.
LONGEST_GAP = 0.5
# A title or comment that is not UTF-8 must not keep a file from opening. Before PyAV 19 it does unless this setting
# says otherwise. Since PyAV 19 such bytes are always let through, and the setting is gone.
_ANY_METADATA: dict[str, Any] = (
    {"metadata_errors": "ignore"} if hasattr(av.container.Container, "metadata_errors") else {}
)


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The frames of a video file, in presentation order.

    Attributes:
      count: number of frames, N.
      fps: average frame rate, in frames per second.
      stamps: [N] int64 presentation timestamps, ascending, or None if the timestamps do not tell frames apart.
      keys: [k] int64 indices of the key frames, ascending; empty if `stamps` is None.
      settled: [N] int64; frame i is predicted from no frame after frame settled[i]; None if `stamps` is None.
      tick: seconds per unit of `stamps`.
      lead: seconds from the start of a player's clock, which is the start of the earliest stream, to the first frame.
    """

    count: int
    fps: float
    stamps: NDArray[np.int64] | None
    keys: NDArray[np.int64]
    settled: NDArray[np.int64] | None
    tick: float
    lead: float = 0.0

    def clock(self, fps: float | None = None) -> NDArray[np.float64]:
        """Returns the times of the frames.

        Args:
          fps: a constant frame rate, in frames per second, to use in place of the timestamps. If None and `stamps` is
            None, the average rate is used.

        Returns:
          [N + 1] float64 seconds from the first frame to each frame, and to the end of the last one.
        """
        if fps is not None or self.stamps is None:
            return np.arange(self.count + 1) / (fps or self.fps)
        times = (self.stamps - self.stamps[0]) * self.tick
        return np.append(times, times[-1] + 1 / self.fps)

    def key_before(self, index: int) -> int:
        """Returns where decoding must start to reach frame `index`: the last key frame up to it, or the first frame."""
        place = int(np.searchsorted(self.keys, index, side="right"))
        return int(self.keys[place - 1]) if place else 0

    def place(self, stamp: int | None) -> int | None:
        """Returns the index of the frame with this timestamp; None if there is no such frame."""
        if self.stamps is None or stamp is None:
            return None
        place = int(np.searchsorted(self.stamps, stamp))
        return place if place < self.count and self.stamps[place] == stamp else None


def scan(path: Path) -> PacketIndex:
    """Reads the packets of a video file. The index of an unchanged file (same size and time of change) is cached.

    Raises:
      UserError: the file is missing, empty, not a video, without a video stream, frames or a frame rate, cut short, or
        has a gap in its frames.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}: no such video file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: the video file cannot be reached ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a file; expected a video file")
    if status.st_size == 0:
        raise UserError(f"{path}: the video file is empty (0 bytes); copy or download it again")
    return _scan(path, status.st_size, status.st_mtime_ns)


def open_container(path: Path) -> tuple[Any, Any]:
    """Opens a video file to decode in one thread. The caller must close the container.

    Returns:
      The container and its video stream.

    Raises:
      UserError: the file is not a video, has no video stream, or FFmpeg has no decoder for that stream.
      av.error.FFmpegError: FFmpeg cannot open the file.
    """
    container = av.open(f"file:{path}", **_ANY_METADATA)  # without "file:", "a:b.mp4" is taken for an address
    try:
        return container, _video_stream(container, path)
    except BaseException:
        container.close()
        raise


@lru_cache(maxsize=256)  # 16 bytes per frame: an hour at 30 frames per second takes 1.7 MB
def _scan(path: Path, size: int, changed: int) -> PacketIndex:
    """Reads the packets; `size` and `changed` only tell versions of a file apart in the cache."""
    try:
        container, stream = open_container(path)
        with container:
            video, end = [], 0.0
            for packet in container.demux():
                if packet.size and packet.pts is not None and packet.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.size and packet.stream.index == stream.index:
                    video.append((packet.pts, packet.is_keyframe, packet.is_discard))
            declared = stream.frames
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            tick = float(stream.time_base or 0)
            kind = container.format.name
            duration = (container.duration or 0) / av.time_base
            begin = (container.start_time or 0) / av.time_base
            reordered = bool(stream.codec_context.has_b_frames)
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: not a video, or damaged ({error.strerror}); copy or convert it again") from None
    shown = [(pts, is_key) for pts, is_key, is_discarded in video if not is_discarded]  # an edit list may hide some
    if not shown:
        raise UserError(f"{path}: the video stream has no frames; copy or convert the file again")
    if declared - len(video) > MISSING_FRAMES_ALLOWED:
        raise UserError(
            f"{path}: declares {declared} frames but holds only {len(video)}: cut short; copy or download it again"
        )
    if rate <= 0:
        raise UserError(f"{path}: the video stream has no frame rate; convert the file (constant rate) to mp4")
    # Matroska declares no frame count, only the duration of its longest stream
    if kind.startswith("matroska") and (duration - end) * rate > MISSING_FRAMES_ALLOWED:
        raise UserError(
            f"{path}: declares {duration:.2f} s but ends after {end:.2f} s: cut short; copy or download it again"
        )

    count, stamps = len(shown), [pts for pts, _ in shown]
    # AVI stores no presentation timestamps, and with B-frames those that FFmpeg makes up are wrong
    if None in stamps or len(set(stamps)) < count or (kind == "avi" and reordered):
        return PacketIndex(count, rate, None, np.empty(0, np.int64), None, tick)
    decoded = np.array(stamps, np.int64)
    order = np.argsort(decoded)
    places = np.empty(count, np.int64)
    places[order] = np.arange(count)
    settled = np.maximum.accumulate(places)[order]
    keys = np.sort(places[[is_key for _, is_key in shown]])
    steps = np.diff(decoded[order]) * tick
    if not kind.startswith("mov,"):  # mov, mp4: tables locate each frame; elsewhere damaged ones just vanish
        _require_no_hole(path, steps)
    # At a variable rate the header's figure can be far from the average. Within 1% of it, the header is more exact.
    span = steps.sum()
    if span and abs((count - 1) / span / rate - 1) > 0.01:
        rate = float((count - 1) / span)
    lead = max(0.0, float(decoded.min() * tick - begin))
    return PacketIndex(count, rate, decoded[order], keys, settled, tick, lead)


def _require_no_hole(path: Path, steps: NDArray[np.float64]) -> None:
    """Raises `UserError` if a video of constant rate lacks frames; `steps` [N - 1] are seconds from frame to frame."""
    if len(steps) and steps.max() > LONGEST_GAP and np.quantile(steps, 0.95) < min(1.5 * np.median(steps), LONGEST_GAP):
        raise UserError(
            f"{path}: no frame for {steps.max():.2f} s after frame {steps.argmax()}, in a video of otherwise constant "
            "rate: damaged there; copy or download it again, or if the gap is intended, convert it (constant rate) to "
            "mp4"
        )


def _video_stream(container: Any, path: Path) -> Any:
    """Returns the first video stream that is not a cover picture; raises `UserError` if there is none."""
    name = container.format.name
    if name == "tty" or name == "image2" or name.endswith("_pipe"):  # FFmpeg opens text and image files too
        raise UserError(f'{path}: not a video (its content is of the kind "{name}"); expected a video file')
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover picture of an audio file
            if stream.codec_context is None:
                raise UserError(f"{path}: FFmpeg has no decoder for its video; convert the file to H.264 in mp4")
            stream.codec_context.thread_count = 1
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise UserError(f"{path}: no video stream (only: {', '.join(kinds) or 'nothing'}); expected a video file")
