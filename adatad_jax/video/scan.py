"""The index of a video file, from its packets and without decoding: frame count, times, order, key frames."""

from __future__ import annotations

import dataclasses
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from adatad_jax.errors import UserError
from adatad_jax.video.clock import Clock, Still, read_clock
from adatad_jax.video.packets import Packets, Track, count_packets, identity, read_packets

# Most frames that a container may declare at its end but not hold, or that may fail to decode there.
MISSING_FRAMES_ALLOWED = 5
# Bytes between two packets that belong to none, above which packets were lost there. Headers and indices take less.
LOST_BYTES = 256
LISTED_STILLS = 3
FEW = 0.1  # of the pictures of the fullest track: a track with fewer is no film


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The frames of a video file, in presentation order.

    Attributes:
      count: number of frames, N.
      fps: average frame rate, in frames per second; 0 where nothing tells it.
      times: [N + 1] float64 seconds from the first frame to each frame, ascending, and to the end of the last one.
      places: [P] int64 index of the frame that each packet of the stream holds, in decoding order; -1 for one that an
        edit list hides; None if only decoding shows the order of the frames.
      keys: [k] int64 indices of the key frames, ascending; empty if `places` is None.
      seek_stamps: [k] int64 time stamps to seek to, in ticks of the container.
      sizes: [P] int64 bytes of each packet of the stream, in decoding order.
      starts: identity of a packet at which decoding can start -> its number in decoding order.
      first_key: number of the first packet, in decoding order, at which decoding can start.
      torn: numbers of the packets of which the container reports parts as lost.
      settled: [N] int64; frame i is predicted from no frame after frame settled[i]; None if `places` is None.
      start: seconds of the first frame on the file's own clock.
      lead: seconds from the start of a player's clock, which is the start of the earliest stream, to the first frame.
      stream: index of the video stream in the container.
      kind: FFmpeg's name of the container.
      codec: FFmpeg's name of the codec.
      has_own_times: whether the times are the file's own time stamps, as they are.
      notes: what was repaired, assumed or chosen, in words.
      problem: why the file's own clock cannot be used, in words; empty if it can be.
      lost: stretches where packets are missing, in order; empty if nothing shows that any is.
    """

    count: int
    fps: float
    times: NDArray[np.float64]
    places: NDArray[np.int64] | None
    keys: NDArray[np.int64]
    seek_stamps: NDArray[np.int64]
    sizes: NDArray[np.int64]
    starts: dict[int, int]
    first_key: int
    torn: frozenset[int]
    settled: NDArray[np.int64] | None
    start: float
    lead: float
    stream: int
    kind: str
    codec: str
    has_own_times: bool
    notes: tuple[str, ...]
    problem: str
    lost: tuple[Still, ...]

    def clock(self, fps: float | None = None) -> NDArray[np.float64]:
        """Returns the times of the frames.

        Args:
          fps: a constant frame rate, in frames per second, to use in place of the file's own times.

        Returns:
          [N + 1] float64 seconds from the first frame to each frame, and to the end of the last one.

        Raises:
          UserError: no rate is given, and the file's own clock cannot be used.
        """
        if fps is not None:
            return np.arange(self.count + 1) / fps
        if self.problem:
            raise UserError(self.problem)
        return self.times

    def in_order(self, numbers: list[int]) -> PacketIndex | None:
        """Returns the index with another order of frames: the time stamps tell their times, but not their order.

        Args:
          numbers: those of the packets that begin a frame, in the order in which decoding yields the frames.

        Returns:
          The index; None if these are not all frames, each once.
        """
        assert self.places is not None
        order = self.places[np.array(numbers, np.int64)]
        if not np.array_equal(np.sort(order), np.arange(self.count)):
            return None
        moved = np.empty(self.count, np.int64)  # index by time stamps -> index by decoding
        moved[order] = np.arange(self.count)
        places = np.where(self.places >= 0, moved[self.places], -1)
        by_place = np.argsort(moved[self.keys])
        own = places[np.sort(numbers)]
        settled = np.empty(self.count, np.int64)
        settled[own] = np.maximum.accumulate(own)
        return dataclasses.replace(
            self,
            places=places,
            keys=moved[self.keys][by_place],
            seek_stamps=self.seek_stamps[by_place],
            settled=settled,
        )

    def key_before(self, index: int) -> int:
        """Returns where decoding must start to reach frame `index`: the last key frame up to it, or the first frame."""
        place = int(np.searchsorted(self.keys, index, side="right"))
        return int(self.keys[place - 1]) if place else 0

    def seek_stamp(self, key: int) -> int | None:
        """Returns the time stamp to seek to for key frame `key`, in ticks; None if it is not known."""
        place = int(np.searchsorted(self.keys, key))
        known = place < len(self.keys) and self.keys[place] == key
        return int(self.seek_stamps[place]) if known else None

    def number(self, packet: Any) -> int | None:
        """Returns the number of a packet in decoding order if decoding can start at it, else None."""
        return self.starts.get(identity(packet))


def scan(path: Path) -> PacketIndex:
    """Reads the packets of a video file. The index of an unchanged file (same size and time of change) is cached.

    Of several video streams, the longest one counts.

    Raises:
      UserError: the file is missing, empty, not a video, without a video stream or frames, or cut short.
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


