"""The clock of a video file: which time stamps are believed, and what is put in place of the others.

| what the packets show | what is believed |
|---|---|
| every frame has a stamp of its own, ascending in the order of presentation | the stamps, whatever the header's rate |
| a stamp is missing, repeats the one before, or lies outside its neighbours, for up to 24 frames in a row | its \
neighbours: the frames between them are spread evenly; noted |
| the stamps start anew at an earlier time and go on from there (joined streams) | each part on its own clock; it \
follows the part before after one step; noted |
| the stamps leap ahead by more than 10 minutes, and by more than 20 ordinary steps | as above; the leap is noted |
| no new frame for more than half a second, else a steady rate | the stamps: the frame before stands still; noted |
| no stamps, as in AVI with B-frames | the header's rate |
| no stamps and no rate, or stamps of which most are wrong | nothing: the frame rate must be given |

A clock may start late or below zero: the first frame is second 0. A wrong stamp on either end continues at the
ordinary step. What a stretch of a file says of the ordinary step is the median over the frames around.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adatad_jax.video.packets import REORDERING, Track

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

JUMP = 600.0  # seconds; a longer step is a fault of the clock, unless such steps are ordinary in the file
JUMP_STEPS = 20  # times the ordinary step: a jump is longer than that, too
STILL = 0.5  # seconds; a longer step in a video of otherwise steady rate is a still stretch
RESTART_COST = 24.5  # a part of the clock is given up only if more frames in a row than this would be wrong otherwise
LEAP_COST = 2.0  # one wrong stamp is likelier than a clock that stands still for a while
LOOK_BACK = 64  # frames between two believed stamps, at most
CROWDED = 0.75  # steps that may be missing between two believed stamps, given the number of frames between
AROUND = 16  # frames on either side whose median step is the ordinary one, and places that a frame may be moved
MOST_FAULTS = 0.05  # share of descending stamps above which they are no faults, but the order of decoding


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
      stills: stretches without a new frame in a video of otherwise steady rate.
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
        return Clock(np.arange(count + 1) / track.rate, 0.0, None, track.rate)
    descents = float((np.diff(pts) < 0).mean()) if count > 1 else 0.0
    # a header describes the first of joined streams
    if track.reordered or (track.codec in REORDERING and descents > MOST_FAULTS):
        order, times, notes = _reordered(pts, dts, track.rate)
    else:
        times, notes = _straightened(pts, track.rate)
        order = np.arange(count)
    if times is None:
        return _no_clock(count, "most of its time stamps contradict each other")
    start = float(times[0])
    places = None if order is None else _places(track, first, order)
    fps = _average_rate(times - start, track.rate)
    if fps <= 0:
        return _no_clock(count, "it has one time stamp and no frame rate")
    whole = np.append(times - start, times[-1] - start + 1 / fps)
    return Clock(whole, start, places, fps, tuple(notes), _stills(times))


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


def _average_rate(times: Floats, declared: float) -> float:
    """Returns frames per second: the header's figure where every stamp agrees with it, as it is more exact.

    Stamps are often rounded to milliseconds.
    """
    if len(times) < 2 or times[-1] <= 0:
        return declared
    average = float((len(times) - 1) / times[-1])
    agrees = declared > 0 and abs(average / declared - 1) <= 0.01
    if agrees and np.abs(times * declared - np.arange(len(times))).max() <= 0.5:
        return declared
    return average


def _stills(times: Floats) -> tuple[Still, ...]:
    steps = np.diff(times)
    if not len(steps) or steps.max() <= STILL or np.quantile(steps, 0.95) >= min(1.5 * np.median(steps), STILL):
        return ()
    return tuple(Still(int(frame), float(steps[frame])) for frame in np.flatnonzero(steps > STILL))


def _straightened(stamps: Floats, declared: float) -> tuple[Floats | None, list[str]]:
    """Makes stamps [N], in seconds, NaN where missing, ascend; returns them and notes, None if most are wrong."""
    believed, restarts = _believed(stamps)
    if len(believed) == len(stamps) and not restarts:
        return stamps, []
    if len(believed) * 2 < len(stamps):
        return None, []
    step = _ordinary_steps(stamps, declared)
    shift = np.zeros(len(stamps))
    for before, after in restarts:
        follows = stamps[before] + shift[before] + step[after] * (after - before)
        shift[after:] = follows - stamps[after]
    indices = np.arange(len(stamps))
    times = np.interp(indices, believed, (stamps + shift)[believed])
    ahead, behind = indices < believed[0], indices > believed[-1]
    times[ahead] -= step[0] * (believed[0] - indices[ahead])
    times[behind] += step[-1] * (indices[behind] - believed[-1])
    return times, _notes(stamps, believed, restarts)


def _notes(stamps: Floats, believed: Places, restarts: list[tuple[int, int]]) -> list[str]:
    """Puts into words what `_straightened` changed."""
    wrong = np.setdiff1d(np.arange(len(stamps)), believed)
    missing = int(np.isnan(stamps[wrong]).sum())
    before = believed[np.maximum(np.searchsorted(believed, wrong) - 1, 0)]
    repeated = int((stamps[wrong] == stamps[before]).sum())
    astray = [int(frame) for frame in wrong if not np.isnan(stamps[frame]) and stamps[frame] != stamps[believed].max()]
    notes = []
    if missing:
        notes.append(f"{missing} of {len(stamps)} time stamps are missing: placed evenly between their neighbours")
    if repeated:
        notes.append(f"{repeated} of {len(stamps)} time stamps repeat the one before: placed evenly between neighbours")
    if others := len(wrong) - missing - repeated:
        far = max(astray, key=lambda frame: abs(_offset(stamps, believed, frame)))
        offset = _offset(stamps, believed, far)
        what = "the clock jumps" if abs(offset) > JUMP else "the farthest is off"
        notes.append(
            f"{others} of {len(stamps)} time stamps do not fit their neighbours ({what} by {abs(offset):.2f} s at "
            f"frame {far}): placed evenly between neighbours"
        )
    for before_it, after in restarts:
        leap = float(stamps[after] - stamps[before_it])
        what = f"starts anew, {-leap:.2f} s earlier," if leap <= 0 else f"jumps ahead by {leap:.2f} s"
        notes.append(f"the clock {what} at frame {after}: taken to go on at the ordinary step")
    return notes


def _offset(stamps: Floats, believed: Places, frame: int) -> float:
    """Returns how far a wrong stamp is from the nearest believed one's time."""
    nearest = believed[np.abs(believed - frame).argmin()]
    return float(stamps[frame] - stamps[nearest])


