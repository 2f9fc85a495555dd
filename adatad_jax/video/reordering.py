"""Order and times of frames that are presented in another order than they are decoded in.

Decoding stamps ascend, and presentation stamps are these, a little later and sorted otherwise.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from adatad_jax.video.stamps import (
    AROUND,
    Floats,
    Places,
    believed_stamps,
    far_step,
    ordinary_steps,
    straightened,
)

ROOM = 0.3  # of a step: less is jitter


def reordered(pts: Floats, dts: Floats, declared: float) -> tuple[Places | None, Floats | None, list[str]]:
    """Finds order and times of frames that are presented in another order than they are decoded in.

    The decoding stamps show where the clock starts anew. Where presentation stamps are wrong, only decoding shows the
    order of the frames. Their times are then the decoding stamps, if these are steady, or else the right stamps, with
    the other frames in the nearest gaps between these.

    Args:
      pts: [N] presentation stamps in decoding order, in seconds, NaN where missing.
      dts: [N] decoding stamps, likewise.
      declared: the header's frames per second, or 0.

    Returns:
      [N] frames in order of presentation, or None; [N] ascending times, or None if most stamps are wrong; and notes.
    """
    count = len(pts)
    order = np.argsort(pts, kind="stable")
    times = pts[order]
    if count > 1 and _is_steady(dts) and _is_crowded(times, float(np.median(np.diff(dts)))):
        even = dts - dts[0] + np.nanmin(pts)
        astray = int((~(np.abs(times - even) <= np.diff(dts).mean() / 2)).sum())
        return None, even, [f"{astray} of {count} time stamps do not fit the others: decoding stamps used instead"]
    steps = np.diff(times)
    is_sound = not np.isnan(pts).any() and not (~(steps > 0) | (steps > far_step(steps))).any()
    if is_sound and _moved(pts).max(initial=0) <= AROUND:
        return order, times, []
    guide = pts if np.isnan(dts).mean() > 0.5 else dts
    smooth, _ = straightened(guide, declared)
    if smooth is None:
        return None, None, []
    _, breaks = believed_stamps(guide)
    bounds = [0, *(_start_of_part(pts, after) for _, after in breaks), count]
    step = ordinary_steps(guide, declared)
    stamps, wrong = _joined(pts, guide, smooth, bounds, step)
    for start, stop in pairwise(bounds):  # what is wrong with the one stamp is mostly wrong with the other
        moved = (smooth - guide)[start:stop]
        moved[np.diff(guide[start:stop], prepend=np.nan) == 0] = np.nan  # FFmpeg repeats those that it cannot make up
        wrong[start:stop] |= np.abs(moved - _middle(moved)) > AROUND * step[start:stop]
    notes = [
        f"the clock breaks at frame {bound} ({guide[after] - guide[before]:+.2f} s): taken to go on at the usual step"
        for bound, (before, after) in zip(bounds[1:], breaks, strict=False)
    ]
    places, times_or_none, more = _with_wrong_ones(stamps, wrong, step, declared)
    return places, times_or_none, notes + more


def _is_crowded(times: Floats, step: float) -> bool:
    """Tells whether times are missing, or follow each other within half a step; such ones leave gaps elsewhere."""
    return not (np.diff(times) > step / 2).all()


def _is_steady(stamps: Floats) -> bool:
    """Tells whether all stamps are there and their steps are alike, within half of the usual step."""
    steps = np.diff(stamps)
    usual = np.median(steps) if len(steps) else np.nan
    return bool((np.abs(steps - usual) < usual / 2).all()) and not np.isnan(stamps).any()


def _middle(values: Floats) -> float:
    """Returns the median of the values that are known, or 0 if none is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def _moved(stamps: Floats) -> Places:
    """Returns by how many places [N] each stamp would move if they were sorted."""
    ranks = np.empty(len(stamps), np.int64)
    ranks[np.argsort(stamps, kind="stable")] = np.arange(len(stamps))
    moved: Places = np.abs(ranks - np.arange(len(stamps)))
    return moved


