"""Packets of a video file: what a container says of its frames, read without decoding.

Packets come in decoding order, which is the order of storage. A frame that is predicted from a later one is stored
after it, so that the order of presentation is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from adatad_jax.errors import UserError
from adatad_jax.video.fields import make_field_finder

# A title or comment that is not UTF-8 must not keep a file from opening. Before PyAV 19 it does unless this setting
# says otherwise. Since PyAV 19 such bytes are always let through, and the setting is gone.
_ANY_METADATA: dict[str, Any] = (
    {"metadata_errors": "ignore"} if hasattr(av.container.Container, "metadata_errors") else {}
)
# Codecs whose frames are presented in another order than they are decoded in.
REORDERING = ("h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v3", "vc1", "wmv3", "cavs")
# Codecs with frames that are predicted from others, of which FFmpeg marks every packet as a key frame where the
# container has no list of key frames. For the other codecs it looks into the packets.
UNMARKED = ("mpeg4", "h261", "h263", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "cinepak", "svq3", "flv")
# A rate from here on is the clock of an encoder that did not know its rate.
FASTEST = 1000.0
# FFmpeg's names of bare streams of pictures. They have no container, hence no time stamps, and a rate that FFmpeg
# makes up unless the stream itself names one.
BARE = (
    *("h264", "hevc", "vvc", "m4v", "mpegvideo", "mpeg1video", "mpeg2video", "obu", "cavsvideo", "vc1"),
    *("mjpeg", "h261", "h263"),
)
TELLING = ("h264", "hevc", "vvc", "mpeg4", "mpeg1video", "mpeg2video", "vc1")  # codecs that can name their rate


@dataclass(frozen=True, eq=False)
class Track:
    """The packets of one video stream, in decoding order.

    Attributes:
      stream: index of the stream in the container.
      pts: [P] float64 presentation time stamps, in ticks; NaN where a packet has none.
      dts: [P] float64 decoding time stamps, in ticks; NaN where a packet has none.
      keys: [P] bool, whether decoding can start at the packet.
      hidden: [P] bool, whether an edit list keeps the frame from being shown.
      second: [P] bool, whether the packet is the second field of the frame that the packet before began.
      unclaimed: [P] int64; since the packet before, the most bytes on end that belong to no packet of any stream.
      marked: [P] bool, whether the container reports damage just before the packet or in it.
      sizes: [P] int64 bytes of each packet.
      identities: [P] int64 hashes that tell packets apart.
      tick: seconds per tick.
      rate: frames per second that the header declares; 0 where it declares none.
      declared: number of packets that the header declares; 0 where it declares none.
      codec: FFmpeg's name of the codec.
      blank_start: whether a packet before the first key frame holds nothing but zeros.
      reordered: whether the header says that frames are presented in another order than they are decoded in.
    """

    stream: int
    pts: NDArray[np.float64]
    dts: NDArray[np.float64]
    keys: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    second: NDArray[np.bool_]
    unclaimed: NDArray[np.int64]
    marked: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    identities: NDArray[np.int64]
    tick: float
    rate: float
    declared: int
    codec: str
    blank_start: bool
    reordered: bool

    @property
    def all_marked_keys(self) -> bool:
        """Tells whether every packet is marked as a key frame, of a codec whose key frames only the container marks."""
        return self.codec in UNMARKED and len(self.keys) > 1 and bool(self.keys.all())

    @property
    def span(self) -> float:
        """Returns the seconds from the earliest to the latest time stamp."""
        known = self.pts[~np.isnan(self.pts)]
        return float(np.ptp(known) * self.tick) if len(known) else 0.0


@dataclass(frozen=True, eq=False)
class Packets:
    """The packets of a file.

    Attributes:
      tracks: the video streams that FFmpeg can decode and that hold a packet.
      kind: FFmpeg's name of the container.
      begin: seconds at which a player's clock starts, which is the start of the earliest stream.
      end: seconds at which the last packet of any stream ends.
      duration: seconds that the header declares; 0 where it declares none.
    """

    tracks: tuple[Track, ...]
    kind: str
    begin: float
    end: float
    duration: float


def identity(packet: Any) -> int:
    """Returns a hash of a packet's time stamp, size and place in the file, which are the same after every seek."""
    return hash((packet.pts, packet.size, packet.pos))


def open_container(path: Path, stream: int | None = None) -> tuple[Any, Any]:
    """Opens a video file to decode in one thread. The caller must close the container.

    Args:
      path: the file.
      stream: index of a video stream; None takes the first one that can be decoded.

    Returns:
      The container and its video stream.

    Raises:
      UserError: the file is not a video, has no video stream, or FFmpeg has no decoder for that stream.
      av.error.FFmpegError: FFmpeg cannot open the file.
    """
    container = av.open(f"file:{path}", **_ANY_METADATA)  # without "file:", "a:b.mp4" is taken for an address
    try:
        chosen = _video_streams(container, path)[0] if stream is None else container.streams[stream]
        chosen.codec_context.thread_count = 1
        return container, chosen
    except BaseException:
        container.close()
        raise


