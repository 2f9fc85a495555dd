"""The two ways to sample windows from a video, each with its conversion from seconds to grid positions and back.

`RegularGrid`: one position every fixed number of source frames, and windows that slide over this grid (THUMOS and most
other data sets). `ResizedVideo`: the whole video, whatever its length, spread over the positions of one window
(ActivityNet).
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
    """A window of a video.

    Attributes:
      video: name of the video.
      first: first grid position.
      end: end in grid positions, exclusive.
    """

    video: str
    first: int
    end: int


class KeptFrames(Protocol):
    """Which frames of a video can be loaded: those that memory and the cache keep."""

    def rule(self) -> dict[str, str | int]:
        """Returns the settings that decide which, as the cache's entries hold them."""
        ...

    def loadable(self, total_frames: int) -> FrameIndices:
        """Returns every source frame that can be loaded, ascending, for a container of `total_frames` frames."""
        ...


@dataclass(frozen=True)
class EveryFrame:
    """`KeptFrames` of clips, which start anywhere: all frames."""

    def rule(self) -> dict[str, str | int]:
        return {"sampling": "windows", "step": 1}

    def loadable(self, total_frames: int) -> FrameIndices:
        return np.arange(total_frames)


class Sampling(KeptFrames, Protocol):
    """A way to sample windows from videos, which decides the frames that can be loaded.

    Attributes:
      needs_frame_counts: whether positions depend on the frame count and frame rate in the annotations.
    """

    needs_frame_counts: ClassVar[bool]

    def ground_truth(self, video: Video, classes: Sequence[str]) -> tuple[Segments, Labels]:
        """Returns segments [G, 2] float32 in grid positions of the whole video, and labels [G] int32.

        Raises:
          UserError: a label is neither a class nor ignored, or a frame count that is needed is unknown.
        """
        ...

    def draw(
        self, segments: Segments, labels: Labels, total_frames: int, randint: Callable[[int, int], int]
    ) -> RandomWindow:
        """Draws a training window; arguments and errors are those of `windows.random_window`."""
        ...

    def lay_out(self, video: Video) -> list[Window]:
        """Returns the test windows of a video, in order."""
        ...

    def frames(self, window: Window, total_frames: int) -> tuple[FrameIndices, Mask]:
        """Returns the source frames [T] int64 of a test window, and a mask [positions] bool of its valid positions.

        Raises:
          UserError: no frame of the window is among the `total_frames` of the container.
        """
        ...

    def seconds(self, segments: Segments, window: Window, video: Video) -> Segments:
        """Converts segments [G, 2] from grid positions of a test window to seconds, clipped to the video."""
        ...


def make_sampling(data: DataConfig) -> Sampling:
    """Returns the sampling that the `data` section of a configuration describes."""
    return ResizedVideo(data) if data.sampling == "resize" else RegularGrid(data)


@dataclass(frozen=True)
class RegularGrid:
    """`Sampling` over a grid with one position every `data.stride` source frames."""

    needs_frame_counts: ClassVar[bool] = True
    data: DataConfig

    def ground_truth(self, video: Video, classes: Sequence[str]) -> tuple[Segments, Labels]:
        data = self.data
        return ground_truth_on_grid(video, classes, data.ignore_labels, data.stride, filter_gt=data.filter_gt)

    def rule(self) -> dict[str, str | int]:
        return {"sampling": self.data.sampling, "step": self.data.stride // self.data.frames_per_position}

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
    """`Sampling` of whole videos. Frame counts come from the containers, never from the annotations."""

    needs_frame_counts: ClassVar[bool] = False
    data: DataConfig

    def ground_truth(self, video: Video, classes: Sequence[str]) -> tuple[Segments, Labels]:
        data = self.data
        segments, labels = ground_truth_in_seconds(video, classes, data.ignore_labels, filter_gt=data.filter_gt)
        return resize_ground_truth(segments, duration=video.duration, positions=data.window), labels

    def rule(self) -> dict[str, str | int]:
        return {"sampling": self.data.sampling, "frames": self.data.window * self.data.frames_per_position}

    def loadable(self, total_frames: int) -> FrameIndices:
        return np.unique(self._frames(total_frames)[0])

    def draw(
        self, segments: Segments, labels: Labels, total_frames: int, randint: Callable[[int, int], int]
    ) -> RandomWindow:
        # nothing is drawn, because the window is the whole video
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
