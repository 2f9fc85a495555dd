"""Names in messages, and names of videos that different tools write differently."""

from collections.abc import Collection, Iterable
from pathlib import PurePath

from adatad_jax.data.usable_videos import EXTENSIONS
from adatad_jax.postprocessing.video_classifier import VIDEO_PREFIX

_NAMES_SHOWN = 3


def few(names: Collection[str]) -> str:
    """The first three, and how many there are; what a terminal would obey or could not show is written as in Python."""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in list(names)[:_NAMES_SHOWN])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > _NAMES_SHOWN else shown


def name_hint(strangers: Iterable[str], known: Iterable[str]) -> str:
    """How names of videos that are not known would be, if only their spelling differs; else an empty text.

    Spelled differently are names with and without "v_" in front, the extension of a video file, or folders.
    """
    spelled = {_bare(name): name for name in known}
    renamed = {name: spelled[_bare(name)] for name in strangers if _bare(name) in spelled}
    if not renamed:
        return ""
    name, wanted = next(iter(renamed.items()))
    return f'{len(renamed)} of these names would match if spelled alike, such as "{name}" as "{wanted}": rename them'


def _bare(name: str) -> str:
    path = PurePath(name)
    return (path.stem if path.suffix.lower() in EXTENSIONS else path.name).removeprefix(VIDEO_PREFIX)
