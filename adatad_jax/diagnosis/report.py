"""The records that a diagnosis fills: what a data set holds, what is wrong with it, what decoding it takes."""

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
class Finding:
    """One kind of problem in one subset.

    Attributes:
      subset: its name; empty where it is the whole data set's.
      text: what is wrong, and what to do.
      lines: every case.
      fatal: whether a run could not start, or would be wrong.
    """

    subset: str
    text: str
    lines: tuple[str, ...]
    fatal: bool


@dataclass(frozen=True)
class SubsetReport:
    """What one subset of the config holds. Videos that a run leaves out (no segment) count as annotated alone.

    Attributes:
      name: of the subset.
      annotated: number of videos in the annotations.
      hours: their duration.
      segments: all that are annotated.
      ignored: those of ignored or unknown labels.
      videos: the videos that a run uses.
      truth: name -> segments `[G, 2]` float32 in grid positions, labels `[G]`; what is learned, or measured against.
      levels: `[G', L]` bool for the segments of all videos, in order: which levels can learn one.
      per_class: class -> segments.
      windows: name -> number of test windows, were it a test video.
      files: "fit" or one of `FILE_PROBLEMS` -> number of videos.
      seconds_per_position: of the grid, the median over videos.
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
        """Which of these segments no level can learn."""
        return np.logical_not(self.levels.any(axis=1))

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Lengths of the segments of its videos in grid positions."""
        return np.concatenate([np.diff(self.truth[name][0].astype(np.float64))[:, 0] for name in self.videos])


@dataclass(frozen=True)
class Costs:
    """What decoding a subset takes, estimated from a few of its videos.

    Attributes:
      subset: its name.
      measured: number of videos measured; the figures are NaN if there is none.
      frames: that some window can load, of all its videos; a cache holds these.
      frame_bytes: of one in a cache.
      windows: in an epoch of training, or an evaluation.
      window_seconds: of one core, to decode and resize one.
    """

    subset: str
    measured: int
    frames: int
    frame_bytes: float
    windows: int
    window_seconds: float


@dataclass
class Report:
    """All that was found.

    Attributes:
      subsets: of the config that have videos, training first.
      detector: whose levels the segments are matched with; None if there is nothing to match.
      window_limit: a segment longer than so many positions is in no training window; infinite for whole videos.
      findings: problems.
      costs: by subset.
    """

    subsets: list[SubsetReport] = field(default_factory=list)
    detector: DetectorConfig | None = None
    window_limit: float = np.inf
    findings: list[Finding] = field(default_factory=list)
    costs: list[Costs] = field(default_factory=list)

    @property
    def fit(self) -> bool:
        """Whether a run can start."""
        return not any(finding.fatal for finding in self.findings)

    def add(self, subset: str, text: str, lines: list[str], fatal: bool = False) -> None:
        """Adds a finding, if there is a case of it: `lines`."""
        if lines:
            self.findings.append(Finding(subset, text, tuple(lines), fatal))

    def tell(self, message: str, subset: str = "", fatal: bool = False) -> None:
        """Adds a message with its list, as errors and warnings of the package are; once."""
        text, *lines = message.splitlines()
        finding = Finding(subset, text.rstrip(":"), tuple(line.strip() for line in lines), fatal)
        if finding not in self.findings:
            self.findings.append(finding)


def report_to_json(report: Report) -> dict[str, Any]:
    """The whole report; what was not measured is null."""
    strides = report.detector.strides if report.detector else ()
    ranges = report.detector.regression_ranges if report.detector else ()
    return {
        "fit": report.fit,
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
