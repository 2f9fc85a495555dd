"""Repair of time stamps that should ascend: which to believe, and what stands for the others.

The choice is the cheapest one under a few costs, found by dynamic programming around the faults. It believes as many
stamps as can be, with as few breaks of the clock as can be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

JUMP = 600.0  # seconds; a longer step is a fault of the clock, unless such steps are ordinary in the file
JUMP_STEPS = 20  # times the ordinary step: a jump is longer than that, too
STILL = 0.5  # seconds; a longer step in a video of otherwise steady rate is a still stretch
BREAK_COST = 24.5  # the clock is taken to break only if more frames in a row than this would be wrong otherwise
LEAP_COST = 2.0  # one wrong stamp is likelier than a clock that stands still for a while
LOOK_BACK = 64  # frames between two believed stamps, at most
CROWDED = 0.75  # steps that may be missing between two believed stamps, given the number of frames between
LONGEST_RUN = 12  # most frames with one stamp that may be due to rounding
COARSE = 0.1  # share of repeated stamps from which on all may be rounded to more than the step of the frames
# A constant rate is taken for the true one if so many repaired times are within so many of its steps, or of the steps
# of the rounding, and none is farther off than so many steps.
MOSTLY, EVEN, ROUNDING, ASTRAY, ALIKE = 0.8, 0.2, 0.55, 3, 0.02
MILLISECOND = 0.0011  # to which Matroska and FLV round
AROUND = 16  # frames on either side whose median step is the ordinary one, and places that a frame may be moved


def straightened(stamps: Floats, declared: float) -> tuple[Floats | None, list[str]]:
    """Makes stamps ascend.

    Args:
      stamps: [N] seconds, NaN where missing.
      declared: the header's frames per second, or 0.

    Returns:
      [N] seconds, ascending, or None if most stamps contradict each other; and notes on what was changed.
    """
    believed, restarts = believed_stamps(stamps)
    if len(believed) == len(stamps) and not restarts:
        return stamps, []
    # short runs of equal stamps contradict nothing: they are rounded
    _, runs = np.unique(stamps[~np.isnan(stamps)], return_counts=True)
    rounded = len(runs) > 0 and runs.max() <= LONGEST_RUN
    if not len(believed) or (len(believed) + (len(stamps) - len(runs)) * rounded) * 2 < len(stamps):
        return None, []
    step = ordinary_steps(stamps, declared)
    shift = np.zeros(len(stamps))
    for before, after in restarts:
        follows = stamps[before] + shift[before] + step[after] * (after - before)
        shift[after:] = follows - stamps[after]
    indices = np.arange(len(stamps))
    times = np.interp(indices, believed, (stamps + shift)[believed])
    ahead, behind = indices < believed[0], indices > believed[-1]
    if len(believed) > 1:
        rates = np.diff(times[believed]) / np.diff(believed)
        times[ahead] -= np.median(rates[:AROUND]) * (believed[0] - indices[ahead])
        times[behind] += np.median(rates[-AROUND:]) * (indices[behind] - believed[-1])
    return times, _notes(stamps, believed, restarts)


def _notes(stamps: Floats, believed: Places, restarts: list[tuple[int, int]]) -> list[str]:
    """Puts into words what `straightened` changed."""
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


def ordinary_steps(stamps: Floats, declared: float) -> Floats:
    """Returns the ordinary step around each frame.

    It is the median of the ascending steps nearby, shared among the frames whose stamps repeat.

    Args:
      stamps: [N] seconds, NaN where missing.
      declared: the header's frames per second, or 0; for a file without any ascending step.

    Returns:
      [N] seconds.
    """
    steps = np.diff(stamps)
    steps[steps < 0] = np.nan
    steps[steps > far_step(steps)] = np.nan
    overall = _usual(steps) or (1 / declared if declared > 0 else 1.0)
    ordinary = np.full(len(stamps), overall)
    # Only steps near a fault matter, and a window of a sound stretch has a median anyway: a coarse grid will do.
    for start in range(0, len(stamps), AROUND):
        ordinary[start : start + AROUND] = _usual(steps[max(0, start - AROUND) : start + 2 * AROUND]) or overall
    return ordinary


def _usual(steps: Floats) -> float:
    """Returns the median of the ascending steps, shared among the steps of 0; 0.0 if none ascends."""
    ascending = steps[steps > 0]
    return float(np.median(ascending)) * len(ascending) / int((steps >= 0).sum()) if len(ascending) else 0.0


def believed_stamps(stamps: Floats) -> tuple[Places, list[tuple[int, int]]]:
    """Chooses the stamps [N] to believe: as many as can be, with as few restarts of the clock as can be.

    Returns:
      The indices of the believed stamps, and the pairs (last before, first after) of a restart or jump.
    """
    count = len(stamps)
    steps = np.diff(stamps)
    far = far_step(steps)
    faults = np.flatnonzero(~(steps > 0) | (steps > far))
    if not len(faults) and not np.isnan(stamps).any():
        return np.arange(count), []
    ordinary = ordinary_steps(stamps, 0.0)
    keep, restarts = np.ones(count, bool), []
    for start, end in _blocks(faults, count):
        chosen, leaps = _cheapest(stamps[start:end], ordinary[start:end], far, start > 0, end < count)
        keep[start:end] = False
        keep[chosen + start] = True
        restarts += [(before + start, after + start) for before, after in leaps]
    return np.flatnonzero(keep), restarts


def far_step(steps: Floats) -> float:
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

    A stamp that is not believed costs 1, a restart or jump of the clock `BREAK_COST`, a long step `LEAP_COST`.

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
        price = price + np.where(anew | ((between > 1) & (missing > CROWDED)), BREAK_COST, 0.0)
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


def evened(times: Floats, stamps: Floats, declared: float) -> Floats:
    """Returns the times of a constant rate in place of repaired times that agree with one.

    Args:
      times: [N] ascending seconds, made of `stamps` by repairs.
      stamps: [N] seconds in any order, NaN where missing. If many are equal, they are rounded.
      declared: the header's frames per second, or 0. It is preferred to another rate that agrees hardly better.

    Returns:
      [N] seconds. At least four fifths of them differ from `times` by little: a part of a frame, or of the rounding.
    """
    if len(times) < 3:
        return times
    indices = np.arange(len(times))
    steps = np.diff(np.unique(stamps[~np.isnan(stamps)]))
    rounded = len(steps) > 0 and len(steps) + 1 <= (1 - COARSE) * len(stamps)
    fitted = float(np.polyfit(indices, times, 1)[0])
    reach = ROUNDING * float(np.median(steps)) if rounded else EVEN * fitted
    near = np.abs(_off_line(times, fitted)) <= reach
    if near.sum() > 2:  # once more, without what lies far off
        fitted = float(np.polyfit(indices[near], times[near], 1)[0])
    usual = float(np.median(np.diff(times)))
    alike = np.abs(np.diff(times) - usual) <= max(ALIKE * usual, MILLISECOND)
    if alike.mean() >= 0.5 and abs(np.ptp(times) - usual * indices[-1]) < 1.5 * usual:
        fitted, reach = float(np.mean(np.diff(times)[alike])), np.inf  # most steps are alike, and make up the whole
    step = fitted
    if declared > 0 and _spread(times, 1 / declared) <= 1.2 * _spread(times, fitted):
        step = 1 / declared
    off = np.abs(_off_line(times, step))
    if np.isfinite(reach) and ((off <= reach).mean() < MOSTLY or off.max() > max(ASTRAY * step, 2 * reach)):
        return times
    even: Floats = step * indices + np.median(times - step * indices)
    return even


def _spread(times: Floats, step: float) -> float:
    """Returns how far, in seconds, nine tenths of the times [N] are off the constant rate of this step, at most."""
    return float(np.quantile(np.abs(_off_line(times, step)), 0.9))


def _off_line(times: Floats, step: float) -> Floats:
    """Returns by how many seconds each time [N] is off the constant rate of this step."""
    off = times - step * np.arange(len(times))
    centred: Floats = off - np.median(off)
    return centred
