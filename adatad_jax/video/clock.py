"""The clock of a video file: which time stamps are believed, and what is put in place of the others.

| what the packets show | what is believed |
|---|---|
| every frame has a stamp of its own, ascending in the order of presentation | the stamps, whatever the header's rate |
| a stamp is missing, repeats the one before, or lies outside its neighbours, for up to 24 frames in a row | its \
neighbours: the frames between them are spread evenly; noted |
| the stamps start anew at an earlier time and go on from there (joined streams) | each part on its own clock; it \
follows the part before after one step; noted |
| the stamps leap ahead by more than 10 minutes, and by more than 20 ordinary steps | as above; the leap is noted |
| no new frame for half a second and five usual steps, now and then | the stamps: the frame before stands still; noted |
| repaired stamps that differ by at most a frame, or by their rounding, from a constant rate | this rate |
| runs of more than 12 equal stamps, most of all stamps | none: see the last line |
| no stamps, as in AVI with B-frames | the header's rate, and the numbers of frames that were dropped |
| no stamps and no rate, as in bare streams, or stamps of which most are wrong | nothing: the frame rate must be given |

A clock may start late or below zero: the first frame is second 0. A wrong stamp on either end continues at the
ordinary step. What a stretch of a file says of the ordinary step is the median over the frames around.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adatad_jax.video.packets import REORDERING, Track
from adatad_jax.video.reordering import reordered
from adatad_jax.video.stamps import STILL, Floats, Places, evened, straightened

# Share of frames that differ in their two time stamps, from which on that is no fault, but the order of decoding.
MOST_FAULTS = 0.2
# A still stretch is longer than this many usual steps; if more than this share of the steps are, none is.
STILL_STEPS, MOST_STILLS = 5, 0.2
# The last frame lasts as long as the average one, unless that is so many times the median step of the last frames.
LAST, LONGER = 8, 1.5
AGREES = 0.01, 1.01  # the header's rate counts if it is off by such a share at most, and by so many frames in all


class Still(NamedTuple):
    """A stretch without a new frame.

    Attributes:
      frame: index of the frame that stands still.
      seconds: its length.
    """

    frame: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Clock:
    """When the frames of a track are shown.

    Attributes:
      times: [N + 1] float64 seconds from the first frame to each frame, ascending, and to the end of the last one.
      start: seconds of the first frame on the file's own clock.
      places: [P] int64 index of the frame that each packet holds, -1 for a hidden one; None where only decoding shows
        the order of the frames.
      fps: frames per second on average.
      notes: what was put in place of stamps, in words; empty if all are believed.
      stills: stretches without a new frame.
      problem: why there is no clock, in words; empty if there is one.
    """

    times: Floats
    start: float
    places: Places | None
    fps: float
    notes: tuple[str, ...] = ()
    stills: tuple[Still, ...] = ()
    problem: str = ""


def read_clock(track: Track, kind: str) -> Clock:
    """Finds the times and the order of a track's frames by the rules of the module's table.

    Args:
      track: the packets; at least one holds a frame that is shown.
      kind: FFmpeg's name of the container.
    """
    first = np.flatnonzero(~track.hidden & ~track.second)  # the packets that begin a frame
    pts, dts = track.pts[first] * track.tick, track.dts[first] * track.tick
    count = len(first)
    # AVI stores no presentation time stamps, and with B-frames those that FFmpeg makes up are wrong
    if np.isnan(pts).mean() > 0.5 or (kind == "avi" and track.reordered):
        if track.rate <= 0:
            return _no_clock(count, "it has neither time stamps nor a frame rate")
        if kind == "avi" and np.ptp(dts) * track.rate > count - 0.5:  # frames were dropped: they only have numbers
            return Clock(np.append(dts, dts[-1] + 1 / track.rate) - dts[0], 0.0, None, track.rate)
        return Clock(np.arange(count + 1) / track.rate, 0.0, None, track.rate)
    # a header describes the first of joined streams
    if track.reordered or (track.codec in REORDERING and (pts != dts).mean() > MOST_FAULTS):
        order, times, notes = reordered(pts, dts, track.rate)
    else:
        times, notes = straightened(pts, track.rate)
        order = np.arange(count)
    if times is None:
        return _no_clock(count, "most of its time stamps contradict each other")
    steps = np.diff(times)
    crowded = order is not None and track.reordered and count > 1 and bool(steps.min() < np.median(steps) / 2)
    if notes or crowded:
        times = evened(times, pts, track.rate)
    start = float(times[0])
    places = None if order is None else _places(track, first, order)
    stills = _stills(times)
    fps = _average_rate(times - start, track.rate, stills)
    if fps <= 0:
        return _no_clock(count, "it has one time stamp and no frame rate")
    last = 1 / fps
    if count > 1 and last > LONGER * (near := float(np.median(np.diff(times[-LAST:])))):
        last = near
    return Clock(np.append(times, times[-1] + last) - start, start, places, fps, tuple(notes), stills)


def _no_clock(count: int, problem: str) -> Clock:
    """Returns the clock of a file that shows none."""
    return Clock(np.zeros(count + 1), 0.0, None, 0.0, problem=problem)


def _places(track: Track, first: Places, order: Places) -> Places:
    """Returns the index of each packet's frame; `order` [N] holds the frames, in decoding order, as presented."""
    places = np.full(len(track.pts), -1, np.int64)
    places[first[order]] = np.arange(len(order))
    seconds = np.flatnonzero(track.second)
    places[seconds] = places[seconds - 1]
    return places


def _average_rate(times: Floats, declared: float, stills: tuple[Still, ...] = ()) -> float:
    """Returns frames per second on average, outside of still stretches.

    The header's figure is taken where every stamp agrees with it to a frame: it is more exact, as stamps are often
    rounded to milliseconds.
    """
    moving = float(times[-1]) - sum(still.seconds for still in stills)
    if len(times) < 2 or moving <= 0:
        return declared
    average = (len(times) - 1 - len(stills)) / moving
    agrees = declared > 0 and abs(average / declared - 1) <= AGREES[0]
    if agrees and (stills or np.abs(times * declared - np.arange(len(times))).max() <= AGREES[1]):
        return declared
    return average


def _stills(times: Floats) -> tuple[Still, ...]:
    """Returns the stretches without a new frame, in order."""
    steps = np.diff(times)
    if not len(steps):
        return ()
    long = np.flatnonzero(steps > max(STILL, STILL_STEPS * float(np.median(steps))))
    return (
        tuple(Still(int(frame), float(steps[frame])) for frame in long) if len(long) <= MOST_STILLS * len(steps) else ()
    )