def _ordinary_steps(stamps: Floats, declared: float) -> Floats:
    """Returns the ordinary step around each frame [N], in seconds: the median of the ascending steps nearby."""
    steps = np.diff(stamps)
    steps[~(steps > 0)] = np.nan
    known = steps[steps <= JUMP] if (steps <= JUMP).any() else steps[~np.isnan(steps)]
    overall = float(np.median(known)) if len(known) else 1 / declared if declared > 0 else 1.0
    steps[steps > max(JUMP, JUMP_STEPS * overall)] = np.nan
    ordinary = np.full(len(stamps), overall)
    # Only steps near a fault matter, and a window of a sound stretch has a median anyway: a coarse grid will do.
    for start in range(0, len(stamps), AROUND):
        near = steps[max(0, start - AROUND) : start + 2 * AROUND]
        near = near[~np.isnan(near)]
        if len(near):
            ordinary[start : start + AROUND] = np.median(near)
    return ordinary


def _believed(stamps: Floats) -> tuple[Places, list[tuple[int, int]]]:
    """Chooses the stamps [N] to believe: as many as can be, with as few restarts of the clock as can be.

    Returns:
      The indices of the believed stamps, and the pairs (last before, first after) of a restart or jump.
    """
    count = len(stamps)
    steps = np.diff(stamps)
    far = _far(steps)
    faults = np.flatnonzero(~(steps > 0) | (steps > far))
    if not len(faults) and not np.isnan(stamps).any():
        return np.arange(count), []
    ordinary = _ordinary_steps(stamps, 0.0)
    keep, restarts = np.ones(count, bool), []
    for start, end in _blocks(faults, count):
        chosen, leaps = _cheapest(stamps[start:end], ordinary[start:end], far, start > 0, end < count)
        keep[start:end] = False
        keep[chosen + start] = True
        restarts += [(before + start, after + start) for before, after in leaps]
    return np.flatnonzero(keep), restarts