@lru_cache(maxsize=256)  # 32 bytes per frame: an hour at 30 frames per second takes 3.5 MB
def _scan(path: Path, size: int, changed: int) -> PacketIndex:
    """Reads the packets; `size` and `changed` only tell versions of a file apart in the cache."""
    try:
        packets = read_packets(path)
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: not a video, or damaged ({error.strerror}); copy or convert it again") from None
    most = max(len(track.pts) for track in packets.tracks)
    films = [track for track in packets.tracks if len(track.pts) > FEW * most]  # others are slides or thumbnails
    track = max(films, key=lambda track: (track.span, len(track.pts)))
    if not (~track.hidden & ~track.second).any():  # an edit list may hide some
        raise UserError(f"{path}: the video stream has no frames; copy or convert the file again")
    _require_whole(path, packets, track)
    clock = read_clock(track, packets.kind)
    notes = list(clock.notes)
    if len(packets.tracks) > 1:
        others = ", ".join(f"{one.span:.2f} s" for one in packets.tracks if one is not track)
        notes.append(
            f"{len(packets.tracks)} video tracks: read number {track.stream}, the longest film with {track.span:.2f} s "
            f"(the others: {others})"
        )
    if track.all_marked_keys:
        notes.append(f"every frame is marked as a key frame, which {track.codec} rarely has: read from the start")
    lost = _lost(clock, track, packets.kind)
    if clock.stills and not lost:
        notes.append(_still_note(clock))
    advice = "give its frames per second to detect (--fps), or convert it (constant rate) to mp4"
    problem = f"{path}: {clock.problem}; {advice}" if clock.problem else ""
    return _index(track, clock, packets, tuple(notes), problem, lost)


def _index(
    track: Track, clock: Clock, packets: Packets, notes: tuple[str, ...], problem: str, lost: tuple[Still, ...]
) -> PacketIndex:
    """Gathers what a reader needs to find its frames."""
    places, starts = clock.places, {}
    keys = np.flatnonzero(track.keys & ~track.second)
    if track.all_marked_keys:
        keys = keys[:1]
    names, counts = np.unique(track.identities[keys], return_counts=True)
    once = set(names[counts == 1].tolist())
    starts = {name: int(key) for key in keys if (name := int(track.identities[key])) in once}
    settled, shown = None, np.empty(0, np.int64)
    if places is not None:
        own = places[(places >= 0) & ~track.second]
        settled = np.empty(len(own), np.int64)
        settled[own] = np.maximum.accumulate(own)
        stamped = ~np.isnan(track.pts[keys])
        shown = keys[(places[keys] >= 0) & stamped]
        shown = shown[np.argsort(places[shown])]
    return PacketIndex(
        count=len(clock.times) - 1,
        fps=clock.fps,
        times=clock.times,
        places=places,
        keys=places[shown] if places is not None else shown,
        seek_stamps=track.pts[shown].astype(np.int64),
        sizes=track.sizes,
        starts=starts,
        # frames of zeros before the first key frame are damage, not a recording that began between two
        first_key=int(keys[0]) if len(keys) and not track.blank_start else 0,
        # Where streams are joined, a packet just before the join is reported too, and is whole: a key frame comes soon.
        torn=frozenset(np.flatnonzero(track.marked[:-2] & ~track.keys[1:-1] & ~track.keys[2:]).tolist()),
        settled=settled,
        start=clock.start,
        lead=max(0.0, clock.start - packets.begin) if places is not None else 0.0,
        stream=track.stream,
        kind=packets.kind,
        codec=track.codec,
        has_own_times=places is not None and not clock.notes,
        notes=notes,
        problem=problem,
        lost=lost,
    )


def _require_whole(path: Path, packets: Packets, track: Track) -> None:
    """Raises `UserError` if a file holds less than it declares."""
    held = len(track.pts)
    if packets.kind.startswith("mov,") and track.declared - held > MISSING_FRAMES_ALLOWED:
        held = count_packets(path, track.stream)
    if packets.kind == "avi" and not np.isnan(track.dts).any():  # a frame that was dropped has a number and no bytes
        held = max(held, int(np.ptp(track.dts)) + 1)
    if track.declared - held > MISSING_FRAMES_ALLOWED:
        raise UserError(
            f"{path}: declares {track.declared} frames but holds only {held}: cut short; copy or download it again"
        )
    # Matroska declares no frame count, only the duration of its longest stream
    missing = (packets.duration - packets.end) * track.rate
    if packets.kind.startswith("matroska") and missing > MISSING_FRAMES_ALLOWED:
        raise UserError(
            f"{path}: declares {packets.duration:.2f} s but ends after {packets.end:.2f} s: cut short; copy or "
            "download it again"
        )


def _lost(clock: Clock, track: Track, kind: str) -> tuple[Still, ...]:
    """Returns the stretches without a frame where packets are missing.

    A stretch without a frame is no damage in itself: recorders of screens write none while nothing moves. But then the
    file has no bytes there that belong to no packet, and reports no loss.
    """
    if kind.startswith("mov,") or clock.places is None:  # mov, mp4: tables locate each frame
        return ()
    holders = np.empty(len(clock.times) - 1, np.int64)  # the packet that begins each frame
    begins = np.flatnonzero((clock.places >= 0) & ~track.second)
    holders[clock.places[begins]] = begins
    usual = float(np.median(track.unclaimed))
    losses = []
    for still in clock.stills:
        after = int(holders[still.frame + 1])
        around = slice(max(0, after - 1), after + 2)
        strays = track.unclaimed[around].max() > LOST_BYTES + 20 * usual
        if track.marked[around].any() or (strays and kind != "mpegts"):  # a transport stream may be padded
            losses.append(still)
    return tuple(losses)


def _still_note(clock: Clock) -> str:
    """Returns a note about stretches without a new frame."""
    total = sum(still.seconds for still in clock.stills)
    listed = ", ".join(
        f"{still.seconds:.2f} s after {clock.times[still.frame]:.2f} s" for still in clock.stills[:LISTED_STILLS]
    )
    more = ", ..." if len(clock.stills) > LISTED_STILLS else ""
    return (
        f"no new frame in {len(clock.stills)} stretches of {total:.2f} s in all ({listed}{more}): the frame before "
        "each stands still"
    )
