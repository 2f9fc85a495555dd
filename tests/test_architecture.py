"""The documents of the layout say what the code is: `docs/images/floors.png` and `docs/architecture.md`."""

import re

from docs.floors import PICTURE, ROOT, architecture, drawn_from
from tests.test_layout import FLOORS


def test_the_picture_of_the_floors_is_that_of_the_code() -> None:
    assert drawn_from(PICTURE) == architecture(), "the imports or floors have changed: run `python docs/floors.py`"


def test_the_architecture_names_every_unit() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\|[^|]*\| `(\w+)` \|", text, re.MULTILINE))
    assert named == {unit for units in FLOORS for unit in units}, "docs/architecture.md has a line for each unit"
