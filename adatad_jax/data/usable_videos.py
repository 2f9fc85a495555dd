"""Checks of a data set's video files: they exist, can be decoded, and match the annotations.

All videos are checked before anything is reported, so that one message names all problems.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from adatad_jax.config.fields import Config, DataConfig
from adatad_jax.console import make_console, watched
from adatad_jax.data.annotations import Video
from adatad_jax.data.cache import REMEDY, read_entry, record_file
from adatad_jax.data.sampling import Sampling
from adatad_jax.data.subset import Subset
from adatad_jax.errors import UserError, listed
from adatad_jax.video.limits import within
from adatad_jax.video.probe import Probe, probe
from adatad_jax.video.readers import DECORD, tally

# A container's length may differ from the annotated one by this much, or by a tenth.
FRAMES_APART, SECONDS_APART = 30, 1.0
_logger = logging.getLogger(__name__)


def probe_cached(name: str, data: DataConfig) -> Probe:
    """Reads frame count and frame rate of a video from the cache `data.cache`.

    Raises:
      UserError: the cache does not hold the video whole at one of the configuration's short sides.
    """
    folder = Path(data.cache)
    for short_side in (data.train_short_side, data.test_short_side):
        entry = read_entry(record_file(folder, short_side, name))
        if entry is not None:
            return Probe(entry.frame_count, entry.fps, notes=tuple(entry.notes))
    sides = " or ".join(dict.fromkeys((str(data.train_short_side), str(data.test_short_side))))
    raise UserError(f"{folder}: {name} is not in the cache at short side {sides}, or not whole; {REMEDY}")


def length_problem(video: Video, path: Path, found: Probe) -> str | None:
    """Compares the length of a file with the annotated one.

    The lengths may differ by a tenth, or by a second in time and 30 frames in frame counts. Frame counts are compared
    where the annotations give them. With a nominal frame rate (`data.fps`), this refuses files of another rate.

    Args:
      video: the annotation.
      path: the file, for the message.
      found: what the container holds.

    Returns:
      What is wrong, or None.
    """
    seconds = found.frames / found.fps if found.fps > 0 else video.duration
    frames_agree = not video.frames or _about(found.frames, video.frames, FRAMES_APART)
    if frames_agree and _about(seconds, video.duration, SECONDS_APART):
        return None
    expected = f"{video.frames} in {video.duration:.2f}" if video.frames else f"{video.duration:.2f} seconds"
    text = f"{path}: {found.frames} frames in {seconds:.2f} seconds, but the annotations say {expected}"
    if video.fixed_fps is not None and not frames_agree:
        text += f"; convert it to {video.fixed_fps:g} frames per second (config.data.fps)"
    return text


def window_problem(video: Video, path: Path, found: Probe, sampling: Sampling) -> str | None:
    """Checks that each window of a video holds at least one whole grid position of the file.

    Args:
      video: the annotation.
      path: the file, for the message.
      found: what the container holds.
      sampling: how the video becomes windows.

    Returns:
      What is wrong, or None.
    """
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

    With `data.cache`, the cache's entry stands in for the file.

    Args:
      subset: the videos.
      config: cache, time limit and number of threads.

    Returns:
      name -> what the container holds, for the videos that match their annotations; and name -> what is wrong, for the
      videos that cannot be read within `data.time_limit`, have another length than annotated, or hold no frames of one
      of their windows.
    """

    def look(name: str) -> Probe | str:
        path, video = subset.files.get(name, Path(name)), subset.videos[name]
        try:
            if config.data.cache:
                found = probe_cached(name, config.data)
            else:
                found = within(config.data.time_limit, str(path), lambda: probe(path, config.data.reader))
        except UserError as error:
            return str(error)
        return length_problem(video, path, found) or window_problem(video, path, found, subset.sampling) or found

    names = [name for name in subset.videos if name in subset.files or config.data.cache]
    with ThreadPoolExecutor(config.data.threads) as pool:
        found = dict(zip(names, watched(pool.map(look, names), "checking videos", len(names)), strict=True))
    probes = {name: one for name, one in found.items() if isinstance(one, Probe)}
    return probes, {name: one for name, one in found.items() if isinstance(one, str)}


def usable(subset: Subset, config: Config) -> Subset:
    """Removes the videos that cannot be used, if `data.skip_broken` allows that; a warning lists them.

    Another warning lists what was repaired or assumed in reading files.

    The ground truth of an evaluation keeps these videos: their segments count as missed.

    Args:
      subset: the videos.
      config: of the run.

    Returns:
      The subset with `probes` filled in and nothing `missing`.

    Raises:
      UserError: some videos cannot be used and may not be skipped, or no video can be used.
    """
    probes, wrong = look_at(subset, config)
    if config.data.reader == DECORD and not config.data.cache:
        make_console().print(tally(one.pyav_because for one in probes.values()))
    odd = [f"{subset.files.get(name, name)}: {note}" for name, probe in probes.items() for note in probe.notes]
    if odd:
        _logger.warning("%d notes on how videos are read:%s", len(odd), listed(odd))
    subset = replace(subset, probes=probes)
    broken = {**subset.missing, **wrong}
    if not broken:
        return subset
    what = f"{len(broken)} of {len(subset.videos)} videos cannot be read or are not the annotated ones"
    lines = listed(list(broken.values()))
    videos = {name: video for name, video in subset.videos.items() if name not in broken}
    if not config.data.skip_broken:
        raise UserError(
            f"{what}; repair them, or continue without them with --config.data.skip_broken=True "
            f"(python -m adatad_jax.doctor lists all):{lines}"
        )
    if not videos:
        raise UserError(f"{what}, so no video is left:{lines}")
    _logger.warning("%s: skipped; in an evaluation their segments count as missed:%s", what, lines)
    return replace(subset, videos=videos, missing={})


def _about(found: float, annotated: float, apart: float) -> bool:
    """Tells whether two lengths are within a tenth of each other, or within `apart`."""
    return abs(found - annotated) <= max(0.1 * annotated, apart)
