"""Times as people and tools write them: seconds, mm:ss, hh:mm:ss; with a point or a comma before the decimals."""

from __future__ import annotations

import math
import re

# hours and minutes in front of the seconds; the hours may be missing. More digits are no time, nor a finite float.
_CLOCK = re.compile(r"(?:(?P<hours>\d{1,9}):)?(?P<minutes>\d{1,9}):(?P<seconds>\d{1,2}(?:[.,]\d*)?)")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
# 1,234 is a thousand and more to some and little more than one to others.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def parse_seconds(text: str) -> float | None:
    """Returns a time as seconds.

    Read are seconds ("12.5", "12,5"), minutes and seconds ("75:12.5") and hours, minutes and seconds ("1:15:12,5").
    Seconds stay below 60 where minutes are given, and minutes where hours are given. A comma is the decimal mark.

    Args:
      text: the time as written.

    Returns:
      Finite seconds; None for anything else, such as "NA", "1.234,5" or "00:00:01:12" (a count of frames at its end).
    """
    text = text.strip()
    if match := _CLOCK.fullmatch(text):
        hours, minutes = match["hours"], int(match["minutes"])
        seconds = float(match["seconds"].replace(",", "."))
        if seconds >= 60 or (hours is not None and minutes >= 60):
            return None
        return int(hours or 0) * 3600 + minutes * 60 + seconds
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def decimal_mark(text: str) -> str:
    """Returns the decimal mark of a time, "." or ","; empty if it has none."""
    return next((mark for mark in ",." if mark in text), "")


def may_be_thousands(text: str) -> bool:
    """Tells whether a number's comma may group thousands: 1,234, but neither 1,5 nor 0,234."""
    return bool(_THOUSANDS.fullmatch(text.strip()))
