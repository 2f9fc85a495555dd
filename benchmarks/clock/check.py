"""What the package makes of a file, held against the truth: clock, pictures, what detection and training see."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adatad_jax.config.fields import Config
from adatad_jax.data.footage import open_footage
from adatad_jax.data.frames import Frames, FrameSource
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.data.usable_videos import usable
from adatad_jax.errors import UserError
from adatad_jax.video.decode import open_video
from adatad_jax.video.names import find_files
from adatad_jax.video.scan import scan
from benchmarks.clock.build import Made, make
from benchmarks.clock.paces import REPAIRED, Times
from benchmarks.clock.pictures import numbers
from benchmarks.clock.recipes import Recipe

RIGHT, REFUSED, WRONG = "right", "refused", "WRONG"
BATCH = 512  # pictures read at a time
MOST = 8000  # positions compared: of longer videos, so many spread evenly
SINGLES = 6  # pictures read by a reader of their own
STILL, STILL_SECONDS = 4.0, 0.5  # times the usual step, and seconds: a picture that is shown for longer stands still
ALLOWED = 3e-3  # seconds beyond a frame: the containers' rounding
RESAMPLED = 15.0  # frames per second of a detector that sees every video at its own rate


class Verdict(NamedTuple):
    """RIGHT, REFUSED or WRONG, and why."""

    verdict: str
    reason: str = ""


class _Difference(Exception):
    """What the package says is not the truth."""


def examine(item: tuple[Recipe, Path]) -> Verdict:
    """Makes the file of a recipe in a folder, checks it, and removes it if it is right."""
    recipe, folder = item
    made = make(recipe, folder)
    verdict = check(made)
    if verdict.verdict == RIGHT:
        shutil.rmtree(made.path.parent)
    return verdict


def check(made: Made) -> Verdict:
    """Reads a file in all ways that the package has; the first that is wrong decides."""
    roads: dict[str, Callable[[Made], None]] = {
        "clock": _check_clock,
        "random access": _check_access,
        "detection": lambda made: _check_detection(made, 0.0),
        f"detection at {RESAMPLED:g} a second": lambda made: _check_detection(made, RESAMPLED),
        "training": _check_training,
    }
    refused = ""
    for road, look in roads.items():
        try:
            look(made)
        except UserError as error:
            if not str(error).strip():
                return Verdict(WRONG, f"{road}: refused without a reason")
            refused = refused or f"{road}: {str(error).replace(str(made.path), made.path.name)}"
        except _Difference as error:
            return Verdict(WRONG, f"{road}: {error}")
        except Exception as error:
            return Verdict(WRONG, f"{road}: {type(error).__name__}: {error}")
    return Verdict(REFUSED, refused) if refused else Verdict(RIGHT)


def _check_clock(made: Made) -> None:
    clock = scan(made.path).clock()
    reader = open_video(made.path)
    count = reader.frame_count
    _require(len(clock) == count + 1, f"{len(clock)} times for {count} frames and the end")
    _require(np.isfinite(clock).all() and (np.diff(clock) >= 0).all(), "the times fall, or are not finite")
    seen = [numbers(reader.read(np.arange(at, min(at + BATCH, count)))) for at in range(0, count, BATCH)]
    _compare(made, clock[:-1], np.concatenate(seen), frames=1.0)
    if not _holds(made):
        _require(count == len(made.times), f"{count} frames of {len(made.times)}")
    _check_end(made, float(clock[-1]))


def _check_end(made: Made, end: float) -> None:
    """Compares the end: the last picture is shown as long as the one before, unless that one stands still."""
    frame = _frames(made)[-1]
    last = made.times[-1] - made.times[-2]
    true = made.times[-1] + (last if last <= _longest(np.diff(made.times)) else frame)
    _require(abs(end - true) <= frame + ALLOWED, f"ends at {end:.3f} s of {true:.3f} s")


def _check_access(made: Made) -> None:
    """Compares pictures read at random, with repetitions, backwards, and each by its own reader."""
    rng = np.random.default_rng(made.recipe.seed)
    reader = open_video(made.path)
    count = reader.frame_count
    in_order = numbers(open_video(made.path).read(np.arange(min(count, 300))))
    count = len(in_order)
    orders = [rng.integers(0, count, 20), np.arange(count)[::-5], *rng.permutation(count)[:SINGLES, None]]
    for order in orders:
        seen = numbers(reader.read(order))
        _require(np.array_equal(seen, in_order[order]), f"frames {order} show {seen}, in order {in_order[order]}")
    for index in (count - 1, *rng.permutation(count)[:SINGLES].tolist()):
        (seen,) = numbers(open_video(made.path).read([index]))
        _require(
            seen == in_order[index], f"a new reader shows {seen} as frame {index}, in order it is {in_order[index]}"
        )


def _check_detection(made: Made, rate: float) -> None:
    """Compares what `detect` sees: positions at a constant rate, and their times."""
    side = _side(made)
    footage = open_footage(made.path, Config().with_fields({"data.test_short_side": side, "data.rate": rate}))
    count = footage.frames.count(footage.video.name)
    _require(count == footage.video.frames, f"{count} positions, but {footage.video.frames} in the video's record")
    _compare_positions(made, footage.frames, footage.video.name, count, count / footage.video.duration)


def _check_training(made: Made) -> None:
    """Compares what training sees of a data set of this one video, as a table describes it."""
    table = made.path.with_name("table.csv")
    if not find_files(made.path.parent, [made.path.stem])[0]:
        return  # a kind of file that only its full name finds
    table.write_text(f"video,start,end,label,subset\nfilm,0,{made.times[-1] / 2:.3f},action,training\n")
    side = _side(made)
    config = Config().with_fields(
        {"data.videos": str(made.path.parent), "data.annotations": str(table), "data.train_short_side": side}
    )
    config = config.with_fields({"data.threads": 1})
    subset = usable(load_subset(config, "training", load_classes(config), training=True), config)
    ((name, video),) = subset.videos.items()
    frames = FrameSource(dict(subset.files), config.data, subset.sampling, side, subset.probes)
    _compare_positions(made, frames, name, frames.count(name), video.fps)


def _compare_positions(made: Made, frames: Frames, name: str, count: int, rate: float) -> None:
    """Compares what positions show with the truth, where position i is taken to be at second i / rate."""
    height, width = frames.size(name)
    order = np.unique(np.linspace(0, count - 1, min(count, MOST)).astype(int))
    seen = [
        numbers(frames.read(name, order[at : at + BATCH], (0, 0, height, width), min(height, width)))
        for at in range(0, len(order), BATCH)
    ]
    frames.finish(name)
    _compare(made, order / rate, np.concatenate(seen), frames=_allowed(made), whole=False)
    _check_end(made, count / rate)


def _allowed(made: Made) -> float:
    """Returns how many frames a position may be off: the choice of the nearest frame adds half to a repaired stamp."""
    return 1.5 if made.recipe.fault in REPAIRED else 1.0


def _compare(made: Made, times: Times, seen: NDArray[np.int64], frames: float, whole: bool = True) -> None:
    """Raises `_Difference` unless every picture is shown near its true time, or while it stands.

    Args:
      made: the truth.
      times: `[n]` seconds at which pictures are shown.
      seen: `[n]` what they show.
      frames: how many frames a time may be off.
      whole: whether every picture must be shown.
    """
    known, first = np.unique(made.pictures, return_index=True)
    last = len(made.pictures) - 1 - np.unique(made.pictures[::-1], return_index=True)[1]
    strange = ~np.isin(seen, known)
    _require(not strange.any(), f"frame {strange.argmax()} shows {seen[strange.argmax()]}, no picture of the film")
    frame = _frames(made)
    ends = np.append(made.times[1:], made.times[-1] + frame[-1])
    row = np.searchsorted(known, seen)
    begin, end, width = made.times[first[row]], ends[last[row]], frames * frame[first[row]]
    # a repeated picture stands for those before it as well
    wrong = (times < begin - width - ALLOWED) | (times > np.maximum(made.times[last[row]] + width + ALLOWED, end))
    if wrong.any():
        at = int(wrong.argmax())
        raise _Difference(
            f"{wrong.sum()} of {len(times)} times, the first of frame {at}: it shows picture {seen[at]}, true from "
            f"{begin[at]:.3f} to {end[at]:.3f} s, at {times[at]:.3f} s"
        )
    _require(
        (np.diff(seen) >= 0).all(), f"pictures out of order: {seen[:-1][np.diff(seen) < 0][:1]} before a lower one"
    )
    if whole:
        missing = np.setdiff1d(known, seen)
        _require(not len(missing), f"{len(missing)} pictures are not shown, the first is {missing[:1]}")


def _frames(made: Made) -> Times:
    """Returns `[N]` seconds that count as one frame: the shorter step beside a picture, or the average if longer."""
    steps = np.diff(made.times)
    if not len(steps):
        return np.ones(1)
    longest = _longest(steps)
    average = steps[steps <= longest].mean()
    around = np.minimum(np.append(steps, np.inf), np.insert(steps, 0, np.inf))
    result: Times = np.maximum(np.where(around <= longest, around, average), average)
    return result


def _longest(steps: Times) -> float:
    """Returns the seconds beyond which a picture stands still."""
    return max(STILL * float(np.median(steps)), STILL_SECONDS)


def _holds(made: Made) -> bool:
    """Tells whether a picture stands for long, so that it may be counted several times."""
    steps = np.diff(made.times)
    return bool(len(steps) and steps.max() > STILL * np.median(steps))


def _side(made: Made) -> int:
    """Returns the short side of the pictures, in pixels."""
    return min(open_video(made.path).size)


def _require(holds: bool | np.bool_, what: str) -> None:
    if not holds:
        raise _Difference(what)
