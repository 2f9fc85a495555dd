"""Detection by several processes: which videos each one takes, and their detections as bytes."""

import io
import json
from collections.abc import Mapping, Sequence

import numpy as np

from adatad_jax.devices.processes import Processes
from adatad_jax.postprocessing.detections import Detections


def share_videos(windows: Mapping[str, int], parts: int) -> list[list[str]]:
    """Shares videos out, so that all parts have about as many windows.

    Args:
      windows: name -> number of windows.
      parts: number of parts.

    Returns:
      The names of each part, in the order of `windows`.
    """
    part_of: dict[str, int] = {}
    loads = [0] * parts
    for name in sorted(windows, key=lambda name: -windows[name]):  # the longest first, each to the least loaded
        part_of[name] = loads.index(min(loads))
        loads[part_of[name]] += windows[name]
    return [[name for name in windows if part_of[name] == part] for part in range(parts)]


def joined_detections(
    results: dict[str, Detections], names: Sequence[str], processes: Processes
) -> dict[str, Detections]:
    """Joins the detections of all processes.

    Args:
      results: name -> detections, of this process's videos.
      names: of all videos, in the order that the result has. Those without results, which are broken, are left out.
      processes: all of which must call this.

    Raises:
      UserError: another process has failed.
    """
    if processes.count == 1:
        return results
    found = {
        name: one for part in processes.gather("detections", packed(results)) for name, one in unpacked(part).items()
    }
    return {name: found[name] for name in names if name in found}


def packed(results: Mapping[str, Detections]) -> bytes:
    """Returns detections by video as bytes, which `unpacked` reads."""
    arrays = {"names": np.frombuffer(json.dumps(list(results)).encode(), np.uint8)}
    for number, found in enumerate(results.values()):
        arrays |= {f"{number}_{field}": getattr(found, field) for field in ("segments", "scores", "labels")}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpacked(payload: bytes) -> dict[str, Detections]:
    """Returns the detections by video that `packed` has made bytes of, bit by bit."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        names = json.loads(arrays["names"].tobytes())
        return {
            name: Detections(*(arrays[f"{number}_{field}"] for field in ("segments", "scores", "labels")))
            for number, name in enumerate(names)
        }
