"""The combinations that are tried: one odd thing at a time first, then several at once, drawn at random."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from benchmarks.clock.codings import CODINGS, FIELDS
from benchmarks.clock.containers import FORMATS, ISO, MATROSKA, PROGRAM, TRANSPORT
from benchmarks.clock.paces import FAULTS, HEADERS, LONG, MISSING, PACES, UNEVEN, WRAPPED

PLAIN_PACE = "25 a second"
STANDARD_RATES = {
    *(Fraction(whole) for whole in (24, 25, 30, 50, 60)),
    *(Fraction(whole * 1000, 1001) for whole in (24, 30, 60)),
}

# Seconds at which the clock begins; where, it is shifted.
STARTS = {"0": 0.0, "5 s late": 5.0, "at 10 h": 36000.0, "3 s before 0": -3.0, "just before it wraps": WRAPPED}

LAYOUTS = (
    "plain",
    "with sound",
    "with longer sound",
    "with earlier sound",
    "a thumbnail track first",
    "a shorter track first",
    "a shorter track second",
    "joined, clock anew",
    "joined, clock back",
    "joined, clock two hours on",
    "three joined, clock anew",
    "first packets cut off",
    "first bytes cut off",
    "start cut by an edit list",
    "late by an edit list",
    "start cut and late by an edit list",
    "middle cut by an edit list",
    "end cut by an edit list",
)
TRACKS = tuple(name for name in LAYOUTS if "track" in name)
JOINED = tuple(name for name in LAYOUTS if "joined" in name)
CUT = ("first packets cut off", "first bytes cut off")
EDITED = tuple(name for name in LAYOUTS if "edit list" in name)


@dataclass(frozen=True)
class Recipe:
    """What a file is made of: a name from each of the tables, and the seed of all that is left to chance."""

    format: str
    coding: str
    pace: str = PLAIN_PACE
    header: str = "right"
    start: str = "0"
    fault: str = "none"
    layout: str = "plain"
    seed: int = 0

    def __str__(self) -> str:
        """Returns the combination in words, without what is plain."""
        odd = (
            f"{self.coding} in {self.format}",
            self.pace,
            *([] if self.header == "right" else [f"header {self.header}"]),
            *([] if self.start == "0" else [f"starts {self.start}"]),
            *([] if self.fault == "none" else [self.fault]),
            *([] if self.layout == "plain" else [self.layout]),
        )
        return ", ".join(odd)


DIMENSIONS = {
    "format": tuple(FORMATS),
    "coding": tuple(CODINGS),
    "pace": tuple(PACES),
    "header": tuple(HEADERS),
    "start": tuple(STARTS),
    "fault": tuple(FAULTS),
    "layout": LAYOUTS,
}
ODD = ("pace", "header", "start", "fault", "layout")


def header_rate(recipe: Recipe) -> Fraction:
    """Returns the frame rate that the file's headers say, in frames per second."""
    factor = HEADERS[recipe.header]
    return PACES[recipe.pace].rate * (1 if factor is None else factor)


def possible(recipe: Recipe) -> bool:
    """Tells whether such a file can be made, and whether its true times are beyond doubt."""
    return all(
        rule(recipe) for rule in (_coding_fits, _pace_fits, _header_fits, _start_fits, _fault_fits, _layout_fits)
    )


def _coding_fits(recipe: Recipe) -> bool:
    rates = CODINGS[recipe.coding].rates
    rate = header_rate(recipe)
    if recipe.coding not in FORMATS[recipe.format].codings:
        return False
    if rates == "few":
        return rate in STANDARD_RATES
    if rates == "small":
        return rate.numerator <= 65535
    if rates == "up to 240":
        return rate <= 240
    return rates == "any" or rate == Fraction(30000, 1001)


def _pace_fits(recipe: Recipe) -> bool:
    pace = PACES[recipe.pace]
    if recipe.pace in LONG and (recipe.fault, recipe.layout) != ("none", "plain"):
        return False
    if recipe.format in PROGRAM and recipe.pace in LONG:
        return False
    if recipe.format == "gif" and pace.rate > 30:
        return False  # its unit is a hundredth of a second
    if recipe.format == "avi" and recipe.pace == UNEVEN:
        return recipe.header == "right" and not CODINGS[recipe.coding].b_frames
    return pace.steady or FORMATS[recipe.format].any_time


def _header_fits(recipe: Recipe) -> bool:
    if recipe.header == "absent":
        return recipe.format in MATROSKA
    if recipe.header == "right":
        return True
    if recipe.fault == "all missing" or recipe.format == "gif":
        return False  # the header is all there is, or there is none
    return FORMATS[recipe.format].any_time


