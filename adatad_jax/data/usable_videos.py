"""Checks of a data set's video files: they exist, can be decoded, and match the annotations.

All videos are checked before anything is reported, so that one message names all problems.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adatad_jax.config.fields import Config
from adatad_jax.data.annotations import Video
from adatad_jax.data.probing import look_at_all, probe_cached, tell_how_read, without_broken
from adatad_jax.data.sampling import Sampling
from adatad_jax.data.subset import Subset
from adatad_jax.errors import UserError
from adatad_jax.video.limits import within
from adatad_jax.video.probe import Probe, probe

# A container's length may differ from the annotated one by this much, or by a tenth.
FRAMES_APART, SECONDS_APART = 30, 1.0


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

    sides = config.data.train_short_side, config.data.test_short_side

    def look(name: str) -> Probe | str:
        path, video = subset.files.get(name, Path(name)), subset.videos[name]
        try:
            if config.data.cache:
                found = probe_cached(name, Path(config.data.cache), sides)
            else:
                found = within(config.data.time_limit, str(path), lambda: probe(path, config.data.reader))
        except UserError as error:
            return str(error)
        return length_problem(video, path, found) or window_problem(video, path, found, subset.sampling) or found

    names = [name for name in subset.videos if name in subset.files or config.data.cache]
    return look_at_all(names, look, config.data.threads)


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
    tell_how_read(probes, subset.files, config.data)
    videos = without_broken(
        subset.videos,
        {**subset.missing, **wrong},
        config.data,
        fault="cannot be read or are not the annotated ones",
        effect="skipped; in an evaluation their segments count as missed",
        hint=" (python -m adatad_jax.doctor lists all)",
    )
    return replace(subset, videos=videos, missing={}, probes=probes)


def _about(found: float, annotated: float, apart: float) -> bool:
    """Tells whether two lengths are within a tenth of each other, or within `apart`."""
    return abs(found - annotated) <= max(0.1 * annotated, apart)
