"""The content of an annotation file, parsed once for all formats that ask what it is: JSON, XML, or a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from adatad_jax.annotations.records import Found
from adatad_jax.annotations.text import parse_json, read_json, read_text
from adatad_jax.errors import UserError, one_line

DELIMITERS = ",;\t"
_NAMED_DELIMITER = re.compile(r"sep=(.)")  # how Excel names the delimiter, on a line before the header


class Line(NamedTuple):
    """A line of a table.

    Attributes:
      where: "line N", the number of the last line of the file that it takes.
      values: its values, stripped of blanks.
      fields: column -> value.
    """

    where: str
    values: list[str]
    fields: dict[str, str]


class Table(NamedTuple):
    """The header of a table.

    Attributes:
      number: of its line, from 1.
      delimiter: what separates values.
      header: names of the columns, in lower case.
      written: the header as written.
    """

    number: int
    delimiter: str
    header: tuple[str, ...]
    written: str


class Source:
    """An annotation file. What its content is not (JSON, XML) is None.

    Attributes:
      path: the file.
      text: its content.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file; raises `UserError` as `read_text`."""
        self.path = path
        self.text = read_text(path)

    @cached_property
    def parsed(self) -> tuple[Any, list[str]] | None:
        """Returns the parsed JSON and the keys that occur twice in an object; None if the file is not JSON."""
        if not self.text.lstrip().startswith(("{", "[")):
            return None
        try:
            return parse_json(self.text, self.path)
        except UserError:
            return None

    @property
    def whole_json(self) -> tuple[Any, list[str]]:
        """Returns what `parsed` does; raises `UserError` as `read_json` if the file is not JSON."""
        return self.parsed or read_json(self.path)

    @property
    def json(self) -> Any:
        """Returns the parsed JSON, or None."""
        return None if self.parsed is None else self.parsed[0]

    @cached_property
    def xml(self) -> ElementTree.Element | None:
        """Returns the root of the XML, or None."""
        if not self.text.lstrip().startswith("<"):
            return None
        try:
            return ElementTree.fromstring(self.text.lstrip())
        except (ElementTree.ParseError, ValueError) as error:
            raise UserError(f"{self.path}: not whole XML ({one_line(error)}); export it again") from None

    @cached_property
    def lines(self) -> list[tuple[int, str]]:
        """Returns the lines that are not blank, with their numbers from 1."""
        return [(number, line) for number, line in enumerate(self.text.split("\n"), 1) if line.strip()]

    @cached_property
    def table(self) -> Table:
        """Returns the header of the file as a table; without columns if the file is JSON or XML or empty."""
        if not self.lines or self.text.lstrip().startswith(("{", "[", "<")):
            return Table(1, ",", (), "")
        number, first = self.lines[0]
        named = _NAMED_DELIMITER.fullmatch(first.strip().strip('"'))
        if named and len(self.lines) > 1:
            number, first = self.lines[1]
            return table_of(number, first, named[1])
        return table_of(number, first, max(DELIMITERS, key=lambda mark: len(split(first, mark))))

    def has_columns(self, *names: str) -> bool:
        """Tells whether the file is a table with these columns."""
        return set(names) <= set(self.table.header)

    def rows(self, table: Table | None = None) -> Iterator[Line]:
        """Yields the lines below a header (by default that of `table`), without those that have no value.

        Raises:
          UserError: the text is no table, such as one with a quotation mark that is never closed.
        """
        table = table or self.table
        below = "\n".join(self.text.split("\n")[table.number :])
        reader = csv.reader(io.StringIO(below), delimiter=table.delimiter, strict=True)
        try:
            for values in reader:
                stripped = [value.strip() for value in values]
                if any(stripped):
                    fields = dict(zip(table.header, stripped, strict=False))
                    yield Line(f"line {table.number + reader.line_num}", stripped, fields)
        except csv.Error as error:
            raise UserError(f"{self.path}: line {table.number + reader.line_num}: not a table ({error})") from None

    def whole_rows(self, found: Found, video: str = "", spare: bool = False) -> Iterator[Line]:
        """Yields the lines of `rows` that have a value for each column; the others go to the problems.

        Empty values behind the last column do not count.

        Args:
          found: receives the problems.
          video: column that names the video of a line; empty if it is not known before the line is read.
          spare: whether a line may have more values than the header.
        """
        expected = len(self.table.header)
        for line in self.rows():
            count = len(line.values)
            while count > expected and not line.values[count - 1]:
                count -= 1
            if count < expected or (count > expected and not spare):
                hint = "the line is cut short" if count < expected else "put a value that holds a comma into quotes"
                found.wrong(f"{line.where}: {count} values, expected {expected}: {hint}", line.fields.get(video, ""))
            else:
                yield line


def open_source(path: Path) -> Source:
    """Returns an annotation file; the last one stays parsed until it changes, or `sources_kept` ends.

    Raises:
      UserError: as `read_text`.
    """
    try:
        status = path.stat()
    except OSError:  # told when the file is read
        return Source(path)
    return _opened(path, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=1)
def _opened(path: Path, changed: tuple[int, int]) -> Source:
    """Opens a file; `changed` only makes the cache miss when the file has changed."""
    return Source(path)


@contextmanager
def sources_kept() -> Iterator[None]:
    """Encloses what reads an annotation file several times; frees what `open_source` has kept."""
    try:
        yield
    finally:
        _opened.cache_clear()


def table_of(number: int, line: str, delimiter: str) -> Table:
    """Returns the header that a line is."""
    return Table(number, delimiter, tuple(name.strip().lower() for name in split(line, delimiter)), line.strip())


def split(line: str, delimiter: str) -> list[str]:
    """Splits one line into its values; by quotation marks too, if they are whole."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return line.split(delimiter)
