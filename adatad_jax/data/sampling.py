"""The two ways a video becomes windows, each with its way from seconds to grid positions and back.

`RegularGrid`: a position every so many source frames, and windows that slide over it (THUMOS and most others).
`ResizedVideo`: the whole video, whatever its length, spread over the positions of one window (ActivityNet).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from adatad_jax.config.fields import DataConfig
from adatad_jax.data.annotations import Video
from adatad_jax.data.grid_segments import ground_truth_in_seconds, ground_truth_on_grid
from adatad_jax.data.windows import (
    FrameIndices,
    Mask,
    RandomWindow,
    grid_length,
    random_window,
    resize_ground_truth,
    resize_sampling,
    resized_to_seconds,
    sliding_windows,
    to_seconds,
    window_frames,
)

Segments = NDArray[np.float32]
Labels = NDArray[np.int32]


class Window(NamedTuple):
    """A window of a video: grid positions first..end-1."""

    video: str
    first: int
    end: int


class Sampling(Protocol):
    """How videos become windows.

    Attributes:
      needs_frame_counts: whether positions depend on the frame count and rate that the annotations give.
    """

    needs_frame_counts: ClassVar[bool]

    def ground_truth(self, video: Video, classes: Sequence[str]) -> tuple[Segments, Labels]:
        """Segments `[G, 2]` float32 in grid positions of the whole video, labels `[G]` int32."""
        ...

    def loadable(self, total_frames: int) -> FrameIndices:
        """Every source frame that a window can load of a video with so many frames in its container, ascending."""
        ...

    def draw(
        self, segments: Segments, labels: Labels, total_frames: int, randint: Callable[[int, int], int]
    ) -> RandomWindow:
        """A training window; `randint` as for `windows.random_window`."""
        ...

    def lay_out(self, video: Video) -> list[Window]:
        """The test windows of a video, in order."""
        ...

    def frames(self, window: Window, total_frames: int) -> tuple[FrameIndices, Mask]:
        """Source frames `[T]` of a test window, and its valid grid positions `[positions]`."""
        ...

    def seconds(self, segments: Segments, window: Window, video: Video) -> Segments:
        """Segments `[N, 2]` in grid positions of a test window to seconds, clipped to the video."""
        ...


def make_sampling(data: DataConfig) -> Sampling:
    """The sampling that a configuration's `data` section describes."""
    return ResizedVideo(data) if data.sampling == "resize" else RegularGrid(data)


@dataclass(frozen=True)
class RegularGrid:
    """`Sampling` over a grid of `data.stride` source frames."""

    needs_frame_counts: ClassVar[bool] = True
    data: DataConfig

    def ground_truth(self, video: Video, classes: Sequence[str]) -> tuple[Segments, Labels]:
        data = self.data
        return ground_truth_on_grid(video, classes, data.ignore_labels, data.stride, filter_gt=data.filter_gt)

    def loadable(self, total_frames: int) -> FrameIndices:
        return np.arange(0, total_frames, self.data.stride // self.data.frames_per_position)

    def draw(
        self, segments: Segments, labels: Labels, total_frames: int, randint: Callable[[int, int], int]
    ) -> RandomWindow:
        data = self.data
        return random_window(
            segments,
            labels,
            total_frames=total_frames,
            stride=data.stride,
            frames_per_position=data.frames_per_position,
            window=data.window,
            trunc_thresh=data.trunc_thresh,
            crop_ratio=data.crop_ratio,
            randint=randint,
        )

    def lay_out(self, video: Video) -> list[Window]:
        data = self.data
        length = grid_length(video.frames, data.stride)
        spans = sliding_windows(length, data.window, data.overlap, release_windows=data.release_windows)
        return [Window(video.name, first, end) for first, end in spans]

    def frames(self, window: Window, total_frames: int) -> tuple[FrameIndices, Mask]:
        data = self.data
        return window_frames(
            window.first,
            window.end,
            total_frames=total_frames,
            stride=data.stride,
            frames_per_position=data.frames_per_position,
            window=data.window,
        )

    def seconds(self, segments: Segments, window: Window, video: Video) -> Segments:
        stride = self.data.stride
        return to_seconds(
            segments,
            stride=stride,
            window_start_frame=window.first * stride,
            fps=video.fps,
            duration=video.duration,
        )


@dataclass(frozen=True)
class ResizedVideo:
    """`Sampling` of whole videos; their frame counts are the containers', never the annotations'."""

    needs_frame_counts: ClassVar[bool] = False
    data: DataConfig

    def ground_truth(self, video: Video, classes: Sequence[str]) -> tuple[Segments, Labels]:
        data = self.data
        segments, labels = ground_truth_in_seconds(video, classes, data.ignore_labels, filter_gt=data.filter_gt)
        return resize_ground_truth(segments, duration=video.duration, positions=data.window), labels

    def loadable(self, total_frames: int) -> FrameIndices:
        return np.unique(self._frames(total_frames)[0])

    def draw(
        self, segments: Segments, labels: Labels, total_frames: int, randint: Callable[[int, int], int]
    ) -> RandomWindow:
        # nothing is random: the window is the video
        return RandomWindow(*self._frames(total_frames), segments, labels, found=True)

    def lay_out(self, video: Video) -> list[Window]:
        return [Window(video.name, 0, self.data.window)]

    def frames(self, window: Window, total_frames: int) -> tuple[FrameIndices, Mask]:
        return self._frames(total_frames)

    def seconds(self, segments: Segments, window: Window, video: Video) -> Segments:
        return resized_to_seconds(segments, positions=self.data.window, duration=video.duration)

    def _frames(self, total_frames: int) -> tuple[FrameIndices, Mask]:
        return resize_sampling(
            total_frames=total_frames,
            positions=self.data.window,
            frames_per_position=self.data.frames_per_position,
        )
