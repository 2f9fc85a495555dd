"""Makes the file of a recipe, together with the true times of its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.clock import patches
from benchmarks.clock.codings import CODINGS, Coding
from benchmarks.clock.containers import FORMATS, Format
from benchmarks.clock.mux import Sound, Stored, Track, write
from benchmarks.clock.paces import FAULTS, PACES, WRAPPED, Stamped, Times
from benchmarks.clock.recipes import STARTS, Recipe, header_rate

OTHER = 4000  # number of the first picture of another track
THUMBNAIL = 8000
UNITS = 90000  # of MPEG streams, per second
DEFAULT_DURATION = bytes.fromhex("23e383")  # Matroska's name of the field that says the frame rate


@dataclass(frozen=True, eq=False)
class Made:
    """A file and the truth about it.

    Attributes:
      path: the file.
      recipe: what it is made of.
      times: `[N]` true seconds from the first picture that is shown.
      pictures: `[N]` what the pictures show.
    """

    path: Path
    recipe: Recipe
    times: Times
    pictures: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Film:
    """The main track of a file, before it is written."""

    path: Path
    recipe: Recipe
    format: Format
    coding: Coding
    rate: Fraction
    stamped: Stamped
    rng: np.random.Generator

    @property
    def times(self) -> Times:
        return self.stamped.times

    @property
    def stamps(self) -> Times:
        return self.stamped.stamps

    @property
    def numbers(self) -> NDArray[np.int64]:
        return np.arange(len(self.times))

    @property
    def is_patched(self) -> bool:
        """Tells whether wrong or negative stamps are put in after the file is written."""
        if STARTS[self.recipe.start] < 0:
            return True
        rising = not np.isnan(self.stamps).any() and bool((np.diff(self.stamps) > 0).all())
        return bool(self.format.patch) and not rising

    @property
    def start(self) -> float:
        """Seconds at which the muxer is to begin."""
        start = STARTS[self.recipe.start]
        return start if 0 < start < WRAPPED else 0.0

    def track(self) -> Track:
        stamps = (self.times if self.is_patched else self.stamps) + self.start
        return Track(self.coding, self.numbers, stamps, self.rate, self.stamped.parts)


def make(recipe: Recipe, folder: Path) -> Made:
    """Makes a file in a folder of its own inside `folder`, so that a folder with one video can be given to a reader."""
    rng = np.random.default_rng(recipe.seed)
    form, pace = FORMATS[recipe.format], PACES[recipe.pace]
    times = pace.times(int(rng.integers(*pace.count, endpoint=True)), rng)
    stamped = FAULTS[recipe.fault](times, rng)
    home = folder / f"{recipe.format} {recipe.seed}".replace(" ", "_")
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"film.{form.suffix}"
    film = _Film(path, recipe, form, CODINGS[recipe.coding], header_rate(recipe), stamped, rng)
    times, pictures = LAYOUTS[recipe.layout](film)
    if recipe.header == "absent":
        _remove_rate(path)
    return Made(path, recipe, times - times[0], pictures)


Truth = tuple[Times, NDArray[np.int64]]


def _alone(film: _Film, sounds: list[Sound] | None = None) -> Truth:
    """Writes the main track, and sound."""
    write(film.path, film.format.muxer, [film.track()], sounds or [])
    _patch(film)
    return film.times, film.numbers


def _with_sound(before: float, after: float) -> Callable[[_Film], Truth]:
    """Makes a layout with sound that begins and ends so many seconds before and after the pictures."""

    def layout(film: _Film) -> Truth:
        stamped = film.stamped
        stamped = replace(stamped, times=stamped.times + before, stamps=stamped.stamps + before)
        film = replace(film, stamped=stamped)
        track = film.track()
        start = max(0.0, float(track.stamps[0])) - before
        # sound that goes on for hours is coded for minutes
        end = start + min(float(film.times[-1] - film.times[0]) + before + after, 200.0)
        return _alone(film, [Sound(film.format.sound, start, end)])

    return layout


def _thumbnail_first(film: _Film) -> Truth:
    small = Track(CODINGS["mjpeg"], np.array([THUMBNAIL]), np.array([film.start]), film.rate)
    return _tracks(film, small, 1)


def _shorter_track(place: int) -> Callable[[_Film], Truth]:
    def layout(film: _Film) -> Truth:
        track, count = film.track(), max(2, len(film.times) // 3)
        return _tracks(film, replace(track, numbers=OTHER + np.arange(count), stamps=track.stamps[:count]), place)

    return layout


def _tracks(film: _Film, other: Track, place: int) -> Truth:
    """Writes the main track at a place beside another one."""
    tracks = [other, film.track()] if place else [film.track(), other]
    write(film.path, film.format.muxer, tracks)
    return film.times, film.numbers


def _joined(*starts: float) -> Callable[[_Film], Truth]:
    """Makes a layout of files joined byte by byte, whose clocks begin at these seconds."""

    def layout(film: _Film) -> Truth:
        bounds = np.linspace(0, len(film.times), len(starts) + 1).astype(int)
        content = b""
        for first, last, start in zip(bounds, bounds[1:], starts, strict=False):
            own = film.times[first:last] - film.times[first] + start
            write(film.path, film.format.muxer, [Track(film.coding, film.numbers[first:last], own, film.rate)])
            content += film.path.read_bytes()
        film.path.write_bytes(content)
        return film.times, film.numbers

    return layout


def _first_packets_cut(film: _Film) -> Truth:
    track = replace(film.track(), dropped=int(film.rng.integers(1, 9)))
    (stored,) = write(film.path, film.format.muxer, [track])
    return _from_key_frame(film, stored)


def _first_bytes_cut(film: _Film) -> Truth:
    (stored,) = write(film.path, film.format.muxer, [film.track()])
    content = film.path.read_bytes()
    size = 192 if film.recipe.format == "m2ts" else 188
    cut = size * int(film.rng.integers(4, max(5, len(content) // size // 5)))
    film.path.write_bytes(content[cut:])
    lost = len(stored.order) - len(patches.transport_stamps(content[cut:], size))
    return _from_key_frame(film, Stored(stored.order[lost:], stored.keys[lost:]))


def _from_key_frame(film: _Film, stored: Stored) -> Truth:
    """Returns the truth about packets of which the first may be no key frame: its picture stands for those before."""
    shown = np.sort(stored.order)
    first_key = stored.order[np.flatnonzero(stored.keys)[0]]
    return film.times[shown], np.maximum(shown, first_key)


def _edited(kind: str) -> Callable[[_Film], Truth]:
    """Makes a layout with an edit list, which says what a player shows."""

    def layout(film: _Film) -> Truth:
        _alone(film)
        content = film.path.read_bytes()
        scale, _, stored = patches.mp4_clock(content, 0)
        shown, count = np.sort(stored), len(film.times)
        ends = np.append(shown, shown[-1] + int(np.median(np.diff(shown))))
        kept = np.arange(count)
        edits: list[tuple[float, int]] = []
        if "late" in kind:
            edits.append((float(film.rng.uniform(0.5, 20)), -1))
        first = int(film.rng.integers(3, count // 3)) if "start" in kind else 0
        last = int(film.rng.integers(count // 2, count - 3)) if "end" in kind else count
        times = film.times
        if "middle" in kind:
            stop, go = count // 3, int(film.rng.integers(count // 3 + 3, count - 10))
            edits += [((ends[stop] - shown[0]) / scale, int(shown[0])), ((ends[-1] - ends[go]) / scale, int(shown[go]))]
            kept = np.r_[:stop, go:count]
            times = times - np.where(np.arange(count) >= go, times[go] - times[stop], 0)
        else:
            edits.append(((ends[last] - shown[first]) / scale, int(shown[first])))
            kept = kept[first:last]
        film.path.write_bytes(patches.edit_mp4(content, 0, edits))
        return times[kept], kept

    return layout


LAYOUTS: dict[str, Callable[[_Film], Truth]] = {
    "plain": _alone,
    "with sound": _with_sound(0, 0),
    "with longer sound": _with_sound(0, 6),
    "with earlier sound": _with_sound(2, 0),
    "a thumbnail track first": _thumbnail_first,
    "a shorter track first": _shorter_track(1),
    "a shorter track second": _shorter_track(0),
    "joined, clock anew": _joined(0, 0),
    "joined, clock back": _joined(500, 20),
    "joined, clock two hours on": _joined(0, 7200),
    "three joined, clock anew": _joined(0, 0, 0),
    "first packets cut off": _first_packets_cut,
    "first bytes cut off": _first_bytes_cut,
    "start cut by an edit list": _edited("start"),
    "late by an edit list": _edited("late"),
    "start cut and late by an edit list": _edited("start late"),
    "middle cut by an edit list": _edited("middle"),
    "end cut by an edit list": _edited("end"),
}


def _patch(film: _Film) -> None:
    """Puts the wrong stamps of a film into its file."""
    wraps = film.recipe.start == "just before it wraps"
    if not (film.is_patched or wraps):
        return
    content = film.path.read_bytes()
    match film.format.patch.split(" "):
        case ["mp4"]:
            content = _patched_mp4(film, content)
        case ["transport", *camcorder]:
            size = 192 if camcorder else 188
            stamps = patches.transport_stamps(content, size)
            content = patches.retime_transport(content, _shift(film, stamps, UNITS), size)
        case ["program"]:
            content = patches.retime_program(content, _shift(film, patches.program_stamps(content), UNITS))
        case ["asf"]:
            content = patches.retime_asf(content, _shift(film, patches.asf_stamps(content), 1000))
        case ["flash"]:
            content = patches.retime_flash(content, _shift(film, patches.flash_stamps(content), 1000))
    film.path.write_bytes(content)


def _shift(film: _Film, written: list[int], units: int) -> patches.Shift:
    """Returns the function that turns the stamps in a file, which are right, into those to write."""
    first = min(written)
    offset = 0
    if film.recipe.start == "just before it wraps":
        offset = patches.WRAP - first - round(film.rng.uniform(0.3, 0.7) * film.times[-1] * units)
    wrong = film.stamps if film.is_patched else film.times

    def shift(stamp: int) -> int | None:
        place = int(np.abs(film.times - film.times[0] - (stamp - first) / units).argmin())
        if np.isnan(wrong[place]):
            return None
        return stamp + offset + round(float(wrong[place] - film.times[place]) * units)

    return shift


def _patched_mp4(film: _Film, content: bytes) -> bytes:
    scale, decoding, shown = patches.mp4_clock(content, 0)
    ranks = np.argsort(np.argsort(shown))
    shown = shown + np.round((film.stamps - film.times)[ranks] * scale).astype(np.int64)
    decoding = np.minimum(decoding, np.minimum.accumulate(shown[::-1])[::-1])
    early = min(0.0, STARTS[film.recipe.start])
    if early:
        return patches.retime_mp4(content, 0, decoding, shown + round(early * scale), without_edits=True)
    content = patches.retime_mp4(content, 0, decoding, shown)
    # an edit as long as the right stamps would hide pictures whose stamps are too high
    first, span = int(shown[ranks == 0][0]), (shown.max() - shown.min()) / scale + 1
    return patches.edit_mp4(content, 0, [*([(film.start, -1)] if film.start else []), (span, first)])


def _remove_rate(path: Path) -> None:
    """Turns the frame rate in the header of a Matroska file into filling."""
    content = bytearray(path.read_bytes())
    for at in _places(content, DEFAULT_DURATION):
        content[at : at + 2] = bytes((0xEC, 0x80 | (content[at + 3] & 0x7F) + 2))
    path.write_bytes(bytes(content))


def _places(content: bytearray, wanted: bytes) -> Iterator[int]:
    at = content.find(wanted, 0, 1000)
    while at >= 0:
        yield at
        at = content.find(wanted, at + 1, 1000)
