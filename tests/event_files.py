"""A reader of TensorBoard's event files, which shows what TensorBoard shows: a restart drops what it does again."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from adatad_jax.training.tensorboard import Event, SessionLog, masked_crc32c


class Shown(NamedTuple):
    """Name -> (step, value) in the order written, of scalars, pictures (PNG) and texts."""

    scalars: dict[str, list[tuple[int, float]]]
    pictures: dict[str, list[tuple[int, bytes]]]
    texts: dict[str, list[tuple[int, str]]]


def events(path: Path) -> Iterator[Event]:
    """Yields the events of a file; a record that is cut ends it, one with a wrong checksum fails."""
    content, place = path.read_bytes(), 0
    while place + 12 <= len(content):
        header = content[place : place + 8]
        (size,) = struct.unpack("<Q", header)
        data = content[place + 12 : place + 12 + size]
        checksums = content[place + 8 : place + 12], content[place + 12 + size : place + 16 + size]
        if len(checksums[1]) < 4:
            return
        assert [struct.unpack("<I", one)[0] for one in checksums] == [masked_crc32c(header), masked_crc32c(data)]
        yield Event.FromString(data)
        place += 16 + size


def shown(folder: Path) -> Shown:
    """Reads all files of a folder, the oldest first."""
    found = Shown({}, {}, {})
    for path in sorted(folder.iterdir()):
        for event in events(path):
            if event.session_log.status == SessionLog.START:
                for values in (*found.scalars.values(), *found.pictures.values()):
                    values[:] = [one for one in values if one[0] < event.step]
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    found.scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
                elif value.WhichOneof("value") == "image":
                    found.pictures.setdefault(value.tag, []).append((event.step, value.image.encoded_image_string))
                else:
                    text = value.tensor.string_val[0].decode()
                    found.texts.setdefault(value.tag.removesuffix("/text_summary"), []).append((event.step, text))
    return found
