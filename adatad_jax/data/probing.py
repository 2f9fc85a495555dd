"""A look at all videos before a run: in parallel, with one message on how they are read, and one on broken ones.

With a cache, its entries stand in for the files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from adatad_jax.config.run_fields import ReadingConfig
from adatad_jax.console import make_console, watched
from adatad_jax.data.cache import REMEDY, read_entry, record_file
from adatad_jax.errors import UserError, listed
from adatad_jax.video.probe import Probe
from adatad_jax.video.readers import DECORD, tally

Item = TypeVar("Item")
_logger = logging.getLogger(__name__)


def probe_cached(name: str, folder: Path, short_sides: Sequence[int]) -> Probe:
    """Reads frame count and frame rate of a video from a cache.

    Args:
      name: of the video.
      folder: of the cache.
      short_sides: of the configuration, pixels.

    Raises:
      UserError: the cache does not hold the video whole at one of the short sides.
    """
    for short_side in short_sides:
        entry = read_entry(record_file(folder, short_side, name))
        if entry is not None:
            return Probe(entry.frame_count, entry.fps, notes=tuple(entry.notes))
    sides = " or ".join(dict.fromkeys(map(str, short_sides)))
    raise UserError(f"{folder}: {name} is not in the cache at short side {sides}, or not whole; {REMEDY}")


def look_at_all(
    names: Sequence[str], look: Callable[[str], Probe | str], threads: int
) -> tuple[dict[str, Probe], dict[str, str]]:
    """Looks at videos in parallel, with a progress bar.

    Args:
      names: of the videos.
      look: returns what a video's container holds, or what is wrong with it.
      threads: videos looked at at a time.

    Returns:
      name -> what the container holds; and name -> what is wrong, for the other videos.
    """
    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(names, watched(pool.map(look, names), "checking videos", len(names)), strict=True))
    probes = {name: one for name, one in found.items() if isinstance(one, Probe)}
    return probes, {name: one for name, one in found.items() if isinstance(one, str)}


def tell_how_read(probes: Mapping[str, Probe], files: Mapping[str, Path | None], data: ReadingConfig) -> None:
    """Says which reader reads how many videos, where decord is wanted, and warns of what was repaired or assumed.

    Args:
      probes: name -> what the container holds.
      files: name -> file; None where a cache stands in for it.
      data: cache and reader.
    """
    if data.reader == DECORD and not data.cache:
        make_console().print(tally(one.pyav_because for one in probes.values()))
    odd = [f"{files.get(name) or name}: {note}" for name, probe in probes.items() for note in probe.notes]
    if odd:
        _logger.warning("%d notes on how videos are read:%s", len(odd), listed(odd))


def without_broken(
    videos: Mapping[str, Item],
    broken: Mapping[str, str],
    data: ReadingConfig,
    *,
    fault: str,
    effect: str,
    hint: str = "",
) -> dict[str, Item]:
    """Leaves out the videos that cannot be used, if `data.skip_broken` allows that; a warning lists them.

    Args:
      videos: name -> anything.
      broken: name -> what is wrong.
      data: whether videos may be left out.
      fault: what can be wrong, in words, after "3 of 9 videos".
      effect: what leaving them out means, in words.
      hint: where to learn more, in words.

    Raises:
      UserError: some videos cannot be used and may not be left out, or no video can be used.
    """
    if not broken:
        return dict(videos)
    what, lines = f"{len(broken)} of {len(videos)} videos {fault}", listed(list(broken.values()))
    if not data.skip_broken:
        raise UserError(
            f"{what}; repair them, or continue without them with --config.data.skip_broken=True{hint}:{lines}"
        )
    left = {name: video for name, video in videos.items() if name not in broken}
    if not left:
        raise UserError(f"{what}, so no video is left:{lines}")
    _logger.warning("%s: %s:%s", what, effect, lines)
    return left
