"""Ground truth of a whole video: segments in source frames, seconds or grid positions, and their class indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from adatad_jax.data.annotations import Video
from adatad_jax.errors import UserError


def ground_truth_in_frames(
    video: Video, classes: Sequence[str], ignore_labels: Iterable[str] = (), *, filter_gt: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Returns the segments of a video in source frames, as whole numbers (the release's rule).

    A time becomes frame `int(time / duration * frames)`, or `int(time * fixed_fps)`. A segment that equals an earlier
    one in frames and label is dropped.

    Args:
      video: the video.
      classes: K class names; a label becomes its index in this list.
      ignore_labels: labels whose segments are skipped ("Ambiguous" in THUMOS).
      filter_gt: whether to drop segments whose end frame is not after their start frame.

    Returns:
      Segments [G, 2] float32 in frames, and labels [G] int32, indices into `classes`.

    Raises:
      UserError: a label is neither a class nor ignored, or the frame count of the video is not known.
    """
    if video.frames < 1:
        raise UserError(f'video "{video.name}": its frame count is not known; give "frame" or "fps" in the annotations')
    if video.fixed_fps is None:
        # the order of the operations matters: rounding decides which whole frame is reached
        frames = np.trunc(video.segments / video.duration * video.frames)
    else:
        frames = np.trunc(video.segments * video.fixed_fps)
    long_enough = frames[:, 1] - frames[:, 0] > 0 if filter_gt else np.ones(len(frames), bool)
    return _ground_truth(video, frames, long_enough, classes, ignore_labels)


def ground_truth_in_seconds(
    video: Video, classes: Sequence[str], ignore_labels: Iterable[str] = (), *, filter_gt: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Returns the segments of a video in seconds, for sampling by `resize` (ActivityNet; the release's rule).

    A segment that equals an earlier one in time and label is dropped.

    Args:
      video: the video; its frame count is not needed.
      classes: K class names; a label becomes its index in this list.
      ignore_labels: labels whose segments are skipped.
      filter_gt: whether to drop segments of at most 1% of the duration.

    Returns:
      Segments [G, 2] float32 in seconds, and labels [G] int32, indices into `classes`.

    Raises:
      UserError: a label is neither a class nor ignored.
    """
    share = (video.segments[:, 1] - video.segments[:, 0]) / video.duration
    long_enough = share > 0.01 if filter_gt else np.ones(len(share), bool)
    return _ground_truth(video, video.segments, long_enough, classes, ignore_labels)


def ground_truth_on_grid(
    video: Video,
    classes: Sequence[str],
    ignore_labels: Iterable[str],
    snippet_stride: int,
    *,
    filter_gt: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Returns the segments of a video in grid positions, `frame / snippet_stride` (the release's rule).

    Args:
      video: the video.
      classes: K class names; a label becomes its index in this list.
      ignore_labels: labels whose segments are skipped ("Ambiguous" in THUMOS).
      snippet_stride: source frames per grid position: feature stride times sample stride.
      filter_gt: as in `ground_truth_in_frames`.

    Returns:
      Segments [G, 2] float32 in grid positions, and labels [G] int32; G may be 0.

    Raises:
      UserError: as `ground_truth_in_frames`.
    """
    segments, labels = ground_truth_in_frames(video, classes, ignore_labels, filter_gt=filter_gt)
    return segments / np.float32(snippet_stride), labels


def _ground_truth(
    video: Video,
    segments: NDArray[np.float64],
    long_enough: NDArray[np.bool_],
    classes: Sequence[str],
    ignore_labels: Iterable[str],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Returns the segments and class indices without ignored, too short and repeated segments."""
    index = {label: number for number, label in enumerate(classes)}
    ignored = set(ignore_labels)
    kept: dict[tuple[float, float, str], None] = {}  # an ordered set: the first of equal segments stays
    for (start, end), label, long in zip(segments.tolist(), video.labels, long_enough, strict=True):
        if label not in index and label not in ignored:
            raise UserError(
                f'video "{video.name}": label "{label}" is neither in the class list ({len(index)} classes) nor '
                f"ignored; add it to one of them"
            )
        if long and label not in ignored:
            kept[start, end, label] = None
    return (
        np.array([key[:2] for key in kept], np.float32).reshape(-1, 2),
        np.array([index[label] for _, _, label in kept], np.int32),
    )
