"""Times as they are written, and the seconds that they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.annotations.times import parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", 12.5),
        ("12,5", 12.5),
        (" 7 ", 7),
        ("1e1", 10),
        ("0:01.5", 1.5),
        ("75:12.25", 75 * 60 + 12.25),
        ("00:00:01.500", 1.5),
        ("1:02:03,5", 3723.5),
        ("26:00:00", 26 * 3600),
        ("-1.5", -1.5),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "NA", "nan", "inf", "1.234,5", "1:60", "1:60:00", "0:00:61", "00:00:01:12", "-0:01", "12:00 AM", "1;5"]
)
def test_what_is_no_time(text: str) -> None:
    assert parse_seconds(text) is None


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_clock_of_many_digits_is_no_time(digits: int) -> None:
    many = "9" * digits
    assert [parse_seconds(text) for text in (f"{many}:00:01", f"{many}:01", many)] == [None] * 3


@given(milliseconds=st.integers(0, 10**8), mark=st.sampled_from(".,"))
def test_every_millisecond_as_a_clock_shows_it(milliseconds: int, mark: str) -> None:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    clock = f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{mark}{rest:03d}"
    assert parse_seconds(clock) == pytest.approx(milliseconds / 1000, abs=1e-9)
    assert parse_seconds(f"{minutes}:{second:02d}{mark}{rest:03d}") == pytest.approx(milliseconds / 1000, abs=1e-9)