def count_packets(path: Path, stream: int) -> int:
    """Returns the number of packets of a stream, also of those that an edit list leaves out."""
    with av.open(f"file:{path}", options={"ignore_editlist": "1"}, **_ANY_METADATA) as container:
        return sum(1 for packet in container.demux(container.streams[stream]) if packet.size)


def read_packets(path: Path) -> Packets:
    """Reads all packets of a file.

    Raises:
      UserError: as `open_container`, or no video stream holds a packet.
      av.error.FFmpegError: FFmpeg cannot read the file.
    """
    container, _ = open_container(path)
    with container:
        streams = _video_streams(container, path)
        rows: dict[int, list[tuple[Any, ...]]] = {stream.index: [] for stream in streams}
        fields = {stream.index: make_field_finder(stream.codec_context) for stream in streams}
        ends: dict[int, int] = {}  # stream -> when its last packet ends, in ticks
        claimed = None  # where the last packet of any stream ends in the file
        blank = dict.fromkeys(rows, False)
        seen_key = set()
        gap = 0  # the largest gap between packets since the last video packet
        for packet in container.demux():
            size = packet.size
            if not size:
                continue
            pts, place, index = packet.pts, packet.pos, packet.stream_index
            if pts is not None:
                last = pts + (packet.duration or 0)
                if last > ends.get(index, last - 1):
                    ends[index] = last
            if place is not None and place >= 0:
                if claimed is not None and place > claimed + gap:
                    gap = place - claimed
                claimed = place + size
            if index in rows:
                if index not in seen_key:
                    if packet.is_keyframe:
                        seen_key.add(index)
                    elif not any(bytes(packet)):
                        blank[index] = True
                find = fields[index]
                second = find is not None and find(bytes(packet))
                name = hash((pts, size, place))
                rows[index].append(
                    (pts, packet.dts, packet.is_keyframe, packet.is_discard, second, gap, packet.is_corrupt, size, name)
                )
                gap = 0
        tracks = tuple(
            _track(stream, rows[stream.index], blank[stream.index]) for stream in streams if rows[stream.index]
        )
        if not tracks:
            raise UserError(f"{path}: the video stream has no frames; copy or convert the file again")
        begin = (container.start_time or 0) / av.time_base
        bases = {stream.index: float(stream.time_base or 0) for stream in container.streams}
        end = max([0.0, *(last * bases[index] for index, last in ends.items())])
        return Packets(tracks, container.format.name, begin, end, (container.duration or 0) / av.time_base)


def _track(stream: Any, rows: list[tuple[Any, ...]], blank_start: bool) -> Track:
    """Makes a track of the rows that `read_packets` gathered."""
    pts, dts, keys, hidden, second, unclaimed, marked, sizes, identities = zip(*rows, strict=True)
    context = stream.codec_context
    bare = stream.container.format.name in BARE
    rate = stream.average_rate or stream.guessed_rate
    if bare:
        rate = context.framerate if context.name in TELLING else 0
    if rate and rate >= FASTEST:
        rate = 0
    return Track(
        stream=stream.index,
        # None becomes NaN. FFmpeg makes up the stamps of bare streams.
        pts=np.full(len(pts), np.nan) if bare else np.array(pts, np.float64),
        dts=np.array(dts, np.float64),
        keys=np.array(keys, bool),
        hidden=np.array(hidden, bool),
        second=np.array(second, bool),
        unclaimed=np.array(unclaimed, np.int64),
        marked=np.array(marked, bool),
        sizes=np.array(sizes, np.int64),
        identities=np.array(identities, np.int64),
        tick=float(stream.time_base or 0),
        rate=float(rate or 0),
        declared=stream.frames,
        codec=context.name,
        blank_start=blank_start,
        reordered=bool(context.has_b_frames) and context.name in REORDERING,
    )


def _video_streams(container: Any, path: Path) -> list[Any]:
    """Returns the video streams that are no cover pictures; raises `UserError` if there is none."""
    name = container.format.name
    if name == "tty" or name == "image2" or name.endswith("_pipe"):  # FFmpeg opens text and image files too
        raise UserError(f'{path}: not a video (its content is of the kind "{name}"); expected a video file')
    # the cover picture of an audio file is a video stream, too
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UserError(f"{path}: no video stream (only: {kinds}); expected a video file")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise UserError(f"{path}: FFmpeg has no decoder for its video; convert the file to H.264 in mp4")
    return known