def _start_of_part(pts: Floats, after: int) -> int:
    """Returns where a part of joined streams starts, given its first frame whose decoding stamp starts anew.

    FFmpeg makes up decoding stamps by adding steps: the first of a new part may still belong to the clock before.
    """
    while after > 1 and abs(pts[after - 1] - pts[after]) < abs(pts[after - 1] - pts[after - 2]) / 2:
        after -= 1
    return after


def _joined(
    pts: Floats, guide: Floats, smooth: Floats, bounds: list[int], step: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Puts the parts of a file one after another.

    A part of the same stream, after a leap of its clock, is moved as its decoding stamps are. Another stream may be
    presented sooner or later after its decoding: its first frame then follows the last one.

    Args:
      pts: [N] presentation stamps in decoding order, in seconds, NaN where missing.
      guide: [N] decoding stamps, or `pts`.
      smooth: [N] what `straightened` made of them.
      bounds: where each part starts, and N.
      step: [N] ordinary step at each frame, in seconds.

    Returns:
      [N] stamps on one clock, and [N] whether each is wrong: missing, or farther from its place than frames are moved.
    """
    shifted, wrong, end = pts.copy(), np.zeros(len(pts), bool), np.nan
    late_before, moved_more = np.nan, 0.0
    for start, stop in pairwise(bounds):
        part = shifted[start:stop]
        wrong[start:stop] = np.isnan(part) | (_moved(part) > AROUND)
        right = part[~wrong[start:stop]]
        if len(right):
            late = _middle(pts[start:stop] - guide[start:stop])
            moved = _middle(smooth[start:stop] - guide[start:stop])
            if np.isnan(end):
                moved_more = -moved
            elif guide is pts or abs(late - late_before) > step[start] / 2:
                moved_more = end + step[start] - right.min() - moved
            part += moved + moved_more
            late_before = late
            end = float(part[~wrong[start:stop]].max())
    return shifted, wrong


def _with_wrong_ones(
    stamps: Floats, wrong: NDArray[np.bool_], step: Floats, declared: float
) -> tuple[Places | None, Floats | None, list[str]]:
    """Returns what `reordered` does, with the frames of wrong stamps [N] in the nearest gaps between the others."""
    count = len(stamps)
    kept = np.flatnonzero(~wrong)
    by_time = kept[np.argsort(stamps[kept], kind="stable")]
    times: list[float] = stamps[by_time].tolist()
    repeats = int((np.diff(times) <= 0).sum())
    if not wrong.any() and not repeats:
        times_in_order, notes = straightened(stamps[by_time], declared)
        # a stamp that is wrong after all was sorted to a wrong place, too
        return None if notes else by_time, times_in_order, notes
    if 2 * wrong.sum() > count:
        return None, None, []
    notes = []
    if repeats:
        notes.append(f"{repeats} of {count} time stamps repeat another: placed evenly between neighbours")
    if wrong.any():
        notes.append(f"{int(wrong.sum())} of {count} time stamps are missing or do not fit: put into gaps nearby")
    for frame in np.flatnonzero(wrong).tolist():
        times.insert(_gap(np.array(times), frame, float(step[frame])), np.nan)
    span = np.nanmax(times) - np.nanmin(times)
    straight, more = straightened(np.array(times), (count - 1) / span if span > 0 else declared)
    return None, straight, notes + [note for note in more if "missing" not in note and "repeat" not in note]


def _gap(times: Floats, place: int, step: float) -> int:
    """Returns where in ascending times, NaN for frames inserted before, there is room for one more frame near `place`.

    That is the nearest of the steps with the most room, or `place` itself if there is none.
    """
    low, high = max(0, place - 2 * AROUND), min(len(times), place + 2 * AROUND)
    known = low + np.flatnonzero(~np.isnan(times[low:high]))
    room = np.diff(times[known]) / step - np.diff(known)
    if not len(room) or room.max() < ROOM:
        return min(place, len(times))
    free = known[1:][room > 0.9 * room.max()]
    return int(free[np.abs(free - place).argmin()])
