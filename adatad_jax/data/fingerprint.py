"""Fingerprints of training videos: whether a run goes on with the videos and annotations that it has learned from."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from adatad_jax.data.annotations import Video
from adatad_jax.data.clip_videos import ClipVideo
from adatad_jax.errors import few

LENGTH = 16  # hexadecimal digits
DECIMALS = 6  # of a second; a length that was measured again may differ by rounding


class VideoChanges(NamedTuple):
    """How one set of training videos differs from another.

    Attributes:
      added, gone, altered: names; altered videos have other segments, labels or lengths.
      reordered: whether the videos that both have are in another order.
    """

    added: tuple[str, ...]
    gone: tuple[str, ...]
    altered: tuple[str, ...]
    reordered: bool

    def __bool__(self) -> bool:
        return bool(self.added or self.gone or self.altered or self.reordered)

    def lines(self) -> Iterator[str]:
        """Yields a line per kind of change, with the number of videos and the names of the first."""
        kinds = {
            "added": self.added,
            "gone": self.gone,
            "altered (segments, labels or length)": self.altered,
        }
        for what, names in kinds.items():
            if names:
                yield f"{len(names)} {what}: {few(names)}"
        if self.reordered:
            yield "the others are in another order"


def fingerprints(videos: Mapping[str, Video]) -> dict[str, str]:
    """Returns a short hash of each video's segments, labels, duration and frame count, in the order of the videos."""
    return {name: _hash(_content(video)) for name, video in videos.items()}


def clip_fingerprints(videos: Mapping[str, ClipVideo], classes: Sequence[str] = ()) -> dict[str, str]:
    """Returns a short hash of each video's frame count and label, in the order of the videos.

    Args:
      videos: from which clips are cut.
      classes: the names of the labels; without any, labels do not count.
    """
    return {
        name: _hash([video.probe.frames, classes[video.label] if classes else None]) for name, video in videos.items()
    }


def compare(before: Mapping[str, str], now: Mapping[str, str]) -> VideoChanges:
    """Compares the fingerprints of two sets of videos; the result is false if they are the same in the same order."""
    shared = [name for name in before if name in now]
    return VideoChanges(
        added=tuple(name for name in now if name not in before),
        gone=tuple(name for name in before if name not in now),
        altered=tuple(name for name in shared if before[name] != now[name]),
        reordered=shared != [name for name in now if name in before],
    )


def _content(video: Video) -> list[Any]:
    return [
        round(video.duration, DECIMALS),
        video.frames,
        [[round(second, DECIMALS) for second in segment] for segment in video.segments.tolist()],
        video.labels,
    ]


def _hash(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:LENGTH]
