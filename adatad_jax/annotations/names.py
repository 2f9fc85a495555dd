"""From the name of a video as a tool writes it, a path, an address or an upload, to the file that it means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from adatad_jax.video.names import EXTENSIONS, short_names

_UPLOADED = re.compile(r"[0-9a-f]{4,}-(?=.)")  # what Label Studio puts in front of the name of an uploaded file


def plain_name(written: str, keep: bool = False) -> str:
    """Returns the bare name of a video: without folders, address, percent signs, and the extension of a video file.

    The file of an address such as `/data/local-files/?d=FOLDER/a%20b.mp4` is that of its field `d`.

    Args:
      written: as an annotation file has it.
      keep: whether to keep the extension.
    """
    if "?d=" in written or "://" in written:
        parts = urlsplit(written)
        written = next(iter(parse_qs(parts.query).get("d", [])), "") or unquote(parts.path)
    elif re.search(r"%[0-9A-Fa-f]{2}", written):
        written = unquote(written)
    name = written.replace("\\", "/").rstrip("/").rpartition("/")[2] or written
    return name if keep or not name.lower().endswith(EXTENSIONS) else PurePosixPath(name).stem


def names_of_files(
    written: Sequence[str], aliases: Mapping[str, Sequence[str]], folder: Path, prefix: str = ""
) -> dict[str, str]:
    """Maps each video as written to the shortest name of a file in the folder.

    The first name that has a file counts: as written, without folders and address, each alias likewise, and last
    without what Label Studio puts before an uploaded file. See `short_names`.

    Args:
      written: names of videos.
      aliases: video as written -> other names that its file may have.
      folder: of the video files.
      prefix: of the file names, as in `find_files`.
    """
    candidates = {video: list(dict.fromkeys(_candidates(video, aliases.get(video, ())))) for video in written}
    return short_names(folder, candidates, prefix)


def _candidates(video: str, aliases: Sequence[str]) -> Iterator[str]:
    """Yields the names under which a video's file may be found, the likeliest first."""
    yield video
    for name in (video, *aliases):
        yield plain_name(name, keep=True)
        yield plain_name(name)
    if uploaded := _UPLOADED.match(plain_name(video)):
        yield plain_name(video)[uploaded.end() :]
