"""Whether the files of a data set are there, can be decoded, and are the videos that the annotations describe.

Everything is looked at before anything is said: one message names all that is wrong.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from adatad_jax.config.fields import Config, DataConfig
from adatad_jax.console import watched
from adatad_jax.data.annotations import Video
from adatad_jax.data.cache import REMEDY, read_entry, record_file
from adatad_jax.data.sampling import Sampling
from adatad_jax.data.subset import Subset
from adatad_jax.errors import UserError, listed
from adatad_jax.video.limits import within
from adatad_jax.video.probe import Probe, probe

FRAMES_APART, SECONDS_APART = 30, 1.0  # a container's length may differ so much from the annotated one, or by a tenth
_logger = logging.getLogger(__name__)


def probe_cached(name: str, data: DataConfig) -> Probe:
    """Returns what a cache says of a video.

    Raises:
      UserError: the video is not in it.
    """
    folder = Path(data.cache)
    for short_side in (data.train_short_side, data.test_short_side):
        entry = read_entry(record_file(folder, short_side, name))
        if entry is not None:
            return Probe(entry.frame_count, entry.fps)
    sides = " or ".join(dict.fromkeys((str(data.train_short_side), str(data.test_short_side))))
    raise UserError(f"{folder}: {name} is not in the cache at short side {sides}, or not whole; {REMEDY}")


def length_problem(video: Video, path: Path, found: Probe) -> str | None:
    """Returns what is wrong if a file is longer or shorter than annotated by more than a tenth and a second (30 frames).

    Frame counts are compared where the annotations give them: at a nominal frame rate, files of another rate are
    refused.
    """
    seconds = found.frames / found.fps if found.fps > 0 else video.duration
    frames_agree = not video.frames or _about(found.frames, video.frames, FRAMES_APART)
    if frames_agree and _about(seconds, video.duration, SECONDS_APART):
        return None
    expected = f"{video.frames} in {video.duration:.2f}" if video.frames else f"{video.duration:.2f} seconds"
    text = f"{path}: {found.frames} frames in {seconds:.2f} seconds, but the annotations say {expected}"
    if video.fixed_fps is not None and not frames_agree:
        text += f"; convert it to {video.fixed_fps:g} frames a second (config.data.fps)"
    return text


def window_problem(video: Video, path: Path, found: Probe, sampling: Sampling) -> str | None:
    """Returns what is wrong if one of the video's windows would hold no whole grid position of the file."""
    for window in sampling.lay_out(video):
        try:
            if sampling.frames(window, found.frames)[1].any():
                continue
        except UserError as error:
            return f"{path}: {error}"
        return f"{path}: {found.frames} frames are too few for one grid position of a window; leave the video out"
    return None


def look_at(subset: Subset, config: Config) -> tuple[dict[str, Probe], dict[str, str]]:
    """Opens every video once, decodes a frame and compares the length with the annotations, in parallel.

    With `data.cache` the entry of the video in the cache stands for the file.

    Returns:
      name -> what the container holds, of the videos that are as annotated; and name -> what is wrong, for the videos
      that cannot be read within `data.time_limit`, are of another length than annotated, or hold no frames of one of
      their windows.
    """

    def look(name: str) -> Probe | str:
        path, video = subset.files.get(name, Path(name)), subset.videos[name]
        try:
            if config.data.cache:
                found = probe_cached(name, config.data)
            else:
                found = within(config.data.time_limit, str(path), lambda: probe(path))
        except UserError as error:
            return str(error)
        return length_problem(video, path, found) or window_problem(video, path, found, subset.sampling) or found

    names = [name for name in subset.videos if name in subset.files or config.data.cache]
    with ThreadPoolExecutor(config.data.threads) as pool:
        found = dict(zip(names, watched(pool.map(look, names), "checking videos", len(names)), strict=True))
    probes = {name: one for name, one in found.items() if isinstance(one, Probe)}
    return probes, {name: one for name, one in found.items() if isinstance(one, str)}


def usable(subset: Subset, config: Config) -> Subset:
    """Returns the subset without the videos that cannot be used, if `data.skip_broken` allows that; they are listed.

    The ground truth that detections are measured against keeps them: their segments count as missed.

    Raises:
      UserError: some cannot be used and may not be skipped, or none can.
    """
    probes, wrong = look_at(subset, config)
    subset = replace(subset, probes=probes)
    broken = {**subset.missing, **wrong}
    if not broken:
        return subset
    what = f"{len(broken)} of {len(subset.videos)} videos cannot be read or are not the annotated ones"
    lines = listed(list(broken.values()))
    videos = {name: video for name, video in subset.videos.items() if name not in broken}
    if not config.data.skip_broken:
        raise UserError(
            f"{what}; mend them, or go on without them by --config.data.skip_broken=True "
            f"(python -m adatad_jax.doctor lists all):{lines}"
        )
    if not videos:
        raise UserError(f"{what}, so that none is left:{lines}")
    _logger.warning("%s: skipped; in an evaluation their segments count as missed:%s", what, lines)
    return replace(subset, videos=videos, missing={})


def _about(found: float, annotated: float, apart: float) -> bool:
    """Tells whether two lengths are within a tenth of each other, or within `apart`."""
    return abs(found - annotated) <= max(0.1 * annotated, apart)
