"""Windows, the parts of a video that are one sample each: source frames, ground truth, and conversion to seconds.

The grid of a video has one position every `stride` source frames. A window is the grid positions `first`, ...,
`end - 1`. Each position is represented by `frames_per_position` frames, evenly spread over the stride.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adatad_jax.errors import UserError

RANDOM_WINDOW_TRIES = 200  # the release's rule

FrameIndices = NDArray[np.int64]
Mask = NDArray[np.bool_]


def grid_length(frames: int, stride: int) -> int:
    """Returns the number of grid positions of a video with `frames` source frames: `ceil(frames / stride)`."""
    return -(-frames // stride)


def sliding_windows(
    length: int, window: int, overlap: float, *, release_windows: bool = False
) -> list[tuple[int, int]]:
    """Lays windows over a grid.

    Windows start every `int(window * (1 - overlap))` positions, and a last window ends with the grid. Every position is
    then in some window, and no window occurs twice. The release lays out `max(1, length // step)` starts instead. With
    this rule, a length that is a multiple of the step gives the last window twice, and for overlaps below one half the
    tail of some videos is in no window. `release_windows` reproduces this.

    Args:
      length: number of grid positions of the video.
      window: number of grid positions of a window; a shorter video gets one window of its own length.
      overlap: share of a window that the next window repeats, in [0, 1).
      release_windows: whether to lay out windows as the release does.

    Returns:
      (first, end) of each window, in order; `end` is exclusive.

    Raises:
      UserError: the grid is empty, or the step between windows is less than one position.
    """
    step = int(window * (1 - overlap))
    if length < 1:
        raise UserError(f"a video of {length} grid positions has no window; it needs at least one frame")
    if not 0 <= overlap < 1 or step < 1:
        raise UserError(
            f"window overlap {overlap} with a window of {window} positions gives a step of {step} positions; "
            f"expected an overlap in [0, 1) and a step of at least 1"
        )
    tail = max(0, length - window)
    if not release_windows:
        return [(first, min(first + window, length)) for first in (*range(0, tail, step), tail)]
    firsts = []
    for first in range(0, max(1, length // step) * step, step):
        firsts.append(min(first, tail))
        if first + window > length:
            break
    return [(first, min(first + window, length)) for first in firsts]


def window_frames(
    first: int, end: int, *, total_frames: int, stride: int, frames_per_position: int, window: int
) -> tuple[FrameIndices, Mask]:
    """Returns the source frames of a window (the release's rule).

    Windows are laid out from the annotation's frame count, but frames come from the container, which may hold fewer.
    The end is padded by repeating the last frame.

    Args:
      first: first grid position of the window.
      end: end of the window in grid positions, exclusive; at most `first + window`.
      total_frames: number of frames in the container.
      stride: source frames per grid position; a multiple of `frames_per_position`.
      frames_per_position: number of frames loaded per position.
      window: number of positions of a full window.

    Returns:
      Frame indices [T] int64, T = window * frames_per_position, and a mask [window] bool that is true where all frames
      of a position are in the video. If the window holds less than one whole position, the mask is false everywhere.

    Raises:
      UserError: no frame of the window is in the container, or `stride` is not a multiple of `frames_per_position`.
      ValueError: the positions do not fit the window.
    """
    if end - first > window:
        raise ValueError(f"positions {first} to {end} do not fit a window of {window}")
    frames = _frame_list(total_frames, stride, frames_per_position)
    kept = frames[first * frames_per_position : end * frames_per_position]
    if not len(kept):
        raise UserError(
            f"the window of grid positions {first} to {end - 1} starts at source frame {first * stride}, but the video "
            f"has only {total_frames} frames; the annotation's frame count does not belong to this file"
        )
    return _padded(kept, frames_per_position, window)


@dataclass(frozen=True, eq=False)
class RandomWindow:
    """A random training window.

    Attributes:
      frames: [T] int64 source frame indices, the same number for each position.
      mask: [positions] bool, true for valid positions.
      segments: [G, 2] float32, in grid positions from the start of the window.
      labels: [G] int32 class indices.
      found: whether a window was found in which some segment keeps enough of its length.
    """

    frames: FrameIndices
    mask: Mask
    segments: NDArray[np.float32]
    labels: NDArray[np.int32]
    found: bool


def random_window(
    segments: NDArray[np.float32],
    labels: NDArray[np.int32],
    *,
    total_frames: int,
    stride: int,
    frames_per_position: int,
    window: int,
    trunc_thresh: float,
    crop_ratio: Sequence[float] | None,
    randint: Callable[[int, int], int],
) -> RandomWindow:
    """Draws a training window (the release's rule).

    Starts are drawn, up to 200 times, until some segment keeps at least `trunc_thresh` of its length inside the window.
    Segments that keep less are dropped, and the others are cut to the window. If all tries fail, the last window is
    used without segments. A video that fits into the window is first cropped to a random share of its length. Without a
    crop ratio, or if the crop has the full length, the video is returned whole and its segments stay as they are.

    Args:
      segments: [G, 2] in grid positions of the video.
      labels: [G] int32 class indices.
      total_frames: number of frames in the container.
      stride: source frames per grid position; a multiple of `frames_per_position`.
      frames_per_position: number of frames loaded per position.
      window: number of positions of the window.
      trunc_thresh: smallest share of a segment's length that must lie inside to keep the segment.
      crop_ratio: smallest and largest share of its length to which a video that fits into the window is cropped, or
        None.
      randint: draws a whole number between its two arguments, both included.

    Returns:
      The window. Its `found` is false if no try kept a segment.

    Raises:
      UserError: the video has no frames, or `stride` is not a multiple of `frames_per_position`.
    """
    if total_frames < 1:
        raise UserError(f"a video of {total_frames} frames has no window; it needs at least one frame")
    s = frames_per_position
    frames = _frame_list(total_frames, stride, s)
    n, length = len(frames), window * s
    scaled = np.asarray(segments, np.float32) * np.float32(s)
    if n <= length:
        length = n
        if crop_ratio is not None:
            length = randint(max(round(crop_ratio[0] * n), 1), min(round(crop_ratio[1] * n), n))
        if length == n:
            return RandomWindow(*_padded(frames, s, window), scaled / np.float32(s), labels, found=True)
    full = scaled[:, 1] - scaled[:, 0]
    for _ in range(RANDOM_WINDOW_TRIES):
        start = randint(0, n - length)
        cut = np.clip(scaled, np.float32(start), np.float32(start + length))
        # a segment of length 0 has no share, so no threshold keeps it
        ratio = np.divide(cut[:, 1] - cut[:, 0], full, out=np.full_like(full, -1), where=full > 0)
        kept = ratio >= trunc_thresh
        if kept.any():
            break
    cut = (cut[kept] - np.float32(start)) / np.float32(s)
    return RandomWindow(*_padded(frames[start : start + length], s, window), cut, labels[kept], found=bool(kept.any()))


def resize_sampling(*, total_frames: int, positions: int, frames_per_position: int) -> tuple[FrameIndices, Mask]:
    """Returns source frames that spread a fixed number of positions over a whole video.

    This is sampling by `resize` (the release's rule).

    Args:
      total_frames: number of frames in the container.
      positions: number of grid positions that the video is resized to.
      frames_per_position: number of frames loaded per position.

    Returns:
      Frame indices [T] int64, T = positions * frames_per_position, and a mask [positions] bool that is true everywhere.

    Raises:
      UserError: the video has no frames.
    """
    if total_frames < 1:
        raise UserError(f"a video of {total_frames} frames cannot be resampled; it needs at least one frame")
    count = positions * frames_per_position
    step = total_frames / count
    # as in the release, np.arange decides the last bit of every centre (start + i * step would round differently);
    # for some lengths it returns one entry too many
    centres = np.arange(step / 2 - 0.5, total_frames + step / 2 - 0.5, step)[:count]
    return np.clip(centres, 0, total_frames - 1).round().astype(np.int64), np.ones(positions, bool)


def resize_ground_truth(segments: NDArray[np.float32], *, duration: float, positions: int) -> NDArray[np.float32]:
    """Converts segments from seconds to positions of `resize_sampling`, cut to the video (the release's rule).

    Args:
      segments: [G, 2] float32 in seconds.
      duration: duration of the video, in seconds.
      positions: number of grid positions that the video is resized to.

    Returns:
      [G, 2] float32 in grid positions.
    """
    share = np.asarray(segments, np.float32) / np.float32(duration)
    result: NDArray[np.float32] = np.clip(share, np.float32(0), np.float32(1)) * np.float32(positions)
    return result


def to_seconds(
    segments: NDArray[np.float32],
    *,
    stride: int,
    window_start_frame: int,
    fps: float,
    duration: float,
) -> NDArray[np.float32]:
    """Converts segments from grid positions of a window to seconds of the video, clipped to [0, duration].

    Args:
      segments: [G, 2] float32 in grid positions.
      stride: source frames per grid position.
      window_start_frame: source frame of position 0.
      fps: source frames per second (the annotation's frames / duration, or the fixed rate).
      duration: duration of the video, in seconds.

    Returns:
      [G, 2] float32 in seconds.
    """
    # float(): a numpy scalar, such as an int64 frame index, would promote the arithmetic to float64
    frames = np.asarray(segments, np.float32) * float(stride) + float(window_start_frame)
    result: NDArray[np.float32] = np.clip(frames / float(fps), 0, float(duration))
    return result


def resized_to_seconds(segments: NDArray[np.float32], *, positions: int, duration: float) -> NDArray[np.float32]:
    """Converts as `to_seconds` does, for a window that is the whole video, resampled to `positions` grid positions."""
    seconds = np.asarray(segments, np.float32) / float(positions) * float(duration)
    result: NDArray[np.float32] = np.clip(seconds, 0, float(duration))
    return result


def _frame_list(total_frames: int, stride: int, frames_per_position: int) -> FrameIndices:
    """Returns every source frame that the grid can load; raises `UserError` if they do not spread over the stride."""
    if stride % frames_per_position:
        raise UserError(
            f"{frames_per_position} frames per position cannot be spread evenly over a stride of {stride} source "
            f"frames; the stride (feature stride x sample stride) must be a multiple of the frames per position"
        )
    return np.arange(0, total_frames, stride // frames_per_position)


def _padded(frames: FrameIndices, frames_per_position: int, window: int) -> tuple[FrameIndices, Mask]:
    """Fills a window by repeating its last frame; masks the positions whose frames are not all real."""
    valid = len(frames) // frames_per_position
    padded = np.pad(frames, (0, window * frames_per_position - len(frames)), mode="edge")
    return padded, np.arange(window) < valid
