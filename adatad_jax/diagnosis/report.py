"""The records that a diagnosis fills: what a data set holds, what is wrong with it, what decoding it costs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adatad_jax.data.annotations import Video
from adatad_jax.models.sizes import DetectorConfig

FIT = "fit"
MISSING, UNDECODABLE, OTHER_LENGTH, NO_WINDOW = FILE_PROBLEMS = (
    "missing",
    "undecodable",
    "of another length than annotated",
    "too short for a window",
)


@dataclass(frozen=True)
class Problem:
    """One kind of problem in one subset.

    Attributes:
      subset: name of the subset; empty if the problem concerns the whole data set.
      text: what is wrong, and what to do.
      lines: one line per case.
      fatal: whether a run could not start, or would be wrong.
    """

    subset: str
    text: str
    lines: tuple[str, ...]
    fatal: bool


@dataclass(frozen=True)
class SubsetReport:
    """The contents of one subset of the config. Videos that a run leaves out (no segment) only count as annotated.

    Attributes:
      name: name of the subset.
      annotated: number of videos in the annotations.
      hours: total duration of the annotated videos.
      segments: number of annotated segments.
      ignored: number of annotated segments with ignored or unknown labels.
      videos: name -> video, for the videos that a run uses.
      truth: name -> segments `[G, 2]` float32 in grid positions and labels `[G]` int32, to learn or to measure against.
      levels: `[G', L]` bool: which levels can learn each of the G' segments of all used videos, in order.
      per_class: class -> number of segments.
      windows: name -> number of windows when laid out as for testing.
      files: "fit" or one of `FILE_PROBLEMS` -> number of videos.
      seconds_per_position: seconds per grid position, the median over videos.
    """

    name: str
    annotated: int
    hours: float
    segments: int
    ignored: int
    videos: dict[str, Video]
    truth: dict[str, tuple[NDArray[np.float32], NDArray[np.int32]]]
    levels: NDArray[np.bool_]
    per_class: dict[str, int]
    windows: dict[str, int]
    files: dict[str, int]
    seconds_per_position: float

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Returns which segments no level can learn, `[G']` bool."""
        return np.logical_not(self.levels.any(axis=1))

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Returns the lengths of the segments in grid positions, `[G']`, in the order of `levels`."""
        return np.concatenate([np.diff(self.truth[name][0].astype(np.float64))[:, 0] for name in self.videos])


@dataclass(frozen=True)
class Costs:
    """The cost of decoding a subset, estimated from a few of its videos.

    Attributes:
      subset: name of the subset.
      measured: number of videos measured; if none, `frame_bytes` and `window_seconds` are NaN.
      frames: number of frames, over all videos, that some window can load; a cache holds these.
      frame_bytes: bytes per frame in a cache.
      windows: number of windows per epoch of training, or per evaluation.
      window_seconds: seconds on one core to decode and resize a window.
    """

    subset: str
    measured: int
    frames: int
    frame_bytes: float
    windows: int
    window_seconds: float


@dataclass
class Report:
    """The results of a diagnosis.

    Attributes:
      subsets: the subsets of the config that have videos, training first.
      detector: dimensions of the detector whose levels the segments are matched with; None if the annotations did not
        load.
      window_limit: length in grid positions above which a segment is in no training window; infinite where a window
        holds the whole video.
      notes: what the annotations were read as.
      findings: the problems.
      costs: the costs, one per subset.
    """

    subsets: list[SubsetReport] = field(default_factory=list)
    detector: DetectorConfig | None = None
    window_limit: float = np.inf
    notes: list[str] = field(default_factory=list)
    findings: list[Problem] = field(default_factory=list)
    costs: list[Costs] = field(default_factory=list)

    @property
    def fit(self) -> bool:
        """Returns whether a run can start."""
        return not any(finding.fatal for finding in self.findings)

    def add(self, subset: str, text: str, lines: list[str], fatal: bool = False) -> None:
        """Adds a finding with one case per line; without lines, adds nothing."""
        if lines:
            self.findings.append(Problem(subset, text, tuple(lines), fatal))

    def tell(self, message: str, subset: str = "", fatal: bool = False) -> None:
        """Adds the message of an error or warning, its first line as text and the others as cases, at most once."""
        text, *lines = message.splitlines()
        finding = Problem(subset, text.rstrip(":"), tuple(line.strip() for line in lines), fatal)
        if finding not in self.findings:
            self.findings.append(finding)


def report_to_json(report: Report) -> dict[str, Any]:
    """Returns the whole report as JSON values; whatever was not measured is None."""
    strides = report.detector.strides if report.detector else ()
    ranges = report.detector.regression_ranges if report.detector else ()
    return {
        "fit": report.fit,
        "notes": report.notes,
        "findings": [
            {
                "subset": finding.subset,
                "error": finding.fatal,
                "what": finding.text,
                "count": len(finding.lines),
                "cases": finding.lines,
            }
            for finding in report.findings
        ],
        "levels": [
            {"stride": stride, "distances": distances} for stride, distances in zip(strides, ranges, strict=True)
        ],
        "subsets": {
            subset.name: {
                "videos": subset.annotated,
                "videos_used": len(subset.videos),
                "hours": subset.hours,
                "files": subset.files,
                "segments": subset.segments,
                "segments_ignored": subset.ignored,
                "segments_by_level": subset.levels.sum(0).tolist(),
                "segments_of_no_level": int(subset.lost.sum()),
                "segments_by_class": subset.per_class,
                "windows": sum(subset.windows.values()),
                "windows_by_video": subset.windows,
            }
            for subset in report.subsets
        },
        "costs": {
            cost.subset: {
                name: None if isinstance(value, float) and math.isnan(value) else value
                for name, value in dataclasses.asdict(cost).items()
                if name != "subset"
            }
            for cost in report.costs
        },
    }