def _far(steps: Floats) -> float:
    """Returns the length, in seconds, above which a step is a jump of the clock."""
    ascending = steps[steps > 0]
    return max(JUMP, JUMP_STEPS * float(np.median(ascending))) if len(ascending) else JUMP


def _blocks(faults: Places, count: int) -> list[tuple[int, int]]:
    """Returns the ranges of frames around faults, which may hold wrong stamps, apart from each other."""
    blocks: list[tuple[int, int]] = []
    for fault in faults.tolist():
        start, end = max(0, fault - LOOK_BACK), min(count, fault + LOOK_BACK + 2)
        if blocks and start <= blocks[-1][1]:
            blocks[-1] = blocks[-1][0], end
        else:
            blocks.append((start, end))
    return blocks


def _cheapest(
    stamps: Floats, ordinary: Floats, far: float, from_first: bool, to_last: bool
) -> tuple[Places, list[tuple[int, int]]]:
    """Finds the cheapest choice of believed stamps in a block by dynamic programming.

    A stamp that is not believed costs 1, a restart or jump of the clock `RESTART_COST`, a long step `LEAP_COST`.

    Args:
      stamps: [n] seconds; NaN where missing.
      ordinary: [n] seconds, the ordinary step at each frame.
      far: seconds, above which a step is a jump.
      from_first: whether the first stamp must be believed.
      to_last: whether the last stamp must be believed.

    Returns:
      Indices of the believed stamps, and the pairs (last before, first after) of a restart or jump.
    """
    count = len(stamps)
    cost = np.arange(count, dtype=np.float64)  # of believing frame i as the first one
    if from_first:
        cost[1:] = np.inf
    came = np.full(count, -1)
    restarted = np.zeros(count, bool)
    cost[np.isnan(stamps)] = np.inf
    for frame in range(1, count):
        if np.isnan(stamps[frame]):
            continue
        low = max(0, frame - LOOK_BACK)
        before = np.arange(low, frame)
        step = stamps[frame] - stamps[low:frame]
        between = frame - before
        missing = between - step / ordinary[frame]
        anew = (step < 0) | (step > far)
        price = cost[low:frame] + between - 1
        price = price + np.where(anew | ((between > 1) & (missing > CROWDED)), RESTART_COST, 0.0)
        price = price + np.where(~anew & (step > np.maximum(STILL, 3 * between * ordinary[frame])), LEAP_COST, 0.0)
        price[(step == 0) | np.isnan(step)] = np.inf
        best = int(price.argmin())
        if price[best] < cost[frame]:
            cost[frame], came[frame], restarted[frame] = price[best], low + best, anew[best]
    total = cost + np.arange(count)[::-1]
    last = count - 1 if to_last and np.isfinite(cost[-1]) else int(total.argmin())
    chosen, leaps = [last], []
    while came[last] >= 0:
        if restarted[last]:
            leaps.append((int(came[last]), last))
        last = int(came[last])
        chosen.append(last)
    return np.array(chosen[::-1]), leaps[::-1]


