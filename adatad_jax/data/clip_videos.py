"""The videos from which clips of 16 frames are cut: found in a folder, and opened once before a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from adatad_jax.config.clip_fields import ClipsConfig
from adatad_jax.data.cache import REMEDY, cached_names
from adatad_jax.data.probing import look_at_all, probe_cached, tell_how_read, without_broken
from adatad_jax.errors import UserError, listed
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.video.limits import within
from adatad_jax.video.names import EXTENSIONS, videos_below
from adatad_jax.video.probe import Probe, probe
from adatad_jax.video.spelling import normal

UNLABELLED = -1


class ClipVideo(NamedTuple):
    """A video from which clips can be cut.

    Attributes:
      file: the video file; None where a cache stands in for it.
      probe: what it holds: at least 16 frames.
      label: class index; `UNLABELLED` without one.
    """

    file: Path | None
    probe: Probe
    label: int = UNLABELLED


def find_clip_videos(data: ClipsConfig) -> dict[str, Path | None]:
    """Finds the videos of the folder `data.videos`, at any depth.

    Without such a folder, the cache `data.cache` stands in for it.

    Args:
      data: of the configuration.

    Returns:
      name -> video file, or None where the cache stands in for it, by ascending name. A name is the path below the
      folder, without extension.

    Raises:
      UserError: there is no such folder, it holds no video, or several of the same name.
    """
    folder = Path(data.videos)
    if only_cached(data):
        if names := cached_names(Path(data.cache), (data.short_side, data.crop)):
            return dict.fromkeys(names)
        raise UserError(
            f"config.data.cache={data.cache}: holds no video at short side {data.short_side} or {data.crop}, and "
            f"config.data.videos={data.videos or '(not set)'} is no folder; {REMEDY}, or give the fields by which it "
            "was filled"
        )
    if not data.videos or not folder.is_dir():
        raise UserError(f"config.data.videos={data.videos or '(not set)'}: no such folder; expected one of video files")
    found = videos_below(folder)
    if not found:
        raise UserError(
            f"config.data.videos={folder}: no video file in this folder or its subfolders; looked for "
            + " ".join(EXTENSIONS)
        )
    return dict(sorted(videos_by_name(found, folder).items()))


def only_cached(data: ClipsConfig) -> bool:
    """Tells whether the cache stands in for the folder of videos, which is not there."""
    return bool(data.cache) and not (data.videos and Path(data.videos).is_dir())


def videos_by_name(paths: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Returns name -> video file, where a name is the path below the folder, without extension.

    Raises:
      UserError: files differ in nothing but extension or Unicode form.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        files[normal(path.relative_to(folder).with_suffix("").as_posix())].append(path)
    double = [f"{name}: {', '.join(path.name for path in several)}" for name, several in files.items() if several[1:]]
    if double:
        raise UserError(
            f"config.data.videos={folder}: {len(double)} names stand for several files, which differ in their "
            f"extension alone; keep or rename one:{listed(double)}"
        )
    return {name: path for name, [path] in files.items()}


def usable_clips(
    files: Mapping[str, Path | None], data: ClipsConfig, labels: Mapping[str, int] | None = None
) -> dict[str, ClipVideo]:
    """Opens every video once and decodes a frame, in parallel. With `data.cache`, its entries stand in for the files.

    A warning lists what was repaired or assumed in reading files; another one, the videos that are left out.

    Args:
      files: name -> video file; None where the cache stands in for it.
      data: of the configuration.
      labels: name -> class index; None where there are none.

    Returns:
      name -> video, in the order of `files`.

    Raises:
      UserError: some videos cannot be read within `data.time_limit`, or have fewer than 16 frames, and may not be left
        out (`data.skip_broken`), or none is left.
    """

    def look(name: str) -> Probe | str:
        path = files[name] or Path(name)
        try:
            if data.cache:
                found = probe_cached(name, Path(data.cache), (data.short_side, data.crop))
            else:
                found = within(data.time_limit, str(path), lambda: probe(path, data.reader))
        except UserError as error:
            return str(error)
        return too_short(path, found.frames) or found

    probes, broken = look_at_all(list(files), look, data.threads)
    tell_how_read(probes, files, data)
    left = without_broken(
        files,
        broken,
        data,
        fault=f"cannot be read or have fewer than the {CHUNK_FRAMES} frames of a clip",
        effect="left out",
    )
    return {
        name: ClipVideo(path, probes[name], UNLABELLED if labels is None else labels[name])
        for name, path in left.items()
    }


def too_short(path: Path, frames: int) -> str:
    """Returns a message about a video that has fewer frames than a clip; an empty text if it has enough."""
    enough = frames >= CHUNK_FRAMES
    return "" if enough else f"{path}: {frames} frames, expected at least the {CHUNK_FRAMES} of a clip"
