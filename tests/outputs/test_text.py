"""Texts on one line, in a font that has their characters."""

from pathlib import Path

import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from adatad_jax.outputs.text import drawable, flat, shortened
from tests.outputs.detections import ODD_LABELS

IN_STIX_ALONE = "\N{COMBINING LONG VERTICAL LINE OVERLAY}"  # of the fonts that come with matplotlib
NOWHERE = "\U0010fffd"  # for private use


def test_flat_and_short() -> None:
    assert flat(" two\r\nlines\u2028\tand\x00 \ud800more ") == "two lines and more"
    assert shortened("twelve chars", 12) == "twelve chars"
    assert shortened("twelve chars", 8) == "twelve…"
    assert len(shortened("x" * 200, 40)) == 40


def test_usual_names_keep_the_usual_font() -> None:
    assert drawable(["jump", "Größe, Ж"]) == (
        ["jump", "Größe, Ж"],
        Path(str(font_manager.findfont("DejaVu Sans"))),
    )


def test_the_font_with_most_of_the_characters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = Path(str(font_manager.findfont("DejaVu Sans"))).parent
    # resolved, as the path of the usual font is: the environment may be reached through a link
    fonts = [entry for entry in font_manager.fontManager.ttflist if Path(entry.fname).resolve().parent == bundled]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    lines, path = drawable([f"a{IN_STIX_ALONE}{NOWHERE}", "b\N{ZERO WIDTH JOINER}c"])
    assert path.name == "STIXGeneral.ttf"
    assert lines == [f"a{IN_STIX_ALONE}\N{WHITE SQUARE}", "bc"]


def test_whatever_the_label_the_font_has_every_character() -> None:
    lines, path = drawable(ODD_LABELS)
    assert {ord(char) for line in lines for char in line} <= set(FT2Font(str(path)).get_charmap())