def _reordered(pts: Floats, dts: Floats, declared: float) -> tuple[Places | None, Floats | None, list[str]]:
    """Finds order and times of frames that are presented in another order than they are decoded in.

    The decoding stamps, which ascend, show where the clock starts anew. Where presentation stamps are wrong, only
    decoding shows the order of the frames. Their times are then the decoding stamps, if these are steady, or else the
    right stamps and the middles of the longest steps between these.

    Args:
      pts: [N] presentation stamps in decoding order, in seconds, NaN where missing.
      dts: [N] decoding stamps, likewise.
      declared: the header's frames per second.

    Returns:
      [N] frames in order of presentation, or None; [N] ascending times, or None if most stamps are wrong; and notes.
    """
    count = len(pts)
    order = np.argsort(pts, kind="stable")
    times = pts[order]
    if _is_steady(dts) and not _is_steady(times):
        even = dts - dts[0] + np.nanmin(pts)
        astray = int((~(np.abs(times - even) <= np.diff(dts).mean() / 2)).sum())
        return None, even, [f"{astray} of {count} time stamps do not fit the others: decoding stamps used instead"]
    steps = np.diff(times)
    is_sound = not np.isnan(pts).any() and not (~(steps > 0) | (steps > _far(steps))).any()
    if is_sound and _moved(pts).max(initial=0) <= AROUND:
        return order, times, []
    guide = pts if np.isnan(dts).mean() > 0.5 else dts
    smooth, notes = _straightened(guide, declared)
    if smooth is None:
        return None, None, []
    _, restarts = _believed(guide)
    shifted, wrong = _joined(pts, [0, *(after for _, after in restarts), count], _ordinary_steps(guide, declared))
    return *_filled(shifted, wrong, _ordinary_steps(guide, declared), notes), notes


def _is_steady(stamps: Floats) -> bool:
    """Tells whether all stamps are there and their steps are alike, within half of the usual step."""
    steps = np.diff(stamps)
    usual = np.median(steps) if len(steps) else np.nan
    return bool((np.abs(steps - usual) < usual / 2).all()) and not np.isnan(stamps).any()


def _moved(stamps: Floats) -> Places:
    """Returns by how many places [N] each stamp would move if they were sorted."""
    ranks = np.empty(len(stamps), np.int64)
    ranks[np.argsort(stamps, kind="stable")] = np.arange(len(stamps))
    moved: Places = np.abs(ranks - np.arange(len(stamps)))
    return moved


def _joined(pts: Floats, bounds: list[int], step: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Puts the parts of a file one after another.

    Args:
      pts: [N] presentation stamps in decoding order, in seconds, NaN where missing.
      bounds: where each part starts, and N.
      step: [N] ordinary step at each frame, in seconds.

    Returns:
      [N] stamps on one clock, and [N] whether each is wrong: missing, or farther from its place than frames are moved.
    """
    shifted, wrong, end = pts.copy(), np.zeros(len(pts), bool), np.nan
    for start, stop in pairwise(bounds):
        part = shifted[start:stop]
        wrong[start:stop] = np.isnan(part) | (_moved(part) > AROUND)
        right = part[~wrong[start:stop]]
        if len(right):
            part += 0.0 if np.isnan(end) else end + step[start] - right.min()
            end = float(part[~wrong[start:stop]].max())
    return shifted, wrong


def _filled(
    stamps: Floats, wrong: NDArray[np.bool_], step: Floats, notes: list[str]
) -> tuple[Places | None, Floats | None]:
    """Returns order and times of frames as `_reordered` does, and adds to its notes; wrong stamps go into gaps."""
    count = len(stamps)
    kept = np.flatnonzero(~wrong)
    by_time = kept[np.argsort(stamps[kept], kind="stable")]
    repeats = np.diff(stamps[by_time], prepend=-np.inf) <= 0
    if not wrong.any() and not repeats.any():
        return by_time, stamps[by_time]
    if 2 * (wrong.sum() + repeats.sum()) > count:
        return None, None
    if repeats.any():
        notes.append(f"{int(repeats.sum())} of {count} time stamps occur twice: one of each pair put into a gap nearby")
    if wrong.any():
        notes.append(f"{int(wrong.sum())} of {count} time stamps are missing or do not fit: put into gaps nearby")
    times = stamps[by_time[~repeats]].tolist()
    for place in [*np.flatnonzero(wrong).tolist(), *by_time[repeats].tolist()]:
        _insert(times, int(place), float(step[place]))
    return None, np.array(times)


def _insert(times: list[float], place: int, step: float) -> None:
    """Inserts a time near index `place` of ascending times, in the middle of the longest step there."""
    low, high = max(0, place - 2 * AROUND), min(len(times), place + 2 * AROUND)
    steps = np.diff(times[low:high])
    if place >= len(times) - 1 and (not len(steps) or steps.max() < 1.5 * step):
        times.append(times[-1] + step)
        return
    longest = low + int(steps.argmax())
    times.insert(longest + 1, (times[longest] + times[longest + 1]) / 2)
