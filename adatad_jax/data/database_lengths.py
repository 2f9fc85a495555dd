"""The lengths of videos whose annotation file, ActivityNet-style JSON, does not give them: those of the files."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from adatad_jax.annotations.database import by_video
from adatad_jax.annotations.records import Length
from adatad_jax.annotations.source import open_source
from adatad_jax.config.fields import DataConfig
from adatad_jax.data.annotation_table import read_lengths
from adatad_jax.errors import UserError, listed
from adatad_jax.video.names import find_files

_logger = logging.getLogger(__name__)


def lengths_of_lacking(data: DataConfig, with_frames: bool) -> Mapping[str, Length]:
    """Reads the lengths of the videos for which the annotations give no duration, or neither frame count nor rate.

    As long as annotations and videos do not change, the files are read only once.

    Args:
      data: of the configuration. Without a folder of videos nothing is read.
      with_frames: whether frame counts are needed.

    Returns:
      name -> length. With `skip_broken`, a video without a readable file has the median rate of the others.

    Raises:
      UserError: the annotations are not of that form, or video files are missing or cannot be read.
    """
    path, folder = Path(data.annotations), Path(data.videos)
    if not data.videos or not folder.is_dir():
        return {}
    files = [path, *sorted(folder.iterdir())]
    state = tuple((file, (status := file.stat()).st_size, status.st_mtime_ns) for file in files if file.exists())
    return _lengths(data, with_frames, state)


@lru_cache(maxsize=2)
def _lengths(data: DataConfig, with_frames: bool, state: tuple[tuple[Path, int, int], ...]) -> Mapping[str, Length]:
    """Reads as `lengths_of_lacking` does; `state` only makes the cache miss when a file has changed."""
    path, folder = Path(data.annotations), Path(data.videos)
    content, _ = open_source(path).whole_json
    needed = {"frame", "fps"} if with_frames and not data.fps else set()
    lacking = [
        name
        for name, entry in by_video(content, path).items()
        if isinstance(entry, dict) and ("duration" not in entry or (needed and not needed & set(entry)))
    ]
    if not lacking:
        return {}
    files, missing = find_files(folder, lacking, data.video_prefix)
    lengths, unreadable = read_lengths(files, data.threads, data.time_limit)
    broken = [*missing.values(), *unreadable]
    if broken and (not data.skip_broken or not lengths):
        raise UserError(
            f"{path}: does not give the lengths of {len(lacking)} videos, and of {len(broken)} of them there is no "
            f"file to read them from:{listed(broken)}"
        )
    _logger.warning(
        "%s: does not give the lengths or rates of %d videos: those of the files are used", path, len(lengths)
    )
    rate = float(np.median([length.fps for length in lengths.values()]))
    return {name: lengths.get(name, Length(math.nan, 0, rate)) for name in lacking}
