"""What is known of a field of a configuration beside its type and default: its meaning, and the values it takes."""

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

from adatad_jax.annotations.format_keys import AUTO

T = TypeVar("T")

_KINDS = {bool: "True or False", int: "a whole number, ", float: ""}  # before the bounds


def _is_a(value: Any, kind: type) -> bool:
    """Tells whether a value has a type, as a configuration takes it: a whole number is a float too, and no bool is."""
    return type(value) is kind or (kind is float and type(value) is int)


@dataclass(frozen=True)
class Setting:
    """What is known of a field beside its type and default.

    Attributes:
      meaning: in words, with the unit.
      at_least, above, at_most, below: bounds; NaN and infinity are never allowed.
      one_of: the values of a text; empty: any.
      or_auto: type of the value, where `auto` may stand in its place; None: the field has one type.
    """

    meaning: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    one_of: tuple[str, ...] = ()
    or_auto: type | None = None

    @property
    def expected(self) -> str:
        """Returns the values that are allowed, in words; empty where all of the type are."""
        if self.or_auto is not None:
            return f"{AUTO}, or {_KINDS[self.or_auto]}{self._bounds}"
        return self._bounds

    @property
    def _bounds(self) -> str:
        if self.one_of:
            return f"one of {', '.join(self.one_of)}"
        low = self.above if self.at_least is None else self.at_least
        high = self.below if self.at_most is None else self.at_most
        if low is None:
            return ""
        if high is None:
            return f"a finite number above {low:g}" if self.at_least is None else f"at least {low:g}"
        return f"in {'(' if self.at_least is None else '['}{low:g}, {high:g}{')' if self.at_most is None else ']'}"

    def allows(self, value: Any) -> bool:
        """Tells whether a value of the field's type is allowed."""
        if self.or_auto is not None and (value == AUTO or not _is_a(value, self.or_auto)):
            return isinstance(value, str) and value == AUTO
        if self.one_of:
            return value in self.one_of
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


def setting(
    default: T,
    meaning: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    one_of: tuple[str, ...] = (),
    or_auto: type | None = None,
) -> T:
    """Declares a field of a configuration record; see `Setting`."""
    known = Setting(meaning, at_least, above, at_most, below, one_of, or_auto)
    declared: T = field(default=default, metadata={"setting": known})
    return declared
