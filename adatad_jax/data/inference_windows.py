"""The windows of videos to detect actions in, read in order. Overlapping windows share frames that are decoded once."""

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from adatad_jax.config.fields import Config
from adatad_jax.data.annotations import Video
from adatad_jax.data.cache import Images
from adatad_jax.data.dataset import SHUFFLE_STREAM, Sample, require_valid, shuffle_within
from adatad_jax.data.frames import Frames, FrameSource
from adatad_jax.data.loader import load_ahead, unwrap
from adatad_jax.data.sampling import Window, make_sampling
from adatad_jax.data.subset import Subset
from adatad_jax.errors import UserError
from adatad_jax.video import transforms

# Source frames that a thread decodes in one go. Before the first of them it decodes in vain, from the key frame before:
# half of 250 frames, where a file is encoded as usual.
RUN_FRAMES = 2000
HELD_BYTES = 2**29  # of frames that `windows_ahead` allows to be held


class Piece(NamedTuple):
    """The frames of a video between two neighbouring window boundaries.

    Attributes:
      indices: [N] ascending source frame indices; N may be 0 beyond the end of the file.
      pixels: [N, H, W, 3] uint8 RGB.
    """

    indices: np.ndarray
    pixels: Images


class InferenceWindows:
    """The test windows of some videos.

    Attributes:
      videos: a mapping from name to annotated video.
      windows: all windows, grouped by video, and sorted by start within a video.
    """

    def __init__(self, videos: dict[str, Video], frames: Frames, config: Config) -> None:
        self._data = config.data
        self._frames = frames
        self._sampling = make_sampling(config.data)
        self.videos = videos
        self.windows = [window for video in videos.values() for window in self._sampling.lay_out(video)]

    def __len__(self) -> int:
        return len(self.windows)

    def seconds(self, window: Window, segments: np.ndarray) -> np.ndarray:
        """Converts segments [G, 2] float32 from grid positions of a window to seconds, clipped to the video."""
        return self._sampling.seconds(segments, window, self.videos[window.video])

    def span(self, window: Window) -> tuple[float, float]:
        """Returns the seconds at which a window starts and ends, within its video."""
        ends = np.array([[0, window.end - window.first]], np.float32)
        start, end = self.seconds(window, ends)[0].tolist()
        return start, end

    def strip(self, window: Window, count: int) -> Images:
        """Reads frames that are evenly spaced in a window, as the model sees them.

        Args:
          window: one of `windows`.
          count: how many, where the window has so many.

        Returns:
          `[count, crop, crop, 3]` uint8 RGB.

        Raises:
          UserError: the video cannot be read.
        """
        video, crop = window.video, self._data.crop
        indices, mask = self._sampling.frames(window, self._frames.count(video))
        indices = np.unique(indices[: int(mask.sum()) * self._data.frames_per_position])
        wanted = indices[((np.arange(count) + 0.5) * len(indices) / count).astype(int)]
        distinct, back = np.unique(wanted, return_inverse=True)
        images = self._frames.read(video, distinct, transforms.centre_box(*self._frames.size(video), crop), crop)
        self._frames.finish(video)
        return images[back]

    def stream(
        self, threads: int, ahead: int, videos: Collection[str] | None = None
    ) -> Iterator[tuple[Window, Sample | Exception]]:
        """Yields windows with their frames: centre crop, no augmentation, no ground truth.

        Several threads decode the videos in pieces, each piece once, and each thread some in a row. Pieces that no
        later window needs are dropped.

        Args:
          threads: number of threads that decode.
          ahead: number of windows that may be held in memory before the caller asks for them (`windows_ahead`).
          videos: names of those whose windows are wanted; None: of all.

        Yields:
          A window, and its sample or the exception that reading it raised.
        """
        wanted = [pair for pair in enumerate(self.windows) if videos is None or pair[1].video in videos]
        pieces = pieces_of([window for _, window in wanted])
        most = max(2, ahead * len(pieces) // max(len(wanted), 1))
        length = max(1, min(self._pieces_of_run(pieces), most // (threads + 1), math.ceil(len(pieces) / threads)))
        runs = load_ahead(runs_of(pieces, length), self._load_run, threads, max(2, most // length))
        loaded = itertools.chain.from_iterable(unwrap(run) for _, run in runs)
        for video, windows in itertools.groupby(wanted, lambda numbered: numbered[1].video):
            kept: list[tuple[Window, Piece | Exception]] = []
            for number, window in windows:
                kept = [(span, piece) for span, piece in kept if span.end > window.first]
                while not kept or kept[-1][0].end < window.end:
                    kept.append(next(loaded))
                sample: Sample | Exception
                try:
                    sample = self._sample(number, [piece for span, piece in kept if span.first < window.end])
                except Exception as error:  # the caller gets it, as from `load_ahead`
                    sample = error
                yield window, sample
            self._frames.finish(video)

    def _pieces_of_run(self, pieces: Sequence[Window]) -> int:
        """Returns how many pieces have about `RUN_FRAMES` source frames, from the first to the last of them."""
        positions = sum(piece.end - piece.first for piece in pieces) / max(len(pieces), 1)
        return math.ceil(RUN_FRAMES / max(positions * self._data.frames_per_position * self._data.stride, 1))

    def _load_run(self, run: Sequence[Window]) -> list[tuple[Window, Piece | Exception]]:
        """Decodes pieces that follow each other; a piece that fails is replaced by its exception."""
        found: list[tuple[Window, Piece | Exception]] = []
        for span in run:
            try:
                found.append((span, self._load(span)))
            except Exception as error:  # the caller gets it, with the window that needs it
                found.append((span, error))
        return found

    def _load(self, span: Window) -> Piece:
        """Decodes one piece of a video, which may lie beyond the end of the file."""
        video, data = span.video, self._data
        s = data.frames_per_position
        indices = self._sampling.loadable(self._frames.count(video))[span.first * s : span.end * s]
        if not len(indices):
            return Piece(indices, np.empty((0, data.crop, data.crop, 3), np.uint8))
        box = transforms.centre_box(*self._frames.size(video), data.crop)
        return Piece(indices, self._frames.read(video, indices, box, data.crop))

    def _sample(self, number: int, parts: list[Piece | Exception]) -> Sample:
        """Returns the sample of a window from its pieces; raises what a piece failed with."""
        window, data = self.windows[number], self._data
        pieces: list[Piece] = [unwrap(part) for part in parts]
        try:
            indices, mask = self._sampling.frames(window, self._frames.count(window.video))
        except UserError as error:
            raise UserError(f"video {window.video}: {error}") from error
        require_valid(window.video, mask)
        read, pixels = np.concatenate([p.indices for p in pieces]), np.concatenate([p.pixels for p in pieces])
        if not np.array_equal(read, indices):  # the last frame is repeated to fill the window
            pixels = pixels[np.searchsorted(read, indices)]
        pixels = shuffle_within(pixels, data.shuffle_within, np.random.default_rng([SHUFFLE_STREAM, number]))
        return Sample(pixels, mask, np.zeros((0, 2), np.float32), np.zeros(0, np.int32))


def inference_windows(subset: Subset, config: Config) -> InferenceWindows:
    """Returns the test windows of a subset's videos.

    Raises:
      UserError: the cache that the configuration names does not hold the frames of these videos.
    """
    files = {name: subset.files.get(name) for name in subset.videos}
    frames = FrameSource(files, config.data, subset.sampling, config.data.test_short_side, subset.probes, onwards=True)
    return InferenceWindows(subset.videos, frames, config)


def windows_ahead(config: Config, batch: int) -> int:
    """Returns how many windows may be decoded before they are asked for: as many as `HELD_BYTES` hold, or two batches.

    Args:
      config: sets the size of a window.
      batch: windows that are computed at once.
    """
    data = config.data
    window = data.window * data.frames_per_position * data.crop**2 * 3
    return max(2, 2 * batch, HELD_BYTES // window)


def runs_of(pieces: Sequence[Window], length: int) -> list[list[Window]]:
    """Groups pieces that follow each other in a video, at most `length` in a group."""
    runs: list[list[Window]] = []
    for _, own in itertools.groupby(pieces, lambda piece: piece.video):
        rest = list(own)
        runs += [rest[first : first + length] for first in range(0, len(rest), length)]
    return runs


def pieces_of(windows: list[Window]) -> list[Window]:
    """Cuts videos at every start and end of a window, so that each window consists of whole pieces.

    Args:
      windows: windows grouped by video, and sorted by start within a video.

    Returns:
      The pieces that some window needs, in order.
    """
    by_video: dict[str, list[Window]] = {}
    for window in windows:
        by_video.setdefault(window.video, []).append(window)
    pieces = []
    for video, own in by_video.items():
        ends = sorted({end for window in own for end in (window.first, window.end)})
        spans = [Window(video, first, end) for first, end in itertools.pairwise(ends)]
        pieces += [span for span in spans if any(w.first <= span.first and span.end <= w.end for w in own)]
    return pieces