def _start_fits(recipe: Recipe) -> bool:
    form = FORMATS[recipe.format]
    if recipe.start == "0":
        return True
    if not form.stamped or recipe.fault == "all missing" or recipe.layout in (*JOINED, *EDITED):
        return False
    if recipe.start == "3 s before 0":
        return recipe.format in ISO and recipe.coding != FIELDS and recipe.layout == "plain"
    if recipe.start == "just before it wraps":
        return recipe.format in (*TRANSPORT, *PROGRAM) and recipe.layout == "plain" and recipe.fault != "a restart"
    return recipe.format not in PROGRAM


def _fault_fits(recipe: Recipe) -> bool:
    form, fault = FORMATS[recipe.format], recipe.fault
    if fault == "none":
        return True
    if not form.stamped:
        return form.any_time and "still" in fault and recipe.layout == "plain"
    if recipe.coding == FIELDS:
        return "still" in fault or "jump" in fault  # no stamps are changed after the file is written
    if fault in MISSING and (form.patch.split(" ")[0] not in ("transport", "program") or not PACES[recipe.pace].steady):
        return False
    if fault == "a restart" and (recipe.format in (*ISO, "fragmented mp4") or "open" in recipe.coding):
        return False
    if ("jump" in fault or fault == "a restart") and recipe.pace == UNEVEN:
        return False  # how long the step there would have been is in no stamp
    if fault == "tenths of a second" and PACES[recipe.pace].rate < 24:
        return False
    if recipe.format in PROGRAM and ("still" in fault or "jump" in fault):
        return False
    # in MPEG streams 26.5 h are no jump, and FLV has no room for them between decoding and presentation
    reorders = CODINGS[recipe.coding].b_frames > 0
    return "26.5" not in fault or not (recipe.format in TRANSPORT or (recipe.format == "flv" and reorders))


def _layout_fits(recipe: Recipe) -> bool:
    form, layout = FORMATS[recipe.format], recipe.layout
    steady = PACES[recipe.pace].steady
    if layout == "plain":
        return True
    if "sound" in layout:
        if layout == "with earlier sound" and (not form.stamped or recipe.start != "0"):
            return False
        return bool(form.sound)
    if layout in TRACKS:
        if recipe.format not in ("mp4", "mov", *MATROSKA, "ts"):
            return False
        return recipe.fault == "none" and ("thumbnail" not in layout or recipe.format in ("mp4", "mov", "mkv"))
    if layout in JOINED:
        return recipe.format in (*TRANSPORT, *PROGRAM) and recipe.fault == "none" and recipe.pace != UNEVEN
    if layout in CUT:
        if CODINGS[recipe.coding].keys_only or recipe.fault != "none":
            return False
        if layout == "first bytes cut off":
            return recipe.format in TRANSPORT and recipe.start == "0"
        return recipe.format in (*TRANSPORT, *MATROSKA, "flv", "mp4", "mpg") and recipe.start == "0"
    assert layout in EDITED, layout
    if recipe.coding == FIELDS or recipe.format not in ISO or recipe.fault != "none":
        return False
    # FFmpeg begins the second of two edits later by the B-frames before its first frame
    return "middle" not in layout or (steady and not CODINGS[recipe.coding].b_frames)


def recipes(count: int, seed: int = 0) -> list[Recipe]:
    """Returns so many different combinations; a longer list begins with the shorter one."""
    rng = np.random.default_rng(seed)
    made: dict[Recipe, Recipe] = {}
    for one in _endless(rng):
        assert possible(one), one
        kind = replace(one, seed=0)
        if kind not in made:
            made[kind] = one
        if len(made) == count:
            break
    return list(made.values())


def _endless(rng: np.random.Generator) -> Iterator[Recipe]:
    """Yields combinations: each odd thing alone, then each coding in each container with several odd things."""
    for name in (*ODD, "fault", "layout"):
        for value in DIMENSIONS[name]:
            yield _drawn(rng, {name: value})
    while True:
        pairs = [(name, coding) for name, form in FORMATS.items() for coding in form.codings]
        for place in rng.permutation(len(pairs)).tolist():
            format_, coding = pairs[place]
            yield _drawn(rng, {"format": format_, "coding": coding}, odd=int(rng.integers(2, 5)))


def _drawn(rng: np.random.Generator, fixed: dict[str, str], odd: int = 0) -> Recipe:
    """Returns a possible combination with the fixed values and so many odd things; a plain one if none is found."""
    for _ in range(200):
        chosen = dict(fixed)
        format_ = chosen.setdefault("format", str(rng.choice(list(FORMATS))))
        coding = chosen.setdefault("coding", str(rng.choice(FORMATS[format_].codings)))
        for name in rng.choice(ODD, odd, replace=False).tolist():
            chosen[name] = str(rng.choice(DIMENSIONS[name]))
        one = Recipe(**{"pace": _fitting_pace(coding), **chosen}, seed=_seed(rng))
        if possible(one):
            return one
    return Recipe(format_, coding, pace=_fitting_pace(coding), seed=_seed(rng))


def _fitting_pace(coding: str) -> str:
    return "29.97 a second" if CODINGS[coding].rates == "29.97" else PLAIN_PACE


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 31))
